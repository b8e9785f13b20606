//! What relays do when Redis breaks.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parlor_core::id::{StoreToken, SubscriptionToken, UserId};
use parlor_core::relay::Relay as _;
use parlor_relay_redis::Options;
use parlor_servers::RedisClient;

use crate::world::{Event, Node, changed, redis, user, wait};

/// Checks that a relay that was up twice publishes and receives everything again.
fn is_well(node: &Node, channels: u64) {
    for channel in 1..=channels {
        node.publish(user(channel), changed(channel));
    }
    let expected: Vec<_> = (1..=channels).map(changed).collect();
    node.until("all channels", |_| node.relayed().len() >= expected.len());
    assert_eq!(node.relayed(), expected);
}

#[test]
fn a_killed_redis_is_noticed_and_comes_back_with_everything() {
    let (_folder, mut redis) = redis(&[]);
    let node = Node::open(&redis.url());
    let channels: Vec<_> = (1..=2000).map(user).collect();
    node.subscribe(1, &channels);
    node.clear();
    redis.server.kill9().unwrap();
    node.until_event(&Event::Lost);
    let before = node.counts();
    node.until("not publishing", |_| {
        node.publish(user(1), changed(0));
        node.counts().dropped > before.dropped
    });
    node.relay
        .publish(vec![(user(1), changed(0)), (user(2), changed(0))]);
    // Nobody can tell, and that is said at once.
    node.relay.ask_presence(StoreToken(1), vec![UserId(1)]);
    assert!(node.events().contains(&Event::Presence(1, None)));
    // What is wanted meanwhile is subscribed later, with the rest; what is not is left out.
    node.relay.subscribe(SubscriptionToken(2), vec![user(2001)]);
    node.relay.unsubscribe(vec![user(2000)]);
    redis.server.restart().unwrap();
    node.until_event(&Event::Up);
    // All of it, as soon as it says so.
    let users = [UserId(1), UserId(1999), UserId(2000), UserId(2001)];
    let mut client = RedisClient::connect(redis.port(), None).unwrap();
    let online = node.online(2, &users);
    assert_eq!(online, Some(vec![users[0], users[1], users[3]]));
    let channels = client.command(&["PUBSUB", "CHANNELS", "parlor:*"]).unwrap();
    assert!(matches!(channels, parlor_servers::Reply::List(list) if list.len() == 2000));
    let kinds: Vec<_> = node.events().into_iter().take(3).collect();
    assert_eq!(kinds, [Event::Lost, Event::Presence(1, None), Event::Up]);
    is_well(&node, 1999);
    let counts = node.counts();
    assert!(counts.dropped >= before.dropped + 3, "{counts:?}");
    assert_eq!(counts.reconnects, before.reconnects + 2);
}

#[test]
fn a_stopped_redis_is_noticed() {
    let (_folder, mut redis) = redis(&[]);
    let node = Node::open(&redis.url());
    node.subscribe(1, &[user(1)]);
    node.clear();
    redis.server.stop().unwrap();
    // Asked of one who is silent: answered all the same, once.
    node.relay.ask_presence(StoreToken(1), vec![UserId(1)]);
    node.relay.subscribe(SubscriptionToken(2), vec![user(2)]);
    node.until_event(&Event::Lost);
    node.until_event(&Event::Presence(1, None));
    redis.server.cont().unwrap();
    node.until_event(&Event::Up);
    is_well(&node, 2);
    let answers = node.events().into_iter();
    let answers = answers.filter(|event| matches!(event, Event::Presence(..)));
    assert_eq!(answers.count(), 1);
}

#[test]
fn either_connection_comes_back_by_itself() {
    let (_folder, redis) = redis(&[]);
    let node = Node::open(&redis.url());
    node.subscribe(1, &[user(1)]);
    let mut client = RedisClient::connect(redis.port(), None).unwrap();
    for kind in ["pubsub", "normal"] {
        node.clear();
        let before = node.counts().reconnects;
        client
            .command(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])
            .unwrap();
        node.until_event(&Event::Lost);
        node.until_event(&Event::Up);
        assert_eq!(node.counts().reconnects, before + 1, "{kind}");
        is_well(&node, 1);
    }
}

