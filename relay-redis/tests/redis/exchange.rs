//! What relays do while Redis is well.

use std::time::{Duration, Instant};

use async_std::task::{block_on, sleep, spawn};
use parlor_core::id::{GroupId, StoreToken, SubscriptionToken, UserId};
use parlor_core::relay::{Channel, Relay as _};
use parlor_relay_redis::Options;

use crate::world::{Event, Node, changed, messages, redis, text, user};

#[test]
fn every_message_arrives_in_order_where_its_channel_is_subscribed() {
    let (_folder, redis) = redis(&[]);
    let (here, there) = (Node::open(&redis.url()), Node::open(&redis.url()));
    let channels = [user(1), Channel::Group(GroupId(12)), Channel::Nodes];
    there.subscribe(1, &channels);
    let sent = messages();
    for message in &sent {
        here.publish(user(1), message.clone());
    }
    for channel in [user(2), channels[1], channels[2]] {
        here.publish(channel, changed(9));
    }
    let expected = [sent.clone(), vec![changed(9), changed(9)]].concat();
    there.until("all messages", |_| there.relayed().len() >= expected.len());
    assert_eq!(there.relayed(), expected);
    assert_eq!(here.relayed(), []);
    let count = u64::try_from(sent.len()).unwrap();
    here.until_counts("published", |counts| counts.published == count + 3);
    let (here, there) = (here.counts(), there.counts());
    assert_eq!((here.dropped, here.received), (0, 0));
    assert_eq!(
        (there.received, there.forged, there.unknown),
        (count + 2, 0, 0)
    );
}

#[test]
fn one_message_after_the_other_arrives() {
    let (_folder, redis) = redis(&[]);
    let (here, there) = (Node::open(&redis.url()), Node::open(&redis.url()));
    there.subscribe(1, &[user(1)]);
    let end = Instant::now() + Duration::from_secs(60);
    for number in 1..=10_000 {
        here.publish(user(1), changed(number));
        // Each goes out alone, so that answers come whenever they may.
        while there.counts().received < number {
            assert!(Instant::now() < end, "{number}: {:?}", here.counts());
            std::thread::yield_now();
        }
    }
    assert_eq!(here.counts().dropped, 0);
}

#[test]
fn a_subscription_that_ended_brings_nothing() {
    let (_folder, redis) = redis(&[]);
    let node = Node::open(&redis.url());
    node.subscribe(1, &[user(1), user(2)]);
    node.relay.unsubscribe(vec![user(1)]);
    // Confirmed behind what was written before.
    node.subscribe(2, &[]);
    node.publish(user(1), changed(1));
    node.publish(user(2), changed(2));
    node.until_event(&Event::Relayed(changed(2)));
    assert_eq!(node.relayed(), [changed(2)]);
}

#[test]
fn subscriptions_are_confirmed_in_order() {
    let (_folder, redis) = redis(&[]);
    let node = Node::open(&redis.url());
    node.clear();
    let tokens = 1..=300;
    for token in tokens.clone() {
        // More than fit into one command, one, and none at all.
        let channels = match token % 3 {
            0 => (0..700).map(user).collect(),
            1 => vec![user(token)],
            _ => Vec::new(),
        };
        node.relay.subscribe(SubscriptionToken(token), channels);
        node.relay.unsubscribe(vec![user(token)]);
    }
    node.until_event(&Event::Subscribed(300));
    let expected: Vec<Event> = tokens.map(Event::Subscribed).collect();
    assert_eq!(node.events(), expected);
}

#[test]
fn who_is_online_is_who_has_a_subscriber() {
    let (_folder, redis) = redis(&[]);
    let (here, there) = (Node::open(&redis.url()), Node::open(&redis.url()));
    there.subscribe(1, &[user(3), user(1200), Channel::Group(GroupId(4))]);
    let everyone: Vec<UserId> = (0..1300).map(UserId).collect();
    here.relay.subscribe(SubscriptionToken(1), vec![user(5)]);
    let online = |token| here.online(token, &everyone);
    assert_eq!(online(1), Some(vec![UserId(3), UserId(5), UserId(1200)]));
    // Its own changes count at once.
    here.relay.unsubscribe(vec![user(5)]);
    assert_eq!(online(2), Some(vec![UserId(3), UserId(1200)]));
    assert_eq!(here.online(3, &[]), Some(Vec::new()));
    // A node that ends without a word closes its connections.
    drop(there);
    let mut token = 3;
    let gone = crate::world::wait(|| {
        token += 1;
        online(token) == Some(Vec::new())
    });
    assert!(gone, "somebody stays online");
}

