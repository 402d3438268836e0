use std::num::NonZeroU32;
use std::time::Instant;

use common::config::Rate;
use common::key::{Key, Scope, Scopes};
use common::store::{Moment, Revoked};
use time::OffsetDateTime;

use super::*;

fn known(name: &str, key: &Key) -> KnownKey {
    KnownKey {
        name: name.parse().unwrap(),
        hash: key.hash(),
        scopes: Scopes(vec![Scope::Read]),
        rate: None,
        burst: None,
        networks: Vec::new(),
        expires_at: None,
    }
}

fn record(key: KnownKey, id: KeyId) -> KeyRecord {
    KeyRecord {
        id,
        key,
        created_at: Moment(OffsetDateTime::now_utc()),
        created_by: "test".to_owned(),
        last_used_at: None,
        revoked: None,
        revision: 1,
    }
}

fn name_of(found: &Found) -> Option<String> {
    match found {
        Found::Key(entry) => Some(entry.key.name.to_string()),
        _ => None,
    }
}

#[test]
fn before_the_database_is_read_only_the_configuration_is_known() {
    let (ours, theirs) = (Key::generate().unwrap(), Key::generate().unwrap());
    let ring = Keyring::new(&[known("shop", &ours)]);
    assert_eq!(name_of(&ring.find(&ours.hash())).as_deref(), Some("shop"));
    assert!(matches!(ring.find(&theirs.hash()), Found::NotRead));
    ring.set_read();
    assert!(matches!(ring.find(&theirs.hash()), Found::Nothing));
    ring.change(vec![record(known("crm", &theirs), theirs.id())]);
    assert_eq!(name_of(&ring.find(&theirs.hash())).as_deref(), Some("crm"));
}

#[test]
fn a_revoked_key_is_gone_and_so_is_every_key_of_a_database_that_was_set_back() {
    let (one, two) = (Key::generate().unwrap(), Key::generate().unwrap());
    let ring = Keyring::new(&[]);
    ring.change(vec![
        record(known("one", &one), one.id()),
        record(known("two", &two), two.id()),
    ]);
    ring.set_read();
    let mut revoked = record(known("one", &one), one.id());
    revoked.revoked = Some(Revoked {
        at: Moment(OffsetDateTime::now_utc()),
        who: "ada".to_owned(),
        why: "leaked".to_owned(),
    });
    ring.change(vec![revoked]);
    assert!(matches!(ring.find(&one.hash()), Found::Nothing));
    assert!(!ring.is_empty());
    ring.forget();
    assert!(matches!(ring.find(&two.hash()), Found::Nothing));
    assert!(ring.is_empty());
}

#[test]
fn a_change_of_scopes_gives_back_no_part_of_a_used_rate() {
    let key = Key::generate().unwrap();
    let mut limited = known("shop", &key);
    limited.rate = Some("2/h".parse::<Rate>().unwrap());
    let ring = Keyring::new(&[]);
    ring.change(vec![record(limited.clone(), key.id())]);
    let take = || match ring.find(&key.hash()) {
        Found::Key(entry) => entry.limit.as_ref().unwrap().take(NonZeroU32::MIN).is_ok(),
        _ => panic!("it is known"),
    };
    assert!(take() && take() && !take());
    // A request under way, or a status stream, holds on to the key.
    let _held = ring.find(&key.hash());
    limited.scopes = Scopes(vec![Scope::ReadAll]);
    ring.change(vec![record(limited.clone(), key.id())]);
    assert!(!take(), "the same rate goes on");
    limited.burst = NonZeroU32::new(3);
    ring.change(vec![record(limited, key.id())]);
    assert!(take(), "another rate begins anew");
}

#[test]
fn only_new_uses_are_written_down() {
    let key = Key::generate().unwrap();
    let ring = Keyring::new(&[]);
    ring.change(vec![record(known("shop", &key), key.id())]);
    assert!(ring.used().is_empty());
    let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    if let Found::Key(entry) = ring.find(&key.hash()) {
        entry.touch(at);
    }
    let used = ring.used();
    assert_eq!(used.len(), 1);
    assert_eq!(used[0].1, at);
    used[0].0.noted(at);
    assert!(ring.used().is_empty());
}

/// A key with the id of a known one, a right checksum and another secret.
fn guessed(known: &Key) -> Key {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = format!("lsk_{}{}", known.id(), "0".repeat(30));
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut checksum = [0; 6];
    for digit in checksum.iter_mut().rev() {
        *digit = DIGITS[rest % 62];
        rest /= 62;
    }
    text.extend(checksum.map(char::from));
    Key::parse(&text).unwrap()
}

#[test]
fn a_wrong_secret_takes_as_long_as_an_unknown_key() {
    let keys: Vec<Key> = (0..500).map(|_| Key::generate().unwrap()).collect();
    let ring = Keyring::new(&[]);
    let records = keys.iter().map(|key| record(known("k", key), key.id()));
    ring.change(records.collect());
    ring.set_read();
    let timed = |hash: &KeyHash| {
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(matches!(ring.find(hash), Found::Nothing));
        }
        begun.elapsed()
    };
    let (mut wrong, mut unknown): (Vec<_>, Vec<_>) = keys
        .iter()
        .map(|key| {
            let other = Key::generate().unwrap();
            (timed(&guessed(key).hash()), timed(&other.hash()))
        })
        .unzip();
    wrong.sort();
    unknown.sort();
    let (wrong, unknown) = (wrong[250].as_secs_f64(), unknown[250].as_secs_f64());
    let ratio = wrong / unknown;
    assert!((0.3..3.0).contains(&ratio), "{ratio}");
}

#[test]
fn among_many_keys_each_is_found() {
    let keys: Vec<Key> = (0..2_000).map(|_| Key::generate().unwrap()).collect();
    let ring = Keyring::new(&[]);
    let records = keys.iter().enumerate();
    let records = records.map(|(index, key)| record(known(&format!("k{index}"), key), key.id()));
    ring.change(records.collect());
    ring.set_read();
    for (index, key) in keys.iter().enumerate() {
        let found = name_of(&ring.find(&key.hash()));
        assert_eq!(found, Some(format!("k{index}")));
    }
}

#[test]
fn another_configuration_keeps_the_keys_of_the_database_and_the_counts_of_its_own() {
    let [kept, gone, new, stored] = [(); 4].map(|()| Key::generate().unwrap());
    let before = Keyring::new(&[known("kept", &kept), known("gone", &gone)]);
    before.set_read();
    before.change(vec![record(known("stored", &stored), stored.id())]);
    let after = before.with(&[known("kept", &kept), known("new", &new)]);
    for key in [&kept, &new, &stored] {
        assert!(after.find(&key.hash()).is_key());
    }
    assert!(matches!(after.find(&gone.hash()), Found::Nothing));
    // A request that began before ends under its own configuration, and sees that a key of the database is revoked.
    assert!(before.find(&gone.hash()).is_key());
    after.forget();
    assert!(matches!(before.find(&stored.hash()), Found::Nothing));
}
