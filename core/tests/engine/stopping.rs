use std::time::Duration;

use parlor_core::engine::Input;
use parlor_core::id::Seq;
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Reply, Request};
use parlor_core::sim::Sent;

use crate::{World, send, user};

#[test]
fn a_drain_finishes_what_is_under_way_and_writes_the_cursors() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(
        circle[1],
        Request::Ack {
            conversation: user(1),
            delivered: Some(Seq(1)),
            read: Some(Seq(1)),
        },
    );
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "two"))
        .unwrap();
    world.node.input(Input::Drain).unwrap();
    assert!(!world.node.drained);
    let waiting = world.node.take(circle[0]);
    assert!(!waiting.contains(&Sent::Closed), "its request is under way");
    world.node.request(circle[0], 1001, Request::Ping).unwrap();
    world.node.release_store().unwrap();
    let sent = world.node.take(circle[0]);
    let answers: Vec<bool> = sent
        .iter()
        .filter_map(|sent| match sent {
            Sent::Reply(_, Ok(Reply::Appended { seq: Seq(2), .. })) => Some(true),
            Sent::Reply(_, Err(error)) if error.code == ErrorCode::ShuttingDown => Some(false),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [true, false]);
    let draining = |sent: &Sent| {
        matches!(
            sent,
            Sent::Event(Event::Notice {
                code: NoticeCode::Draining,
                retry_ms: Some(_),
                ..
            })
        )
    };
    assert!(sent.iter().any(draining));
    assert_eq!(sent.last(), Some(&Sent::Closed));
    assert!(world.node.drained);
    let now = world.node.now();
    let roster = world
        .node
        .store
        .roster(parlor_core::id::UserId(2), now)
        .unwrap();
    assert_eq!(roster.conversations[0].read, Seq(1));
    let late = world.connect();
    assert!(world.node.take(late).iter().any(draining));
}

#[test]
fn a_drain_waits_no_longer_than_it_may() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "two"))
        .unwrap();
    world.node.input(Input::Drain).unwrap();
    world.wait(Duration::from_secs(9));
    assert!(!world.node.drained);
    world.wait(Duration::from_secs(2));
    assert!(world.node.drained);
}
