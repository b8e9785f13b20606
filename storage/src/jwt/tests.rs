//! Tokens that vouch for somebody, and all that do not.

use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://accounts.example";
const SHARED: &str = "a secret of at least thirty-two bytes";

/// A key of 2048 bits that nobody has any more, and tokens that it signed; they stand until 2100.
const RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtKA+rQMqxR8KO3OZ8YF7
lru4J6vEIt1V8WDhtk8usHsxvV506wZQNarAqNC1f5i+LBZLsfa6dlCtL6DWa1DI
Q0wCwCRHBbLoRGzLVdmytrt+xabl5T2F71//5JNtqIH0mazh2+2lgJBlrO6y0voG
iLAflG5WuUz8YBZ621owbtnj8T3ZzPKUswyrazEsXl4r5aoLRslgRK5QkACj/0ux
EFkOA9IOOT7lS5gtW24eBa4tsQle/rMmU28m8z+8/37QKiugK9D/xlhx/bDAUHTG
wUPyKAI7D0Ry7WMWT/g5QJ12N0KaQTP00MakpXbi/4TOK9rMBdJAU62Sq6M/LHkn
hwIDAQAB
-----END PUBLIC KEY-----";
const RS256: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2FjY291bnRzLmV4YW1wbGUiLCJhdWQ",
    "iOiJwYXJsb3IiLCJzdWIiOiIxNyIsImV4cCI6NDEwMjQ0NDgwMCwicHJlZmVycmVkX3VzZXJuYW1lIjoiYW5uIn0",
    ".HK_LE4ZpK6AofQJemNDnXkTzJKFByYeQ39Jx63L3scF2p6KWITtZ0i4r0ng4ByUmrWfsg6AxgtRBnxKauRICB7E",
    "kcZD_TlgdumiJaN3g3FH3Tmqyb82S8EkGKHwwZqCW4h51j9LDvw29P63npRBeA3wtxx1yDmvbm1Jt7JdLpzCEH3q",
    "45ff7H3Pus8zjOsKaN_b8D4KfhQ0gwE5rDJZiINkmIc6BHiHvc78sUjoaBiVVL9iANMV8b5QY0atUdL5vPpv-6_h",
    "hTzbV-HwRqDDXxPK3d9pZCMC68nYcbyeg3Jca3SV2t-I_JagJD0vcsfutkZjVMOu5CfDTyW2rF_JpsA",
);
const PS256: &str = concat!(
    "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2FjY291bnRzLmV4YW1wbGUiLCJhdWQ",
    "iOiJwYXJsb3IiLCJzdWIiOiIxNyIsImV4cCI6NDEwMjQ0NDgwMCwicHJlZmVycmVkX3VzZXJuYW1lIjoiYW5uIn0",
    ".LBunAkKLHY84PfhDwKh7muRk9iVN7XXuegeBmp1ve9wkPVhRyfEy7xnIwOqhJe03GHUjoAgnASzKj_bOy6RTYZm",
    "FePzPrKJ-ui1KynkePWP2YWwhydnLHFYMkDZIFYC0DdE_UnqAaiR7bVnxN2aHW7ikkjjO_EQ2L2KmFRLNzV8XM54",
    "6lPhX8hHgkCMPh6kX6jT9cDhtA4N53C2Qdk9iYBgDclWIMuZl9lU84njkVg54Eog2U3dWFKL6dXI9ivMRVuBI2Bu",
    "4Lv577ZLvG0xDbGZzgXuE7X8p0JuJFygAwvGiOwzbKfDwmltb54gDaC8qd5Tm8RkSYhuyXQDDlh2wVw",
);

/// Writes bytes without padding (RFC 4648, section 5).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk
            .iter()
            .fold(0, |all: u32, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let digit = all >> (18 - 6 * place) & 63;
            text.push(char::from(DIGITS[usize::try_from(digit).unwrap()]));
        }
    }
    text
}

