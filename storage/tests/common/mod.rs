//! What the tests of this crate are written with.

#![allow(dead_code, reason = "each test file uses a part")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests"
)]

pub(crate) mod contract;
pub(crate) mod server;

use std::sync::Arc;

use parlor_core::id::{Pair, Place, Seq, UserId};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::secret::Secret;
use parlor_core::store::{
    Applied, Command, Done, Read, ReadDone, StoreRequest, StoreResponse, StoreResult,
};
use parlor_storage::{Options, PasswordOptions, Sink, SqlStore};
use tempfile::TempDir;

/// The password of everyone.
pub(crate) const PASSWORD: &str = "correct horse";

/// Settings whose passwords cost nothing.
pub(crate) fn options() -> Options {
    Options {
        password: PasswordOptions {
            memory_kib: 8,
            iterations: 1,
            threads: 1,
            ..PasswordOptions::default()
        },
        ..Options::default()
    }
}

pub(crate) fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("parlor.db").display())
}

/// A sink for stores that are used by `execute` alone.
pub(crate) fn no_sink() -> Sink {
    Arc::new(|answers| panic!("nobody asked for {answers:?}"))
}

pub(crate) async fn open(folder: &TempDir, options: Options) -> SqlStore {
    open_url(&url(folder), options).await
}

pub(crate) async fn open_url(url: &str, options: Options) -> SqlStore {
    SqlStore::open(url, options, no_sink())
        .await
        .expect("a fresh store can be used")
}

#[track_caller]
pub(crate) fn applied(result: StoreResult) -> Applied {
    match result {
        Ok(StoreResponse::Applied(applied)) => applied,
        other => panic!("not carried out: {other:?}"),
    }
}

pub(crate) fn register(name: &str) -> StoreRequest {
    StoreRequest::Register {
        name: Name::new(name).unwrap(),
        password: Secret::new(PASSWORD),
    }
}

pub(crate) fn login(user: UserId, password: &str) -> StoreRequest {
    StoreRequest::Login {
        who: UserRef::Id(user),
        password: Secret::new(password),
        device: None,
    }
}

pub(crate) fn command(command: Command) -> StoreRequest {
    StoreRequest::Command(Box::new(command))
}

pub(crate) fn send(user: UserId, place: Place, key: &str) -> StoreRequest {
    command(Command::Send {
        user,
        place,
        key: Key::new(key).unwrap(),
        text: format!("the text of {key}").into(),
        reply_to: None,
        meta: None,
    })
}

pub(crate) async fn user(store: &SqlStore, name: &str) -> UserId {
    match applied(store.execute(register(name)).await).done {
        Done::Registered(user) => user,
        other => panic!("registering answers {other:?}"),
    }
}

/// Makes two users friends, and returns their conversation.
pub(crate) async fn befriend(store: &SqlStore, one: UserId, other: UserId) -> Place {
    let ask = Command::FriendRequest {
        user: one,
        who: UserRef::Id(other),
    };
    applied(store.execute(command(ask)).await);
    let accept = Command::Friend {
        user: other,
        action: FriendAction::Accept,
        other: one,
    };
    applied(store.execute(command(accept)).await);
    Place::Direct(Pair::new(one, other).unwrap())
}

/// The two users of a fresh store, and their conversation.
pub(crate) async fn pair(store: &SqlStore) -> (UserId, UserId, Place) {
    let (one, other) = (user(store, "ann").await, user(store, "bob").await);
    (one, other, befriend(store, one, other).await)
}

pub(crate) fn seq(result: StoreResult) -> Seq {
    match applied(result).done {
        Done::Appended { seq, .. } => seq,
        other => panic!("sending answers {other:?}"),
    }
}

/// The numbers of a log's first 200 entries, as a reader sees them.
pub(crate) async fn log(store: &SqlStore, reader: UserId, place: Place) -> Vec<u64> {
    let read = Read::History {
        reader,
        place,
        anchor: parlor_core::protocol::request::Anchor::After(Seq(0)),
        limit: 200,
        bytes: 1 << 20,
    };
    match store.execute(StoreRequest::Read(read)).await {
        Ok(StoreResponse::Read(ReadDone::History { entries, .. })) => {
            entries.iter().map(|entry| entry.seq.0).collect()
        }
        other => panic!("not read: {other:?}"),
    }
}
