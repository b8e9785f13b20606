//! Credit, pauses and limits, to the byte; and what is counted of repairs.

use std::time::Duration;

use parlor_core::engine::{Config, Effect, Engine, Input};
use parlor_core::id::{ConnectionId, RequestId, Seq, UserId};
use parlor_core::protocol::request::Anchor;
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Request, RequestError};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_core::sim::Sent;
use parlor_core::store::{Read, StoreError, StoreRequest};
use parlor_core::time::Timestamp;

use crate::{World, config, login_of, send, user};

/// What a message with a text of three bytes weighs.
const MESSAGE: u32 = 163;
/// What a short reply weighs.
const REPLY: u32 = 160;

fn written(world: &mut World, connection: ConnectionId, weight: u32) {
    let input = Input::Written { connection, weight };
    world.node.input(input).unwrap();
}

/// A friend of `a` who accepts nothing, and was sent as much as the credit of ten messages allows.
fn starved() -> (World, Vec<ConnectionId>) {
    let mut world = World::with(Config {
        outgoing: 10 * MESSAGE,
        ..config()
    });
    let circle = world.circle(2);
    world.node.stall(circle[1]);
    for number in 100..115 {
        world.ok(circle[0], send(user(2), &number.to_string()));
    }
    (world, circle)
}

#[test]
fn credit_is_spent_to_the_byte_and_no_further() {
    let (mut world, circle) = starved();
    assert_eq!(world.messages(circle[1]).len(), 10);
}

#[test]
fn a_starved_session_catches_up_once_half_of_its_credit_is_back() {
    let (mut world, circle) = starved();
    world.messages(circle[1]);
    written(&mut world, circle[1], 4 * MESSAGE);
    assert_eq!(world.messages(circle[1]), [], "six of ten are out");
    assert_eq!(world.node.engine.repairs().starved, 0);
    written(&mut world, circle[1], MESSAGE);
    let numbers: Vec<u64> = world
        .messages(circle[1])
        .into_iter()
        .map(|(_, seq, _)| seq)
        .collect();
    assert_eq!(numbers, [11, 12, 13, 14, 15]);
    assert_eq!(world.node.engine.repairs().starved, 1);
}

#[test]
fn a_connection_is_read_from_again_once_half_of_its_credit_is_back() {
    let mut world = World::with(Config {
        outgoing: 10 * REPLY,
        ..config()
    });
    let connection = world.connect();
    world.node.stall(connection);
    for id in 1..=10 {
        assert!(!world.node.is_paused(connection), "{id}");
        world.node.request(connection, id, Request::Ping).unwrap();
    }
    assert!(world.node.is_paused(connection));
    written(&mut world, connection, 4 * REPLY);
    assert!(world.node.is_paused(connection));
    // It had asked before it was told.
    world.node.request(connection, 11, Request::Ping).unwrap();
    assert!(world.node.is_paused(connection));
    written(&mut world, connection, REPLY);
    assert!(world.node.is_paused(connection));
    written(&mut world, connection, REPLY);
    assert!(!world.node.is_paused(connection));
}

fn newest() -> Request {
    Request::History {
        conversation: user(2),
        anchor: Anchor::Newest,
        limit: 1,
    }
}

/// Answers the only request that the store keeps.
fn answer_one(world: &mut World) {
    let mut held = world.node.take_held();
    assert_eq!(held.len(), 1, "{held:?}");
    let (token, request) = held.remove(0);
    let result = world.node.store.execute(request, world.node.now());
    world.node.complete(token, result).unwrap();
}

#[test]
fn a_connection_is_read_from_again_once_half_of_its_requests_are_answered() {
    let mut world = World::with(Config {
        pipeline: 7,
        ..config()
    });
    let circle = world.circle(2);
    world.node.hold_store();
    for id in 1..=7 {
        assert!(!world.node.is_paused(circle[0]), "{id}");
        world.node.request(circle[0], id, newest()).unwrap();
    }
    for waiting in (3..=7).rev() {
        assert_eq!(world.node.is_paused(circle[0]), waiting > 3, "{waiting}");
        answer_one(&mut world);
    }
}