/// What a service signs with.
enum Signer {
    Shared(hmac::Algorithm, &'static str),
    Ecdsa(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Nobody,
}

impl Signer {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Shared(algorithm, secret) => {
                let key = hmac::Key::new(*algorithm, secret.as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Nobody => Vec::new(),
        }
    }
}

fn token(signer: &Signer, header: &Value, claims: &Value) -> Secret {
    let [header, claims] = [header, claims].map(|it| base64(it.to_string().as_bytes()));
    let message = format!("{header}.{claims}");
    let signature = base64(&signer.sign(message.as_bytes()));
    Secret::new(format!("{message}.{signature}"))
}

fn jwt(algorithm: &str, key: &str) -> Jwt {
    let options = JwtOptions {
        algorithm: algorithm.parse().unwrap(),
        key: Secret::new(key),
        issuer: ISSUER.to_owned(),
        audience: "parlor".to_owned(),
        name_claim: "preferred_username".to_owned(),
    };
    Jwt::new(&options).unwrap()
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

/// What a service says of somebody.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "parlor", "sub": "17", "exp": in_seconds(60),
        "preferred_username": "ann",
    })
}

fn ann() -> Vouched {
    Vouched {
        identity: Identity::new(ISSUER, "17"),
        name: Some(Name::new("ann").unwrap()),
    }
}

#[track_caller]
fn code(result: Result<Vouched, StoreFailure>) -> ErrorCode {
    match result {
        Err(StoreFailure::Refused(error)) => error.code,
        other => panic!("not refused: {other:?}"),
    }
}

fn ecdsa(
    kind: &'static rcgen::SignatureAlgorithm,
    algorithm: &'static EcdsaSigningAlgorithm,
) -> (Signer, String) {
    let pair = KeyPair::generate_for(kind).unwrap();
    let der = pair.serialize_der();
    let signer = EcdsaKeyPair::from_pkcs8(algorithm, &der, &SystemRandom::new()).unwrap();
    (Signer::Ecdsa(signer), pair.public_key_pem())
}

