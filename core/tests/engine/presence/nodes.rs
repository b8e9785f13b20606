//! Other nodes come, fall silent and leave; the relay goes and returns.

use std::time::Duration;

use parlor_core::engine::{Config, Effect, Engine, Input};
use parlor_core::relay::{Channel, RelayMessage};
use parlor_core::time::Timestamp;

use super::{DEBOUNCE, MOMENT, clustered, friend_elsewhere, friends_left};
use crate::config;

#[test]
fn heartbeats_say_that_a_node_lives() {
    let (mut world, _) = friends_left(1, config());
    world.heartbeats();
    world.wait(Duration::from_secs(9));
    assert_eq!(world.heartbeats(), [0, 0, 0]);
    world.node.input(Input::RelayLost).unwrap();
    world.wait(Duration::from_secs(9));
    assert_eq!(world.heartbeats(), [] as [u64; 0]);
    world.node.input(Input::RelayUp).unwrap();
    assert_eq!(world.heartbeats(), [1]);
    world.wait(Duration::from_secs(3));
    assert_eq!(world.heartbeats(), [1]);
}

#[test]
fn a_new_node_is_answered_once_so_that_it_notices_when_this_one_dies() {
    let (mut world, _) = friends_left(1, config());
    world.heartbeats();
    world.heartbeat_of(7, 0);
    assert_eq!(world.heartbeats(), [0]);
    // Two that know each other say no more than that they live.
    world.heartbeat_of(7, 0);
    world.heartbeat_of(7, 1);
    assert_eq!(world.heartbeats(), [] as [u64; 0]);
    world.node.input(Input::RelayLost).unwrap();
    world.heartbeat_of(8, 0);
    assert_eq!(world.heartbeats(), [] as [u64; 0]);
}

#[test]
fn who_is_watched_is_asked_about_when_a_node_is_new_or_falls_silent() {
    let settings = Config {
        heartbeat: MOMENT,
        presence_recheck: Duration::from_secs(3600),
        idle: Duration::from_secs(3600),
        ..config()
    };
    let (mut world, _) = friends_left(1, settings);
    world.heartbeat_of(7, 0);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.node.engine.counts().nodes, 1);
    for _ in 0..3 {
        world.wait(Duration::from_secs(10) - MOMENT);
        world.heartbeat_of(7, 0);
        world.nobody_asked();
    }
    world.heartbeat_of(7, 2);
    assert_eq!(world.answer(&[]), [2], "on a new line");
    world.heartbeat_of(7, 1);
    world.heartbeat_of(7, 2);
    world.nobody_asked();
    world.asks_after(Duration::from_secs(10));
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.node.engine.counts().nodes, 0);
    // The relay may count a machine that is gone for a while.
    for _ in 0..4 {
        world.asks_after(Duration::from_secs(10));
        assert_eq!(world.answer(&[]), [2]);
    }
    world.wait(Duration::from_secs(10));
    world.nobody_asked();
}

#[test]
fn a_node_does_not_take_itself_for_another() {
    let (mut world, _) = friends_left(1, config());
    world.node.input(Input::RelayUp).unwrap();
    world.answer(&[]);
    let published = std::mem::take(&mut world.node.published);
    let (_, own) = published.last().unwrap().clone();
    let RelayMessage::Heartbeat { origin, .. } = own else {
        panic!("{own:?}")
    };
    world.relay(own);
    assert_eq!(world.node.engine.counts().nodes, 0);
    world.relay(RelayMessage::Leaving { origin });
    world.wait(DEBOUNCE);
    world.nobody_asked();
}

#[test]
fn so_many_nodes_are_known_and_no_more() {
    let settings = Config {
        nodes: 2,
        ..config()
    };
    let (mut world, _) = friends_left(1, settings);
    for origin in [7, 8] {
        world.heartbeat_of(origin, 0);
        assert_eq!(world.answer(&[]), [2]);
    }
    world.heartbeat_of(9, 0);
    world.nobody_asked();
    assert_eq!(world.node.engine.counts().nodes, 2);
}

#[test]
fn where_the_users_of_a_leaving_node_went_is_asked_a_moment_later() {
    let (mut world, a) = friend_elsewhere();
    world.heartbeat_of(7, 0);
    world.answer(&[2]);
    world.relay(RelayMessage::Leaving { origin: 7 });
    assert_eq!(world.node.engine.counts().nodes, 0);
    world.asks_after(DEBOUNCE);
    assert_eq!(world.answer(&[]), [2]);
    world.asks_after(DEBOUNCE);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.presences(a), [(2, false)]);
}

