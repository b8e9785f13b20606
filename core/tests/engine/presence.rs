//! Who is online on other nodes, as the relay answers: late, wrongly for a while, or not at all.

use std::time::Duration;

use parlor_core::engine::{Config, Input, Misuse};
use parlor_core::id::{ConnectionId, StoreToken, UserId};
use parlor_core::log::FriendState;
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::protocol::{Event, Reply, Request};
use parlor_core::relay::{Channel, RelayMessage};

use crate::{World, config, nobody};

mod members;
mod nodes;

const MOMENT: Duration = Duration::from_millis(1);

/// As long as a user counts as online without a session.
const DEBOUNCE: Duration = Duration::from_secs(2);

fn clustered() -> Config {
    Config {
        clustered: true,
        ..config()
    }
}

/// A node with user 1 on it, who has friends 2, 3, .. that were here and left long ago. From now on
/// the relay's questions are answered by hand.
fn friends_left(count: u64, config: Config) -> (World, ConnectionId) {
    let mut world = World::with(Config {
        clustered: true,
        ..config
    });
    let circle = world.circle(count + 1);
    for connection in &circle[1..] {
        world.node.disconnect(*connection).unwrap();
    }
    world.wait(Duration::from_secs(5));
    world.node.take(circle[0]);
    world.node.published.clear();
    world.node.hold_presence();
    (world, circle[0])
}

/// The same with a single friend, who is shown as online on another node.
fn friend_elsewhere() -> (World, ConnectionId) {
    let (mut world, a) = friends_left(1, config());
    world.ask_about(2);
    world.answer(&[2]);
    assert_eq!(world.presences(a), [(2, true)]);
    (world, a)
}

impl World {
    fn ask_about(&mut self, user: u64) {
        self.relay(RelayMessage::AskAbout { user: UserId(user) });
    }

    /// Takes the presence events that a connection got.
    fn presences(&mut self, connection: ConnectionId) -> Vec<(u64, bool)> {
        let shown = |event| match event {
            Event::Presence { user, online } => Some((user.0, online)),
            _ => None,
        };
        let events = self.events(connection);
        events.into_iter().filter_map(shown).collect()
    }

    /// Takes the questions, as the users that they are about.
    fn asked(&mut self) -> (Vec<StoreToken>, Vec<Vec<u64>>) {
        let numbers = |users: Vec<UserId>| users.into_iter().map(|user| user.0).collect();
        self.node
            .take_questions()
            .into_iter()
            .map(|(token, users)| (token, numbers(users)))
            .unzip()
    }

    /// Takes the only question and answers it; returns whom it was about.
    fn answer(&mut self, online: &[u64]) -> Vec<u64> {
        let (tokens, mut users) = self.asked();
        assert_eq!(tokens.len(), 1, "{users:?}");
        self.told(tokens[0], Some(online)).unwrap();
        users.remove(0)
    }

    fn told(&mut self, token: StoreToken, online: Option<&[u64]>) -> Result<(), Misuse> {
        let online = online.map(|online| online.iter().copied().map(UserId).collect());
        self.node.input(Input::Presence { token, online })
    }

    fn nobody_asked(&mut self) {
        assert_eq!(self.asked(), (vec![], vec![]));
    }

    /// Lets time pass up to a moment at which something is to be asked, and not before.
    fn asks_after(&mut self, wait: Duration) {
        self.wait(wait - MOMENT);
        self.nobody_asked();
        self.wait(MOMENT);
    }

    fn heartbeat_of(&mut self, origin: u64, line: u64) {
        self.relay(RelayMessage::Heartbeat { origin, line });
    }

    /// Takes the heartbeats that were published, by their lines.
    fn heartbeats(&mut self) -> Vec<u64> {
        let published = std::mem::take(&mut self.node.published);
        published
            .into_iter()
            .filter_map(|(channel, message)| match (channel, message) {
                (Channel::Nodes, RelayMessage::Heartbeat { line, .. }) => Some(line),
                _ => None,
            })
            .collect()
    }

