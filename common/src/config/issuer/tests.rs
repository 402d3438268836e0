use serde_json::json;

use crate::config::{ClaimPath, Config, ConfigError, load_from};

const KEYCLOAK: &str =
    r#"name = "keycloak", issuer = "https://id.example.com/realms/shop", audience = "longshore""#;
const JWKS: &str = r#"jwks = "https://id.example.com/realms/shop/certs""#;
const SCOPE: &str = r#"scope_claim = "scope""#;

/// A configuration with this value of `issuer`.
fn with(issuer: &str) -> Result<Config, ConfigError> {
    load_from([("LONGSHORE__ISSUER".to_owned(), issuer.to_owned())])
}

#[test]
fn an_issuer_as_the_documents_write_it() {
    let issuer = format!(
        r#"[{{ {KEYCLOAK}, {JWKS}, {SCOPE}, ca = "/etc/ca.pem", rate = "100/s", burst = 500, grant = [
            {{ claim = "realm_access.roles", value = "shop", scopes = ["events:write:signup.*", "events:read"] }},
            {{ claim = ["https://shop.example.com/roles"], value = "all", scopes = ["events:write"] }} ] }}]"#
    );
    let config = with(&issuer).unwrap_or_else(|error| panic!("{error}"));
    let [keycloak] = &*config.issuers else {
        panic!("expected one issuer");
    };
    assert_eq!(keycloak.audience, ["longshore"]);
    assert_eq!(keycloak.caller, ClaimPath::default());
    let claims = json!({
        "sub": "web", "realm_access": {"roles": ["shop"]}, "https://shop.example.com/roles": "all",
    });
    let claims = claims.as_object().unwrap();
    let found = |at: usize| keycloak.grants[at].claim.find(claims).unwrap();
    assert_eq!(keycloak.caller.find(claims).unwrap(), "web");
    assert_eq!(found(0), &json!(["shop"]));
    assert_eq!(found(1), "all");
    assert_eq!(keycloak.scope_claim.as_ref().unwrap().find(claims), None);
}

#[test]
fn keys_come_over_tls_from_this_machine_or_from_a_file() {
    for (jwks, is_taken) in [
        (r#""https://10.0.0.7/jwks""#, true),
        (r#""http://127.0.0.1:8081/jwks""#, true),
        (r#""http://[::1]:8081/jwks""#, true),
        (r#""http://localhost:8081/jwks""#, true),
        (r#"{ file = "/run/secrets/jwks.json" }"#, true),
        (r#""http://10.0.0.7/jwks""#, false),
        (r#""http://localhost.example.com/jwks""#, false),
        (r#""https://u:hunter2@id.example.com/jwks""#, false),
        (r#""ftp://id.example.com/jwks""#, false),
        (r#""hunter2""#, false),
        (r#"{ env = "hunter2" }"#, false),
        (r#"{ file = "a", env = "hunter2" }"#, false),
        ("7", false),
    ] {
        let with = with(&format!("[{{ {KEYCLOAK}, {SCOPE}, jwks = {jwks} }}]"));
        match with {
            Ok(_) => assert!(is_taken, "{jwks}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!is_taken, "{error}");
                assert!(error.contains("jwks") || error.contains("a URL"), "{error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
    }
}

#[test]
fn a_mistake_is_named_with_its_key() {
    let twice = format!("[{{ {KEYCLOAK}, {JWKS}, {SCOPE} }}, {{ {KEYCLOAK}, {JWKS}, {SCOPE} }}]");
    let again = r#"[
        { name = "a", issuer = "i", audience = "l", jwks = { file = "a" }, scope_claim = "scope" },
        { name = "b", issuer = "i", audience = "l", jwks = { file = "b" }, scope_claim = "scope" } ]"#;
    let one = |part: &str| format!("[{{ {KEYCLOAK}, {JWKS}, {part} }}]");
    let named = |name: &str| {
        format!(r#"[{{ name = "{name}", issuer = "i", audience = "l", {JWKS}, {SCOPE} }}]"#)
    };
    for (issuer, place) in [
        (twice, "issuer.name"),
        (again.to_owned(), "issuer.b.issuer"),
        (named("Keycloak"), "issuer.Keycloak.name"),
        (named("a/b"), "issuer.a/b.name"),
        (named(""), "issuer..name"),
        (one("burst = 5"), "scope_claim"),
        (one(r#"scope_claim = "scope", burst = 5"#), "burst"),
        (one(r#"scope_claim = """#), "expected the name of a claim"),
        (one(r#"scope_claim = "a..b""#), "expected the name of a claim"),
        (one("scope_claim = []"), "expected the name of a claim"),
        (
            one(r#"grant = [{ claim = "a", value = "", scopes = ["events:write"] }]"#),
            "grant.value",
        ),
        (
            one(r#"grant = [{ claim = "a", value = "b", scopes = [] }]"#),
            "grant.scopes",
        ),
        (
            one(r#"grant = [{ claim = "a", value = "b", scopes = ["write"] }]"#),
            "events:write:PATTERN",
        ),
        (one(r#"scope_claim = "scope", algorithm = "none""#), "algorithm"),
        (
            r#"[{ name = "a", issuer = "", audience = "l", jwks = { file = "a" }, scope_claim = "s" }]"#.to_owned(),
            "issuer.a.issuer",
        ),
        (
            r#"[{ name = "a", issuer = "i", audience = [], jwks = { file = "a" }, scope_claim = "s" }]"#.to_owned(),
            "issuer.a.audience",
        ),
        (
            r#"[{ name = "a", issuer = "i", audience = "l", jwks = { file = "a" }, ca = "b", scope_claim = "s" }]"#
                .to_owned(),
            "issuer.a.ca",
        ),
        (
            r#"[{ name = "a", issuer = "i", audience = "l", scope_claim = "s" }]"#.to_owned(),
            "missing field `jwks`",
        ),
    ] {
        let error = with(&issuer).map(|_| ()).expect_err(&issuer).to_string();
        assert!(error.contains(place), "{issuer}: {error}");
    }
}
