//! How much the store takes at a time.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use async_std::future::timeout;
use async_std::task::block_on;
use futures::future::join_all;
use parlor_core::id::{Place, UserId};
use parlor_core::name::Key;
use parlor_core::store::{Command, StoreRequest};
use parlor_storage::Options;
use tempfile::TempDir;

use common::server::Fresh;
use common::{applied, command, log, open, open_url, options, pair, user};

/// How long a test waits before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);

/// A message of a thousand bytes.
fn long(user: UserId, place: Place, key: usize) -> StoreRequest {
    command(Command::Send {
        user,
        place,
        key: Key::new(&key.to_string()).unwrap(),
        text: "x".repeat(1000).into(),
        reply_to: None,
        meta: None,
    })
}

/// Sends a hundred messages at once; returns how many transactions that took.
fn transactions(options: Options) -> u64 {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, options).await;
        let (ann, _, place) = pair(&store).await;
        let before = store.status();
        let sends = (0..100).map(|key| store.execute(long(ann, place, key)));
        for sent in timeout(HUNG, join_all(sends)).await.unwrap() {
            applied(sent);
        }
        let after = store.status();
        assert_eq!(after.changes - before.changes, 100);
        store.close().await;
        after.transactions - before.transactions
    })
}

#[test]
fn a_transaction_takes_so_many_changes_and_no_more() {
    let few = transactions(Options {
        batch_rows: 4,
        ..options()
    });
    assert!((25..=100).contains(&few), "{few}");
    let many = transactions(options());
    assert!(
        many < 25,
        "{many}: without that limit they share transactions"
    );
}

#[test]
fn a_transaction_takes_so_many_bytes_and_no_more() {
    let few = transactions(Options {
        batch_bytes: 3500,
        ..options()
    });
    assert!((25..=100).contains(&few), "{few}");
}

#[test]
fn a_node_has_no_more_connections_to_its_database_than_is_said() {
    let database = Fresh::new();
    block_on(async {
        let store = open_url(&database.url, options()).await;
        let (ann, bob, place) = pair(&store).await;
        let names: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
        let work = async {
            let sends = (0..500).map(|key| store.execute(long(ann, place, key)));
            let users = names.iter().map(|name| user(&store, name));
            let reads = (0..200).map(|_| log(&store, bob, place));
            let (sent, ..) = futures::join!(join_all(sends), join_all(users), join_all(reads));
            sent.into_iter().for_each(|sent| drop(applied(sent)));
        };
        timeout(HUNG, work).await.unwrap();
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()";
        let seen: usize = database.tamper(count).trim().parse().unwrap();
        // One is the connection that counts.
        let most = 7 + usize::try_from(options().readers).unwrap();
        assert!((2..=most + 1).contains(&seen), "{seen}");
        store.close().await;
    });
}
