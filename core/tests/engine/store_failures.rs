use std::time::Duration;

use parlor_core::id::{Pair, Place, UserId};
use parlor_core::name::Key;
use parlor_core::protocol::{ErrorCode, Request};
use parlor_core::sim::Sent;
use parlor_core::store::{Command, StoreError, StoreRequest};

use crate::{World, send, user};

fn answers(world: &mut World, connection: parlor_core::id::ConnectionId) -> Vec<ErrorCode> {
    world
        .node
        .take(connection)
        .into_iter()
        .filter_map(|sent| match sent {
            Sent::Reply(_, Err(error)) => Some(error.code),
            _ => None,
        })
        .collect()
}

#[test]
fn a_store_that_is_away_is_said_to_be() {
    let mut world = World::new();
    let circle = world.circle(2);
    for (error, code) in [
        (StoreError::Unavailable, ErrorCode::Unavailable),
        (StoreError::Busy, ErrorCode::Busy),
        (StoreError::Unknown, ErrorCode::Unavailable),
    ] {
        world.node.hold_store();
        world
            .node
            .request(circle[0], 1000, send(user(2), "one"))
            .unwrap();
        let (token, _) = world.node.take_held().pop().unwrap();
        world.node.complete(token, Err(error.into())).unwrap();
        assert_eq!(answers(&mut world, circle[0]), [code]);
        world.node.release_store().unwrap();
    }
    world.ok(circle[0], Request::Ping);
}

#[test]
fn what_was_committed_without_a_word_is_found() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.wait(Duration::from_secs(6));
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "one"))
        .unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let now = world.node.now();
    assert!(world.node.store.execute(request, now).is_ok());
    world
        .node
        .complete(token, Err(StoreError::Unknown.into()))
        .unwrap();
    assert_eq!(answers(&mut world, circle[0]), [ErrorCode::Unavailable]);
    world.node.release_store().unwrap();
    assert_eq!(world.messages(circle[1]), []);
    world.wait(Duration::from_secs(6));
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
    world.ok(circle[0], send(user(2), "one"));
    assert_eq!(
        world.messages(circle[1]),
        [],
        "the repeated key is the same message"
    );
}

#[test]
fn a_disconnect_cancels_nothing() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "last words"))
        .unwrap();
    world.node.disconnect(circle[0]).unwrap();
    world.node.release_store().unwrap();
    assert_eq!(
        world.messages(circle[1]),
        [(user(1), 1, "last words".into())]
    );
}

#[test]
fn reads_that_repair_are_repeated_until_they_work() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    world.ok(circle[0], send(user(2), "one"));
    let (b, _) = {
        world.node.hold_store();
        let connection = world.connect();
        let login = Request::Login {
            who: parlor_core::protocol::request::UserRef::Name(crate::name("b")),
            password: parlor_core::secret::Secret::new("password"),
            device: None,
            start: Default::default(),
        };
        world.node.request(connection, 1, login).unwrap();
        (connection, ())
    };
    // Let the login through, and have every read after it fail once.
    let mut failed = 0;
    for _ in 0..10 {
        for (token, request) in world.node.take_held() {
            let result = match request {
                StoreRequest::Read(_) => {
                    failed += 1;
                    Err(StoreError::Unavailable.into())
                }
                other => {
                    let now = world.node.now();
                    world.node.store.execute(other, now)
                }
            };
            world.node.complete(token, result).unwrap();
        }
    }
    assert!(failed >= 2, "the page and the heads failed");
    assert_eq!(world.messages(b), []);
    world.node.release_store().unwrap();
    world.wait(Duration::from_secs(2));
    assert_eq!(world.messages(b), [(user(1), 1, "one".into())]);
}

#[test]
fn a_commit_in_doubt_is_looked_for_until_it_must_show() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "one"))
        .unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let now = world.node.now();
    assert!(world.node.store.execute(request, now).is_ok());
    world
        .node
        .complete(token, Err(StoreError::Unknown.into()))
        .unwrap();
    answers(&mut world, circle[0]);
    // The store stays away for longer than any read looks back.
    for _ in 0..5 {
        world.wait(Duration::from_secs(12));
        for connection in &circle {
            world
                .node
                .request(*connection, 1001, Request::Ping)
                .unwrap();
        }
        for (token, _) in world.node.take_held() {
            world
                .node
                .complete(token, Err(StoreError::Unavailable.into()))
                .unwrap();
        }
    }
    assert_eq!(world.messages(circle[1]), []);
    world.node.release_store().unwrap();
    world.wait(Duration::from_secs(12));
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
}