#[test]
fn up_means_that_everything_is_subscribed() {
    const CHANNELS: u64 = 50_000;
    let (_folder, mut redis) = redis(&[]);
    let node = Node::open(&redis.url());
    let channels: Vec<_> = (0..CHANNELS).map(user).collect();
    node.subscribe(1, &channels);
    node.clear();
    redis.server.kill9().unwrap();
    redis.server.restart().unwrap();
    let mut client = RedisClient::connect(redis.port(), None).unwrap();
    node.until_event(&Event::Up);
    // The last ones to be subscribed, asked on another connection.
    let last = format!("parlor:*:user:{}*", CHANNELS / 1000 - 1);
    let channels = client.command(&["PUBSUB", "CHANNELS", &last]).unwrap();
    assert!(matches!(channels, parlor_servers::Reply::List(list) if list.len() == 1111));
}

#[test]
fn a_connection_that_is_cut_off_is_noticed_by_itself() {
    let (_folder, redis) = redis(&[]);
    // The first is the one that publishes, the second the one that subscribes.
    for cut in 1..=2 {
        let way = Way::to(redis.port());
        let node = Node::open(&format!("redis://127.0.0.1:{}", way.port));
        node.subscribe(1, &[user(1)]);
        node.clear();
        way.cut.store(cut, Ordering::Relaxed);
        node.until_event(&Event::Lost);
        node.until_event(&Event::Up);
        is_well(&node, 1);
        assert_eq!(node.counts().reconnects, 1, "connection {cut}");
    }
}

/// A way to Redis on which one connection can be cut off: nothing passes, and nobody is told.
struct Way {
    port: u16,
    cut: Arc<AtomicUsize>,
}

impl Way {
    fn to(redis: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicUsize::new(0));
        let is_cut = Arc::clone(&cut);
        std::thread::spawn(move || {
            for (index, client) in (1..).zip(listener.incoming()) {
                let client = client.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, redis)).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, server), back] {
                    let is_cut = Arc::clone(&is_cut);
                    std::thread::spawn(move || {
                        carry(from, to, &|| is_cut.load(Ordering::Relaxed) == index);
                    });
                }
            }
        });
        Self { port, cut }
    }
}

/// Carries bytes until one side closes; drops them while the way is cut off.
fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: &dyn Fn() -> bool) {
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !is_cut() && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // It may be closed already.
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_redis_that_is_away_at_the_start_is_waited_for() {
    let (_folder, mut redis) = redis(&[]);
    redis.server.kill9().unwrap();
    let node = Node::try_open(&redis.url(), Options::default()).unwrap();
    node.until_event(&Event::Lost);
    node.publish(user(1), changed(0));
    assert_eq!(node.counts().dropped, 1);
    node.relay.subscribe(SubscriptionToken(1), vec![user(1)]);
    redis.server.restart().unwrap();
    node.until_event(&Event::Up);
    assert_eq!(node.events(), [Event::Lost, Event::Up]);
    is_well(&node, 1);
}

#[test]
fn too_many_changes_begin_anew_with_what_is_wanted() {
    let (_folder, mut redis) = redis(&[]);
    let options = Options {
        changes: 100,
        ..Options::default()
    };
    let node = Node::try_open(&redis.url(), options).unwrap();
    node.until_event(&Event::Up);
    node.clear();
    redis.server.stop().unwrap();
    for token in 1..=1000 {
        node.relay
            .subscribe(SubscriptionToken(token), vec![user(token)]);
    }
    node.relay.ask_presence(StoreToken(1), vec![UserId(1)]);
    node.until_event(&Event::Lost);
    node.until_event(&Event::Presence(1, None));
    redis.server.cont().unwrap();
    node.until_event(&Event::Up);
    is_well(&node, 1000);
}

#[test]
fn messages_after_a_break_are_new_ones() {
    let (_folder, mut redis) = redis(&[]);
    let node = Node::open(&redis.url());
    node.subscribe(1, &[user(1)]);
    for round in 0..5 {
        node.clear();
        redis.server.kill9().unwrap();
        // Without a pause: some are under way, some wait, some are refused.
        for number in 0..1000 {
            node.publish(user(1), changed(number));
        }
        redis.server.restart().unwrap();
        assert!(wait(|| node.events().contains(&Event::Up)), "round {round}");
        node.publish(user(1), changed(5000 + round));
        node.until_event(&Event::Relayed(changed(5000 + round)));
    }
    let counts = node.counts();
    node.until_counts("counted", |it| it.published + it.dropped == 5 * 1001);
    assert!(counts.dropped > 0, "{counts:?}");
}