    /// Takes to whom it was published that others should ask about a user.
    fn told_to_ask_about(&mut self, user: u64) -> Vec<u64> {
        let published = std::mem::take(&mut self.node.published);
        published
            .into_iter()
            .filter_map(|(channel, message)| match (channel, message) {
                (Channel::User(friend), RelayMessage::AskAbout { user: about })
                    if about == UserId(user) =>
                {
                    Some(friend.0)
                }
                _ => None,
            })
            .collect()
    }

    fn friend(&mut self, connection: ConnectionId, action: FriendAction, user: u64) -> Reply {
        let user = UserId(user);
        self.ok(connection, Request::Friend { action, user })
    }
}

#[test]
fn a_login_does_not_wait_for_the_relay_and_is_told_what_turns_out_otherwise() {
    let (mut world, a) = friends_left(2, config());
    world.node.disconnect(a).unwrap();
    world.wait(DEBOUNCE);
    let (a, session) = world.login("a");
    let shown: Vec<bool> = session.friends.iter().map(|friend| friend.online).collect();
    assert_eq!(shown, [false, false]);
    assert_eq!(world.presences(a), []);
    assert_eq!(world.answer(&[3]), [2, 3]);
    assert_eq!(world.presences(a), [(3, true)]);
    world.nobody_asked();
    // Another session begins with what is known, and nothing is asked.
    let (other, session) = world.login("a");
    let shown: Vec<bool> = session.friends.iter().map(|friend| friend.online).collect();
    assert_eq!(shown, [false, true]);
    world.nobody_asked();
    world.ask_about(2);
    assert_eq!(world.answer(&[2]), [2]);
    assert_eq!(world.presences(a), [(2, true)]);
    assert_eq!(world.presences(other), [(2, true)]);
}

#[test]
fn lists_and_look_ups_show_who_is_elsewhere() {
    let (mut world, a) = friend_elsewhere();
    let state = FriendState::Friends;
    let Reply::Friends(friends) = world.ok(
        a,
        Request::Friends {
            after: None,
            limit: 50,
        },
    ) else {
        panic!()
    };
    assert_eq!(friends.items[0].online, Some(true));
    let who = UserRef::Id(UserId(2));
    let reply = world.ok(a, Request::User { who });
    let online = Some(true);
    assert!(
        matches!(&reply, Reply::User { state: s, online: o, .. } if (*s, *o) == (state, online)),
        "{reply:?}"
    );
}

#[test]
fn who_is_not_found_is_offline_when_asked_again_after_a_while() {
    let (mut world, a) = friend_elsewhere();
    world.ask_about(2);
    assert_eq!(world.answer(&[]), [2]);
    world.asks_after(DEBOUNCE);
    assert_eq!(world.presences(a), []);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.presences(a), [(2, false)]);
    // Nothing more is to be asked, and it is told once.
    world.ask_about(2);
    assert_eq!(world.answer(&[]), [2]);
    world.wait(DEBOUNCE);
    world.nobody_asked();
    assert_eq!(world.presences(a), []);
}

#[test]
fn a_second_question_that_was_put_too_early_proves_nothing() {
    let (mut world, a) = friend_elsewhere();
    world.ask_about(2);
    assert_eq!(world.answer(&[]), [2]);
    world.wait(DEBOUNCE - MOMENT);
    world.ask_about(2);
    let (tokens, _) = world.asked();
    world.wait(Duration::from_secs(10));
    // It was put before the time had passed, however late it is answered.
    world.told(tokens[0], Some(&[])).unwrap();
    assert_eq!(world.presences(a), []);
    world.wait(Duration::ZERO);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.presences(a), [(2, false)]);
}

#[test]
fn who_went_to_another_node_stays_online() {
    let (mut world, a) = friend_elsewhere();
    for _ in 0..2 {
        world.ask_about(2);
        assert_eq!(world.answer(&[]), [2]);
        world.asks_after(DEBOUNCE);
        assert_eq!(world.answer(&[2]), [2], "the time begins anew");
        world.wait(DEBOUNCE);
        world.nobody_asked();
    }
    assert_eq!(world.presences(a), []);
}

