//! What SQLite alone has to prove: that it lasts, bounds itself, and is shared.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_std::task::{block_on, sleep};
use futures::future::join_all;
use parlor_core::id::{ConversationId, Place, StoreToken, UserId};
use parlor_core::identity::Identity;
use parlor_core::name::Name;
use parlor_core::protocol::ErrorCode;
use parlor_core::store::{
    Command, Read, ReadDone, Store as _, StoreError, StoreFailure, StoreRequest, StoreResponse,
    StoreResult,
};
use parlor_storage::{OpenError, Options, PasswordOptions, SqlStore};
use tempfile::TempDir;

use common::{
    PASSWORD, applied, befriend, login, no_sink, open, options, pair, register, send, seq, url,
    user,
};

/// How long a test waits before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);

#[test]
fn what_was_stored_is_there_after_reopening() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, options()).await;
        let (ann, bob, place) = pair(&store).await;
        assert_eq!(seq(store.execute(send(ann, place, "a")).await).0, 1);
        let (cluster, secret) = (store.cluster().await, store.secret().await);
        store.close().await;

        let store = open(&folder, options()).await;
        assert_eq!(common::log(&store, bob, place).await, [1]);
        assert_eq!(seq(store.execute(send(ann, place, "a")).await).0, 1);
        assert_eq!(seq(store.execute(send(bob, place, "b")).await).0, 2);
        assert!(store.execute(login(ann, PASSWORD)).await.is_ok());
        let carl = user(&store, "carl").await;
        assert!(carl > bob, "numbers are never used twice");
        assert_eq!(store.cluster().await, cluster);
        assert_eq!(store.secret().await, secret);
        store.close().await;
    });
}

#[test]
fn the_cluster_has_a_name_a_secret_and_a_check() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, options()).await;
        let cluster = store.cluster().await.unwrap();
        assert_eq!((cluster.id.len(), cluster.check), (32, None));
        assert_eq!(store.secret().await.unwrap().expose().len(), 64);
        assert_eq!(store.claim("one").await, Ok(true));
        assert_eq!(store.claim("other").await, Ok(false));
        assert_eq!(store.claim("one").await, Ok(true));
        let check = store.cluster().await.unwrap().check;
        assert_eq!(check.as_deref(), Some("one"));
        store.close().await;

        let elsewhere = TempDir::new().unwrap();
        let store = open(&elsewhere, options()).await;
        assert_ne!(store.cluster().await.unwrap().id, cluster.id);
        store.close().await;
    });
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, options()).await;
        user(&store, "ann").await;
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{entry:?}");
        }
        store.close().await;
    });
}

#[test]
fn closing_leaves_one_whole_file() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, options()).await;
        let ann = user(&store, "ann").await;
        store.close().await;
        let unavailable = Err(StoreError::Unavailable.into());
        assert_eq!(store.execute(login(ann, PASSWORD)).await, unavailable);
        store.close().await;
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["parlor.db"]);
    });
}

fn refused(url: &str) -> String {
    match block_on(SqlStore::open(url, options(), no_sink())) {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n'), "one line: {text}");
            text
        }
    }
}

#[test]
fn files_that_cannot_be_used_say_what_to_do() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let at = |name: &str| refused(&format!("sqlite:{}", path(name).display()));

    std::fs::write(path("text"), "no database, but some text").unwrap();
    assert!(at("text").contains("is not a database of Parlor"));
    let kept = std::fs::read_to_string(path("text")).unwrap();
    assert_eq!(kept, "no database, but some text");

    assert!(at("missing/parlor.db").contains("make its folder first"));
    assert!(at("").contains("name a file in that folder"));
    assert!(refused("parlor.db").contains("write sqlite:/path/to/file"));
}

/// Runs statements on a store's file, as another program would.
fn tamper(folder: &TempDir, statement: &'static str) {
    use sea_orm::ConnectionTrait as _;
    block_on(async {
        let url = format!("{}?mode=rwc", url(folder));
        let database = sea_orm::Database::connect(url).await.unwrap();
        database.execute_unprepared(statement).await.unwrap();
        database.close().await.unwrap();
    });
}

#[test]
fn a_later_version_and_another_program_are_told_apart() {
    let folder = TempDir::new().unwrap();
    block_on(async { open(&folder, options()).await.close().await });
    tamper(
        &folder,
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)",
    );
    let text = refused(&url(&folder));
    assert!(text.contains("later version"), "{text}");
    assert!(text.contains("m9999_later"), "{text}");

    let folder = TempDir::new().unwrap();
    tamper(&folder, "CREATE TABLE recipe (name TEXT)");
    let text = refused(&url(&folder));
    assert!(text.contains("is not a database of Parlor"), "{text}");
}

