//! `parlor migrate`, and a node that finds its tables, on both kinds of stores.

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

use parlor_servers::MariaDb;
use serde_json::json;
use tempfile::TempDir;

use program_world::{Client, Server, command, finished};

/// Runs the program to its end; returns the exit code and what it wrote to stdout and stderr.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    finished(command(folder).args(arguments))
}

/// Takes a fresh store from nothing to a node that serves from it.
fn from_nothing_to_serving(folder: &Path, store: &str) {
    let file = format!("store = {store:?}\nmigrate = false\n");
    fs::write(folder.join("store.toml"), file).unwrap();
    let with_file = |command| {
        let mut arguments = vec![command, "--config", "store.toml"];
        move |more: &[&'static str]| {
            arguments.extend(more);
            run(folder, &arguments)
        }
    };
    let (code, _, complaint) = with_file("serve")(&["--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("run `parlor migrate`"), "{complaint}");

    let said = |word: &str| format!("{word}: m0001_tables\n{word}: m0002_identities\n");
    for (arguments, expected) in [
        (&["--dry-run"][..], said("is lacking")),
        (&["--dry-run"], said("is lacking")),
        (&[], said("applied")),
    ] {
        let (code, out, errors) = with_file("migrate")(arguments);
        assert_eq!((code, out), (Some(0), expected), "{errors}");
    }
    let (code, out, _) = with_file("migrate")(&[]);
    assert_eq!(code, Some(0));
    assert!(out.contains("is up to date"), "{out}");
    if let Some((credentials, _)) = store.split_once('@') {
        assert!(!out.contains(credentials), "{out}");
    }

    let server = Server::start(folder, &["--store", store]);
    let mut client = Client::connect(server.port);
    let user = client.register_and_login("ada");
    let found = client.ok(json!({"op": "user", "name": "ADA"}));
    assert_eq!(found["user"], user);
}

#[test]
fn sqlite_is_migrated_by_hand() {
    let folder = TempDir::new().unwrap();
    from_nothing_to_serving(folder.path(), "sqlite:by-hand.db");
}

#[test]
fn mariadb_is_migrated_by_hand() {
    let folder = TempDir::new().unwrap();
    let database = MariaDb::start(&folder.path().join("mariadb"), &[]).unwrap();
    let url = database.create_database("chat").unwrap();
    from_nothing_to_serving(folder.path(), &url);
}