#[test]
fn who_is_found_right_after_leaving_is_looked_for_again() {
    let (mut world, a) = friend_elsewhere();
    world.ask_about(2);
    world.wait(MOMENT);
    assert_eq!(world.answer(&[2]), [2]);
    world.asks_after(DEBOUNCE - MOMENT);
    assert_eq!(world.answer(&[]), [2]);
    world.asks_after(DEBOUNCE);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.presences(a), [(2, false)]);
    // One who comes is believed at once.
    world.ask_about(2);
    assert_eq!(world.answer(&[2]), [2]);
    assert_eq!(world.presences(a), [(2, true)]);
    world.wait(DEBOUNCE);
    world.nobody_asked();
}

#[test]
fn others_are_told_of_an_arrival_when_the_relay_knows_of_it() {
    let (mut world, a) = friends_left(1, config());
    world.node.hold_relay();
    let (b, _) = world.login("b");
    assert_eq!(world.presences(a), [(2, true)], "friends here know at once");
    assert_eq!(world.told_to_ask_about(2), [] as [u64; 0]);
    world.node.release_relay().unwrap();
    assert_eq!(world.told_to_ask_about(2), [1]);
    // Neither a second session nor the end of one of two is news.
    let (other, _) = world.login("b");
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.told_to_ask_about(2), [] as [u64; 0]);
    assert_eq!(world.presences(a), []);
    world.node.disconnect(other).unwrap();
    world.wait(DEBOUNCE - MOMENT);
    assert_eq!(world.told_to_ask_about(2), [] as [u64; 0]);
    world.nobody_asked();
    world.wait(MOMENT);
    assert_eq!(world.told_to_ask_about(2), [1]);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.presences(a), [(2, false)], "that was the second look");
}

#[test]
fn friends_on_other_nodes_are_told_of_an_arrival_and_a_departure() {
    let (mut world, a) = friends_left(1, config());
    world.node.disconnect(a).unwrap();
    world.wait(Duration::from_secs(5));
    world.node.published.clear();
    let (b, _) = world.login("b");
    assert_eq!(world.told_to_ask_about(2), [1]);
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.told_to_ask_about(2), [1]);
}

#[test]
fn who_leaves_one_of_two_nodes_stays_online() {
    let (mut world, a) = friend_elsewhere();
    let (b, _) = world.login("b");
    world.nobody_asked();
    world.ask_about(2);
    world.nobody_asked();
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    // Whether that is the other node, or this one still, the relay does not say.
    assert_eq!(world.answer(&[2]), [2]);
    world.asks_after(DEBOUNCE);
    assert_eq!(world.answer(&[2]), [2]);
    world.wait(DEBOUNCE);
    world.nobody_asked();
    assert_eq!(world.presences(a), []);
}

#[test]
fn an_echo_of_ones_own_subscription_is_not_taken_for_another_node() {
    let (mut world, a) = friends_left(1, config());
    let (b, _) = world.login("b");
    assert_eq!(world.presences(a), [(2, true)]);
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.answer(&[2]), [2]);
    world.asks_after(DEBOUNCE);
    assert_eq!(world.answer(&[]), [2]);
    world.asks_after(DEBOUNCE);
    assert_eq!(world.answer(&[]), [2]);
    assert_eq!(world.presences(a), [(2, false)]);
}

#[test]
fn an_answer_from_before_an_arrival_counts_for_nothing() {
    let (mut world, a) = friend_elsewhere();
    world.ask_about(2);
    assert_eq!(world.answer(&[]), [2]);
    world.wait(DEBOUNCE);
    let (tokens, _) = world.asked();
    let (b, _) = world.login("b");
    world.told(tokens[0], Some(&[])).unwrap();
    assert_eq!(world.presences(a), []);
    // Nor one from before it for the time after.
    world.ask_about(2);
    world.nobody_asked();
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    let (tokens, users) = world.asked();
    assert_eq!(users, [[2]]);
    let (b, _) = world.login("b");
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    let (later, users) = world.asked();
    assert_eq!(users, [[2]]);
    world.told(tokens[0], Some(&[])).unwrap();
    assert_eq!(world.presences(a), []);
    world.told(later[0], Some(&[])).unwrap();
    assert_eq!(world.presences(a), [(2, false)]);
}