#[test]
fn a_connection_whose_requests_hold_too_many_bytes_is_not_read_from() {
    let mut world = World::with(Config {
        outgoing: 30_001,
        ..config()
    });
    let circle = world.circle(2);
    world.node.hold_store();
    world.node.request(circle[0], 1, newest()).unwrap();
    let edit = Request::Edit {
        conversation: user(2),
        seq: Seq(1),
        text: "x".repeat(10_000).into(),
    };
    for id in 2..=4 {
        assert!(!world.node.is_paused(circle[0]), "{id}");
        world.node.request(circle[0], id, edit.clone()).unwrap();
    }
    assert!(world.node.is_paused(circle[0]));
    answer_one(&mut world);
    assert!(world.node.is_paused(circle[0]), "two wait");
    answer_one(&mut world);
    assert!(!world.node.is_paused(circle[0]), "one waits");
}

#[test]
fn who_has_ended_its_input_is_not_read_from_again() {
    let mut world = World::with(Config {
        pipeline: 2,
        ..config()
    });
    let circle = world.circle(2);
    let connection = circle[0];
    world.node.hold_store();
    for id in 1..=2 {
        world.node.request(connection, id, newest()).unwrap();
    }
    assert!(world.node.is_paused(connection));
    world.node.input(Input::EndOfInput { connection }).unwrap();
    answer_one(&mut world);
    assert!(world.node.is_paused(connection));
}

#[test]
fn as_many_pages_are_read_at_a_time_as_may_be() {
    let mut world = World::with(Config {
        fetches: 2,
        ..config()
    });
    let circle = world.circle(5);
    world.node.disconnect(circle[0]).unwrap();
    for connection in &circle[1..] {
        world.ok(*connection, send(user(1), "one"));
    }
    world.wait(Duration::from_secs(6));
    world.node.hold_store();
    let a = world.connect();
    let login = login_of("a");
    world.node.request(a, 1, login).unwrap();
    answer_one(&mut world);
    let pages = |held: &[(_, StoreRequest)]| {
        let page =
            |request: &StoreRequest| matches!(request, StoreRequest::Read(Read::Fetch { .. }));
        held.iter().filter(|(_, request)| page(request)).count()
    };
    let mut held = world.node.take_held();
    let mut read = 0;
    while pages(&held) > 0 {
        read += pages(&held);
        assert_eq!(pages(&held), 2);
        for (token, request) in held {
            let result = world.node.store.execute(request, world.node.now());
            world
                .node
                .engine
                .handle(Input::Stored { token, result }, world.node.now())
                .unwrap();
        }
        // What follows from all of them is carried out together.
        world.node.input(Input::Timeout).unwrap();
        held = world.node.take_held();
    }
    assert_eq!(read, 4);
    assert_eq!(world.messages(a).len(), 4);
}

#[test]
fn nothing_is_taken_after_the_end_of_input() {
    let mut world = World::new();
    let circle = world.circle(2);
    let end: [fn(ConnectionId) -> Input; 2] = [
        |connection| Input::EndOfInput { connection },
        |connection| Input::Request {
            connection,
            id: None,
            request: Err(RequestError::from(ErrorCode::FrameTooLarge)),
        },
    ];
    for (connection, end) in circle.into_iter().zip(end) {
        world.node.hold_store();
        let friends = Request::Friends {
            after: None,
            limit: 1,
        };
        world.node.request(connection, 1, friends).unwrap();
        world.node.input(end(connection)).unwrap();
        world.node.request(connection, 2, Request::Ping).unwrap();
        world.node.release_store().unwrap();
        let sent = world.node.take(connection);
        let answers: Vec<Option<RequestId>> = sent
            .iter()
            .filter_map(|sent| match sent {
                Sent::Reply(id, _) => *id,
                _ => None,
            })
            .map(Some)
            .collect();
        assert_eq!(answers, [Some(RequestId(1))], "{sent:?}");
        assert_eq!(sent.last(), Some(&Sent::Closed));
    }
}

