//! Several stores on one MariaDB database, as nodes of a cluster have them.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::task::{JoinHandle, block_on, sleep, spawn_blocking};
use futures::future::join_all;
use parlor_core::engine::Config;
use parlor_core::id::{ConversationId, SessionId, UserId};
use parlor_core::protocol::ErrorCode;
use parlor_core::secret::Secret;
use parlor_core::store::{
    Read, ReadDone, StoreError, StoreFailure, StoreRequest, StoreResponse, StoreResult,
};
use parlor_core::time::Timestamp;
use parlor_storage::{Options, SqlStore, migrate};

use common::server::{Fresh, Private};
use common::{
    PASSWORD, applied, befriend, login, no_sink, open_url, options, pair, register, send, seq, user,
};

/// How long a test waits before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);

/// Two stores on one fresh database.
async fn two(options: &Options) -> (Fresh, SqlStore, SqlStore) {
    let database = Fresh::new();
    let one = open_url(&database.url, options.clone()).await;
    let other = open_url(&database.url, options.clone()).await;
    (database, one, other)
}

async fn close(stores: [&SqlStore; 2]) {
    for store in stores {
        store.close().await;
    }
}

fn code(result: &StoreResult) -> Option<ErrorCode> {
    match result {
        Err(StoreFailure::Refused(error)) => Some(error.code),
        _ => None,
    }
}

#[test]
fn one_key_through_both_stores_is_one_message() {
    block_on(async {
        let (_database, one, other) = two(&options()).await;
        let (ann, bob, place) = pair(&one).await;
        for round in 1..=20 {
            let key = format!("key {round}");
            let sends =
                [&one, &other, &one, &other].map(|store| store.execute(send(ann, place, &key)));
            let seqs: BTreeSet<u64> = join_all(sends)
                .await
                .into_iter()
                .map(|sent| seq(sent).0)
                .collect();
            assert_eq!(seqs, BTreeSet::from([round]));
        }
        let expected: Vec<u64> = (1..=20).collect();
        assert_eq!(common::log(&other, bob, place).await, expected);
        close([&one, &other]).await;
    });
}

#[test]
fn one_key_in_two_conversations_is_a_conflict_for_one() {
    block_on(async {
        let (_database, one, other) = two(&options()).await;
        let (ann, bob, place) = pair(&one).await;
        let carl = user(&one, "carl").await;
        let elsewhere = befriend(&one, ann, carl).await;
        for round in 0..20 {
            let key = format!("key {round}");
            let first = one.execute(send(ann, place, &key));
            let second = other.execute(send(ann, elsewhere, &key));
            let (first, second) = futures::join!(first, second);
            let conflicts =
                [&first, &second].map(|result| code(result) == Some(ErrorCode::KeyConflict));
            assert_ne!(conflicts[0], conflicts[1], "{first:?} {second:?}");
        }
        let both = common::log(&one, bob, place).await.len()
            + common::log(&one, carl, elsewhere).await.len();
        assert_eq!(both, 20);
        close([&one, &other]).await;
    });
}

#[test]
fn logs_have_no_hole_whoever_appends() {
    block_on(async {
        let (database, one, other) = two(&options()).await;
        let mut users = Vec::new();
        for index in 0..5 {
            users.push(user(&one, &format!("user {index}")).await);
        }
        let mut places = Vec::new();
        for (index, low) in users.iter().enumerate() {
            for high in &users[index + 1..] {
                places.push((*low, *high, befriend(&one, *low, *high).await));
            }
        }
        // Each batch locks many conversations, and the stores' batches cross.
        let sends = (0..600).map(|index: usize| {
            let store = if index.is_multiple_of(2) {
                &one
            } else {
                &other
            };
            let (low, high, place) = places[(index * 7) % places.len()];
            let by = if index.is_multiple_of(3) { low } else { high };
            async move {
                seq(store
                    .execute(send(by, place, &format!("key {index}")))
                    .await)
            }
        });
        join_all(sends).await;
        let expected: Vec<u64> = (1..=60).collect();
        for (low, _, place) in places {
            assert_eq!(common::log(&other, low, place).await, expected);
        }
        let ordered = "SELECT COUNT(*) FROM message a JOIN message b ON b.conversation_id = a.conversation_id \
             AND b.seq = a.seq + 1 WHERE b.created_at < a.created_at";
        assert_eq!(
            database.tamper(ordered),
            "0\n",
            "no entry is older than the one before it"
        );
        close([&one, &other]).await;
    });
}