#[test]
fn a_store_of_the_version_before_is_brought_up_to_date() {
    let folder = TempDir::new().unwrap();
    let ann = block_on(async {
        let store = open(&folder, options()).await;
        let (ann, _, place) = pair(&store).await;
        assert_eq!(seq(store.execute(send(ann, place, "a")).await).0, 1);
        store.close().await;
        ann
    });
    tamper(
        &folder,
        "DROP INDEX user_by_identity; ALTER TABLE user DROP COLUMN identity; \
         DELETE FROM seaql_migrations WHERE version = 'm0002_identities'",
    );
    block_on(async {
        let store = open(&folder, options()).await;
        let vouched = |name: &str| {
            let command = Command::OpenSessionOf {
                identity: Identity::new("issuer", "17"),
                name: Some(Name::new(name).unwrap()),
                device: None,
            };
            store.execute(StoreRequest::Command(Box::new(command)))
        };
        let carl = applied(vouched("carl").await).changed[0].0;
        assert!(carl > ann, "numbers are never used twice");
        assert_eq!(applied(vouched("ann").await).changed[0].0, carl);
        assert!(store.execute(login(ann, PASSWORD)).await.is_ok());
        store.close().await;
    });
}

#[test]
fn hashing_settings_are_checked() {
    let folder = TempDir::new().unwrap();
    let options = Options {
        password: PasswordOptions {
            memory_kib: 7,
            ..options().password
        },
        ..options()
    };
    let opened = block_on(SqlStore::open(&url(&folder), options, no_sink()));
    assert!(matches!(opened, Err(OpenError::Password { .. })));
}

#[test]
fn two_stores_share_one_file() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let (one, other) = futures::join!(open(&folder, options()), open(&folder, options()));
        assert_eq!(one.cluster().await, other.cluster().await);
        let (ann, bob, place) = pair(&one).await;
        let sends = (0..40).map(|index| {
            let store = if index % 2 == 0 { &one } else { &other };
            let by = if index % 3 == 0 { ann } else { bob };
            async move {
                seq(store
                    .execute(send(by, place, &format!("key {index}")))
                    .await)
            }
        });
        let seqs: BTreeSet<u64> = join_all(sends).await.iter().map(|seq| seq.0).collect();
        assert_eq!(seqs, (1..=40).collect());
        let names = (0..10).map(|index| {
            let store = if index % 2 == 0 { &one } else { &other };
            async move { user(store, &format!("user {index}")).await }
        });
        let users: BTreeSet<UserId> = join_all(names).await.into_iter().collect();
        assert_eq!(users.len(), 10, "no number twice");
        let taken = other.execute(register("Ann")).await;
        assert_eq!(code(&taken), Some(ErrorCode::NameTaken));
        one.close().await;
        other.close().await;
    });
}

fn code(result: &StoreResult) -> Option<ErrorCode> {
    match result {
        Err(StoreFailure::Refused(error)) => Some(error.code),
        _ => None,
    }
}

#[test]
fn many_writers_at_once_leave_no_hole() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, options()).await;
        let (ann, bob, place) = pair(&store).await;
        let carl = user(&store, "carl").await;
        let other = befriend(&store, ann, carl).await;
        let writers = (0..8).map(|writer| {
            let store = &store;
            async move {
                for index in 0..20 {
                    let key = format!("{writer}/{index}");
                    let (by, place) = match writer % 4 {
                        0 => (ann, place),
                        1 => (bob, place),
                        2 => (ann, other),
                        _ => (carl, other),
                    };
                    seq(store.execute(send(by, place, &key)).await);
                }
            }
        });
        join_all(writers).await;
        let expected: Vec<u64> = (1..=80).collect();
        assert_eq!(common::log(&store, bob, place).await, expected);
        assert_eq!(common::log(&store, carl, other).await, expected);
        store.close().await;
    });
}

#[test]
fn a_row_that_the_database_refuses_fails_no_stranger() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let store = open(&folder, options()).await;
        let (ann, bob, place) = pair(&store).await;
        store.close().await;
        refuse_poison(&folder);
        let store = open(&folder, options()).await;
        let sends = (0..30).map(|index| {
            let key = if index == 17 { "poison" } else { "key" };
            let by = if index % 2 == 0 { ann } else { bob };
            store.execute(send(by, place, &format!("{key} {index}")))
        });
        let results = join_all(sends).await;
        for (index, result) in results.into_iter().enumerate() {
            if index == 17 {
                assert_eq!(result, Err(StoreError::Unavailable.into()));
            } else {
                seq(result);
            }
        }
        let expected: Vec<u64> = (1..=29).collect();
        assert_eq!(common::log(&store, ann, place).await, expected, "no hole");
        store.close().await;
    });
}

