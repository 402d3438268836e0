use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

type Columns = [Option<String>; CHAINED_COLUMNS.len()];

/// An entry with its columns, so that they can be tampered with. The first column is `seq`.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    seq: i64,
    columns: Columns,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
}

impl Entry {
    fn computed(&self) -> [u8; HASH_LENGTH] {
        let seq = self.seq.to_string();
        let mut columns = self.columns.each_ref().map(Option::as_deref);
        columns[0] = Some(&seq);
        entry_hash(&self.previous_hash, columns)
    }

    fn link(&self) -> AuditLink {
        AuditLink {
            seq: self.seq,
            previous_hash: self.previous_hash.clone(),
            hash: self.hash.clone(),
            computed: self.computed(),
        }
    }
}

/// A whole record of these entries, and its head.
fn record(all: Vec<Columns>) -> (Vec<Entry>, AuditHead) {
    let mut entries: Vec<Entry> = Vec::new();
    for (seq, columns) in (1..).zip(all) {
        let before = entries
            .last()
            .map_or(BEGINNING.to_vec(), |last| last.hash.clone());
        let mut entry = Entry {
            seq,
            columns,
            previous_hash: before,
            hash: Vec::new(),
        };
        entry.hash = entry.computed().to_vec();
        entries.push(entry);
    }
    let head = AuditHead {
        seq: entries.last().map_or(0, |last| last.seq),
        hash: entries
            .last()
            .map_or(BEGINNING.to_vec(), |last| last.hash.clone()),
    };
    (entries, head)
}

/// The walk that `longshore audit verify` makes: the database gives entries in the order of their numbers.
fn verify(mut entries: Vec<Entry>, head: &AuditHead) -> Result<(), ChainBreak> {
    entries.sort_by_key(|entry| entry.seq);
    let mut chain = AuditChain::default();
    for entry in &entries {
        chain.follow(&entry.link())?;
    }
    chain.end(head)
}

fn columns() -> impl Strategy<Value = Columns> {
    proptest::array::uniform12(proptest::option::of("[a-z\u{0}\u{1}é]{0,3}"))
}

/// A record of some entries, and two places in it.
fn whole() -> impl Strategy<Value = (Vec<Columns>, Index, Index)> {
    (
        proptest::collection::vec(columns(), 1..8),
        any::<Index>(),
        any::<Index>(),
    )
}

#[test]
fn an_empty_record_is_whole() {
    let (entries, head) = record(Vec::new());
    assert_eq!(verify(entries, &head), Ok(()));
}

#[test]
fn the_hash_of_an_entry_never_changes_between_versions() {
    let mut columns = [None; CHAINED_COLUMNS.len()];
    columns[0] = Some("1");
    columns[2] = Some("cli:ada");
    let hash = entry_hash(&BEGINNING, columns);
    let mut encoded = vec![0; HASH_LENGTH];
    encoded.extend(b"\x01\0\0\0\0\0\0\0\x011\0\x01\0\0\0\0\0\0\0\x07cli:ada\0\0\0\0\0\0\0\0\0");
    assert_eq!(hash[..], Sha256::digest(&encoded)[..]);
}

#[test]
fn text_moved_from_one_column_to_the_next_has_another_hash() {
    let with = |first, second| {
        let mut columns = [None; CHAINED_COLUMNS.len()];
        (columns[2], columns[3]) = (first, second);
        entry_hash(&BEGINNING, columns)
    };
    assert_ne!(with(Some("ab"), Some("c")), with(Some("a"), Some("bc")));
    assert_ne!(with(Some("a"), None), with(None, Some("a")));
    assert_ne!(with(Some(""), None), with(None, Some("")));
    assert_ne!(with(Some(""), None), with(None, None));
}

#[test]
fn entries_removed_from_the_end_are_named() {
    let (mut entries, head) = record(vec![Columns::default(); 3]);
    entries.truncate(1);
    assert_eq!(verify(entries, &head), Err(ChainBreak::Removed(2)));
}

#[test]
fn an_entry_behind_the_head_is_named() {
    let (entries, _) = record(vec![Columns::default(); 3]);
    let (_, head) = record(vec![Columns::default(); 2]);
    assert_eq!(verify(entries, &head), Err(ChainBreak::Added(3)));
}

