use std::collections::BTreeMap;
use std::path::Path;

use futures::executor::block_on;
use proptest::collection::vec;
use proptest::prelude::*;
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sea_orm::sqlx::{Connection as _, query, query_as, query_scalar};

use super::*;

/// The length of a row: a large transaction has more than is gathered at most.
const LENGTH: usize = 2500;

fn head(ends: bool) -> [u8; HEAD] {
    let mut head = [7; HEAD];
    head[4..8].fill(u8::from(ends));
    head
}

#[test]
fn pages_are_gathered_until_a_transaction_ends() {
    let mut gathered = Gathered::default();
    let page = [9; 512];
    let mut offset = 32;
    for ends in [false, false, true] {
        assert!(gathered.takes(&head(ends), offset));
        assert!(!gathered.add(&head(ends), offset));
        assert!(gathered.takes(&page, offset + 24));
        assert_eq!(gathered.add(&page, offset + 24), ends);
        offset += 24 + 512;
    }
    assert_eq!((gathered.offset, gathered.bytes.len()), (32, 3 * 536));
    gathered.clear();
    assert!(gathered.takes(&page, 5), "any place will do");
    assert!(!gathered.add(&page, 5), "it ended before");
}

#[test]
fn no_more_is_gathered_than_is_written_at_a_time() {
    let mut gathered = Gathered::default();
    gathered.add(&[1; 1000], 0);
    assert!(!gathered.takes(&[2; 10], 999));
    assert!(!gathered.takes(&[2; 10], 1001));
    assert!(gathered.takes(&[2; MOST - 1000], 1000));
    assert!(!gathered.takes(&[2; MOST - 999], 1000));
}

#[test]
fn a_transaction_ends_with_a_page_whose_head_was_the_last_that_had_room() {
    let mut gathered = Gathered::default();
    gathered.add(&[1; MOST - HEAD], 0);
    let end = i64::try_from(MOST).unwrap();
    assert!(gathered.takes(&head(true), end - 24));
    assert!(!gathered.add(&head(true), end - 24));
    assert!(!gathered.takes(&[9; 512], end));
    gathered.clear();
    assert!(gathered.add(&[9; 512], end));
}

/// Something that one of two connections does.
#[derive(Clone, Debug)]
enum Act {
    /// A transaction changes rows, perhaps looks at all of them, and is committed or rolled back.
    Change {
        rows: Vec<(i64, u8)>,
        looks: bool,
        commits: bool,
    },
    /// The log is copied into the database.
    Checkpoint,
}

fn acts() -> impl Strategy<Value = Vec<(bool, Act)>> {
    let rows = vec((0_i64..60, any::<u8>()), 0..80);
    let act = prop_oneof![
        8 => (rows, any::<bool>(), any::<bool>())
            .prop_map(|(rows, looks, commits)| Act::Change { rows, looks, commits }),
        1 => Just(Act::Checkpoint),
    ];
    vec((any::<bool>(), act), 1..16)
}

/// Opens a file, with the layer or without, and with so few pages in memory that those of larger
/// transactions are in the log before these end.
async fn connect(file: &Path, layer: bool, full: bool) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(if full {
            SqliteSynchronous::Full
        } else {
            SqliteSynchronous::Off
        })
        .pragma("cache_size", "6")
        .pragma("page_size", "1024");
    let options = if layer {
        options.vfs(register().unwrap())
    } else {
        options
    };
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Fails unless a connection sees just these rows.
async fn check(connection: &mut SqliteConnection, rows: &BTreeMap<i64, u8>) {
    let found: Vec<(i64, i64, Vec<u8>)> =
        query_as("SELECT id, length(body), substr(body, 600, 1) FROM row ORDER BY id")
            .fetch_all(connection)
            .await
            .unwrap();
    let wanted = rows
        .iter()
        .map(|(id, byte)| (*id, i64::try_from(LENGTH).unwrap(), vec![*byte]));
    assert_eq!(found, Vec::from_iter(wanted));
}

async fn carry_out(connection: &mut SqliteConnection, act: &Act, rows: &mut BTreeMap<i64, u8>) {
    let text = match act {
        Act::Checkpoint => "PRAGMA wal_checkpoint(TRUNCATE)",
        Act::Change {
            rows: changed,
            looks,
            commits,
        } => {
            query("BEGIN IMMEDIATE")
                .execute(&mut *connection)
                .await
                .unwrap();
            let mut after = rows.clone();
            for (id, byte) in changed {
                query("INSERT OR REPLACE INTO row (id, body) VALUES (?, ?)")
                    .bind(id)
                    .bind(vec![*byte; LENGTH])
                    .execute(&mut *connection)
                    .await
                    .unwrap();
                after.insert(*id, *byte);
            }
            if *looks {
                check(&mut *connection, &after).await;
            }
            if *commits {
                *rows = after;
                "COMMIT"
            } else {
                "ROLLBACK"
            }
        }
    };
    query(text).execute(connection).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Two connections write by turns, of which only one has the layer.
    #[test]
    fn all_see_what_was_committed_and_nothing_else(acts in acts(), full: bool) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        block_on(async {
            let mut one = connect(&file, true, full).await;
            query("CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB) STRICT")
                .execute(&mut one)
                .await
                .unwrap();
            let mut other = connect(&file, false, full).await;
            let mut rows = BTreeMap::new();
            for (first, act) in &acts {
                let connection = if *first { &mut one } else { &mut other };
                carry_out(connection, act, &mut rows).await;
                check(&mut other, &rows).await;
                check(&mut one, &rows).await;
            }
            for mut connection in [other, one] {
                let sound: String = query_scalar("PRAGMA integrity_check")
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                assert_eq!(sound, "ok");
                connection.close().await.unwrap();
            }
            let mut last = connect(&file, false, full).await;
            check(&mut last, &rows).await;
        });
    }
}