#[test]
fn a_node_that_has_drained_says_so() {
    let (mut world, _) = friends_left(1, config());
    world.node.input(Input::Drain).unwrap();
    assert!(world.node.drained);
    let (channel, message) = world.node.published.last().unwrap();
    assert_eq!(*channel, Channel::Nodes);
    assert!(
        matches!(message, RelayMessage::Leaving { .. }),
        "{message:?}"
    );
}

#[test]
fn nobody_is_declared_offline_while_nodes_may_be_coming_back() {
    let (mut world, a) = friend_elsewhere();
    world.node.input(Input::RelayLost).unwrap();
    world.wait(Duration::from_secs(20));
    world.ask_about(2);
    world.nobody_asked();
    world.node.input(Input::RelayUp).unwrap();
    assert_eq!(world.answer(&[]), [2]);
    world.ask_about(2);
    assert_eq!(world.answer(&[]), [2]);
    world.asks_after(Duration::from_secs(10));
    assert_eq!(world.presences(a), []);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.presences(a), [(2, false)]);
}

#[test]
fn a_node_known_before_the_relay_went_has_its_time_to_come_back() {
    let (mut world, _) = friend_elsewhere();
    world.heartbeat_of(7, 0);
    world.answer(&[2]);
    world.node.input(Input::RelayLost).unwrap();
    world.wait(Duration::from_secs(20));
    assert_eq!(world.node.engine.counts().nodes, 1);
    world.node.input(Input::RelayUp).unwrap();
    world.answer(&[2]);
    world.wait(Duration::from_secs(9));
    assert_eq!(world.node.engine.counts().nodes, 1);
    world.nobody_asked();
    world.wait(Duration::from_secs(4));
    assert_eq!(world.node.engine.counts().nodes, 0);
    assert_eq!(world.answer(&[2]), [2]);
}

#[test]
fn without_the_relay_what_was_known_stays_and_who_leaves_here_is_offline() {
    let (mut world, a) = friends_left(3, config());
    world.ask_about(2);
    world.answer(&[2]);
    let (b, _) = world.login("c");
    let (c, _) = world.login("d");
    world.presences(a);
    // One leaves while the relay is asked, one when it is known to be away.
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    let (tokens, users) = world.asked();
    assert_eq!(users, [[3]]);
    world.node.input(Input::RelayLost).unwrap();
    assert_eq!(world.presences(a), [(3, false)]);
    world.told(tokens[0], None).unwrap();
    world.node.disconnect(c).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.presences(a), [(4, false)]);
    world.wait(Duration::from_secs(70));
    world.nobody_asked();
    world.node.input(Input::RelayLost).unwrap();
    assert_eq!(world.presences(a), []);
    let (_, session) = world.login("a");
    let shown: Vec<bool> = session.friends.iter().map(|friend| friend.online).collect();
    assert_eq!(shown, [true, false, false]);
    world.node.input(Input::RelayUp).unwrap();
    assert_eq!(world.answer(&[2, 4]), [2, 3, 4]);
    assert_eq!(world.presences(a), [(4, true)]);
}

#[test]
fn who_is_found_elsewhere_after_leaving_here_stays_online_without_the_relay() {
    let (mut world, a) = friend_elsewhere();
    let (b, _) = world.login("b");
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.answer(&[2]), [2]);
    world.wait(DEBOUNCE);
    assert_eq!(world.answer(&[2]), [2]);
    world.node.input(Input::RelayLost).unwrap();
    assert_eq!(world.presences(a), []);
}

#[test]
fn who_came_while_the_relay_was_away_is_told_of_by_the_new_line() {
    let (mut world, _) = friends_left(1, config());
    world.node.input(Input::RelayLost).unwrap();
    world.node.hold_relay();
    world.login("b");
    world.node.published.clear();
    world.node.input(Input::RelayUp).unwrap();
    assert_eq!(world.told_to_ask_about(2), [] as [u64; 0]);
}

#[test]
fn a_node_listens_to_the_others_until_it_has_drained() {
    let mut engine = Engine::new(clustered(), Timestamp(1));
    let first = engine.poll_effect();
    let Some(Effect::Subscribe { channels, .. }) = first else {
        panic!("{first:?}")
    };
    assert_eq!(channels, [Channel::Nodes]);
    let channels = vec![Channel::Nodes];
    engine.handle(Input::Drain, Timestamp(1)).unwrap();
    let effects: Vec<Effect> = std::iter::from_fn(|| engine.poll_effect()).collect();
    assert!(effects.contains(&Effect::Unsubscribe { channels }));
    assert_eq!(effects.last(), Some(&Effect::Drained));
}

#[test]
fn who_came_back_here_is_not_declared_offline_with_the_relay() {
    let (mut world, a) = friend_elsewhere();
    let (b, _) = world.login("b");
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.asked().1, [[2]]);
    world.login("b");
    world.node.input(Input::RelayLost).unwrap();
    assert_eq!(world.presences(a), []);
}
