//! The chain of the audit record: the hash of an entry, and whether the entries are one whole chain.
//!
//! An entry's hash is SHA-256 over the 32 bytes of the previous hash, and then each column in the order of
//! `CHAINED_COLUMNS`. A column without a value is the byte 0. A column with a value is the byte 1, the length of its
//! text in bytes as 8 bytes, the highest first, and the text in UTF-8. So no two entries have the same encoding. The text
//! of `seq` is decimal, that of `at` is RFC 3339 in UTC with six digits of a second, JSON is as it is stored.

use sha2::{Digest as _, Sha256};

/// The length of a hash in bytes.
pub(super) const HASH_LENGTH: usize = 32;

/// The previous hash of the first entry.
pub(super) const BEGINNING: [u8; HASH_LENGTH] = [0; HASH_LENGTH];

/// The columns that a hash covers, in this order.
pub(super) const CHAINED_COLUMNS: [&str; 12] = [
    "seq",
    "at",
    "who",
    "role",
    "origin",
    "action",
    "target",
    "outcome",
    "before",
    "after",
    "why",
    "request_id",
];

/// The hash of an entry, from the hash of the entry before and its columns in the order of [`CHAINED_COLUMNS`].
pub(super) fn entry_hash(
    previous: &[u8],
    columns: [Option<&str>; CHAINED_COLUMNS.len()],
) -> [u8; HASH_LENGTH] {
    let mut hash = Sha256::new();
    hash.update(previous);
    for column in columns {
        match column {
            None => hash.update([0]),
            Some(text) => {
                hash.update([1]);
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
        }
    }
    hash.finalize().into()
}

/// One entry as the chain sees it: its place, what it says of its hashes, and the hash that its columns have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLink {
    /// Its number.
    pub seq: i64,
    /// The stored hash of the entry before.
    pub previous_hash: Vec<u8>,
    /// The stored hash.
    pub hash: Vec<u8>,
    /// The hash computed from the stored columns.
    pub computed: [u8; 32],
}

/// The end of the record as it is kept beside the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the newest entry; 0 before the first.
    pub seq: i64,
    /// The hash of the newest entry.
    pub hash: Vec<u8>,
}

/// The first place where the record is not one whole chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// The entry is not what it was.
    #[error("entry {0} is altered: its hash is not that of its content")]
    Altered(i64),
    /// The entry does not go on from the one before.
    #[error("entry {0} does not go on from the entry before it: one of the two is altered")]
    Parted(i64),
    /// The entry is missing.
    #[error("entry {0} is removed")]
    Removed(i64),
    /// The entry was never appended.
    #[error("entry {0} is added: no act has appended it")]
    Added(i64),
    /// The head holds another hash than the newest entry.
    #[error("entry {0} is altered: the head of the record holds another hash")]
    OtherHead(i64),
}

impl ChainBreak {
    /// The number of the entry.
    pub fn seq(self) -> i64 {
        match self {
            Self::Altered(seq)
            | Self::Parted(seq)
            | Self::Removed(seq)
            | Self::Added(seq)
            | Self::OtherHead(seq) => seq,
        }
    }
}

/// A walk along the chain, from the first entry on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditChain {
    seq: i64,
    hash: Vec<u8>,
}

impl Default for AuditChain {
    fn default() -> Self {
        Self {
            seq: 0,
            hash: BEGINNING.to_vec(),
        }
    }
}

impl AuditChain {
    /// The number of the last entry that the walk has passed; 0 before the first.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// The hash of that entry.
    pub fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// Passes the next entry in the order of numbers.
    ///
    /// # Errors
    /// The record is broken here.
    pub fn follow(&mut self, link: &AuditLink) -> Result<(), ChainBreak> {
        let expected = self.seq.saturating_add(1);
        if link.seq < expected {
            return Err(ChainBreak::Added(link.seq));
        }
        if link.seq > expected {
            return Err(ChainBreak::Removed(expected));
        }
        if link.hash != link.computed {
            return Err(ChainBreak::Altered(link.seq));
        }
        if link.previous_hash != self.hash {
            return Err(ChainBreak::Parted(link.seq));
        }
        self.seq = link.seq;
        self.hash.clone_from(&link.hash);
        Ok(())
    }

    /// Ends the walk at the head, which was read before the last entries.
    ///
    /// # Errors
    /// The newest entries are not those that were appended last.
    pub fn end(&self, head: &AuditHead) -> Result<(), ChainBreak> {
        if self.seq < head.seq {
            return Err(ChainBreak::Removed(self.seq.saturating_add(1)));
        }
        if self.seq > head.seq {
            return Err(ChainBreak::Added(head.seq.saturating_add(1)));
        }
        if self.hash != head.hash {
            return Err(ChainBreak::OtherHead(self.seq));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
