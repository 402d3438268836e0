use crate::config::{Config, Transport, load_from};

use super::*;

const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";

/// The configuration of one destination, whose `webhook` has these keys beside `url`.
fn load(url: &str, keys: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("longshore.toml");
    let text = format!(
        "[[destination]]\nname = \"crm\"\n[destination.webhook]\nurl = \"{url}\"\n{keys}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.path().join("slack.json"), "\u{feff}{\"text\": 1}").unwrap();
    let variable = (
        "LONGSHORE_CONFIG".to_owned(),
        path.to_str().unwrap().to_owned(),
    );
    load_from([variable]).map_err(|error| error.to_string())
}

fn webhook(keys: &str) -> Webhook {
    let config =
        load("https://crm.example/hook", keys).unwrap_or_else(|error| panic!("{keys}: {error}"));
    let Transport::Webhook(webhook) = config.destinations[0].transport.clone() else {
        panic!("expected a webhook")
    };
    *webhook
}

fn error(keys: &str) -> String {
    let error = load("https://crm.example/hook", keys).err();
    error.unwrap_or_else(|| panic!("expected an error, found none: {keys}"))
}

#[test]
fn nothing_but_a_url_posts_the_event_unsigned() {
    let plain = webhook("");
    assert!(plain.secrets.is_empty() && plain.headers.is_empty() && plain.auth.is_none());
    assert_eq!(plain.method, WebhookMethod::Post);
    assert_eq!(plain.body, WebhookBody::Event);
    assert_eq!((plain.content_type, plain.tls), (None, LinkTls::default()));
}

#[test]
fn a_secret_is_one_or_a_list_of_at_most_eight() {
    let exposed = |keys: &str| {
        let secrets = webhook(keys).secrets;
        secrets
            .iter()
            .map(|it| it.expose().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(exposed(&format!("secret = \"{SHARED}\"")), [SHARED]);
    let both = format!("secret = [\"{PRIVATE}\", \"{SHARED}\"]");
    assert_eq!(exposed(&both), [PRIVATE, SHARED]);
    assert!(exposed("secret = []").is_empty());
    let nine = error(&format!("secret = {:?}", [SHARED; 9]));
    assert!(nine.contains("up to 8 signing secrets, found 9"), "{nine}");
    let one_is_wrong = error(&format!("secret = [\"{SHARED}\", \"whsk_hunter2\"]"));
    assert!(one_is_wrong.contains("webhook.secret"), "{one_is_wrong}");
    assert!(!one_is_wrong.contains("hunter2"), "{one_is_wrong}");
}

#[test]
fn a_method_takes_a_body() {
    for (text, method) in [
        ("POST", WebhookMethod::Post),
        ("PUT", WebhookMethod::Put),
        ("PATCH", WebhookMethod::Patch),
    ] {
        let found = webhook(&format!("method = \"{text}\"")).method;
        assert_eq!((found, found.as_str()), (method, text));
    }
    for wrong in ["GET", "post", "POST / HTTP/1.1"] {
        let error = error(&format!("method = \"{wrong}\""));
        assert!(error.contains("`POST`, `PUT`, `PATCH`"), "{error}");
    }
}

#[test]
fn a_body_is_the_event_its_data_or_a_template_in_a_file() {
    assert_eq!(webhook("body = \"event\"").body, WebhookBody::Event);
    assert_eq!(webhook("body = \"data\"").body, WebhookBody::Data);
    let body = webhook("body = { template = \"slack.json\" }").body;
    // Beside the configuration file, and without the mark of some editors.
    assert!(
        matches!(&body, WebhookBody::Template(file) if file.source == "{\"text\": 1}"),
        "{body:?}"
    );
    let missing = error("body = { template = \"nobody.json\" }");
    for word in [
        "\"crm\"",
        "webhook.body.template",
        "nobody.json",
        "expected a file",
    ] {
        assert!(missing.contains(word), "{word}: {missing}");
    }
    for wrong in ["\"nothing\"", "{ file = \"slack.json\" }", "{}", "7"] {
        let error = error(&format!("body = {wrong}"));
        assert!(error.contains("expected"), "{error}");
    }
}

#[test]
fn a_media_type_is_one() {
    let json = webhook("content_type = \"application/json; charset=utf-8\"");
    assert_eq!(
        json.content_type.as_deref(),
        Some("application/json; charset=utf-8")
    );
    for wrong in ["json", "", "a/b\\r\\nx: y", "a/b; c=\\u00e9"] {
        let error = error(&format!("content_type = \"{wrong}\""));
        assert!(
            error.contains("webhook.content_type") && error.contains("expected a media type"),
            "{error}"
        );
    }
}

#[test]
fn headers_that_are_set_already_or_frame_a_request_are_refused() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "keep-alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Connection",
        "User-Agent",
        "Accept",
        "Webhook-Id",
        "webhook-signature",
        "webhook-anything",
        "Longshore-Event-Id",
        "traceparent",
        "Tracestate",
    ] {
        let error = error(&format!("headers = {{ \"{name}\" = \"hunter2\" }}"));
        assert!(error.contains("webhook.headers"), "{name}: {error}");
        assert!(error.contains(&format!("found {name}, which")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for (name, key) in [
        ("Authorization", "webhook.auth"),
        ("Content-Type", "webhook.content_type"),
    ] {
        let error = error(&format!("headers = {{ \"{name}\" = \"hunter2\" }}"));
        assert!(
            error.contains(&format!("in `{key}`")) && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn a_header_injects_nothing() {
    for value in [
        "hunter2\\r\\nx: y",
        "hunter2\\n",
        "\\rhunter2",
        "hunter2\\u0000",
        "hunter2\\u007f",
        "hunter2\\u00e9",
        " hunter2",
    ] {
        let error = error(&format!("headers = {{ X-Key = \"{value}\" }}"));
        assert!(
            error.contains("webhook.headers") && error.contains("X-Key"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    for name in [
        "",
        "X Key",
        "X-Key:",
        "x\\r\\ny",
        "x\\u0000",
        "Schl\\u00fcssel",
    ] {
        let error = error(&format!("headers = {{ \"{name}\" = \"hunter2\" }}"));
        assert!(error.contains("expected the name of a header"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let twice = error("headers = { X-Key = \"a\", x-key = \"b\" }");
    assert!(twice.contains("\"x-key\" twice"), "{twice}");
    let many: Vec<String> = (0..33).map(|number| format!("x{number} = \"a\"")).collect();
    let many = error(&format!("headers = {{ {} }}", many.join(", ")));
    assert!(many.contains("up to 32 headers, found 33"), "{many}");
    let long = error(&format!("headers = {{ x = \"{}\" }}", "a".repeat(9000)));
    assert!(long.contains("up to 8192 bytes"), "{long}");
}

#[test]
fn the_values_of_headers_and_of_authentication_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "hunter2-of-file\n").unwrap();
    let headers = format!(
        "headers = {{ X-Key = \"hunter2\", X-File = {{ file = {:?} }} }}",
        file.to_str().unwrap()
    );
    let webhook_of_headers = webhook(&headers);
    assert_eq!(
        webhook_of_headers.headers["X-File"].expose(),
        "hunter2-of-file"
    );
    let shown = format!("{webhook_of_headers:?}");
    assert!(
        shown.contains("X-Key") && !shown.contains("hunter2"),
        "{shown}"
    );
    for auth in [
        "{ basic = { user = \"ada\", password = \"hunter2\" } }",
        "{ bearer = \"hunter2\" }",
        "{ oauth2 = { token_url = \"https://id.example/t?key=hunter2\", client_id = \"a\", client_secret = \"hunter2\" } }",
    ] {
        let shown = format!("{:?}", webhook(&format!("auth = {auth}")));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn authentication_is_one_of_three() {
    let auth = webhook("auth = { basic = { user = \"ada\", password = \"p:w\" } }").auth;
    assert!(matches!(auth, Some(Authentication::Basic(login)) if login.password.expose() == "p:w"));
    let auth = webhook("auth = { bearer = \"abc.def\" }").auth;
    assert!(matches!(auth, Some(Authentication::Bearer(token)) if token.expose() == "abc.def"));
    let client =
        "token_url = \"https://id.example/token\", client_id = \"a\", client_secret = \"b\"";
    let auth = webhook(&format!(
        "auth = {{ oauth2 = {{ {client}, scopes = [\"events:write\"], audience = \"crm\" }} }}"
    ));
    let Some(Authentication::OAuth2(client)) = auth.auth else {
        panic!("expected client credentials");
    };
    assert_eq!(
        (client.scopes, client.audience),
        (vec!["events:write".to_owned()], Some("crm".to_owned()))
    );
    for (wrong, words) in [
        ("{}", "expected"),
        ("{ digest = \"hunter2\" }", "expected"),
        (
            "{ bearer = \"hunter2\", basic = { user = \"a\", password = \"b\" } }",
            "expected",
        ),
        ("{ bearer = \"\" }", "webhook.auth.bearer"),
        ("{ bearer = \"hunter2\\r\\nx: y\" }", "webhook.auth.bearer"),
        ("{ bearer = \"hunter2 hunter2\" }", "webhook.auth.bearer"),
        (
            "{ basic = { user = \"a:b\", password = \"hunter2\" } }",
            "without a colon",
        ),
        ("{ basic = { user = \"a\" } }", "password"),
        (
            "{ oauth2 = { token_url = \"hunter2\", client_id = \"a\", client_secret = \"b\" } }",
            "expected a URL",
        ),
        (
            "{ oauth2 = { token_url = \"ftp://h\", client_id = \"a\", client_secret = \"b\" } }",
            "webhook.auth.oauth2.token_url",
        ),
        (
            "{ oauth2 = { token_url = \"https://u:hunter2@h\", client_id = \"a\", client_secret = \"b\" } }",
            "webhook.auth.oauth2.token_url",
        ),
        (
            "{ oauth2 = { token_url = \"https://h\", client_id = \"\", client_secret = \"b\" } }",
            "webhook.auth.oauth2.client_id",
        ),
        (
            "{ oauth2 = { token_url = \"https://h\", client_id = \"a\", client_secret = \"b\", scopes = [\"a b\"] } }",
            "webhook.auth.oauth2.scopes",
        ),
    ] {
        let error = error(&format!("auth = {wrong}"));
        assert!(error.contains(words), "{wrong}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_login_stands_in_the_url_or_in_the_keys_and_not_in_both() {
    let auth = "auth = { bearer = \"abc\" }";
    for url in [
        "https://ada@crm.example/hook",
        "https://ada:hunter2@crm.example/hook",
    ] {
        let error = load(url, auth).err().unwrap_or_default();
        assert!(
            error.contains("webhook.auth") && error.contains("found both"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
        assert!(load(url, "").is_ok());
    }
}

#[test]
fn certificates_need_an_address_that_is_encrypted() {
    let tls = webhook("tls = { ca = \"ca.pem\", certificate = \"c.pem\", key = \"k.pem\" }").tls;
    assert!(tls.identity().is_some());
    let plain = load("http://127.0.0.1/hook", "tls = { ca = \"ca.pem\" }");
    let plain = plain.err().unwrap_or_default();
    assert!(
        plain.contains("webhook.url") && plain.contains("https://"),
        "{plain}"
    );
    for (given, missing) in [("certificate", "key"), ("key", "certificate")] {
        let error = error(&format!("tls = {{ {given} = \"a.pem\" }}"));
        assert!(error.contains(&format!("webhook.tls.{missing}")), "{error}");
        assert!(error.contains("go together"), "{error}");
    }
}
