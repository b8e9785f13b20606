//! What the contract's checks cannot see: the clock, the operator, the numbers.

use std::time::Duration;

use super::MemoryStore;
use crate::id::{Pair, Place, Seq, SessionId, UserId};
use crate::log::{Body, JoinPolicy};
use crate::name::{Key, Name};
use crate::protocol::ErrorCode;
use crate::protocol::request::{GroupSelfAction, UserRef};
use crate::secret::Secret;
use crate::store::{
    Command, Done, Limits, Read, ReadDone, StoreFailure, StoreRequest, StoreResponse, StoreResult,
};
use crate::time::Timestamp;

const START: Timestamp = Timestamp(1_700_000_000_000);
const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);

/// A store with Alice, Bob and their friendship.
fn store() -> (MemoryStore, Place) {
    let mut store = MemoryStore::new(Limits::default());
    for name in ["alice", "bob"] {
        let request = StoreRequest::Register {
            name: Name::new(name).unwrap(),
            password: Secret::new("password"),
        };
        store.execute(request, START).unwrap();
    }
    for (user, other) in [(ALICE, BOB), (BOB, ALICE)] {
        let who = UserRef::Id(other);
        execute(&mut store, Command::FriendRequest { user, who }, START).unwrap();
    }
    (store, Place::Direct(Pair::new(ALICE, BOB).unwrap()))
}

fn execute(store: &mut MemoryStore, command: Command, now: Timestamp) -> StoreResult {
    store.execute(StoreRequest::Command(Box::new(command)), now)
}

fn send(place: Place, key: &str) -> Command {
    Command::Send {
        user: ALICE,
        place,
        key: Key::new(key).unwrap(),
        text: "hello".into(),
        reply_to: None,
        meta: None,
    }
}

fn login(store: &mut MemoryStore, now: Timestamp) -> Result<(SessionId, Timestamp), ErrorCode> {
    let request = StoreRequest::Login {
        who: UserRef::Id(ALICE),
        password: Secret::new("password"),
        device: None,
    };
    session(store.execute(request, now))
}

fn resume(
    store: &mut MemoryStore,
    (session_id, expires): (SessionId, Timestamp),
    now: Timestamp,
) -> Result<(SessionId, Timestamp), ErrorCode> {
    let request = StoreRequest::Resume {
        user: ALICE,
        session: session_id,
        expires,
    };
    session(store.execute(request, now))
}

fn session(result: StoreResult) -> Result<(SessionId, Timestamp), ErrorCode> {
    match result {
        Ok(StoreResponse::Session(standing)) => Ok((standing.session, standing.expires)),
        Ok(other) => panic!("{other:?}"),
        Err(failure) => Err(code(failure)),
    }
}

fn code(failure: StoreFailure) -> ErrorCode {
    match failure {
        StoreFailure::Refused(error) => error.code,
        StoreFailure::Failed(error) => panic!("{error}"),
    }
}

#[test]
fn numbers_start_at_one_and_refusals_use_none_up() {
    let (mut store, _) = store();
    let taken = StoreRequest::Register {
        name: Name::new("BOB").unwrap(),
        password: Secret::new("password"),
    };
    let refused = store.execute(taken, START).unwrap_err();
    assert_eq!(code(refused), ErrorCode::NameTaken);
    let request = StoreRequest::Register {
        name: Name::new("carol").unwrap(),
        password: Secret::new("password"),
    };
    let Ok(StoreResponse::Applied(applied)) = store.execute(request, START) else {
        panic!("carol is registered");
    };
    assert_eq!(applied.done, Done::Registered(UserId(3)));
    assert_eq!(login(&mut store, START).unwrap().0, SessionId(1));
    assert_eq!(login(&mut store, START).unwrap().0, SessionId(2));
}

#[test]
fn sessions_expire_by_the_clock_of_the_store() {
    let (mut store, _) = store();
    let token = login(&mut store, START).unwrap();
    assert_eq!(token.1, START + Limits::default().session_lifetime);
    let last = token.1 - Duration::from_millis(1);
    assert_eq!(resume(&mut store, token, last), Ok(token));
    assert_eq!(store.roster(ALICE, last).unwrap().sessions, [token.0]);
    let expired = resume(&mut store, token, token.1);
    assert_eq!(expired, Err(ErrorCode::TokenExpired));
    assert_eq!(store.roster(ALICE, token.1).unwrap().sessions, []);
}