#[test]
fn a_full_node_says_so_and_closes() {
    let mut world = World::with(Config {
        connections: 1,
        ..config()
    });
    let first = world.connect();
    let second = world.connect();
    let sent = world.node.take(second);
    let [
        Sent::Event(Event::Notice {
            code: NoticeCode::Full,
            retry_ms: Some(wait),
            ..
        }),
        Sent::Closed,
    ] = &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert!((1000..5000).contains(wait), "{wait}");
    assert_eq!(world.node.take(first), []);
}

#[test]
fn a_connection_that_has_accepted_everything_starts_its_time_anew() {
    let mut world = World::with(Config {
        idle: Duration::from_secs(3600),
        ..config()
    });
    let circle = world.circle(2);
    world.wait(Duration::from_secs(600));
    world.node.stall(circle[1]);
    world.ok(circle[0], send(user(2), "one"));
    world.messages(circle[1]);
    world.wait(Duration::from_secs(20));
    // More of it does not.
    world.ok(circle[0], send(user(2), "two"));
    assert_eq!(world.messages(circle[1]).len(), 1);
    world.wait(Duration::from_secs(9));
    assert_eq!(world.node.take(circle[1]), []);
    world.wait(Duration::from_secs(2));
    assert_eq!(world.node.take(circle[1]).last(), Some(&Sent::Closed));
}

#[test]
fn a_connection_has_one_alarm_however_often_it_moves() {
    let mut world = World::with(Config {
        idle: Duration::from_secs(3600),
        ..config()
    });
    let circle = world.circle(2);
    let alarms = world.node.engine.counts().alarms;
    world.node.stall(circle[1]);
    for text in ["one", "two", "six"] {
        // The time to accept it is over before that to say something.
        world.ok(circle[0], send(user(2), text));
        assert_eq!(world.node.engine.counts().alarms, alarms);
    }
    world
        .node
        .input(Input::Disconnected {
            connection: circle[1],
        })
        .unwrap();
    // When the user is looked for again instead.
    assert_eq!(world.node.engine.counts().alarms, alarms);
}

#[test]
fn a_request_that_is_answered_at_once_has_no_other_effect() {
    let now = Timestamp(1_000_000);
    let mut engine = Engine::new(config(), now);
    let connection = ConnectionId(1);
    let address = None;
    let mut give = |input| {
        engine.handle(input, now).unwrap();
        std::iter::from_fn(|| engine.poll_effect()).collect::<Vec<Effect>>()
    };
    assert_eq!(
        give(Input::Connected {
            connection,
            address
        }),
        []
    );
    let id = Some(RequestId(1));
    let effects = give(Input::Request {
        connection,
        id,
        request: Ok(Request::Ping),
    });
    assert!(
        matches!(effects[..], [Effect::Reply { weight: REPLY, .. }]),
        "{effects:?}"
    );
    let weight = REPLY;
    assert_eq!(give(Input::Written { connection, weight }), []);
    assert_eq!(
        give(Input::EndOfInput { connection }),
        [Effect::Close { connection }]
    );
}

#[test]
fn a_gap_is_counted_when_it_is_found() {
    let mut world = World::with(Config {
        clustered: true,
        ..config()
    });
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    let published = std::mem::take(&mut world.node.published);
    let entry = published
        .into_iter()
        .find_map(|(_, message)| match message {
            RelayMessage::Entry(entry) => Some(entry),
            _ => None,
        });
    let mut entry = (*entry.unwrap()).clone();
    entry.seq = Seq(4);
    let before = world.node.engine.repairs().gaps;
    world.node.hold_store();
    let message = RelayMessage::Entry(entry.into());
    world.node.input(Input::Relayed { message }).unwrap();
    assert_eq!(world.node.engine.repairs().gaps, before + 2, "one of each");
    assert_eq!(world.node.engine.counts().fetches, 1);
    let held = world.node.take_held();
    assert!(
        matches!(held[..], [(_, StoreRequest::Read(Read::Fetch { .. }))]),
        "{held:?}"
    );
}

