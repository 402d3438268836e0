//! The audit record: who did what, and whether the record is whole.

use common::bootstrap::Failure;
use common::store::{
    Act, AuditChain, AuditEntry, AuditFilter, AuditPage, ChainBreak, Store, StoreError,
};
use serde::Serialize;

use crate::page::List;

/// How many entries are read at once on a walk along the record.
const CHUNK: u32 = 1000;

/// A page of at most `limit` entries, newest first, and where the next page begins: after the entry of that number.
///
/// # Errors
/// The database cannot say.
pub async fn page(
    store: &dyn Store,
    filter: &AuditFilter,
    after: Option<i64>,
    limit: u32,
) -> Result<List<AuditEntry>, StoreError> {
    let page = AuditPage {
        before: after,
        limit: limit.saturating_add(1),
    };
    let items = store.audit().audit_page(filter, page).await?;
    Ok(List::page(items, limit, |entry| entry.seq))
}

/// Gives every entry that matches to `each`, newest first. The record may grow meanwhile: later entries are not among them.
///
/// # Errors
/// The database cannot say, or `each` fails.
pub async fn export(
    store: &dyn Store,
    filter: &AuditFilter,
    mut each: impl FnMut(AuditEntry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut page = AuditPage {
        before: None,
        limit: CHUNK,
    };
    loop {
        let entries = store.audit().audit_page(filter, page).await?;
        let is_full = entries.len() == CHUNK as usize;
        let next = entries.last().filter(|_| is_full).map(|last| last.seq);
        for entry in entries {
            each(entry)?;
        }
        if next.is_none() {
            return Ok(());
        }
        page.before = next;
    }
}

/// The result of a walk along the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Whether the record is one whole chain.
    pub whole: bool,
    /// How many entries were found in order, from the first one on.
    pub entries: i64,
    /// The hash of the last entry that was found in order. Kept elsewhere, it shows later whether the record up to here
    /// was written anew.
    pub head: String,
    /// The first entry that is altered, removed or added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_broken: Option<i64>,
    /// What is wrong with that entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A head that was kept elsewhere: the number of an entry, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHead {
    /// The number of the entry.
    pub seq: i64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

impl std::str::FromStr for KeptHead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (seq, hash) = text.split_once(':')?;
            let is_hash = hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
            let seq = seq.parse().ok().filter(|seq| *seq >= 0)?;
            is_hash.then(|| Self {
                seq,
                hash: hash.to_lowercase(),
            })
        };
        read().ok_or_else(|| {
            format!("expected the ENTRIES:HASH that `audit verify` has printed, found {text:?}")
        })
    }
}

/// Walks along the whole record, and compares it with a head that was kept, if one is given.
///
/// # Errors
/// The database cannot say.
pub async fn verify(store: &dyn Store, kept: Option<&KeptHead>) -> Result<Verified, StoreError> {
    let mut chain = AuditChain::default();
    let walked = walk(store, &mut chain, kept).await?;
    let problem = walked.err();
    Ok(Verified {
        whole: problem.is_none(),
        entries: chain.seq(),
        head: hex(chain.hash()),
        first_broken: problem.as_ref().map(|(seq, _)| *seq),
        problem: problem.map(|(_, problem)| problem),
    })
}

type Broken = (i64, String);

async fn walk(
    store: &dyn Store,
    chain: &mut AuditChain,
    kept: Option<&KeptHead>,
) -> Result<Result<(), Broken>, StoreError> {
    let broken = |at: ChainBreak| Ok(Err((at.seq(), at.to_string())));
    let mut after = None;
    loop {
        // Before the entries: acts go on meanwhile, and each moves the head.
        let head = store.audit().audit_head().await?;
        let links = store.audit().audit_links(after, CHUNK).await?;
        if let Err(other) = compare(chain, kept) {
            return Ok(Err(other));
        }
        if links.is_empty() {
            let Some(head) = head else {
                let problem = "the head of the record is removed".to_owned();
                return Ok(Err((chain.seq(), problem)));
            };
            return match chain.end(&head) {
                Ok(()) => Ok(reached(chain, kept)),
                Err(at) => broken(at),
            };
        }
        for link in &links {
            if let Err(at) = chain.follow(link) {
                return broken(at);
            }
            if let Err(other) = compare(chain, kept) {
                return Ok(Err(other));
            }
        }
        after = Some(chain.seq());
    }
}