#[test]
fn one_who_arrives_while_missed_begins_anew() {
    let (mut world, a) = friend_elsewhere();
    world.ask_about(2);
    assert_eq!(world.answer(&[]), [2]);
    world.wait(MOMENT);
    let (b, _) = world.login("b");
    world.wait(DEBOUNCE);
    world.nobody_asked();
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.answer(&[2]), [2]);
    assert_eq!(world.presences(a), []);
}

#[test]
fn questions_are_batched_and_few_at_a_time() {
    let settings = Config {
        presence_batch: 2,
        presence_questions: 2,
        ..config()
    };
    let (mut world, a) = friends_left(7, settings);
    for user in [8, 3, 4, 5, 6, 7, 2] {
        world.ask_about(user);
    }
    let (first, users) = world.asked();
    assert_eq!(
        users,
        [vec![8], vec![3]],
        "nothing waits while there is room"
    );
    assert_eq!(world.node.engine.counts().questions, 2);
    world.told(first[1], Some(&[3])).unwrap();
    let (second, users) = world.asked();
    assert_eq!(users, [[4, 5]]);
    world.told(second[0], Some(&[5, 7])).unwrap();
    let (third, users) = world.asked();
    assert_eq!(users, [[6, 7]]);
    world.told(first[0], Some(&[])).unwrap();
    let (fourth, users) = world.asked();
    assert_eq!(users, [[2]]);
    world.told(third[0], Some(&[6])).unwrap();
    world.told(fourth[0], Some(&[])).unwrap();
    world.nobody_asked();
    assert_eq!(world.presences(a), [(3, true), (5, true), (6, true)]);
    assert_eq!(world.node.engine.counts().questions, 0);
}

#[test]
fn words_about_the_same_user_share_a_question() {
    let (mut world, _) = friends_left(2, config());
    for _ in 0..3 {
        world.ask_about(2);
    }
    let (tokens, users) = world.asked();
    assert_eq!(users, [[2]]);
    world.told(tokens[0], Some(&[])).unwrap();
    assert_eq!(world.answer(&[]), [2], "once more for those since");
    world.nobody_asked();
    let settings = Config {
        presence_questions: 1,
        ..config()
    };
    let (mut world, _) = friends_left(2, settings);
    world.ask_about(2);
    for _ in 0..3 {
        world.ask_about(3);
    }
    let (tokens, _) = world.asked();
    world.told(tokens[0], Some(&[])).unwrap();
    assert_eq!(world.answer(&[]), [3]);
    world.nobody_asked();
    // About strangers nobody is asked.
    world.ask_about(9);
    world.nobody_asked();
}

#[test]
fn a_relay_that_cannot_tell_is_asked_again_and_changes_nothing() {
    let (mut world, a) = friend_elsewhere();
    for origin in [7, 8] {
        world.heartbeat_of(origin, 0);
        let (tokens, _) = world.asked();
        world.told(tokens[0], None).unwrap();
        world.asks_after(Duration::from_secs(1));
        assert_eq!(world.answer(&[2]), [2]);
        world.wait(DEBOUNCE);
        world.nobody_asked();
    }
    assert_eq!(world.presences(a), []);
}

#[test]
fn an_answer_comes_once() {
    let (mut world, _) = friends_left(1, config());
    world.ask_about(2);
    let (tokens, _) = world.asked();
    world.told(tokens[0], Some(&[])).unwrap();
    assert_eq!(
        world.told(tokens[0], Some(&[2])),
        Err(Misuse::NoToken(tokens[0]))
    );
}

#[test]
fn everyone_is_asked_about_every_minute() {
    let (mut world, a) = friends_left(2, config());
    let mut asked = Vec::new();
    let began = world.node.now();
    while world.node.now().since(began) < Duration::from_secs(180) {
        world.wait(Duration::from_secs(1));
        world.ok(a, Request::Ping);
        let (tokens, users) = world.asked();
        for token in tokens {
            world.told(token, Some(&[])).unwrap();
            asked.push((world.node.now(), users[0].clone()));
        }
    }
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|(_, users)| *users == [2, 3]));
    assert_eq!(asked[1].0.since(asked[0].0), Duration::from_secs(60));
}