#[test]
fn publishing_subscribing_and_receiving_do_not_wait_for_each_other() {
    const MESSAGES: u64 = 100_000;
    const TASKS: u64 = 64;
    let (_folder, redis) = redis(&[]);
    let (here, there) = (Node::open(&redis.url()), Node::open(&redis.url()));
    there.subscribe(1, &[user(0), user(1)]);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (relay, counters) = (here.relay.clone(), here.relay.counters());
            spawn(async move {
                for number in (task..MESSAGES).step_by(64) {
                    // What the queue has no room for would be dropped.
                    while number.saturating_sub(counters.counts().published) > 8_000 {
                        sleep(Duration::from_millis(1)).await;
                    }
                    relay.publish(vec![(user(number % 2), changed(number))]);
                }
            })
        })
        .collect();
    // On the same connections, meanwhile.
    let mut token = 1;
    while there.counts().received < MESSAGES / 2 {
        token += 1;
        there.subscribe(token, &[user(token), user(token + 1)]);
        there.relay.unsubscribe(vec![user(token)]);
        here.subscribe(token, &[user(token)]);
        let asked = here.online(token, &[UserId(token), UserId(0)]);
        assert_eq!(asked, Some(vec![UserId(0), UserId(token)]));
    }
    for task in tasks {
        block_on(task);
    }
    here.until_counts("published", |counts| counts.published == MESSAGES);
    assert_eq!(here.counts().dropped, 0);
    there.until_counts("received", |counts| {
        counts.received + counts.overrun == MESSAGES
    });
    let lost = |event: &Event| *event == Event::Lost;
    assert!(!here.events().iter().any(lost) && !there.events().iter().any(lost));
}

#[test]
fn an_engine_that_takes_nothing_delays_no_confirmation() {
    let (_folder, redis) = redis(&[]);
    let options = Options {
        receive_queue: 10,
        ..Options::default()
    };
    let node = Node::try_open(&redis.url(), options).unwrap();
    node.until_event(&Event::Up);
    node.subscribe(1, &[user(1)]);
    node.set_busy(true);
    for number in 0..100 {
        node.publish(user(1), changed(number));
    }
    // Ten wait, and one may be in the engine's hands.
    node.until_counts("full", |counts| {
        counts.published == 100 && counts.overrun >= 89
    });
    node.subscribe(2, &[user(2)]);
    assert_eq!(node.online(3, &[UserId(2)]), Some(vec![UserId(2)]));
    node.set_busy(false);
    node.until_counts("taken", |counts| counts.received + counts.overrun == 100);
    assert!(node.counts().received >= 10, "{:?}", node.counts());
}

#[test]
fn what_the_queue_has_no_room_for_is_dropped_and_counted() {
    let (_folder, redis) = redis(&[]);
    let options = Options {
        publish_bytes: 20_000,
        ..Options::default()
    };
    let node = Node::try_open(&redis.url(), options).unwrap();
    node.until_event(&Event::Up);
    let long = "x".repeat(16_000);
    // Handed over at once: nothing is published meanwhile that would make room.
    let all: Vec<_> = (0..50).map(|_| (user(1), text(&long))).collect();
    node.relay.publish(all);
    node.until_counts("counted", |counts| counts.published + counts.dropped == 50);
    let counts = node.counts();
    assert!(counts.published >= 2 && counts.dropped > 0, "{counts:?}");
}

#[test]
fn closing_publishes_what_waits_and_ends_subscriptions() {
    let (_folder, redis) = redis(&[]);
    let (here, there) = (Node::open(&redis.url()), Node::open(&redis.url()));
    there.subscribe(1, &[user(1)]);
    here.subscribe(1, &[user(2)]);
    for number in 0..1000 {
        here.publish(user(1), changed(number));
    }
    block_on(here.relay.close());
    assert_eq!(here.counts().published, 1000);
    there.until_counts("received", |counts| counts.received == 1000);
    let gone = crate::world::wait(|| there.online(2, &[UserId(2)]) == Some(Vec::new()));
    assert!(gone, "a subscription outlives its node");
    // Nothing answers any more, but for those who ask.
    here.relay.ask_presence(StoreToken(9), vec![UserId(1)]);
    here.until_event(&Event::Presence(9, None));
}