/// Compares the last entry of the walk with the kept head, if the head is at that entry.
fn compare(chain: &AuditChain, kept: Option<&KeptHead>) -> Result<(), Broken> {
    match kept {
        Some(kept) if kept.seq == chain.seq() && kept.hash != hex(chain.hash()) => {
            let problem = format!("entry {} or one before it is not what was kept", kept.seq);
            Err((kept.seq, problem))
        }
        _ => Ok(()),
    }
}

/// Whether the walk has come as far as the kept head.
fn reached(chain: &AuditChain, kept: Option<&KeptHead>) -> Result<(), Broken> {
    match kept {
        Some(kept) if kept.seq > chain.seq() => Err((
            chain.seq() + 1,
            format!("entry {} is removed", chain.seq() + 1),
        )),
        _ => Ok(()),
    }
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Records an act whose change is not in the database, once it is made. Says why it is not recorded, if it is not: the
/// change stays.
pub async fn record_made(store: Option<&dyn Store>, act: &Act) -> Option<String> {
    let Some(store) = store else {
        return Some("there is no database yet".to_owned());
    };
    let recorded = store.audit().record(act).await;
    recorded.err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use common::store::{Audit as _, AuditAction};

    use super::*;
    use crate::testbed;

    async fn with_entries(number: usize) -> common::store::sqlite::SqliteStore {
        let store = testbed::store().await;
        for target in 0..number {
            let act = testbed::requester().act(AuditAction::DeadEdit, format!("dead:{target}"));
            store.record(&act).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn a_whole_record_gives_its_count_and_head() {
        let store = with_entries(3).await;
        let verified = verify(&store, None).await.unwrap();
        let newest = page(&store, &AuditFilter::default(), None, 1)
            .await
            .unwrap();
        assert_eq!(newest.next.as_deref(), Some("3"));
        let expected = Verified {
            whole: true,
            entries: 3,
            head: newest.items[0].hash.clone(),
            first_broken: None,
            problem: None,
        };
        assert_eq!(verified, expected);
    }

    #[tokio::test]
    async fn a_kept_head_shows_a_record_that_was_written_anew() {
        let (kept, other) = (with_entries(3).await, with_entries(2).await);
        let head = verify(&kept, None).await.unwrap();
        let head: KeptHead = format!("{}:{}", head.entries, head.head).parse().unwrap();
        assert!(verify(&kept, Some(&head)).await.unwrap().whole);
        let shorter = verify(&other, Some(&head)).await.unwrap();
        assert_eq!((shorter.whole, shorter.first_broken), (false, Some(3)));
        let act = testbed::requester().act(AuditAction::DeadEdit, "dead:7");
        other.record(&act).await.unwrap();
        other.record(&act).await.unwrap();
        let anew = verify(&other, Some(&head)).await.unwrap();
        assert_eq!((anew.whole, anew.first_broken), (false, Some(3)));
        let beginning: KeptHead = format!("0:{}", "0".repeat(64)).parse().unwrap();
        assert!(verify(&kept, Some(&beginning)).await.unwrap().whole);
    }

    #[test]
    fn what_is_no_kept_head_is_refused() {
        for bad in [
            "",
            "3",
            "3:",
            "x:00",
            "-1:00",
            &format!("3:{}", "g".repeat(64)),
        ] {
            assert!(bad.parse::<KeptHead>().is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn an_export_gives_each_entry_once() {
        let store = with_entries(CHUNK as usize + 5).await;
        let mut seen = Vec::new();
        let each = |entry: AuditEntry| {
            seen.push(entry.seq);
            Ok(())
        };
        export(&store, &AuditFilter::default(), each).await.unwrap();
        let expected: Vec<i64> = (1..=i64::from(CHUNK) + 5).rev().collect();
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_change_without_a_database_says_that_it_is_not_recorded() {
        let act = testbed::requester().act(AuditAction::TopologyApply, "topology");
        assert!(record_made(None, &act).await.is_some());
        let store = testbed::store().await;
        assert_eq!(record_made(Some(&store), &act).await, None);
    }
}
