use proptest::prelude::*;
use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::integrate::template::event;

/// A folder with the files of a template called `welcome`.
fn files(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (ending, text) in files {
        std::fs::write(folder.path().join(format!("welcome.{ending}")), text).unwrap();
    }
    folder
}

const FILES: [(&str, &str); 3] = [
    ("subject", "Welcome {{ data.name }}\n"),
    ("txt", "Hello {{ data.name }}!\n"),
    ("html", "<p>Hello {{ data.name }}!</p>\n"),
];

fn read_with(folder: &Path, more: &str) -> Result<Stationery, String> {
    let text = format!(
        "url = \"smtps://h\"\nfrom = \"Shop <hello@example.com>\"\ntemplate = {:?}\n{more}",
        folder.join("welcome")
    );
    let smtp: Smtp = toml::from_str(&text).unwrap();
    Stationery::read("mail", &smtp, false)
}

fn stationery(more: &str) -> Stationery {
    read_with(files(&FILES).path(), more).unwrap()
}

fn compose(stationery: &Stationery, data: serde_json::Value) -> Result<Letter, Failure> {
    let occasion = Occasion {
        id: "an-id",
        event: EventId::born(),
        at: datetime!(2026-01-02 03:04:05 UTC),
    };
    let event = json!({"type": "signup.requested", "data": data}).to_string();
    let values = event::values(event.as_bytes(), None, None).unwrap();
    stationery.compose(occasion, &values)
}

fn letter(stationery: &Stationery, data: serde_json::Value) -> (Letter, String) {
    let letter = compose(stationery, data).unwrap();
    let content = String::from_utf8(letter.content.clone()).unwrap();
    (letter, content)
}

/// The lines of the head, folded ones joined.
fn head(content: &str) -> Vec<String> {
    let (head, _) = content.split_once("\r\n\r\n").unwrap();
    head.replace("\r\n ", " ")
        .split("\r\n")
        .map(str::to_owned)
        .collect()
}

const HEADERS: [&str; 8] = [
    "Message-ID",
    "Date",
    "From",
    "Subject",
    "Auto-Submitted",
    "Longshore-Event-Id",
    "To",
    "MIME-Version",
];

/// The names of the headers, the one of the content's type left out.
fn names(content: &str) -> Vec<String> {
    let names = head(content).into_iter().map(|line| {
        let (name, _) = line.split_once(": ").unwrap();
        name.to_owned()
    });
    names.filter(|name| !name.starts_with("Content-")).collect()
}

#[test]
fn a_mail_says_what_it_is() {
    let (letter, content) = letter(
        &stationery("reply_to = \"Help <help@example.com>\""),
        json!({"email": "Ada@example.com", "name": "Ada"}),
    );
    assert_eq!(letter.from, "hello@example.com");
    assert_eq!(letter.to, "Ada@example.com");
    assert!(!letter.is_international);
    let head = head(&content);
    for line in [
        "Message-ID: <an-id.mail@example.com>",
        "Date: Fri, 02 Jan 2026 03:04:05 +0000",
        "From: Shop <hello@example.com>",
        "To: Ada@example.com",
        "Subject: Welcome Ada",
        "Auto-Submitted: auto-generated",
        "Reply-To: Help <help@example.com>",
    ] {
        assert!(head.iter().any(|found| found == line), "{line}: {head:#?}");
    }
    assert!(content.contains("multipart/alternative"));
    assert!(content.contains("Hello Ada!\r\n"));
    assert!(content.contains("<p>Hello Ada!</p>"));
}

#[test]
fn one_text_is_enough() {
    for (ending, kind) in [("txt", "text/plain"), ("html", "text/html")] {
        let folder = files(&[("subject", "Hi"), (ending, "Hello")]);
        let stationery = read_with(folder.path(), "").unwrap();
        let (_, content) = letter(&stationery, json!({"email": "a@example.com"}));
        assert!(
            content.contains(&format!("Content-Type: {kind}; charset=utf-8")),
            "{content}"
        );
        assert!(!content.contains("multipart"), "{content}");
    }
}

#[test]
fn html_is_escaped_and_text_is_not() {
    let data = json!({"email": "a@example.com", "name": "<b>&x"});
    let (_, content) = letter(&stationery(""), data);
    assert!(content.contains("Hello <b>&x!"), "{content}");
    assert!(
        content.contains("<p>Hello &lt;b&gt;&amp;x!</p>"),
        "{content}"
    );
}

#[test]
fn a_template_that_cannot_be_used_is_an_error_with_its_place() {
    for (written, words) in [
        (&[("txt", "a")][..], "welcome.subject, found no such file"),
        (
            &[("subject", "a")],
            "welcome.txt or .html, found no such file",
        ),
        (
            &[("subject", "a"), ("html", "a\n{{ data.name")],
            "welcome.html, line 2: syntax error",
        ),
        (
            &[("subject", "a"), ("txt", "a\n\n{% if data.plan %}b")],
            "welcome.txt, line 3: syntax error",
        ),
    ] {
        let error = read_with(files(written).path(), "").err().unwrap();
        assert!(error.contains(words), "{words}: {error}");
    }
    let error = read_with(files(&FILES).path(), "to = \"{{ data.email\"")
        .err()
        .unwrap();
    assert!(error.contains("template smtp.to, line 1"), "{error}");
    let folder = files(&FILES);
    std::fs::write(
        folder.path().join("welcome.txt"),
        "x".repeat(MAX_SOURCE + 1),
    )
    .unwrap();
    let error = read_with(folder.path(), "").err().unwrap();
    assert!(error.contains("expected up to"), "{error}");
}