#[test]
fn a_clock_that_jumps_does_not_end_a_doubt() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.wait(Duration::from_secs(60));
    world.ok(circle[1], Request::Ping);
    world.node.hold_store();
    let database = world.node.now();
    let ask = send(user(2), "one");
    world.node.request(circle[0], 1000, ask).unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let unknown = Err(StoreError::Unknown.into());
    world.node.complete(token, unknown).unwrap();
    // A minute for the node, a second for the database, which then commits.
    world.wait(Duration::from_secs(60));
    let read_at = |world: &mut World, seconds| {
        for (token, request) in world.node.take_held() {
            let now = database + Duration::from_secs(seconds);
            let result = world.node.store.execute(request, now);
            world.node.complete(token, result).unwrap();
        }
    };
    read_at(&mut world, 0);
    world.wait(Duration::from_secs(6));
    read_at(&mut world, 1);
    let now = database + Duration::from_secs(2);
    assert!(world.node.store.execute(request, now).is_ok());
    for seconds in [7, 8, 9] {
        world.wait(Duration::from_secs(6));
        read_at(&mut world, seconds);
    }
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
}

#[test]
fn what_a_former_life_of_the_node_left_under_way_is_found() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.wait(Duration::from_secs(7));
    let request = StoreRequest::Command(Box::new(Command::Send {
        user: UserId(1),
        place: Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap()),
        key: Key::new("key").unwrap(),
        text: "one".into(),
        reply_to: None,
        meta: None,
    }));
    let now = world.node.now();
    assert!(world.node.store.execute(request, now).is_ok());
    world.wait(Duration::from_secs(7));
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
}

#[test]
fn an_answer_of_the_wrong_kind_is_refused_and_the_right_one_still_counts() {
    use parlor_core::engine::Misuse;
    use parlor_core::store::StoreResponse;
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    let ask = send(user(2), "one");
    world.node.request(circle[0], 1000, ask).unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let wrong = world.node.complete(token, Ok(StoreResponse::Marked));
    assert_eq!(wrong, Err(Misuse::WrongCompletion(token)));
    let now = world.node.now();
    let result = world.node.store.execute(request, now);
    world.node.complete(token, result).unwrap();
    assert!(matches!(
        world.node.take(circle[0])[..],
        [Sent::Event(_), Sent::Reply(_, Ok(_))]
    ));
    // The same for the reads that repair.
    world.node.release_store().unwrap();
    world.node.disconnect(circle[1]).unwrap();
    world.node.hold_store();
    let b = world.connect();
    let login = Request::Login {
        who: parlor_core::protocol::request::UserRef::Name(crate::name("b")),
        password: parlor_core::secret::Secret::new("password"),
        device: None,
        start: Default::default(),
    };
    world.node.request(b, 1, login).unwrap();
    for _ in 0..5 {
        for (token, request) in world.node.take_held() {
            let wrong = match request {
                StoreRequest::Mark(_) => {
                    StoreResponse::Read(parlor_core::store::ReadDone::Rosters(Vec::new()))
                }
                _ => StoreResponse::Marked,
            };
            let wrong = world.node.complete(token, Ok(wrong));
            assert_eq!(wrong, Err(Misuse::WrongCompletion(token)));
            let now = world.node.now();
            let result = world.node.store.execute(request, now);
            world.node.complete(token, result).unwrap();
        }
    }
    assert_eq!(world.messages(b), [(user(1), 1, "one".into())]);
}

#[test]
fn a_page_that_cannot_be_read_delays_nobody_elses_roster() {
    let mut world = World::new();
    let circle = world.circle(3);
    world.node.disconnect(circle[1]).unwrap();
    world.ok(circle[0], send(user(2), "one"));
    world.node.hold_store();
    let b = world.connect();
    let login = Request::Login {
        who: parlor_core::protocol::request::UserRef::Name(crate::name("b")),
        password: parlor_core::secret::Secret::new("password"),
        device: None,
        start: Default::default(),
    };
    world.node.request(b, 1, login).unwrap();
    let remove = Request::Friend {
        action: parlor_core::protocol::request::FriendAction::Remove,
        user: UserId(3),
    };
    let mut rosters = 0;
    for round in 0..10 {
        if round == 5 {
            world.node.request(circle[0], 1000, remove.clone()).unwrap();
        }
        for (token, request) in world.node.take_held() {
            use parlor_core::store::Read;
            let now = world.node.now();
            let result = match request {
                StoreRequest::Read(Read::Fetch { .. }) => Err(StoreError::Unavailable.into()),
                other => {
                    let roster = matches!(other, StoreRequest::Read(Read::Rosters(_)));
                    rosters += usize::from(roster && round > 5);
                    world.node.store.execute(other, now)
                }
            };
            world.node.complete(token, result).unwrap();
        }
    }
    assert!(
        rosters > 0,
        "it was read though a page failed a moment before"
    );
}