#[test]
fn a_token_of_each_algorithm_vouches_and_one_that_was_changed_does_not() {
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let ed_signer = Ed25519KeyPair::from_pkcs8(&ed.serialize_der()).unwrap();
    let shared = |algorithm| (Signer::Shared(algorithm, SHARED), SHARED.to_owned());
    for (algorithm, (signer, key)) in [
        ("HS256", shared(hmac::HMAC_SHA256)),
        ("HS384", shared(hmac::HMAC_SHA384)),
        ("HS512", shared(hmac::HMAC_SHA512)),
        (
            "ES256",
            ecdsa(&PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        ),
        (
            "ES384",
            ecdsa(&PKCS_ECDSA_P384_SHA384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        ),
        ("EdDSA", (Signer::Ed(ed_signer), ed.public_key_pem())),
    ] {
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let verifier = jwt(algorithm, &key);
        let good = token(&signer, &header, &claims());
        assert_eq!(verifier.verify(&good), Ok(ann()), "{algorithm}");
        let mut other = claims();
        other["sub"] = json!("18");
        let other = token(&signer, &header, &other);
        let parts = |token: &Secret| {
            token
                .expose()
                .split('.')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (good, other) = (parts(&good), parts(&other));
        let mixed = Secret::new(format!("{}.{}.{}", good[0], other[1], good[2]));
        assert_eq!(
            code(verifier.verify(&mixed)),
            ErrorCode::BadCredentials,
            "{algorithm}"
        );
        let unsigned = token(&Signer::Nobody, &header, &claims());
        assert_eq!(
            code(verifier.verify(&unsigned)),
            ErrorCode::BadCredentials,
            "{algorithm}"
        );
    }
    for (algorithm, signed) in [("RS256", RS256), ("PS256", PS256)] {
        let verifier = jwt(algorithm, RSA_KEY);
        assert_eq!(
            verifier.verify(&Secret::new(signed)),
            Ok(ann()),
            "{algorithm}"
        );
        let cut = Secret::new(signed.replacen("eyJ", "eyI", 1));
        assert_eq!(code(verifier.verify(&cut)), ErrorCode::BadCredentials);
    }
}

#[test]
fn an_algorithm_that_was_not_agreed_on_is_none() {
    let (signer, key) = ecdsa(&PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_FIXED_SIGNING);
    let verifier = jwt("ES256", &key);
    // The public key, which everybody has, as if it were a shared secret.
    let public: &'static str = Box::leak(key.into_boxed_str());
    let confused = Signer::Shared(hmac::HMAC_SHA256, public);
    for (header, signer) in [
        (json!({"alg": "none"}), &Signer::Nobody),
        (json!({"alg": "HS256"}), &confused),
        (json!({"alg": "ES256"}), &confused),
        (json!({"alg": "ES384"}), &signer),
        (json!({"alg": "es256"}), &signer),
        (json!({}), &signer),
        (json!({"alg": "ES256", "crit": ["exp"]}), &signer),
    ] {
        let forged = token(signer, &header, &claims());
        assert_eq!(
            code(verifier.verify(&forged)),
            ErrorCode::BadCredentials,
            "{header}"
        );
    }
    assert_eq!(
        code(jwt("RS256", RSA_KEY).verify(&Secret::new(PS256))),
        ErrorCode::BadCredentials
    );
    for garbage in [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d",
        "\u{1f600}.\u{1f600}.\u{1f600}",
    ] {
        assert_eq!(
            code(verifier.verify(&Secret::new(garbage))),
            ErrorCode::BadCredentials
        );
    }
}

#[test]
fn a_token_is_for_this_server_from_that_service_and_of_today() {
    let signer = Signer::Shared(hmac::HMAC_SHA256, SHARED);
    let verifier = jwt("HS256", SHARED);
    let verify = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        verifier.verify(&token(&signer, &json!({"alg": "HS256"}), &claims))
    };
    let bad = ErrorCode::BadCredentials;
    for (claim, value, expected) in [
        ("iss", json!("https://accounts.example/"), bad),
        ("iss", json!([ISSUER, "https://elsewhere.example"]), bad),
        ("iss", json!([ISSUER]), bad),
        ("iss", Value::Null, bad),
        ("aud", json!("chat"), bad),
        ("aud", json!(["chat"]), bad),
        ("aud", json!([]), bad),
        ("aud", Value::Null, bad),
        ("sub", json!(""), bad),
        ("sub", json!(17), bad),
        ("sub", Value::Null, bad),
        ("exp", Value::Null, bad),
        ("exp", json!("4102444800"), bad),
        ("exp", json!(in_seconds(-60)), ErrorCode::TokenExpired),
        ("exp", json!(0), ErrorCode::TokenExpired),
        ("nbf", json!(in_seconds(60)), bad),
        ("nbf", json!("now"), bad),
    ] {
        let absent = verify(&|claims| {
            claims.as_object_mut().unwrap().remove(claim);
        });
        let changed = verify(&|claims| claims[claim] = value.clone());
        assert_eq!(code(changed), expected, "{claim} {value}");
        if claim != "nbf" {
            assert_eq!(code(absent), bad, "no {claim}");
        }
    }
    for (claim, value) in [
        ("aud", json!(["chat", "parlor"])),
        ("exp", json!(in_seconds(-5))),
        ("nbf", json!(in_seconds(5))),
    ] {
        let verified = verify(&|claims| claims[claim] = value.clone());
        assert_eq!(verified, Ok(ann()), "{claim} {value}");
    }
    for name in [
        json!(""),
        json!(" ann"),
        json!(5),
        json!("x".repeat(33)),
        Value::Null,
    ] {
        let nameless = Vouched {
            name: None,
            ..ann()
        };
        let verified = verify(&|claims| claims["preferred_username"] = name.clone());
        assert_eq!(verified, Ok(nameless), "{name}");
    }
}

#[test]
fn a_key_that_is_none_is_no_start() {
    for (algorithm, key) in [
        ("HS256", "short"),
        ("ES256", "not PEM at all"),
        (
            "RS256",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ),
        ("EdDSA", RSA_KEY),
    ] {
        let options = JwtOptions {
            algorithm: algorithm.parse().unwrap(),
            key: Secret::new(key),
            issuer: String::new(),
            audience: String::new(),
            name_claim: String::new(),
        };
        let refused = Jwt::new(&options).err().map(|error| error.to_string());
        assert!(
            refused.is_some_and(|it| it.lines().count() == 1),
            "{algorithm}"
        );
    }
    assert_eq!("none".parse::<JwtAlgorithm>(), Err(UnknownAlgorithm));
    assert_eq!(
        "EdDSA".parse::<JwtAlgorithm>().unwrap().to_string(),
        "EdDSA"
    );
}
