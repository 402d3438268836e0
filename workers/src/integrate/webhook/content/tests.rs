use common::config::TemplateFile;
use common::event::EventId;

use super::*;
use crate::testbed::{self, signup};

/// The content of a webhook with these keys, whose template has this text.
fn content(keys: &str, source: &str) -> Result<Content, String> {
    let mut webhook = testbed::webhook_with("https://crm.example/hook", keys);
    if let WebhookBody::Template(TemplateFile { source: text, .. }) = &mut webhook.body {
        source.clone_into(text);
    }
    Content::new(&webhook, None)
}

fn template(content_type: &str, source: &str) -> Content {
    let keys = format!("body = {{ template = \"slack.json\" }}\ncontent_type = \"{content_type}\"");
    content(&keys, source).unwrap()
}

/// An event with these members.
fn received(members: &str) -> Received {
    let mut received = signup(EventId::born(), "ada@example.com");
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/shop\",\"type\":\"a.b\"{members}}}"
    );
    received.message.body = event.into();
    received
}

/// Body and media type for an event with these members.
fn sent(content: &Content, members: &str) -> (String, String) {
    let payload = content.payload(&received(members)).unwrap();
    let media_type = payload.media_type.as_ref();
    let media_type = media_type.and_then(|it| it.to_str().ok()).unwrap_or("none");
    (
        String::from_utf8_lossy(&payload.body).into_owned(),
        media_type.to_owned(),
    )
}

fn failure(content: &Content, members: &str) -> Failure {
    content.payload(&received(members)).map(|_| ()).unwrap_err()
}

#[test]
fn an_event_goes_out_as_it_is() {
    let event = content("", "").unwrap();
    let received = received(",\"data\":{\"total\":1234567890123456.78 , \"a\":1.0}");
    let payload = event.payload(&received).unwrap();
    assert_eq!(payload.body, received.message.body);
    assert_eq!(payload.media_type.unwrap(), CLOUDEVENTS_JSON);
    let other = content("content_type = \"application/json\"", "").unwrap();
    assert_eq!(sent(&other, "").1, "application/json");
}

#[test]
fn data_of_each_kind_goes_out_as_its_bytes_with_its_own_media_type() {
    let data = content("body = \"data\"", "").unwrap();
    for (members, body, media_type) in [
        (
            ",\"data\": {\"a\" : 1.50}",
            "{\"a\" : 1.50}",
            "application/json",
        ),
        (",\"data\":\"a\"", "\"a\"", "application/json"),
        (",\"data\":null", "null", "application/json"),
        (
            ",\"datacontenttype\":\"application/vnd.a+json\",\"data\":[1e3]",
            "[1e3]",
            "application/vnd.a+json",
        ),
        (
            ",\"datacontenttype\":\"text/plain; charset=utf-8\",\"data\":\"Zo\\u00eb\\n\"",
            "Zoë\n",
            "text/plain; charset=utf-8",
        ),
        (
            ",\"datacontenttype\":\"text/xml\",\"data\":{\"a\":1}",
            "{\"a\":1}",
            "text/xml",
        ),
        (
            ",\"datacontenttype\":\"image/png\",\"data_base64\":\"aGk=\"",
            "hi",
            "image/png",
        ),
        (
            ",\"data_base64\":\"aGk=\"",
            "hi",
            "application/octet-stream",
        ),
        ("", "", "none"),
        (",\"datacontenttype\":\"text/plain\"", "", "text/plain"),
    ] {
        let expected = (body.to_owned(), media_type.to_owned());
        assert_eq!(sent(&data, members), expected, "{members}");
    }
    let fixed = content("body = \"data\"\ncontent_type = \"text/csv\"", "").unwrap();
    for members in [
        "",
        ",\"data\":1",
        ",\"datacontenttype\":\"text/plain\",\"data\":\"a\"",
    ] {
        assert_eq!(sent(&fixed, members).1, "text/csv");
    }
    let wrong = failure(&data, ",\"data_base64\":\"?\"");
    assert_eq!(wrong.code, ReasonCode::Undecodable);
}

#[test]
fn a_template_of_json_escapes_and_keeps_numbers() {
    let json = template(
        "application/json",
        "{\"text\": {{ data.name }}, \"n\": {{ data.n }}, \"of\": {{ type }}}",
    );
    let members = ",\"data\":{\"name\":\"\\\"},{\\\\ \\n\",\"n\":1234567890123456.78}";
    let (body, media_type) = sent(&json, members);
    assert_eq!(media_type, "application/json");
    assert_eq!(
        body,
        "{\"text\": \"\\\"},{\\\\ \\n\", \"n\": 1234567890123456.78, \"of\": \"a.b\"}"
    );
    assert!(
        sent(&json, ",\"data\":{\"name\":\"a\",\"n\":1.0}")
            .0
            .contains("\"n\": 1.0,")
    );
}

#[test]
fn markup_is_escaped_and_other_texts_are_not() {
    let members = ",\"subject\":\"<b>&\"";
    for (media_type, expected) in [
        ("text/html; charset=utf-8", "&lt;b&gt;&amp;"),
        ("application/xml", "&lt;b&gt;&amp;"),
        ("text/xml", "&lt;b&gt;&amp;"),
        ("application/soap+xml", "&lt;b&gt;&amp;"),
        ("text/plain", "<b>&"),
        ("application/json", "\"\\u003cb\\u003e\\u0026\""),
        ("application/vnd.a+json", "\"\\u003cb\\u003e\\u0026\""),
    ] {
        let content = template(media_type, "{{ subject }}");
        let expected = (expected.to_owned(), media_type.to_owned());
        assert_eq!(sent(&content, members), expected);
    }
    let unset = content("body = { template = \"slack.json\" }", "{{ subject }}").unwrap();
    assert_eq!(sent(&unset, members).1, "application/json");
}

#[test]
fn a_template_that_gives_no_body_is_a_failure_that_repeats_nothing() {
    let members = ",\"data\":{\"name\":\"hunter2\",\"list\":[1,2]}";
    for (source, words) in [
        ("{{ data.email }}", "line 1: expected a member"),
        ("\n{{ data.name + 1 }}", "line 2: "),
        (
            "{\"text\": {{ data.name }}",
            "expected JSON, found another text at line 1",
        ),
        (
            "{\"text\": \"{{ data.name|safe }}\"\n,}",
            "expected JSON, found another text at line 2",
        ),
        ("", "expected JSON"),
        (
            "{% for a in range(100000) %}{% for b in range(100000) %}.{% endfor %}{% endfor %}",
            "steps",
        ),
        (
            "{% for a in range(2000) %}{{ 'x' * 1000 }}{% endfor %}",
            "bytes",
        ),
    ] {
        let failure = failure(&template("application/json", source), members);
        assert_eq!(failure.code, ReasonCode::TemplateFailed, "{source}");
        assert!(failure.error.contains(words), "{source}: {}", failure.error);
        assert!(failure.error.contains("slack.json"), "{}", failure.error);
        assert!(!failure.error.contains("hunter2"), "{}", failure.error);
    }
}

#[test]
fn a_template_that_does_not_follow_the_language_is_an_error_at_start() {
    for source in ["{{ data.name", "{% if %}", "{% for %}{% endfor %}"] {
        let error = content("body = { template = \"slack.json\" }", source)
            .err()
            .unwrap();
        assert!(
            error.starts_with("template slack.json, line 1: syntax error"),
            "{error}"
        );
    }
    let long = content(
        "body = { template = \"slack.json\" }",
        &"x".repeat(1_000_000),
    );
    assert!(long.err().unwrap().contains("expected up to 262144 bytes"));
}