#[test]
fn numbers_are_never_handed_out_twice() {
    block_on(async {
        let (_database, one, other) = two(&options()).await;
        let registered = (0..100).map(|index| {
            let store = if index % 2 == 0 { &one } else { &other };
            async move { user(store, &format!("user {index}")).await }
        });
        let users: BTreeSet<UserId> = join_all(registered).await.into_iter().collect();
        assert_eq!(users.len(), 100);
        let taken = [&one, &other].map(|store| store.execute(register("Ünique")));
        let taken = join_all(taken).await;
        let refused = taken
            .iter()
            .filter(|result| code(result) == Some(ErrorCode::NameTaken));
        assert_eq!(refused.count(), 1, "{taken:?}");
        close([&one, &other]).await;
    });
}

#[test]
fn sessions_keep_their_limit_whoever_opens_them() {
    block_on(async {
        let (database, one, other) = two(&options()).await;
        let ann = user(&one, "ann").await;
        let logins = (0..60).map(|index| {
            let store = if index % 2 == 0 { &one } else { &other };
            store.execute(login(ann, PASSWORD))
        });
        let mut sessions = BTreeSet::<SessionId>::new();
        for opened in join_all(logins).await {
            match opened {
                Ok(StoreResponse::Session(standing)) => {
                    assert!(sessions.insert(standing.session));
                }
                other => panic!("no session: {other:?}"),
            }
        }
        let limit = Options::default().limits.sessions.to_string();
        let count = || database.tamper("SELECT COUNT(*) FROM session");
        assert_eq!(count().trim(), limit);
        // Two that surely meet: both wait for the user, and each sees what the other has done.
        let lock = hold(&database, "SELECT id FROM user FOR UPDATE", 2);
        sleep(Duration::from_millis(500)).await;
        let logins = [&one, &other].map(|store| store.execute(login(ann, PASSWORD)));
        assert!(join_all(logins).await.iter().all(Result::is_ok));
        lock.await;
        assert_eq!(count().trim(), limit);
        close([&one, &other]).await;
    });
}

#[test]
fn keys_and_names_are_compared_byte_by_byte() {
    block_on(async {
        let (database, one, other) = two(&options()).await;
        let (ann, bob, place) = pair(&one).await;
        let keys = [
            "a", "A", "á", "a\u{301}", "a ", "a\u{0}", "ａ", "ß", "ss", "💬",
        ];
        for (index, key) in (1..).zip(keys) {
            assert_eq!(
                seq(one.execute(send(ann, place, key)).await).0,
                index,
                "{key:?}"
            );
            assert_eq!(
                seq(other.execute(send(ann, place, key)).await).0,
                index,
                "{key:?}"
            );
        }
        assert_eq!(common::log(&other, bob, place).await.len(), keys.len());
        assert_ne!(user(&one, "ánn").await, ann);
        assert_eq!(
            code(&other.execute(register("ANN")).await),
            Some(ErrorCode::NameTaken)
        );
        let charset = "SELECT @@character_set_database, COUNT(*) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_collation NOT LIKE 'utf8mb4%' \
             AND table_name <> 'seaql_migrations'";
        assert_eq!(database.tamper(charset), "latin1\t0\n");
        close([&one, &other]).await;
    });
}

#[test]
fn a_row_that_the_database_refuses_fails_no_stranger() {
    block_on(async {
        let (database, one, other) = two(&options()).await;
        let (ann, bob, place) = pair(&one).await;
        database.tamper(
            "DELIMITER //\nCREATE TRIGGER guard BEFORE INSERT ON message FOR EACH ROW \
             BEGIN IF NEW.body LIKE '%poison%' THEN SIGNAL SQLSTATE '45000'; END IF; END//",
        );
        let sends = (0..30).map(|index| {
            let key = if index == 17 { "poison" } else { "key" };
            let by = if index % 2 == 0 { ann } else { bob };
            one.execute(send(by, place, &format!("{key} {index}")))
        });
        for (index, result) in join_all(sends).await.into_iter().enumerate() {
            if index == 17 {
                assert_eq!(result, Err(StoreError::Unavailable.into()));
            } else {
                seq(result);
            }
        }
        let expected: Vec<u64> = (1..=29).collect();
        assert_eq!(common::log(&other, ann, place).await, expected, "no hole");
        close([&one, &other]).await;
    });
}