/// Makes the database refuse one text, as a fault of its own would.
fn refuse_poison(folder: &TempDir) {
    tamper(
        folder,
        "CREATE TRIGGER guard BEFORE INSERT ON message WHEN NEW.body LIKE '%poison%' \
         BEGIN SELECT RAISE(ABORT, 'refused'); END",
    );
}

/// Everything that came to a sink.
type Answers = Arc<Mutex<Vec<(StoreToken, StoreResult)>>>;

async fn open_with_sink(folder: &TempDir, options: Options) -> (SqlStore, Answers) {
    let answers = Answers::default();
    let sink = Arc::clone(&answers);
    let sink = Arc::new(move |batch| sink.lock().unwrap().extend(batch));
    let store = SqlStore::open(&url(folder), options, sink).await.unwrap();
    (store, answers)
}

async fn wait_for(answers: &Answers, count: usize) -> Vec<(StoreToken, StoreResult)> {
    let start = Instant::now();
    while answers.lock().unwrap().len() < count {
        assert!(start.elapsed() < HUNG, "{count} answers do not come");
        sleep(Duration::from_millis(2)).await;
    }
    let mut answers = std::mem::take(&mut *answers.lock().unwrap());
    answers.sort_by_key(|(token, _)| *token);
    answers
}

#[test]
fn every_token_is_answered_once_and_overflow_is_busy() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let options = Options {
            queue: 50,
            ..options()
        };
        let (store, answers) = open_with_sink(&folder, options).await;
        let (ann, _, place) = pair(&store).await;
        let requests = (0..200).map(|index| {
            let request = send(ann, place, &format!("key {index}"));
            (StoreToken(index), request)
        });
        store.submit(requests.collect());
        let got = wait_for(&answers, 200).await;
        let tokens: Vec<u64> = got.iter().map(|(token, _)| token.0).collect();
        assert_eq!(tokens, (0..200).collect::<Vec<_>>());
        let busy = Err(StoreError::Busy.into());
        let refused = got.iter().filter(|(_, result)| *result == busy).count();
        assert!((1..=150).contains(&refused), "{refused} were refused");
        let mut stored: Vec<u64> = got
            .into_iter()
            .filter(|(_, result)| *result != busy)
            .map(|(_, result)| seq(result).0)
            .collect();
        stored.sort_unstable();
        let expected: Vec<u64> = (1..=200 - u64::try_from(refused).unwrap()).collect();
        assert_eq!(stored, expected);
        store.close().await;
    });
}

#[test]
fn pipelined_sends_keep_their_order() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let (store, answers) = open_with_sink(&folder, options()).await;
        let (ann, _, place) = pair(&store).await;
        let requests = (1..=500).map(|index| {
            let request = send(ann, place, &format!("key {index}"));
            (StoreToken(index), request)
        });
        store.submit(requests.collect());
        for (token, result) in wait_for(&answers, 500).await {
            assert_eq!(seq(result).0, token.0);
        }
        store.close().await;
    });
}

#[test]
fn too_many_passwords_are_refused_with_a_time_to_repeat() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let options = Options {
            password: PasswordOptions {
                queue: 2,
                ..options().password
            },
            ..options()
        };
        let (store, answers) = open_with_sink(&folder, options).await;
        let requests = (0..20).map(|index| (StoreToken(index), register(&format!("u{index}"))));
        store.submit(requests.collect());
        let got = wait_for(&answers, 20).await;
        let mut refused = 0;
        for (_, result) in got {
            if let Err(StoreFailure::Refused(error)) = &result {
                assert_eq!(error.code, ErrorCode::Busy);
                assert!(error.retry_ms.is_some());
                refused += 1;
            } else {
                applied(result);
            }
        }
        assert!((1..=18).contains(&refused), "{refused} were refused");
        store.close().await;
    });
}