#[test]
fn a_round_of_repeated_reads_comes_a_second_later_and_is_counted() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.wait(Duration::from_secs(6));
    world.node.disconnect(circle[1]).unwrap();
    world.ok(circle[0], send(user(2), "one"));
    world.node.hold_store();
    let b = world.connect();
    let login = login_of("b");
    world.node.request(b, 1, login).unwrap();
    for _ in 0..3 {
        for (token, request) in world.node.take_held() {
            let now = world.node.now();
            let result = match request {
                StoreRequest::Read(Read::Fetch { .. }) => Err(StoreError::Unavailable.into()),
                other => world.node.store.execute(other, now),
            };
            world.node.complete(token, result).unwrap();
        }
    }
    let rounds = world.node.engine.repairs().retries;
    world.wait(Duration::from_millis(999));
    assert_eq!(world.node.take_held(), []);
    world.wait(Duration::from_millis(1));
    assert_eq!(world.node.engine.repairs().retries, rounds + 1);
    world.node.release_store().unwrap();
    assert_eq!(world.messages(b), [(user(1), 1, "one".into())]);
    assert_eq!(world.node.engine.counts().fetches, 0);
}

#[test]
fn a_session_that_nobody_learnt_of_is_told_to_be_gone() {
    let mut world = World::with(Config {
        clustered: true,
        ..config()
    });
    world.register("a");
    world.node.hold_store();
    let connection = world.connect();
    let login = login_of("a");
    world.node.request(connection, 1, login).unwrap();
    world.node.disconnect(connection).unwrap();
    world.node.release_store().unwrap();
    let roster = world
        .node
        .store
        .roster(UserId(1), world.node.now())
        .unwrap();
    let told = world
        .node
        .published
        .iter()
        .rev()
        .find_map(|(_, message)| match message {
            RelayMessage::Changed { version, .. } => Some(*version),
            _ => None,
        });
    assert_eq!(told, Some(roster.version));
}

#[test]
fn a_page_of_history_has_at_most_200_kib_of_text() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    let request = Request::History {
        conversation: user(2),
        anchor: Anchor::Newest,
        limit: 50,
    };
    world.node.request(circle[0], 1000, request).unwrap();
    let (_, asked) = world.node.take_held().remove(0);
    assert!(
        matches!(
            asked,
            StoreRequest::Read(Read::History {
                limit: 50,
                bytes: 204_800,
                ..
            })
        ),
        "{asked:?}"
    );
}

#[test]
fn a_page_is_asked_for_with_as_many_entries_and_bytes_as_may_be() {
    let mut world = World::with(Config {
        fetch_entries: 7,
        fetch_bytes: 900,
        ..config()
    });
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    world.ok(circle[0], send(user(2), "one"));
    world.node.hold_store();
    let b = world.connect();
    let login = login_of("b");
    world.node.request(b, 1, login).unwrap();
    let mut pages = Vec::new();
    for _ in 0..3 {
        for (token, request) in world.node.take_held() {
            if let StoreRequest::Read(Read::Fetch { limit, bytes, .. }) = request {
                pages.push((limit, bytes));
            }
            let result = world.node.store.execute(request, world.node.now());
            world.node.complete(token, result).unwrap();
        }
    }
    assert_eq!(pages, [(7, 900)]);
}

#[test]
fn a_connection_tries_to_log_in_no_faster_than_the_rate() {
    let mut world = World::with(Config {
        rates: Some(Default::default()),
        ..config()
    });
    let connection = world.connect();
    let resume = || Request::Resume {
        token: Secret::new("of nobody"),
        start: Default::default(),
    };
    for _ in 0..10 {
        let refused = world.ask(connection, resume());
        assert_eq!(refused, Err(ErrorCode::TokenExpired));
    }
    assert_eq!(world.ask(connection, resume()), Err(ErrorCode::RateLimited));
    world.ok(connection, Request::Ping);
    world.wait(Duration::from_millis(999));
    assert_eq!(world.ask(connection, resume()), Err(ErrorCode::RateLimited));
    world.wait(Duration::from_millis(1));
    let refused = world.ask(connection, resume());
    assert_eq!(refused, Err(ErrorCode::TokenExpired));
}