/// What changed since a moment, and the moment to ask from next.
async fn changes(store: &SqlStore, since: Option<Timestamp>) -> (Timestamp, Vec<ConversationId>) {
    let read = Read::Changes {
        since,
        conversations_after: None,
        users_after: None,
        limit: 100,
    };
    match store.execute(StoreRequest::Read(read)).await {
        Ok(StoreResponse::Read(ReadDone::Changes {
            as_of,
            conversations,
            ..
        })) => {
            let changed = conversations.iter().map(|(_, head)| head.conversation);
            (as_of, changed.collect())
        }
        other => panic!("not read: {other:?}"),
    }
}

/// Holds the locks of a statement for some time, as another node would.
fn hold(database: &Fresh, statement: &str, seconds: u32) -> JoinHandle<String> {
    let (private, name) = (Arc::clone(&database.private), database.name.clone());
    let hold = format!("START TRANSACTION; {statement}; DO SLEEP({seconds})");
    spawn_blocking(move || private.server.execute(&name, &hold).unwrap())
}

/// Makes appending last long where the text says so.
fn slow(database: &Fresh, seconds: u32) {
    database.tamper(&format!(
        "DELIMITER //\nCREATE TRIGGER slow BEFORE INSERT ON message FOR EACH ROW \
         BEGIN IF NEW.body LIKE '%slow%' THEN DO SLEEP({seconds}); END IF; END//"
    ));
}

#[test]
fn a_late_commit_is_found_within_the_overlap() {
    let overlap = Config::new(Secret::new("of no account")).reconcile_overlap;
    assert!(
        overlap > Options::default().timeout,
        "longer than any transaction"
    );
    block_on(async {
        let (database, one, other) = two(&options()).await;
        let (ann, _, place) = pair(&one).await;
        let carl = user(&one, "carl").await;
        let elsewhere = befriend(&one, ann, carl).await;
        slow(&database, 3);
        let as_of = async {
            // Behind the slow one's moment and before its commit.
            sleep(Duration::from_millis(1500)).await;
            seq(other.execute(send(carl, elsewhere, "quick")).await);
            let (as_of, _) = changes(&other, None).await;
            assert!(
                common::log(&other, ann, place).await.is_empty(),
                "not committed yet"
            );
            as_of
        };
        let (late, as_of) = futures::join!(one.execute(send(ann, place, "slow")), as_of);
        seq(late);
        let (_, missed) = changes(&other, Some(as_of)).await;
        assert!(
            missed.is_empty(),
            "it was committed as of before: {missed:?}"
        );
        let (_, found) = changes(&other, Some(as_of - overlap)).await;
        assert_eq!(found.len(), 2, "both are within the overlap");
        close([&one, &other]).await;
    });
}

#[test]
fn a_transaction_that_lasts_too_long_is_ended() {
    block_on(async {
        let short = Options {
            timeout: Duration::from_secs(2),
            ..options()
        };
        let (database, one, other) = two(&short).await;
        let (ann, bob, place) = pair(&one).await;
        slow(&database, 3600);
        let start = Instant::now();
        let given_up = one.execute(send(ann, place, "slow")).await;
        assert_eq!(given_up, Err(StoreError::Unavailable.into()));
        // Its locks are gone on the server too, long before it would have ended by itself.
        loop {
            match other.execute(send(bob, place, "quick")).await {
                Err(StoreFailure::Failed(StoreError::Unavailable)) => {
                    assert!(start.elapsed() < HUNG, "the lock is never given back");
                }
                sent => break assert_eq!(seq(sent).0, 1),
            }
        }
        close([&one, &other]).await;
    });
}

#[test]
fn a_lock_that_is_not_had_in_time_is_tried_again() {
    block_on(async {
        let short = Options {
            // Half of it is waited for a lock.
            timeout: Duration::from_secs(4),
            ..options()
        };
        let (database, one, other) = two(&short).await;
        let (ann, bob, place) = pair(&one).await;
        let lock = hold(&database, "SELECT id FROM conversation FOR UPDATE", 3);
        sleep(Duration::from_millis(500)).await;
        let start = Instant::now();
        assert_eq!(seq(one.execute(send(ann, place, "waits")).await).0, 1);
        assert!(
            start.elapsed() > Duration::from_secs(2),
            "it had to be tried again"
        );
        lock.await;
        assert_eq!(common::log(&other, bob, place).await, [1]);
        close([&one, &other]).await;
    });
}

