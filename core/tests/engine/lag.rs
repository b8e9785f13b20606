use std::time::Duration;

use parlor_core::engine::Config;
use parlor_core::protocol::{Event, NoticeCode, Request};

use crate::{World, config, send, user};

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