#[test]
fn a_rewritten_end_with_good_hashes_is_betrayed_by_the_head() {
    let (_, head) = record(vec![Columns::default(); 2]);
    let mut last = Columns::default();
    last[2] = Some("eve".to_owned());
    let (entries, _) = record(vec![Columns::default(), last]);
    assert_eq!(verify(entries, &head), Err(ChainBreak::OtherHead(2)));
}

proptest! {
    #[test]
    fn a_record_that_nobody_touched_is_whole((all, ..) in whole()) {
        let (entries, head) = record(all);
        prop_assert_eq!(verify(entries, &head), Ok(()));
    }

    #[test]
    fn any_changed_column_shows(
        (all, at, column) in whole(), value in proptest::option::of("[a-z]{0,3}")
    ) {
        let (mut entries, head) = record(all);
        let at = at.index(entries.len());
        let entry = &mut entries[at];
        let changed = &mut entry.columns[1 + column.index(CHAINED_COLUMNS.len() - 1)];
        prop_assume!(*changed != value);
        *changed = value;
        let seq = entry.seq;
        prop_assert_eq!(verify(entries, &head), Err(ChainBreak::Altered(seq)));
    }

    #[test]
    fn any_changed_column_shows_with_its_hash_computed_anew(
        (all, at, column) in whole(), value in proptest::option::of("[a-z]{0,3}")
    ) {
        let (mut entries, head) = record(all);
        let at = at.index(entries.len());
        let changed = &mut entries[at].columns[1 + column.index(CHAINED_COLUMNS.len() - 1)];
        prop_assume!(*changed != value);
        *changed = value;
        entries[at].hash = entries[at].computed().to_vec();
        let seq = entries[at].seq;
        let expected = match entries.get(at + 1) {
            Some(next) => ChainBreak::Parted(next.seq),
            None => ChainBreak::OtherHead(seq),
        };
        prop_assert_eq!(verify(entries, &head), Err(expected));
    }

    #[test]
    fn any_changed_bit_of_a_hash_shows(
        (all, at, byte) in whole(), bit in 0..8_u8, is_previous in any::<bool>()
    ) {
        let (mut entries, head) = record(all);
        let at = at.index(entries.len());
        let entry = &mut entries[at];
        let hash = if is_previous { &mut entry.previous_hash } else { &mut entry.hash };
        hash[byte.index(HASH_LENGTH)] ^= 1 << bit;
        let seq = entry.seq;
        prop_assert_eq!(verify(entries, &head), Err(ChainBreak::Altered(seq)));
    }

    #[test]
    fn any_removed_entry_shows((all, at, _) in whole()) {
        let (mut entries, head) = record(all);
        let at = at.index(entries.len());
        let removed = entries.remove(at).seq;
        prop_assert_eq!(verify(entries, &head), Err(ChainBreak::Removed(removed)));
    }

    #[test]
    fn any_inserted_entry_shows((all, at, _) in whole(), columns in columns()) {
        let (mut entries, head) = record(all);
        // Later entries are numbered anew, so that there is no gap and no number twice.
        let place = at.index(entries.len() + 1);
        let (number, previous_hash) = match place.checked_sub(1).map(|before| &entries[before]) {
            Some(before) => (before.seq + 1, before.hash.clone()),
            None => (1, BEGINNING.to_vec()),
        };
        let mut added = Entry { seq: number, columns, previous_hash, hash: Vec::new() };
        added.hash = added.computed().to_vec();
        for later in &mut entries[place..] {
            later.seq += 1;
        }
        entries.push(added);
        let found = verify(entries, &head).map_err(ChainBreak::seq);
        prop_assert!(found.is_err_and(|seq| seq >= number), "{:?} for {}", found, number);
    }

    #[test]
    fn any_two_swapped_entries_show((all, one, other) in whole()) {
        let (mut entries, head) = record(all);
        let (one, other) = (one.index(entries.len()), other.index(entries.len()));
        prop_assume!(one != other);
        let (first, second) = (entries[one].seq, entries[other].seq);
        entries[one].seq = second;
        entries[other].seq = first;
        let found = verify(entries, &head);
        prop_assert!(found.is_err(), "{} and {}", first, second);
    }
}
