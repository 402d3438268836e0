use common::config::load_from;
use serde_json::json;
use time::Duration;

use super::*;

/// An issuer of this configuration.
fn issuer(more: &str) -> TokenIssuer {
    let text = format!(
        r#"[{{ name = "keycloak", issuer = "https://id.example.com/", jwks = {{ file = "jwks.json" }}, {more} }}]"#
    );
    let config = load_from([("LONGSHORE__ISSUER".to_owned(), text)]);
    let mut config = config.unwrap_or_else(|error| panic!("{error}"));
    config.issuers.remove(0)
}

fn plain() -> TokenIssuer {
    issuer(r#"audience = ["longshore", "shore"], scope_claim = "scope""#)
}

const NOW: i64 = 1_800_000_000;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).unwrap()
}

fn object(claims: &Value) -> &Claims {
    claims.as_object().unwrap()
}

fn check(claims: &Value) -> Result<(), Refused> {
    expect_valid(&plain(), object(claims), now()).map(drop)
}

#[test]
fn a_token_is_for_one_of_our_audiences() {
    for (audience, expected) in [
        (json!("longshore"), Ok(())),
        (json!("shore"), Ok(())),
        (json!(["other", "longshore"]), Ok(())),
        (json!("Longshore"), Err(Refused::Audience)),
        (json!("longshore shore"), Err(Refused::Audience)),
        (json!(["other"]), Err(Refused::Audience)),
        (json!([["longshore"]]), Err(Refused::Audience)),
        (json!([]), Err(Refused::Audience)),
        (json!({"longshore": true}), Err(Refused::Audience)),
        (json!(null), Err(Refused::Audience)),
    ] {
        let claims = json!({"aud": audience, "exp": NOW + 1});
        assert_eq!(check(&claims), expected, "{audience}");
    }
    assert_eq!(check(&json!({"exp": NOW + 1})), Err(Refused::Audience));
}

#[test]
fn a_token_counts_from_its_beginning_to_its_end_with_a_minute_between_the_clocks() {
    for (times, expected) in [
        (json!({"exp": NOW + 1}), Ok(())),
        (json!({"exp": NOW - 59}), Ok(())),
        (json!({"exp": NOW - 60}), Err(Refused::Expired)),
        (json!({"exp": 0}), Err(Refused::Expired)),
        (json!({"exp": -1e300}), Err(Refused::Expired)),
        (json!({"exp": NOW as f64 + 0.5}), Ok(())),
        (json!({}), Err(Refused::Time)),
        (json!({"exp": null}), Err(Refused::Time)),
        (json!({"exp": (NOW + 1).to_string()}), Err(Refused::Time)),
        (json!({"exp": [NOW + 1]}), Err(Refused::Time)),
        (json!({"exp": NOW + 1, "nbf": NOW + 60}), Ok(())),
        (
            json!({"exp": NOW + 99, "nbf": NOW + 61}),
            Err(Refused::NotYet),
        ),
        (json!({"exp": NOW + 1, "iat": NOW + 60}), Ok(())),
        (
            json!({"exp": NOW + 99, "iat": NOW + 61}),
            Err(Refused::NotYet),
        ),
        (json!({"exp": NOW + 1, "iat": "now"}), Err(Refused::Time)),
        (json!({"exp": NOW + 1, "nbf": null}), Err(Refused::Time)),
    ] {
        let mut claims = times.clone();
        claims["aud"] = json!("longshore");
        assert_eq!(check(&claims), expected, "{times}");
    }
    for (end, expected) in [
        (json!(NOW + 1), NOW + 61),
        (json!(NOW as f64 + 0.5), NOW + 61),
        (json!(1e300), i64::MAX),
    ] {
        let claims = json!({"aud": "longshore", "exp": end});
        let found = expect_valid(&plain(), object(&claims), now());
        assert_eq!(found, Ok(expected), "{end}");
    }
    let claims = json!({"aud": "longshore", "exp": NOW + 1});
    let later = now() + Duration::seconds(61);
    let found = expect_valid(&plain(), object(&claims), later);
    assert_eq!(found, Err(Refused::Expired));
}

