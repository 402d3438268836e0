use crate::config::{Config, ConfigError, load_from};

/// A configuration with this value of `source`, and a type for it.
fn with(source: &str) -> Result<Config, ConfigError> {
    let variables = [
        (
            "LONGSHORE__TYPE",
            r#"[{ name = "stripe.invoice.paid", schema = true }]"#,
        ),
        ("LONGSHORE__SOURCE", source),
    ];
    load_from(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn refused(source: &str) -> String {
    let error = with(source).map(|_| ()).expect_err(source).to_string();
    let says_how = ["expected", "missing field"]
        .iter()
        .any(|it| error.contains(it));
    assert!(says_how, "{error}");
    assert!(!error.contains("hunter"), "{error}");
    error
}

#[test]
fn a_source_as_the_contract_writes_it() {
    for secret in [
        "\"whsec_hunter2hunter2\"",
        "[\"whsec_hunter2hunter2\", \"whsec_other_hunter2\"]",
    ] {
        let source = format!(
            r#"[{{ name = "stripe", scheme = "stripe", secret = {secret}, type = "stripe.{{type}}", tolerance = "10min" }}]"#
        );
        let config = with(&source).unwrap_or_else(|error| panic!("{error}"));
        let stripe = config
            .source("stripe")
            .unwrap_or_else(|| panic!("no source"));
        assert_eq!(stripe.template.fill("invoice.paid"), "stripe.invoice.paid");
        assert_eq!(stripe.verifier.tolerance().as_secs(), 600);
        assert_eq!(stripe.verifier.header(), "stripe-signature");
        assert!(stripe.takes("stripe.invoice.paid"));
        assert!(config.source("other").is_none());
        assert!(
            !format!("{config:?}").contains("hunter2"),
            "secrets never show"
        );
    }
}

#[test]
fn a_scheme_may_be_spelled_out() {
    let source = r#"[{ name = "own", secret = "hunter2hunter2", type = "stripe.{type}", scheme = {
        header = "x-signature", separator = ",", prefix = "v1=", encoding = "hex", digest = "sha512", key = "text",
        signed = "{timestamp}.{body}", timestamp = "signature:t=", id = ["body:/id", "digest"],
        type = ["header:x-event", "body:/type"], time = ["body:/at"],
        handshake = [{ at = "body:/type", is = "hello", answer = "body:/word" }] } }]"#;
    let config = with(source).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.sources[0].verifier.header(), "x-signature");
}

#[test]
fn a_source_that_could_be_anybody_is_refused() {
    let base = r#"{ name = "a", scheme = "stripe", type = "stripe.{type}" "#;
    for (secret, words) in [
        ("", "source.a.secret"),
        (", secret = []", "source.a.secret"),
        (", secret = \"\"", "at least 8 bytes, found one of 0"),
        (", secret = \"hunter2\"", "at least 8 bytes, found one of 7"),
        (
            ", secret = [\"long enough\", \"hunter2\"]",
            "at least 8 bytes",
        ),
        (", secret = 12345678", "a secret"),
        (
            ", secret = { env = \"LONGSHORE_NO_SUCH\" }",
            "LONGSHORE_NO_SUCH",
        ),
    ] {
        let error = refused(&format!("[{base}{secret} }}]"));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn mistakes_name_the_key_and_the_expected_value() {
    let secret = "secret = \"hunter2hunter2\"";
    for (source, words) in [
        (
            format!(r#"name = "A", scheme = "stripe", {secret}, type = "a""#),
            "name: expected up to 40",
        ),
        (
            format!(r#"name = "a", scheme = "hunter", {secret}, type = "a""#),
            "\"slack\", \"standard\"",
        ),
        (
            format!(r#"name = "a", scheme = 1, {secret}, type = "a""#),
            "a section",
        ),
        (
            format!(r#"name = "a", scheme = "stripe", {secret}, type = "hunter 2""#),
            "{type} once",
        ),
        (
            format!(r#"name = "a", scheme = "stripe", {secret}"#),
            "type",
        ),
        (
            format!(r#"name = "a", scheme = "stripe", {secret}, type = "x.{{type}}""#),
            "source.a.type",
        ),
        (
            format!(
                r#"name = "a", scheme = "stripe", {secret}, type = "{{type}}", types = ["y.#"]"#
            ),
            "source.a.type",
        ),
        (
            format!(
                r#"name = "a", scheme = "stripe", {secret}, type = "stripe.{{type}}", types = []"#
            ),
            "types: expected topic patterns",
        ),
        (
            format!(
                r#"name = "a", scheme = "stripe", {secret}, type = "stripe.{{type}}", type_s = 1"#
            ),
            "type_s",
        ),
        (
            format!(r#"name = "a", scheme = "standard", {secret}, type = "stripe.{{type}}""#),
            "secret: expected a signing secret",
        ),
        (
            format!(
                r#"name = "a", scheme = "github", {secret}, type = "stripe.{{type}}", tolerance = "1min""#
            ),
            "tolerance: expected none",
        ),
        (
            format!(
                r#"name = "a", {secret}, type = "stripe.{{type}}", scheme = {{ header = "x", encoding = "hex",
                signed = "{{timestamp}}", id = ["digest"], type = ["body:/t"] }}"#
            ),
            "{body} once",
        ),
        (
            format!(
                r#"name = "a", {secret}, type = "stripe.{{type}}", scheme = {{ header = "x", encoding = "hex",
                signed = "{{body}}", id = ["hunter"], type = ["body:/t"] }}"#
            ),
            "header:name",
        ),
        (
            format!(
                r#"name = "a", {secret}, type = "stripe.{{type}}", scheme = {{ header = "X", encoding = "hex",
                signed = "{{body}}", id = ["digest"], type = ["body:/t"] }}"#
            ),
            "scheme: header: expected",
        ),
    ] {
        let error = refused(&format!("[{{ {source} }}]"));
        assert!(error.contains(words), "{words} in {error}");
    }
    let one = format!(r#"{{ name = "a", scheme = "stripe", {secret}, type = "stripe.{{type}}" }}"#);
    let error = refused(&format!("[{one}, {one}]"));
    assert!(
        error.contains("source.name") && error.contains("twice"),
        "{error}"
    );
}