#[test]
fn closing_completes_what_is_under_way() {
    let folder = TempDir::new().unwrap();
    block_on(async {
        let (store, answers) = open_with_sink(&folder, options()).await;
        let (ann, bob, place) = pair(&store).await;
        let requests = (0..100).map(|index| {
            let request = send(ann, place, &format!("key {index}"));
            (StoreToken(index), request)
        });
        store.submit(requests.collect());
        store.close().await;
        let got = std::mem::take(&mut *answers.lock().unwrap());
        assert_eq!(got.len(), 100);
        got.into_iter().for_each(|(_, result)| {
            seq(result);
        });
        let store = open(&folder, options()).await;
        assert_eq!(common::log(&store, bob, place).await.len(), 100);
        store.close().await;
    });
}

#[test]
fn a_writer_that_never_ends_makes_the_store_unavailable() {
    use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
    let folder = TempDir::new().unwrap();
    block_on(async {
        let options = Options {
            timeout: Duration::from_millis(300),
            request_timeout: Duration::from_secs(1),
            batch_rows: 1,
            ..options()
        };
        let (store, answers) = open_with_sink(&folder, options).await;
        let (ann, bob, place) = pair(&store).await;
        let stranger = sea_orm::Database::connect(url(&folder)).await.unwrap();
        let lock = stranger.begin().await.unwrap();
        let text = "UPDATE number SET next = next";
        lock.execute_unprepared(text).await.unwrap();
        let requests = (0..20).map(|index| {
            let request = send(ann, place, &format!("key {index}"));
            (StoreToken(index), request)
        });
        store.submit(requests.collect());
        let seen = common::log(&store, bob, place).await;
        assert!(seen.is_empty(), "reads go on");
        for (_, result) in wait_for(&answers, 20).await {
            assert_eq!(result, Err(StoreError::Unavailable.into()));
        }
        lock.rollback().await.unwrap();
        stranger.close().await.unwrap();
        let start = Instant::now();
        let again = loop {
            match store.execute(send(ann, place, "a")).await {
                Err(StoreFailure::Failed(StoreError::Unavailable)) => {
                    assert!(start.elapsed() < HUNG, "the store does not come back");
                }
                other => break other,
            }
        };
        assert_eq!(seq(again).0, 1, "nothing that was refused was stored");
        store.close().await;
    });
}

/// Set for the child process of [`a_killed_process_loses_nothing_acknowledged`].
const CHILD: &str = "PARLOR_STORAGE_TEST_FOLDER";

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    if let Some(path) = std::env::var_os(CHILD) {
        block_on(send_until_killed(&format!(
            "sqlite:{}",
            path.into_string().unwrap()
        )));
    }
    let folder = TempDir::new().unwrap();
    let (ann, bob, place) = block_on(async {
        let store = open(&folder, options()).await;
        let made = pair(&store).await;
        store.close().await;
        made
    });
    let acknowledged = folder.path().join("acknowledged");
    let mut child = spawn_sender(folder.path());
    let start = Instant::now();
    let count = || std::fs::metadata(&acknowledged).map_or(0, |file| file.len());
    while count() < 50 {
        assert!(start.elapsed() < HUNG, "the other process sends nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let acknowledged = count();
    block_on(async {
        let store = open(&folder, options()).await;
        let conversation = ConversationId(1);
        let heads = Read::Heads {
            conversations: vec![conversation],
            users: vec![ann, bob],
        };
        match store.execute(StoreRequest::Read(heads)).await {
            Ok(StoreResponse::Read(ReadDone::Heads { heads, .. })) => {
                assert_eq!(heads[0].place, place);
                assert!(heads[0].last.0 >= acknowledged, "{heads:?}");
            }
            other => panic!("not read: {other:?}"),
        }
        for index in 0..acknowledged {
            let again = seq(store
                .execute(send(ann, place, &format!("key {index}")))
                .await);
            assert_eq!(again.0, index + 1);
        }
        store.close().await;
    });
}

/// Runs this very test in another process.
fn spawn_sender(folder: &std::path::Path) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_loses_nothing_acknowledged"])
        .env(CHILD, folder.join("parlor.db"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Sends one message after the other, and adds a byte to a file for each that is acknowledged.
async fn send_until_killed(url: &str) -> ! {
    use std::io::Write as _;
    let store = SqlStore::open(url, options(), no_sink()).await.unwrap();
    let path = std::path::Path::new(url.strip_prefix("sqlite:").unwrap());
    let mut acknowledged = std::fs::File::create(path.with_file_name("acknowledged")).unwrap();
    let (ann, bob) = (UserId(1), UserId(2));
    let place = Place::Direct(parlor_core::id::Pair::new(ann, bob).unwrap());
    for index in 0_u64.. {
        seq(store
            .execute(send(ann, place, &format!("key {index}")))
            .await);
        acknowledged.write_all(b".").unwrap();
    }
    unreachable!("killed before")
}