#[test]
fn a_caller_is_called_after_its_issuer_and_cannot_be_called_like_a_key() {
    let subject = |name: &str| caller(&plain(), object(&json!({"sub": name})));
    assert_eq!(subject("web").as_deref(), Ok("keycloak/web"));
    assert_eq!(
        subject("../other/web").as_deref(),
        Ok("keycloak/../other/web")
    );
    assert_eq!(
        subject("auth0|5f7c8ec7").as_deref(),
        Ok("keycloak/auth0|5f7c8ec7")
    );
    assert!("keycloak/web".parse::<common::key::KeyName>().is_err());
    assert_eq!(
        subject(&"a".repeat(MAX_CALLER)).map(|name| name.len()),
        Ok(209)
    );
    for wrong in [
        "".to_owned(),
        "a b".to_owned(),
        "a\n".to_owned(),
        "é".to_owned(),
        "a".repeat(MAX_CALLER + 1),
    ] {
        assert_eq!(subject(&wrong), Err(Refused::Caller), "{wrong}");
    }
    for wrong in [json!({}), json!({"sub": 7}), json!({"sub": ["web"]})] {
        assert_eq!(caller(&plain(), object(&wrong)), Err(Refused::Caller));
    }
    let by_client = issuer(r#"audience = "l", scope_claim = "s", caller = "client_id""#);
    let claims = json!({"sub": "7", "client_id": "web"});
    let name = caller(&by_client, object(&claims));
    assert_eq!(name.as_deref(), Ok("keycloak/web"));
}

#[test]
fn the_words_of_the_scope_claim_that_are_ours_count() {
    let scopes = |scope: Value| scopes(&plain(), object(&json!({"scope": scope}))).to_string();
    assert_eq!(
        scopes(json!("openid events:write:signup.* email events:read")),
        "events:write:signup.*, events:read"
    );
    assert_eq!(
        scopes(json!(["events:read", "metrics profile"])),
        "events:read, metrics"
    );
    for nothing in [
        json!(""),
        json!(null),
        json!(7),
        json!({"events:write": true}),
        json!("Events:Write"),
        json!("events:write:a,b"),
    ] {
        assert_eq!(scopes(nothing.clone()), "", "{nothing}");
    }
}

#[test]
fn a_value_of_a_claim_opens_what_the_configuration_says() {
    let roles = issuer(
        r#"audience = "l", grant = [
            { claim = "realm_access.roles", value = "shop", scopes = ["events:write:signup.*"] },
            { claim = "realm_access.roles", value = "audit", scopes = ["events:read:all"] },
            { claim = "sub", value = "system:serviceaccount:shop:web", scopes = ["events:read"] } ]"#,
    );
    let scopes = |claims: Value| scopes(&roles, object(&claims)).to_string();
    assert_eq!(
        scopes(json!({"realm_access": {"roles": ["other", "shop"]}})),
        "events:write:signup.*"
    );
    let both = json!({"realm_access": {"roles": ["audit", "shop"]}});
    assert_eq!(scopes(both), "events:write:signup.*, events:read:all");
    assert_eq!(
        scopes(json!({"sub": "system:serviceaccount:shop:web"})),
        "events:read"
    );
    for nothing in [
        json!({"realm_access": {"roles": ["shopper", "Shop", "shop audit"]}}),
        json!({"realm_access": "shop"}),
        json!({"realm_access.roles": ["shop"]}),
        json!({"roles": ["shop"]}),
        // Without `scope_claim`, words in it do not count.
        json!({"scope": "events:write"}),
    ] {
        assert_eq!(scopes(nothing.clone()), "", "{nothing}");
    }
}