#[test]
fn an_event_that_cannot_fill_a_template_is_told_without_its_values() {
    let told = |more: &str, data: serde_json::Value| {
        let failure = compose(&stationery(more), data).unwrap_err();
        assert!(!failure.error.contains("hunter2"), "{failure:?}");
        (failure.code, failure.error)
    };
    let (code, error) = told("", json!({"email": "hunter2@example.com"}));
    assert_eq!(code, ReasonCode::TemplateFailed);
    assert!(error.contains("welcome.subject, line 1"), "{error}");
    let (code, error) = told("", json!({"name": "hunter2"}));
    assert_eq!(code, ReasonCode::TemplateFailed);
    assert!(error.contains("data.email"), "{error}");
    let (code, error) = told(
        "",
        json!({"email": "a@example.com", "name": "x".repeat(1000)}),
    );
    assert_eq!(code, ReasonCode::TemplateFailed);
    assert!(error.contains("a subject of up to"), "{error}");
    for unsubscribe in [
        "hunter2",
        "http://h/hunter2",
        "https://",
        "javascript:hunter2",
        "https://h/a,b",
    ] {
        let more = format!("list_unsubscribe = {unsubscribe:?}");
        let (code, error) = told(&more, json!({"email": "a@example.com", "name": "a"}));
        assert_eq!(code, ReasonCode::TemplateFailed);
        assert!(error.contains("list_unsubscribe"), "{error}");
    }
}

#[test]
fn a_mail_goes_to_one_recipient_with_an_address() {
    let welcome = stationery("");
    let elsewhere = stationery("to = \" {{ data.contact.email }} \"");
    for address in [
        "",
        "ada",
        "ada@",
        "a@example.com, b@example.com",
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com>\r\nRCPT TO:<b@example.com",
        "\"a> \"@example.com",
        "Ada <ada@example.com>",
        "ada@exa mple.com",
    ] {
        for (stationery, data) in [
            (&welcome, json!({"email": address, "name": "Ada"})),
            (
                &elsewhere,
                json!({"contact": {"email": address}, "name": "Ada"}),
            ),
        ] {
            let failure = compose(stationery, data).unwrap_err();
            assert_eq!(failure.code, ReasonCode::ReceiverRefused, "{address:?}");
            assert!(failure.error.contains("nothing was sent"), "{failure:?}");
        }
    }
    let data = json!({"contact": {"email": "ada@example.com"}, "name": "Ada"});
    assert_eq!(letter(&elsewhere, data).0.to, "ada@example.com");
}

#[test]
fn addresses_of_other_scripts_need_a_server_that_takes_them() {
    for (address, to, is_international) in [
        ("ada@Bücher.example", "ada@xn--bcher-kva.example", false),
        ("ädä@bücher.example", "ädä@xn--bcher-kva.example", true),
        ("用户@example.com", "用户@example.com", true),
    ] {
        let (letter, content) = letter(&stationery(""), json!({"email": address, "name": "A"}));
        assert_eq!(letter.to, to);
        assert_eq!(letter.is_international, is_international);
        assert!(content.contains(&format!("To: {to}\r\n")), "{content}");
    }
}

#[test]
fn a_subscription_can_be_ended_where_the_operator_says() {
    let data = json!({"email": "a@example.com", "name": "A", "list": "news"});
    let web = stationery("list_unsubscribe = \"https://example.com/end?list={{ data.list }}\"");
    let head_of = |stationery: &Stationery| head(&letter(stationery, data.clone()).1);
    let lines = head_of(&web);
    let is_there = |line: &str| lines.iter().any(|found| found == line);
    assert!(
        is_there("List-Unsubscribe: <https://example.com/end?list=news>"),
        "{lines:#?}"
    );
    assert!(is_there(
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
    ));
    let mail = head_of(&stationery("list_unsubscribe = \"mailto:end@example.com\""));
    assert!(mail.contains(&"List-Unsubscribe: <mailto:end@example.com>".to_owned()));
    assert!(
        !mail
            .iter()
            .any(|line| line.starts_with("List-Unsubscribe-Post"))
    );
}

#[test]
fn hostile_values_make_no_header() {
    let stationery = stationery("");
    for name in [
        "Ada\r\nBcc: victim@example.com",
        "Ada\nBcc: victim@example.com\n\nbody",
        "Ada\rBcc: victim@example.com",
        "\u{2028}Bcc: victim@example.com",
        "=?utf-8?Q?=0D=0ABcc:_victim@example.com?=",
        "\r\n\r\n.\r\nMAIL FROM:<x@example.com>\r\n",
        "Ä\r\n Bcc: victim@example.com",
    ] {
        let (_, content) = letter(&stationery, json!({"email": "a@example.com", "name": name}));
        assert_eq!(names(&content), HEADERS, "{name:?}: {content}");
    }
}

proptest! {
    #[test]
    fn no_value_makes_another_header(
        name in "[\\PC\r\n\t\u{0}-\u{1f}\u{85}\u{2028}:=?]{0,80}",
        local in "[\\PC\r\n<>@,]{0,12}",
    ) {
        let stationery = stationery("");
        let email = format!("{local}@example.com");
        if let Ok(letter) = compose(&stationery, json!({"email": email, "name": name})) {
            let content = String::from_utf8(letter.content).unwrap();
            prop_assert_eq!(names(&content), HEADERS, "{}", content);
            let is_short = |line: &str| line.len() <= 998 && !line.contains(['\r', '\n']);
            prop_assert!(content.split("\r\n").all(is_short), "{}", content);
            prop_assert!(!letter.to.contains(['\r', '\n', '<', '>']));
        }
    }
}
