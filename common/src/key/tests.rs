use proptest::prelude::*;

use super::*;

/// Made by hand: its checksum is right, and nobody has it.
fn sample() -> String {
    let body = format!("{PREFIX}{}{}", "0".repeat(ID), "z".repeat(SECRET));
    let checksum = String::from_utf8(checksum(&body).to_vec()).unwrap();
    body + &checksum
}

#[test]
fn a_new_key_reads_back_and_no_two_are_alike() {
    let keys: Vec<Key> = (0..100).map(|_| Key::generate().unwrap()).collect();
    for key in &keys {
        assert_eq!(key.expose().len(), 48);
        let read = Key::parse(key.expose()).unwrap();
        assert_eq!((read.id(), read.hash()), (key.id(), key.hash()));
        assert!(key.expose().starts_with(&format!("lsk_{}", key.id())));
    }
    let different: std::collections::HashSet<KeyId> = keys.iter().map(Key::id).collect();
    assert_eq!(different.len(), keys.len());
}

#[test]
fn the_checksum_is_a_crc_32_in_base62() {
    // The check value of CRC-32/ISO-HDLC is 0xCBF43926, which is 3421780262.
    let value = checksum("123456789").iter().fold(0_u64, |value, digit| {
        value * 62 + DIGITS.iter().position(|known| known == digit).unwrap() as u64
    });
    assert_eq!(value, 0xCBF4_3926);
}

#[test]
fn a_text_that_is_no_key_is_told_why_and_is_not_repeated() {
    let key = sample();
    let parse = |text: &str| Key::parse(text).map(|key| key.id()).unwrap_err();
    assert_eq!(parse(""), NoKey::Prefix);
    assert_eq!(parse("LSK_00000000"), NoKey::Prefix);
    assert_eq!(parse(&key[1..]), NoKey::Prefix);
    assert_eq!(parse(&key[..47]), NoKey::Length(47));
    assert_eq!(parse(&format!("{key}0")), NoKey::Length(49));
    assert_eq!(parse(&format!("{key} ")), NoKey::Character);
    assert_eq!(parse(&key.replace('z', "é")), NoKey::Character);
    assert_eq!(parse(&key.replacen('z', "y", 1)), NoKey::Checksum);
    for error in [NoKey::Checksum, NoKey::Character, NoKey::Prefix] {
        assert!(!error.to_string().contains("zz"), "{error}");
    }
}

#[test]
fn neither_the_secret_nor_the_checksum_shows() {
    let key = Key::parse(&sample()).unwrap();
    assert_eq!(format!("{key:?}"), "Key(00000000…)");
    let hash = key.hash();
    assert_eq!(hash.to_string().parse::<KeyHash>().unwrap(), hash);
    assert_eq!(hash.to_string().len(), 64);
    for wrong in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
        assert!(wrong.parse::<KeyHash>().is_err(), "{wrong}");
    }
    let whole = sample().parse::<KeyId>().unwrap_err();
    assert!(!whole.contains("zz"), "{whole}");
}

proptest! {
    #[test]
    fn one_wrong_character_is_always_noticed(at in PREFIX.len()..LENGTH, digit in 0..62_usize) {
        let mut text = sample().into_bytes();
        prop_assume!(text[at] != DIGITS[digit]);
        text[at] = DIGITS[digit];
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(Key::parse(&text).err(), Some(NoKey::Checksum));
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = Key::parse(&text);
        let _ = Key::parse(&format!("{PREFIX}{text}"));
        let _ = text.parse::<KeyHash>();
    }
}