#[test]
fn a_friend_no_more_is_watched_no_more() {
    for action in [FriendAction::Remove, FriendAction::Block] {
        let settings = Config {
            presence_questions: 1,
            ..config()
        };
        let (mut world, a) = friends_left(4, settings);
        assert_eq!(world.node.engine.counts().watched, 4);
        // One is being asked about, one waits for that, one is asked later.
        world.ask_about(2);
        world.answer(&[2]);
        world.ask_about(2);
        world.answer(&[]);
        world.ask_about(3);
        world.ask_about(4);
        let (tokens, users) = world.asked();
        assert_eq!(users, [[3]]);
        for user in [2, 3, 4] {
            world.friend(a, action, user);
        }
        assert_eq!(world.node.engine.counts().watched, 1);
        world.presences(a);
        world.told(tokens[0], Some(&[3])).unwrap();
        world.nobody_asked();
        world.wait(DEBOUNCE);
        world.nobody_asked();
        for user in [2, 3, 4] {
            world.ask_about(user);
        }
        world.nobody_asked();
        assert_eq!(world.presences(a), []);
        world.ask_about(5);
        assert_eq!(world.answer(&[]), [5], "the questions are not used up");
    }
}

#[test]
fn a_friend_of_two_is_watched_until_the_second_leaves() {
    let (mut world, a) = friends_left(1, config());
    world.register("c");
    let (c, _) = world.login("c");
    let who = UserRef::Id(UserId(2));
    world.ok(c, Request::FriendRequest { who });
    let (b, _) = world.login("b");
    world.friend(b, FriendAction::Accept, 3);
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.answer(&[]), [2]);
    world.presences(a);
    world.presences(c);
    world.ask_about(2);
    world.answer(&[2]);
    assert_eq!(world.presences(a), [(2, true)]);
    assert_eq!(world.presences(c), [(2, true)]);
    world.node.disconnect(c).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(world.node.engine.counts().watched, 1);
    world.friend(a, FriendAction::Remove, 2);
    assert_eq!(world.node.engine.counts().watched, 0);
}

#[test]
fn a_new_friend_on_another_node_is_asked_about() {
    let mut world = World::cluster();
    let a = world.circle(1)[0];
    world.register("b");
    let (b, _) = world.login("b");
    let who = UserRef::Id(UserId(1));
    world.ok(b, Request::FriendRequest { who });
    world.node.disconnect(b).unwrap();
    world.wait(DEBOUNCE);
    world.node.hold_presence();
    assert_eq!(world.node.engine.counts().watched, 0);
    world.friend(a, FriendAction::Accept, 2);
    assert_eq!(world.presences(a), []);
    assert_eq!(world.answer(&[2]), [2]);
    assert_eq!(world.presences(a), [(2, true)]);
}

#[test]
fn a_node_alone_asks_nobody_and_tells_nobody() {
    let mut world = World::new();
    world.node.hold_presence();
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    world.wait(DEBOUNCE);
    assert_eq!(
        world.presences(circle[0]),
        [(2, false)],
        "without a question"
    );
    world.ask_about(2);
    world.wait(Duration::from_secs(70));
    world.nobody_asked();
    assert_eq!(world.node.engine.counts().watched, 0);
    world.node.input(Input::Drain).unwrap();
    assert_eq!(world.node.published, []);
}

#[test]
fn a_clustered_node_forgets_who_left() {
    let (mut world, a) = friends_left(3, clustered());
    // One is asked about, one waits to be, one was found, one was missed.
    world.ask_about(2);
    world.ask_about(3);
    let (tokens, _) = world.asked();
    world.told(tokens[0], Some(&[2])).unwrap();
    world.ask_about(2);
    world.answer(&[]);
    world.node.disconnect(a).unwrap();
    world.wait(DEBOUNCE + DEBOUNCE);
    let (more, _) = world.asked();
    for token in more.into_iter().chain([tokens[1]]) {
        world.told(token, Some(&[])).unwrap();
    }
    assert_eq!(world.node.engine.counts(), nobody(4));
    world.wait(Duration::from_secs(60));
    world.nobody_asked();
}