#[test]
fn the_victim_of_a_deadlock_is_tried_again() {
    block_on(async {
        // Of its own: the server counts deadlocks for all.
        let database = Fresh::on(Arc::new(Private::start(&[])));
        let store = open_url(&database.url, options()).await;
        let (ann, bob, place) = pair(&store).await;
        let carl = user(&store, "carl").await;
        let elsewhere = befriend(&store, ann, carl).await;
        database.tamper("CREATE TABLE scratch (n INT) ENGINE=InnoDB");
        let (start, mut rounds) = (Instant::now(), 0);
        while database.tamper("SHOW STATUS LIKE 'Innodb_deadlocks'") == "Innodb_deadlocks\t0\n" {
            assert!(start.elapsed() < HUNG, "there is no deadlock");
            // Locks in the other order, and has changed so much that the store has to give way.
            let cross = "INSERT INTO scratch SELECT seq FROM seq_1_to_5000; \
                 SELECT id FROM conversation ORDER BY id DESC LIMIT 1 FOR UPDATE; DO SLEEP(1); \
                 SELECT id FROM conversation ORDER BY id LIMIT 1 FOR UPDATE";
            let stranger = hold(&database, cross, 0);
            sleep(Duration::from_millis(500)).await;
            rounds += 1;
            // Mostly one batch, which locks both conversations in ascending order.
            let key = format!("key {rounds}");
            let sends = [send(ann, place, &key), send(carl, elsewhere, &key)];
            for sent in join_all(sends.map(|request| store.execute(request))).await {
                assert_eq!(seq(sent).0, rounds);
            }
            stranger.await;
        }
        let expected: Vec<u64> = (1..=rounds).collect();
        assert_eq!(common::log(&store, bob, place).await, expected);
        store.close().await;
    });
}

#[test]
fn connections_that_were_closed_are_replaced_unseen() {
    block_on(async {
        let (database, one, other) = two(&options()).await;
        let (ann, bob, place) = pair(&one).await;
        for round in 1..=5 {
            let kill = "SELECT GROUP_CONCAT('KILL ', id SEPARATOR '; ') \
                 FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
            let kill = database.tamper(kill);
            database.tamper(kill.trim());
            assert_eq!(
                seq(one.execute(send(ann, place, &format!("key {round}"))).await).0,
                round
            );
            let log = common::log(&one, bob, place).await;
            assert_eq!(log.len(), usize::try_from(round).unwrap());
            applied(one.execute(register(&format!("user {round}"))).await);
            assert!(one.execute(login(ann, PASSWORD)).await.is_ok());
        }
        close([&one, &other]).await;
    });
}

#[test]
fn stores_that_are_opened_at_once_migrate_once() {
    block_on(async {
        let database = Fresh::new();
        let stores = join_all((0..4).map(|_| open_url(&database.url, options()))).await;
        let cluster = stores[0].cluster().await.unwrap();
        assert_eq!(cluster.id.len(), 32);
        let claims = join_all(stores.iter().enumerate().map(async |(index, store)| {
            assert_eq!(store.cluster().await.unwrap().id, cluster.id);
            store
                .claim(if index % 2 == 0 { "even" } else { "odd" })
                .await
                .unwrap()
        }))
        .await;
        let theirs = claims.iter().filter(|claimed| **claimed).count();
        assert_eq!(theirs, 2, "one secret for all: {claims:?}");
        assert_ne!(claims[0], claims[1]);
        let secrets = join_all(stores.iter().map(SqlStore::secret)).await;
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        let rows = "SELECT COUNT(*) FROM seaql_migrations; SELECT COUNT(*) FROM number; SELECT COUNT(*) FROM cluster";
        assert_eq!(database.tamper(rows), "2\n3\n1\n");
        for store in stores {
            store.close().await;
        }
    });
}

#[test]
fn a_later_versions_migration_leaves_running_nodes_be() {
    block_on(async {
        let (database, one, other) = two(&options()).await;
        let (ann, bob, place) = pair(&one).await;
        assert_eq!(seq(one.execute(send(ann, place, "before")).await).0, 1);
        // What a migration may do: see `storage/src/migration`.
        for table in ["user", "session", "conversation", "member", "message"] {
            database.tamper(&format!("ALTER TABLE `{table}` ADD COLUMN extra TEXT"));
        }
        database.tamper(
            "CREATE TABLE more (n INT); CREATE INDEX message_by_time ON message (created_at); \
             INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)",
        );
        for (key, store) in [("one", &one), ("other", &other)] {
            assert!(store.execute(login(bob, PASSWORD)).await.is_ok());
            seq(store.execute(send(ann, place, key)).await);
        }
        user(&one, "carl").await;
        assert_eq!(common::log(&other, bob, place).await, [1, 2, 3]);
        close([&one, &other]).await;
    });
}