#[test]
fn locked_accounts_are_kept_out() {
    let (mut store, _) = store();
    let token = login(&mut store, START).unwrap();
    // As one that an operator locked by hand, in the database.
    store.tables.users.get_mut(&ALICE).unwrap().row.locked = true;
    assert_eq!(login(&mut store, START), Err(ErrorCode::Locked));
    let resumed = resume(&mut store, token, START);
    assert_eq!(resumed, Err(ErrorCode::TokenExpired));
    store.tables.users.get_mut(&ALICE).unwrap().row.locked = false;
    assert_eq!(resume(&mut store, token, START), Ok(token));
}

#[test]
fn messages_are_changed_within_a_window() {
    let (mut store, place) = store();
    execute(&mut store, send(place, "k"), START).unwrap();
    let edit = |text: &str| Command::Edit {
        user: ALICE,
        place,
        seq: Seq(1),
        text: text.into(),
    };
    let recall = Command::Recall {
        user: ALICE,
        place,
        seq: Seq(1),
    };
    let last = START + Limits::default().edit_window;
    let late = last + Duration::from_millis(1);
    execute(&mut store, edit("in time"), last).unwrap();
    for command in [edit("too late"), recall.clone()] {
        let refused = execute(&mut store, command, late).unwrap_err();
        assert_eq!(code(refused), ErrorCode::Forbidden);
    }
    execute(&mut store, recall, last).unwrap();
    assert_eq!(store.message_count(), 3);
    let log = store.log(place);
    assert_eq!(log[2].body, Body::Recall { target: Seq(1) });
    assert_eq!([log[0].at, log[1].at, log[2].at], [START, last, last]);
}

#[test]
fn a_late_commit_lies_in_the_past() {
    let (mut store, place) = store();
    let now = START + Duration::from_secs(60);
    let began = now - Duration::from_secs(5);
    let changes = |store: &mut MemoryStore, since| {
        let read = Read::Changes {
            since: Some(since),
            conversations_after: None,
            users_after: None,
            limit: 9,
        };
        match store.execute(StoreRequest::Read(read), now) {
            Ok(StoreResponse::Read(ReadDone::Changes {
                as_of,
                conversations,
                ..
            })) => (as_of, conversations.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(changes(&mut store, began), (now, 0));
    execute(&mut store, send(place, "k"), began).unwrap();
    // Who asks from the last answer's time on misses it; with an overlap it is found.
    assert_eq!(changes(&mut store, now), (now, 0));
    assert_eq!(changes(&mut store, began), (now, 1));
}

#[test]
fn a_long_batch_of_everything_is_one_transaction() {
    let (mut store, place) = store();
    let mut requests: Vec<StoreRequest> = Vec::new();
    for number in 0..100 {
        requests.push(StoreRequest::Register {
            name: Name::new(&format!("user {number}")).unwrap(),
            password: Secret::new("password"),
        });
        let create = Command::GroupCreate {
            user: ALICE,
            name: Name::new("group").unwrap(),
            description: "".into(),
            join: JoinPolicy::Open,
            key: None,
        };
        requests.push(StoreRequest::Command(Box::new(create)));
        let send = send(place, &format!("{number}"));
        requests.push(StoreRequest::Command(Box::new(send)));
        let group = crate::id::GroupId(number + 2);
        let join = Command::GroupSelf {
            user: UserId(number + 3),
            action: GroupSelfAction::Join,
            group,
        };
        requests.push(StoreRequest::Command(Box::new(join)));
    }
    for result in store.execute_batch(requests, START) {
        result.unwrap();
    }
    assert_eq!(store.message_count(), 300);
    let seqs: Vec<u64> = store.log(place).iter().map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, (1..=100).collect::<Vec<u64>>());
    let roster = store.roster(UserId(102), START).unwrap();
    assert_eq!(roster.groups[0].group, crate::id::GroupId(101));
}
