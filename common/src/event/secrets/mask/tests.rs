use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "hunter2";

fn masked(text: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(&mask(text.as_ref())).into_owned()
}

#[test]
fn json_stays_json_and_all_but_the_secret_stays_as_it_was_written() {
    for (text, expected) in [
        (
            r#"{"a": 1.00, "password": "hunter2" }"#,
            r#"{"a": 1.00, "password": "***" }"#,
        ),
        (
            r#"{"p\u0061ssword":"hun\"ter2","b":2}"#,
            r#"{"p\u0061ssword":"***","b":2}"#,
        ),
        (
            r#"{"a":[{"Api-Key":12345678}]}"#,
            r#"{"a":[{"Api-Key":"***"}]}"#,
        ),
        (
            r#"{"secret":{"a":["hunter2}"]},"b":2}"#,
            r#"{"secret":"***","b":2}"#,
        ),
        (r#"{"token":["hunter2"],"b":2}"#, r#"{"token":"***","b":2}"#),
        (
            r#"{"token":null,"secret":true,"pwd":""}"#,
            r#"{"token":null,"secret":true,"pwd":""}"#,
        ),
        (
            r#"{"s":"{\"password\":\"hunter2\",\"b\":\"ä\"}"}"#,
            r#"{"s":"{\"password\":\"***\",\"b\":\"ä\"}"}"#,
        ),
        (
            r#"{"u":"https://h/?token=hunter2&b=2"}"#,
            r#"{"u":"https://h/?token=***&b=2"}"#,
        ),
    ] {
        assert_eq!(masked(text), expected);
        assert!(serde_json::from_str::<Value>(expected).is_ok());
    }
}

#[test]
fn a_text_without_secrets_is_not_touched() {
    for text in [
        &br#"{"email":"a@b.example","name":"O'Brien: a \"secret\" is told","tokens":7,"note":"the secret: to be"}"#[..],
        br#"["password","hunter2"]"#,
        b"It's 5 o'clock",
        b"a=1&b=2",
        b"<a><b>password</b></a>",
        br#"{"fields":[{"name":"email","value":"a"},{"name":"page_token","value":"b"}],"value":"c"}"#,
        br#"{"next_page_token":"a","token_count":7,"password_changed_at":"2026-01-02"}"#,
        br#"{"u":"https://user@h:8080/a@b?c=d:e@f","t":"12:30:00","m":"mailto:a@b.example"}"#,
        b"a: |\n  b\nc: d",
        b"\xff\xfe\0\xff",
        b"\x01\x02 nothing at all",
        b"",
    ] {
        assert!(matches!(mask(text), Cow::Borrowed(_)), "{:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn secrets_are_masked_in_text_of_any_kind() {
    let twice = json!({"a": json!({"b": json!({"password": SECRET}).to_string()}).to_string()});
    let base64 = BASE64.encode(json!({"password": SECRET}).to_string());
    for text in [
        format!(r#"{{"email":"a","password":"{SECRET}",}}"#),
        format!(r#"{{"email":"a","password":"{SECRET}"#),
        format!(r#"{{"email":"a","password":{SECRET}}}"#),
        format!(r#"{{"password" "{SECRET}"}}"#),
        format!(r#"{{"password":"a"{SECRET}"}}"#),
        format!(r#"{{"password":["a","{SECRET}"#),
        format!("{{'password': '{SECRET}', 'b': 2}}"),
        format!("{{password: '{SECRET}', b: 2}}"),
        format!("{{password: {SECRET}, b: 2}}"),
        format!("{{:password => \"{SECRET}\"}}"),
        format!("password={SECRET}&b=2"),
        format!("b=2&user%5Bpassword%5D={SECRET}"),
        format!("user[password]={SECRET}"),
        format!("email: a\npassword: correct horse {SECRET}\nname: b"),
        format!("password = {SECRET}"),
        format!("Authorization: Bearer {SECRET}\r\nHost: h"),
        format!("<a><password type=\"x\">{SECRET}</password></a>"),
        format!("<s:Password>{SECRET}"),
        format!("<a password=\"{SECRET}\"/>"),
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n{SECRET}\r\n--x--"
        ),
        twice.to_string(),
        format!(r#"{{"data_base64":"{base64}"}}"#),
        format!(r#"[{{"name":"password","value":"{SECRET}"}}]"#),
        format!(r#"{{"Value":"{SECRET}","Key":"API_KEY"}}"#),
        format!(r#"{{"id":"pwd","label":"Your password","value":{{"a":"{SECRET}"}}}}"#),
        format!("<property name=\"password\" value=\"{SECRET}\"/>"),
        format!(
            r#"{{"password"/* of the user */: // here
            "{SECRET}"}}"#
        ),
        format!("a:1:{{s:8:\"password\";s:7:\"{SECRET}\";}}"),
        format!("a: 1\npassword: |\n  {SECRET}\n  {SECRET}\nb: 2"),
        format!("user:\n  password:\n    {SECRET}\n"),
        format!("пароль: {SECRET}\n"),
        format!(r#"{{"u":"https:\/\/user:{SECRET}@h\/x"}}"#),
        format!("see postgres://u:{SECRET}@h/d, and more"),
        format!(r#"{{"text":"Authorization: Bearer {SECRET}"}}"#),
        format!("payload=%7B%22password%22%3A%22{SECRET}%22%7D&b=2"),
        in_layers(12),
    ] {
        let told = masked(&text);
        let inner = BASE64.decode(
            told.trim_start_matches("{\"data_base64\":\"")
                .trim_end_matches("\"}"),
        );
        let inner = inner.unwrap_or_default();
        assert!(
            !told.contains(SECRET) && told.contains(['*', '"']),
            "{text} became {told}"
        );
        assert!(
            !String::from_utf8_lossy(&inner).contains(SECRET),
            "{text} became {told}"
        );
        assert_eq!(masked(&told), told, "masking again changes nothing");
    }
    for encode in [u16::to_le_bytes, u16::to_be_bytes] {
        let text: Vec<u8> = r#"{"password":"hunter2"}"#.encode_utf16().flat_map(encode).collect();
        let told: Vec<u8> = mask(&text)
            .iter()
            .copied()
            .filter(|&byte| byte != 0)
            .collect();
        assert_eq!(String::from_utf8_lossy(&told), r#"{"password":"***"}"#);
    }
}

/// JSON in a text in JSON, as deep as that.
fn in_layers(depth: usize) -> String {
    (0..depth).fold(json!({"password": SECRET}).to_string(), |inner, _| {
        json!({"a": inner}).to_string()
    })
}

#[test]
fn secrets_are_masked_in_what_stands_for_other_bytes() {
    use std::io::{Read as _, Write as _};

    use flate2::Compression;
    use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    let json = json!({"password": SECRET, "b": "kept"}).to_string();
    let expected = json.replace(SECRET, "***");
    macro_rules! packed {
        ($encoder:ident, $decoder:ident) => {{
            let mut packer = $encoder::new(Vec::new(), Compression::fast());
            packer.write_all(json.as_bytes()).unwrap();
            let packed = packer.finish().unwrap();
            let told = mask(&packed).into_owned();
            let mut unpacked = String::new();
            $decoder::new(&told[..])
                .read_to_string(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, expected);
            assert_eq!(mask(&told), told);
            // Cut, its beginning can still be read.
            let told = mask(&packed[..packed.len() - 9]).into_owned();
            let mut unpacked = Vec::new();
            let _ = $decoder::new(&told[..]).read_to_end(&mut unpacked);
            assert!(!String::from_utf8_lossy(&unpacked).contains(SECRET));
            packed
        }};
    }
    let gzip = packed!(GzEncoder, GzDecoder);
    packed!(ZlibEncoder, ZlibDecoder);
    packed!(DeflateEncoder, DeflateDecoder);

    let standard = |text: &[u8]| BASE64.encode(text);
    let url_safe = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let hex = |text: &[u8]| {
        text.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let once = standard(json.as_bytes());
    for text in [
        once.clone(),
        once.trim_end_matches('=').to_owned(),
        json!({"a": url_safe(format!("{json} \u{3fff}").as_bytes())}).to_string(),
        json!({"a": standard(once.as_bytes())}).to_string(),
        json!({"a": standard(&gzip)}).to_string(),
        json!({"a": hex(json.as_bytes())}).to_string(),
        once.as_bytes()
            .chunks(20)
            .map(|line| String::from_utf8_lossy(line) + "\r\n")
            .collect(),
    ] {
        let told = masked(&text);
        assert_ne!(told, text);
        assert_eq!(masked(&told), told);
        assert!(
            holds_mask(told.as_bytes()) && !holds_mask(text.as_bytes()),
            "{text}"
        );
    }
    // Data that cannot be taken apart is masked whole.
    let many_zeros = {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&vec![b' '; 5_000_000]).unwrap();
        packer.finish().unwrap()
    };
    let utf32 = |text: &str| -> Vec<u8> {
        text.chars()
            .flat_map(|letter| u32::from(letter).to_le_bytes())
            .collect()
    };
    for packed in [
        &utf32(&json)[..],
        &utf32(&format!("\u{feff}{json}")),
        &b"\x82\xa5email\xa1a\xa8password\xa7hunter2"[..],
        b"\x0a\x08password\x12\x07hunter2",
        b"\0p\0a\0s\0s\0w\0o\0r\0d\0 hunter2",
        &many_zeros,
    ] {
        assert_eq!(masked(packed), MASK);
    }
    for marked in [&b"\xff\xfe"[..], b"\xfe\xff"] {
        let told = masked([marked, json.as_bytes()].concat());
        assert!(!told.contains(SECRET) && told.contains("kept"), "{told}");
    }
}

#[test]
fn a_mask_in_the_place_of_a_secret_is_found_and_no_other() {
    for text in [
        r#"{"a":[{"password":"***"}]}"#,
        r#"{"a":"{\"password\":\"***\"}"}"#,
        r#"{"u":"https://u:***@h"}"#,
        "password=***",
    ] {
        assert!(holds_mask(text.as_bytes()), "{text}");
    }
    for text in [r#"{"a":"***","token":"x"}"#, r#"{"name":"***"}"#, "***", ""] {
        assert!(!holds_mask(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_stands_beside_a_secret_is_kept() {
    for (text, kept) in [
        ("password=hunter2&b=kept", "b=kept"),
        ("password: hunter2\nname: kept", "name: kept"),
        ("{'password': 'hunter2', 'b': 'kept'}", "'b': 'kept'"),
        (
            "<p><password>hunter2</password><b>kept</b></p>",
            "<b>kept</b>",
        ),
        (
            "--x\r\nform-data; name=\"password\"\r\nA: b\r\n\r\nhunter2\r\n--x\r\nname=\"b\"\r\n\r\nkept",
            "kept",
        ),
    ] {
        let told = masked(text);
        assert!(told.contains(kept) && !told.contains(SECRET), "{told}");
    }
}

/// JSON with marked secrets at any depth.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~äß€]{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof!["[a-z]{1,6}", "[ -~]{0,8}", Just("n\u{e4}me\"\\".to_owned())];
    let secret = prop::sample::select(vec!["password", "API-key", "my_token", "clientSecret"]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner.clone(), 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            secret
                .clone()
                .prop_map(|name| json!({ name: "hunter2\"\\}" })),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

#[test]
fn masking_takes_time_in_proportion_to_the_text() {
    // Each of these would take hours if each place looked through all of the rest.
    for part in [
        " '",
        " \"",
        "form-data; name=\"password\" ",
        "<a ",
        "{\"password\":",
        "'a",
        "\"\\",
        "password \n",
        "a=",
        "a=%",
        "://",
        "\"a\"/*",
        "\"a\"//",
        "\"name\":\"",
        "name='password' value=",
        "password:\n ",
    ] {
        let text = part.repeat(300_000 / part.len());
        let _ = mask(text.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_of_a_document_is_left_and_it_stays_json(document in document()) {
        let text = document.to_string();
        let told = masked(&text);
        prop_assert!(!told.contains(SECRET), "{} became {}", text, told);
        prop_assert!(serde_json::from_str::<Value>(&told).is_ok(), "{} became {}", text, told);
        // Cut anywhere, still nothing is left.
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            prop_assert!(!masked(&text[..end]).contains("hunter"), "{}", &text[..end]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = mask(&text);
    }

    #[test]
    fn no_text_makes_it_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "\"", "'", "\\", "{", "}", "[", "]", ":", "=", "=>", "password", "token", "name", "<", ">", "/", "</", "\n",
        "\r\n\r\n", "--", "value", "://", "@", "/*", "*/", "|", "s:8:", ";", " ", "&", "%70", "ä", ",", "null",
    ]), 0..40)) {
        let text = parts.concat();
        let once = masked(&text);
        prop_assert_eq!(masked(&once), once, "{}", text);
    }
}
