//! Every file of the fuzzers' corpora keeps every promise, without a fuzzer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the corpora are files, and which of them fails is shown"
)]

use std::fs;
use std::path::Path;

use parlor_core::sim::{frames, hostile, ops, tokens};

#[test]
fn frames_of_clients() {
    replay("decode_frame", frames::decode_frame);
}

#[test]
fn frames_of_servers() {
    replay("decode_server_frame", frames::decode_server_frame);
}

#[test]
fn operations_on_the_engine() {
    replay("engine_ops", ops::run);
}

#[test]
fn session_tokens() {
    replay("session_token", tokens::verify_token);
}

#[test]
fn client_sessions() {
    replay("client_session", hostile::run);
}

/// Gives each file of a corpus to the body of its fuzz target.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut paths: Vec<_> = fs::read_dir(folder.join(target))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {target} is gone");
    for path in paths {
        // Shown where the file fails.
        println!("{}", path.display());
        body(&fs::read(&path).unwrap());
    }
}
