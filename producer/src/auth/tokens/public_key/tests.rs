use serde_json::json;
use testkit::tokens::SigningKey;

use super::*;

/// A key of this JWK.
fn read(jwk: &Value) -> Result<PublicKey, Unusable> {
    PublicKey::read(jwk.as_object().unwrap())
}

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The modulus in RFC 7515, A.2.
fn modulus() -> String {
    let jwk = SigningKey::rsa("a").unwrap().jwk();
    jwk["n"].as_str().unwrap().to_owned()
}

/// The claims of the examples in RFC 7515, A.2 and A.3.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn the_examples_of_the_standards_are_verified() {
    let rs256 = (
        json!({"kty": "RSA", "n": modulus(), "e": "AQAB"}),
        format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}"),
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUA\
         r7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO-\
         -xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_\
         IoypGlUPQGe77Rw",
        Algorithm::Rs256,
    );
    let es256 = (
        json!({
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }),
        format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}"),
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        Algorithm::Es256,
    );
    // RFC 8037, A.4.
    let ed25519 = (
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        Algorithm::EdDsa,
    );
    let examples = [rs256, es256, ed25519];
    for (jwk, signed, signature, algorithm) in &examples {
        let key = read(jwk).unwrap();
        assert!(key.algorithm() == *algorithm);
        let signature = bytes(signature);
        assert!(key.has_signed(signed.as_bytes(), &signature), "{jwk}");
        assert!(!key.has_signed(&signed.as_bytes()[1..], &signature));
        assert!(!key.has_signed(signed.as_bytes(), &signature[1..]));
        assert!(!key.has_signed(signed.as_bytes(), &[]));
        for (other, ..) in examples.iter().filter(|(other, ..)| other != jwk) {
            assert!(
                !read(other)
                    .unwrap()
                    .has_signed(signed.as_bytes(), &signature)
            );
        }
    }
}

#[test]
fn the_all_zero_signature_is_that_of_no_key() {
    let keys = [
        SigningKey::p256("a").unwrap(),
        SigningKey::ed25519("a").unwrap(),
    ];
    for key in keys {
        let key = read(&key.jwk()).unwrap();
        assert!(!key.has_signed(b"a.b", &[0; 64]));
    }
}

#[test]
fn a_key_that_lies_or_is_for_something_else_is_left_out() {
    let [rsa, p256, ed25519] = [
        SigningKey::rsa("a").unwrap().jwk(),
        SigningKey::p256("a").unwrap().jwk(),
        SigningKey::ed25519("a").unwrap().jwk(),
    ];
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let long = URL_SAFE_NO_PAD.encode([0xff; 1025]);
    for (jwk, expected) in [
        (with(&rsa, "d", json!("AQAB")), Unusable::Private),
        (with(&p256, "d", json!("AQAB")), Unusable::Private),
        (with(&ed25519, "d", Value::Null), Unusable::Private),
        (json!({"kty": "oct", "k": "AQAB"}), Unusable::Symmetric),
        (with(&p256, "k", json!("AQAB")), Unusable::Symmetric),
        (with(&rsa, "use", json!("enc")), Unusable::Purpose),
        (with(&rsa, "use", Value::Null), Unusable::Purpose),
        (with(&rsa, "key_ops", json!(["sign"])), Unusable::Purpose),
        (with(&rsa, "key_ops", json!("verify")), Unusable::Purpose),
        (with(&rsa, "alg", json!("PS256")), Unusable::Algorithm),
        (with(&rsa, "alg", json!("ES256")), Unusable::Algorithm),
        (with(&p256, "alg", json!("HS256")), Unusable::Algorithm),
        (with(&p256, "alg", json!(["ES256"])), Unusable::Algorithm),
        (with(&p256, "crv", json!("P-384")), Unusable::Kind),
        (with(&p256, "crv", json!("Ed25519")), Unusable::Kind),
        (with(&p256, "kty", json!("OKP")), Unusable::Kind),
        (with(&p256, "kty", json!("RSA")), Unusable::Members),
        (with(&ed25519, "kty", json!("EC")), Unusable::Kind),
        (with(&rsa, "kty", json!("rsa")), Unusable::Kind),
        (with(&rsa, "kty", Value::Null), Unusable::Kind),
        (with(&p256, "x", json!("AQAB")), Unusable::Members),
        (with(&ed25519, "x", json!("AQAB")), Unusable::Members),
        (with(&ed25519, "x", json!(7)), Unusable::Members),
        (with(&rsa, "n", json!("A+/=")), Unusable::Members),
        (with(&rsa, "n", json!("")), Unusable::RsaLength),
        (with(&rsa, "n", json!(short)), Unusable::RsaLength),
        (with(&rsa, "n", json!(long)), Unusable::RsaLength),
    ] {
        assert!(read(&jwk).err() == Some(expected), "{jwk}");
    }
}

#[test]
fn a_modulus_with_zeros_in_front_has_no_more_bits() {
    let padded = |number: &[u8]| {
        let padded = [&[0, 0], number].concat();
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(padded), "e": "AAEAAQ"})
    };
    let plain = json!({"kty": "RSA", "n": modulus(), "e": "AQAB"});
    assert!(read(&padded(&bytes(&modulus()))) == read(&plain));
    let just_short = [&[0x7f], [0xff; 255].as_slice()].concat();
    assert!(read(&padded(&just_short)).err() == Some(Unusable::RsaLength));
}

#[test]
fn a_point_off_the_curve_has_signed_nothing() {
    let signing = SigningKey::p256("a").unwrap();
    let mut jwk = signing.jwk();
    jwk["y"] = jwk["x"].clone();
    let token = signing.token(&json!({})).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let key = read(&jwk).unwrap();
    assert!(!key.has_signed(signed.as_bytes(), &bytes(signature)));
}
