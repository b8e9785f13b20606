//! What a message costs the store on SQLite, by how many are written at once.
//! `cargo bench -p parlor-storage`, in a folder on the disk that is meant.
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot run has no result"
)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use async_std::task::block_on;
use divan::Bencher;
use divan::counter::ItemsCount;
use parlor_core::id::{Pair, Place, StoreToken, UserId};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::secret::Secret;
use parlor_core::store::{Command, Done, Store as _, StoreRequest, StoreResponse, StoreResult};
use parlor_storage::{Options, PasswordOptions, SqlStore};
use tempfile::TempDir;

fn main() {
    divan::main();
}

/// Submits so many messages at once and waits until all are on the disk.
#[divan::bench(args = [1, 16, 128], sample_size = 1, sample_count = 200)]
fn messages_at_once(bencher: Bencher<'_, '_>, count: u64) {
    let bench = Bench::open();
    let mut keys = 0..;
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| {
            let keys = keys.by_ref().take(usize::try_from(count).expect("few"));
            keys.map(|key| bench.send(key)).collect::<Vec<_>>()
        })
        .bench_local_values(|sends| bench.written(sends));
    block_on(bench.store.close());
}

/// A store, two friends in it, and what it answers.
struct Bench {
    store: SqlStore,
    answers: Receiver<StoreResult>,
    user: UserId,
    place: Place,
    _folder: TempDir,
}

impl Bench {
    fn open() -> Self {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("bench.db").display());
        let options = Options {
            password: PasswordOptions {
                memory_kib: 8,
                iterations: 1,
                ..PasswordOptions::default()
            },
            ..Options::default()
        };
        let (sender, answers) = channel();
        let sink = Arc::new(move |done: Vec<(StoreToken, StoreResult)>| {
            for (_, result) in done {
                sender.send(result).expect("someone waits");
            }
        });
        let store = block_on(SqlStore::open(&url, options, sink)).expect("a store");
        let [user, friend] = ["one", "other"].map(|name| register(&store, name));
        let ask = Command::FriendRequest {
            user,
            who: UserRef::Id(friend),
        };
        change(&store, ask);
        let accept = Command::Friend {
            user: friend,
            action: FriendAction::Accept,
            other: user,
        };
        change(&store, accept);
        Self {
            store,
            answers,
            user,
            place: Place::Direct(Pair::new(user, friend).expect("two users")),
            _folder: folder,
        }
    }

    /// Makes a message of 100 bytes.
    fn send(&self, key: u64) -> (StoreToken, StoreRequest) {
        let send = Command::Send {
            user: self.user,
            place: self.place,
            key: Key::new(&format!("key-{key}")).expect("a key"),
            text: "0123456789".repeat(10).into(),
            reply_to: None,
            meta: None,
        };
        (StoreToken(key), StoreRequest::Command(Box::new(send)))
    }

    fn written(&self, sends: Vec<(StoreToken, StoreRequest)>) {
        let count = sends.len();
        self.store.submit(sends);
        for result in self.answers.iter().take(count) {
            result.expect("a message is taken");
        }
    }
}

fn register(store: &SqlStore, name: &str) -> UserId {
    let register = StoreRequest::Register {
        name: Name::new(name).expect("a name"),
        password: Secret::new("correct horse"),
    };
    match block_on(store.execute(register)) {
        Ok(StoreResponse::Applied(applied)) => match applied.done {
            Done::Registered(user) => Some(user),
            _ => None,
        },
        _ => None,
    }
    .expect("a user")
}

fn change(store: &SqlStore, command: Command) {
    let request = StoreRequest::Command(Box::new(command));
    block_on(store.execute(request)).expect("a change");
}
