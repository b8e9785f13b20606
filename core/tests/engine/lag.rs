use std::time::Duration;

use parlor_core::engine::{Config, Input};
use parlor_core::id::Seq;
use parlor_core::protocol::request::{Start, UserRef};
use parlor_core::protocol::{Event, NoticeCode, Request};
use parlor_core::secret::Secret;
use parlor_core::store::StoreRequest;

use crate::{World, config, group, name, send, user};

#[test]
fn who_accepts_slowly_gets_everything_later_and_delays_nobody() {
    let mut world = World::new();
    let circle = world.circle(3);
    world.node.stall(circle[1]);
    let text = "x".repeat(1024);
    for number in 1..=2000 {
        world.ok(circle[0], send(user(2), &format!("{number:05}{text}")));
    }
    world.ok(circle[0], send(user(3), "quick"));
    assert_eq!(world.messages(circle[2]), [(user(1), 1, "quick".into())]);
    let held = world.messages(circle[1]).len();
    assert!(
        held < 400,
        "{held} messages were pushed to one that accepts nothing"
    );
    world.node.unstall(circle[1]).unwrap();
    let rest = world.messages(circle[1]);
    assert_eq!(held + rest.len(), 2000);
    for (index, (_, seq, message)) in rest.iter().enumerate() {
        assert_eq!(*seq, u64::try_from(held + index + 1).unwrap());
        assert!(message.starts_with(&format!("{seq:05}")));
    }
}

#[test]
fn who_accepts_nothing_for_too_long_is_closed() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.stall(circle[1]);
    world.ok(circle[0], send(user(2), "hello"));
    world.wait(Duration::from_secs(29));
    world.messages(circle[1]);
    world.wait(Duration::from_secs(2));
    let events = world.events(circle[1]);
    let slow = |event: &Event| {
        matches!(
            event,
            Event::Notice {
                code: NoticeCode::Slow,
                ..
            }
        )
    };
    assert!(events.iter().any(slow), "{events:?}");
    let (b, _) = world.login("b");
    assert_eq!(world.messages(b), [(user(1), 1, "hello".into())]);
}

#[test]
fn who_asks_without_reading_is_read_no_further() {
    let mut world = World::with(Config {
        outgoing: 10_000,
        ..config()
    });
    let connection = world.connect();
    world.node.stall(connection);
    let mut asked = 0;
    while !world.node.is_paused(connection) {
        asked += 1;
        assert!(asked < 1000);
        world
            .node
            .request(connection, asked, Request::Ping)
            .unwrap();
    }
    world.node.unstall(connection).unwrap();
    assert!(!world.node.is_paused(connection));
}

#[test]
fn who_is_not_read_from_is_not_silent() {
    let mut world = World::with(Config {
        outgoing: 10_000,
        ..config()
    });
    world.register("a");
    let (connection, _) = world.login("a");
    world.node.stall(connection);
    let mut id = 100;
    while !world.node.is_paused(connection) {
        id += 1;
        world.node.request(connection, id, Request::Ping).unwrap();
    }
    // It accepts a little at a time, and could not ping if it wanted to.
    for _ in 0..6 {
        world.wait(Duration::from_secs(20));
        let weight = 160;
        world
            .node
            .input(Input::Written { connection, weight })
            .unwrap();
    }
    assert!(world.node.is_paused(connection));
    let notices = |world: &mut World| {
        let events = world.events(connection);
        events
            .iter()
            .filter(|event| matches!(event, Event::Notice { .. }))
            .count()
    };
    assert_eq!(notices(&mut world), 0);
    let weight = u32::try_from(id - 100).unwrap() * 160 - 6 * 160;
    world
        .node
        .input(Input::Written { connection, weight })
        .unwrap();
    assert!(!world.node.is_paused(connection));
    world.wait(Duration::from_secs(91));
    assert_eq!(notices(&mut world), 1, "from then on it is silent");
}

#[test]
fn who_is_nearly_there_does_not_wait_for_who_is_far_behind() {
    let mut world = World::with(Config {
        fetch_entries: 2,
        ..config()
    });
    let circle = world.circle(3);
    let id = world.group_of(&circle).0;
    for number in 0..100 {
        world.ok(circle[0], send(group(id), &format!("{number:03}")));
    }
    let have = |seq| Start {
        replay: true,
        have: vec![(group(id), Seq(seq))],
    };
    world.node.hold_store();
    let connections: Vec<_> = [("b", 3), ("c", 102)]
        .into_iter()
        .map(|(text, seq)| {
            let connection = world.connect();
            let login = Request::Login {
                who: UserRef::Name(name(text)),
                password: Secret::new("password"),
                device: None,
                start: have(seq),
            };
            world.node.request(connection, 1, login).unwrap();
            connection
        })
        .collect();
    let mut pages = 0;
    while world.messages(connections[1]).is_empty() {
        for (token, request) in world.node.take_held() {
            let fetch = matches!(
                request,
                StoreRequest::Read(parlor_core::store::Read::Fetch { .. })
            );
            pages += usize::from(fetch);
            let now = world.node.now();
            let result = world.node.store.execute(request, now);
            world.node.complete(token, result).unwrap();
        }
        assert!(pages < 4, "a page for each in turn");
    }
    world.node.release_store().unwrap();
    assert_eq!(world.messages(connections[0]).last().unwrap().1, 103);
}
