//! What an engine says that it has done.

use std::time::Duration;

use parlor_core::engine::Config;
use parlor_core::protocol::{ErrorCode, NoticeCode, Request};
use parlor_core::store::{StoreError, StoreFailure};

use crate::{World, config, send, user};

#[test]
fn what_clients_saw_is_what_was_counted() {
    let mut world = World::new();
    let circle = world.circle(2);
    let before = world.node.engine.tally().clone();
    assert_eq!(
        before.connections, 4,
        "each registers over one and logs in over another"
    );
    for text in ["one", "two", "three"] {
        world.ok(circle[0], send(user(2), text));
    }
    let refused = world.ask(circle[0], send(user(9), "x"));
    assert_eq!(refused, Err(ErrorCode::NoSuchUser));
    let tally = world.node.engine.tally();
    let count = |op, code| tally.requests.get(&(Some(op), code)).copied();
    assert_eq!(count("send", None), Some(3));
    assert_eq!(count("send", Some(ErrorCode::NoSuchUser)), Some(1));
    assert_eq!(count("register", None), Some(2));
    assert_eq!(tally.entries - before.entries, 3);
    let pushed: usize = circle.iter().map(|it| world.messages(*it).len()).sum();
    assert_eq!(pushed, 6);
    let tally = world.node.engine.tally();
    assert_eq!(tally.pushes - before.pushes, 6);
    let (all, waits): (u64, u64) = (
        tally.requests.values().sum(),
        tally.waits.counts.iter().sum(),
    );
    assert_eq!(all, waits, "every request could be read");
}

#[test]
fn how_long_a_request_took_is_counted_from_its_arrival() {
    let mut world = World::new();
    let circle = world.circle(2);
    let before = world.node.engine.tally().waits;
    world.node.hold_store();
    let request = send(user(2), "one");
    world.node.request(circle[0], 1, request).unwrap();
    // Who waits for the one before it takes that long as well.
    world.node.request(circle[0], 2, Request::Ping).unwrap();
    world.wait(Duration::from_millis(300));
    let (token, _) = world.node.take_held().remove(0);
    let failed = Err(StoreFailure::Failed(StoreError::Unavailable));
    world.node.complete(token, failed).unwrap();
    let waits = world.node.engine.tally().waits;
    assert_eq!(waits.sum - before.sum, Duration::from_millis(600));
    assert_eq!(waits.counts[9] - before.counts[9], 2, "up to 500 ms");
}

#[test]
fn notices_are_counted_by_their_code() {
    let mut world = World::with(Config {
        connections: 1,
        ..config()
    });
    world.connect();
    world.connect();
    world.wait(Duration::from_secs(61));
    let notices = &world.node.engine.tally().notices;
    let counted: Vec<(NoticeCode, u64)> = notices.iter().map(|(code, n)| (*code, *n)).collect();
    assert_eq!(counted, [(NoticeCode::Idle, 1), (NoticeCode::Full, 1)]);
}
