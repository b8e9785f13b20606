//! Sentinels, and Redis Cluster.

use parlor_core::id::{StoreToken, UserId};
use parlor_core::relay::Relay as _;
use parlor_relay_redis::{OpenError, Options};
use parlor_servers::{RedisCluster, RedisSentinel};

use crate::world::{Event, Node, changed, user};

/// How many channels there are: enough for every master of a cluster.
const CHANNELS: u64 = 300;

fn hosts(ports: &[u16]) -> String {
    let hosts: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    hosts.join(",")
}

/// Checks that what one publishes on every channel arrives at the other.
fn exchange(here: &Node, there: &Node, version: u64) {
    for channel in 0..CHANNELS {
        here.publish(user(channel), changed(version + channel));
    }
    for channel in 0..CHANNELS {
        there.until_event(&Event::Relayed(changed(version + channel)));
    }
}

#[test]
fn a_new_master_is_found_through_sentinels() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = RedisSentinel::start(folder.path(), None).unwrap();
    let hosts = hosts(pair.ports());
    let url = format!("redis+sentinel://{hosts}/{}", pair.name());
    let (here, there) = (Node::open(&url), Node::open(&url));
    let channels: Vec<_> = (0..CHANNELS).map(user).collect();
    there.subscribe(1, &channels);
    exchange(&here, &there, 1000);
    here.clear();
    there.clear();
    pair.master.kill9().unwrap();
    for node in [&here, &there] {
        node.until_event(&Event::Lost);
        node.until_event(&Event::Up);
    }
    assert_eq!(pair.master_port().unwrap(), pair.server_ports()[1]);
    exchange(&here, &there, 2000);
    let unknown = Node::try_open(
        &format!("redis+sentinel://{hosts}/other"),
        Options::default(),
    );
    let error = unknown.err().unwrap();
    assert!(matches!(error, OpenError::Master { .. }), "{error}");
}

#[test]
fn sentinels_that_ask_for_a_password_are_given_the_servers() {
    let folder = tempfile::tempdir().unwrap();
    let pair = RedisSentinel::start(folder.path(), Some("right-pass-word")).unwrap();
    let url = |user| {
        let hosts = hosts(pair.ports());
        format!("redis+sentinel://{user}{hosts}/{}", pair.name())
    };
    let node = Node::open(&url(":right-pass-word@"));
    node.subscribe(1, &[user(1)]);
    node.publish(user(1), changed(1));
    node.until_event(&Event::Relayed(changed(1)));
    for user in ["", ":wrong-pass-word@"] {
        let error = Node::try_open(&url(user), Options::default()).err();
        assert!(
            matches!(error, Some(OpenError::Password { .. })),
            "{user}: {error:?}"
        );
    }
}

#[test]
fn channels_are_spread_over_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = RedisCluster::start(folder.path()).unwrap();
    let url = format!("redis+cluster://{}", hosts(cluster.ports()));
    let (here, there) = (Node::open(&url), Node::open(&url));
    let channels: Vec<_> = (0..CHANNELS).map(user).collect();
    there.subscribe(1, &channels);
    exchange(&here, &there, 1000);
    let everyone: Vec<UserId> = (0..2 * CHANNELS).map(UserId).collect();
    let online: Vec<UserId> = (0..CHANNELS).map(UserId).collect();
    assert_eq!(here.online(1, &everyone), Some(online.clone()));
    there.relay.unsubscribe((100..CHANNELS).map(user).collect());
    there.subscribe(2, &[]);
    assert_eq!(here.online(2, &everyone), Some(online[..100].to_vec()));
    there.subscribe(3, &channels);
    for node in [&here, &there] {
        node.clear();
    }
    cluster.masters[1].kill9().unwrap();
    for node in [&here, &there] {
        node.until_event(&Event::Lost);
    }
    here.relay.ask_presence(StoreToken(3), everyone.clone());
    here.until_event(&Event::Presence(3, None));
    cluster.masters[1].restart().unwrap();
    for node in [&here, &there] {
        node.until_event(&Event::Up);
    }
    exchange(&here, &there, 2000);
    assert_eq!(here.online(4, &everyone), Some(online));
}