#[test]
fn a_migration_that_was_cut_short_is_completed() {
    block_on(async {
        let database = Fresh::new();
        open_url(&database.url, options()).await.close().await;
        database.tamper(
            "DELETE FROM seaql_migrations; DROP TABLE message; DROP TABLE number; \
             DROP INDEX user_by_name ON user",
        );
        let store = open_url(&database.url, options()).await;
        let (ann, _, place) = pair(&store).await;
        assert_eq!(seq(store.execute(send(ann, place, "a")).await).0, 1);
        assert_eq!(
            code(&store.execute(register("ann")).await),
            Some(ErrorCode::NameTaken)
        );
        store.close().await;
    });
}

#[test]
fn a_user_needs_few_rights() {
    let database = Fresh::new();
    let name = &database.name;
    let grant = |rights: &str, user: &str| {
        database.tamper(&format!(
            "CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'p@ss'; GRANT {rights} ON `{name}`.* TO '{user}'@'127.0.0.1'"
        ));
        let (_, host) = database.url.rsplit_once('@').unwrap();
        format!("mysql://{user}:p%40ss@{host}")
    };
    let rows = "SELECT, INSERT, UPDATE, DELETE";
    let tables = format!("{rows}, CREATE, ALTER, INDEX");
    let operator = grant(&tables, &format!("{name}_o"));
    let node = grant(rows, &format!("{name}_n"));
    block_on(async {
        migrate(&operator, false).await.unwrap();
        let store = open_url(&node, options()).await;
        let (ann, _, place) = pair(&store).await;
        assert_eq!(seq(store.execute(send(ann, place, "a")).await).0, 1);
        store.close().await;
    });
}

#[track_caller]
fn refused(url: &str, options: Options) -> String {
    match block_on(SqlStore::open(url, options, no_sink())) {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n'), "one line: {text}");
            text
        }
    }
}

#[test]
fn a_database_that_cannot_be_used_says_what_to_do() {
    let database = Fresh::new();
    let (start, _) = database.url.rsplit_once('/').unwrap();
    let quick = || Options {
        timeout: Duration::from_secs(3),
        ..options()
    };
    let text = refused(&format!("{start}/no_such_database"), quick());
    assert!(text.contains("no_such_database"), "{text}");
    let (_, rest) = start.split_once("://parlor:").unwrap();
    let (password, host) = rest.split_once('@').unwrap();
    let text = refused(&format!("mysql://parlor:wrong@{host}/x"), quick());
    assert!(text.contains("Access denied"), "{text}");
    assert!(!text.contains("wrong"), "{text}");
    let text = refused(&format!("{}?ssl-mode=REQUIRED", database.url), quick());
    assert!(text.contains("does not support TLS"), "{text}");
    assert!(!text.contains(password), "{text}");

    database.tamper("CREATE TABLE recipe (name TEXT)");
    let text = refused(&database.url, quick());
    assert!(text.contains("is not a database of Parlor"), "{text}");
}

#[test]
fn migrating_is_the_operators_where_they_want_it() {
    let database = Fresh::new();
    let kept = || Options {
        migrate: false,
        ..options()
    };
    let text = refused(&database.url, kept());
    assert!(
        text.contains("lacks the migration m0001_tables: run `parlor migrate`"),
        "{text}"
    );
    block_on(async {
        let lacking = migrate(&database.url, true).await.unwrap();
        assert_eq!(lacking, ["m0001_tables", "m0002_identities"]);
        assert_eq!(
            database.tamper("SHOW TABLES"),
            "",
            "a dry run changes nothing"
        );
        assert_eq!(migrate(&database.url, false).await.unwrap(), lacking);
        assert!(migrate(&database.url, true).await.unwrap().is_empty());
        let store = open_url(&database.url, kept()).await;
        user(&store, "ann").await;
        store.close().await;
    });
    database.tamper("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)");
    let text = refused(&database.url, kept());
    assert!(text.contains("later version"), "{text}");
    assert!(text.contains("m9999_later"), "{text}");
    assert!(block_on(migrate(&database.url, false)).is_err());
}
