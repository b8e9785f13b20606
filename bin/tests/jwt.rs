//! Accounts for which another service vouches, on a real node.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use program_world::{Client, PASSWORD, Server, command, finished};

const SECRET: &str = "what both sides share, 32 bytes or more";

/// Closes the door to everybody for whom nobody vouches.
const SETTINGS: &str = r#"
registration = "closed"
jwt = { algorithm = "HS256", key = "accounts.key", issuer = "us", audience = "parlor" }
"#;

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

/// Signs what the other service says of somebody, for so many seconds.
fn jwt(secret: &str, subject: &str, name: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let exp = i64::try_from(now.as_secs()).unwrap() + seconds;
    let claims = json!({
        "iss": "us", "aud": "parlor", "sub": subject, "exp": exp, "preferred_username": name,
    });
    let header = base64(br#"{"alg":"HS256","typ":"JWT"}"#);
    let message = format!("{header}.{}", base64(claims.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    let signature = base64(&mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

fn serve(folder: &Path) -> Server {
    // A file that an editor has ended with a line.
    fs::write(folder.join("accounts.key"), format!("{SECRET}\n")).unwrap();
    Server::start_with(folder, SETTINGS, &[])
}

fn login(jwt: &str) -> Value {
    json!({"op": "login", "jwt": jwt, "device": "phone"})
}

#[test]
fn who_is_vouched_for_has_an_account_from_the_first_login_on() {
    let folder = TempDir::new().unwrap();
    let ann = || jwt(SECRET, "17", "ann", 60);
    let (first, token) = {
        let mut server = serve(folder.path());
        let mut client = Client::connect(server.port);
        let session = client.ok(login(&ann()));
        assert_eq!(session["name"], "ann");
        // Somebody else of that name.
        let other = Client::connect(server.port).ok(login(&jwt(SECRET, "18", "Ann", 60)));
        assert_ne!(other["user"], session["user"]);
        assert!(
            other["name"].as_str().unwrap().starts_with("Ann-"),
            "{other}"
        );
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
        let logs = server.logs();
        assert!(!logs.contains(&ann()[..40]), "a token is in the log");
        (session["user"].clone(), session["token"].clone())
    };
    let server = serve(folder.path());
    let again = Client::connect(server.port).ok(login(&jwt(SECRET, "17", "new name", 60)));
    assert_eq!((&again["user"], &again["name"]), (&first, &json!("ann")));
    let resumed = Client::connect(server.port).ok(json!({"op": "resume", "token": token}));
    assert_eq!(resumed["user"], first);
}

#[test]
fn what_vouches_for_nobody_is_refused() {
    let folder = TempDir::new().unwrap();
    let server = serve(folder.path());
    let mut client = Client::connect(server.port);
    client.ok(login(&jwt(SECRET, "17", "ann", 60)));
    client.ok(json!({"op": "logout"}));
    let mut ask = |mut request: Value| {
        request["id"] = json!(7);
        client.ask(&request)["error"]["code"].take()
    };
    let other = "another secret, 32 bytes or more as well";
    assert_eq!(ask(login(&jwt(other, "17", "ann", 60))), "bad_credentials");
    assert_eq!(ask(login(&jwt(SECRET, "17", "ann", -60))), "token_expired");
    assert_eq!(ask(login("no token")), "bad_credentials");
    let mut both = login(&jwt(SECRET, "17", "ann", 60));
    both["name"] = json!("ann");
    assert_eq!(ask(both), "bad_request");
    let password = json!({"op": "login", "name": "ann", "password": PASSWORD});
    assert_eq!(ask(password), "bad_credentials");
    let register = json!({"op": "register", "name": "bob", "password": PASSWORD});
    assert_eq!(ask(register), "registration_closed");
}

#[test]
fn a_server_that_believes_nobody_says_so() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut request = login(&jwt(SECRET, "17", "ann", 60));
    request["id"] = json!(7);
    let refused = Client::connect(server.port).ask(&request)["error"].take();
    assert_eq!(refused["code"], "bad_request");
    assert!(
        refused["message"].as_str().unwrap().contains("jwt"),
        "{refused}"
    );
}

#[test]
fn a_key_that_cannot_be_used_is_no_start() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("parlor.toml");
    fs::write(&config, SETTINGS).unwrap();
    for (key, complaint) in [(None, "jwt.key"), (Some("short"), "32 bytes")] {
        if let Some(key) = key {
            fs::write(folder.path().join("accounts.key"), key).unwrap();
        }
        let mut serve = command(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
        let (code, _, said) = finished(serve.arg(&config));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(complaint), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
