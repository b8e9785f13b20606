use std::time::Duration;

use parlor_core::id::UserId;
use parlor_core::log::FriendState;
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::protocol::{ErrorCode, Event, Reply, Request};

use crate::{World, name, send, user};

fn friend(number: u64, text: &str, state: FriendState) -> Event {
    Event::Friend {
        user: UserId(number),
        name: name(text),
        state,
    }
}

fn act(action: FriendAction, number: u64) -> Request {
    Request::Friend {
        action,
        user: UserId(number),
    }
}

#[test]
fn asking_and_accepting_is_told_to_both_with_presence() {
    let mut world = World::new();
    world.register("a");
    world.register("b");
    let (a, _) = world.login("a");
    let (b, _) = world.login("b");
    let request = Request::FriendRequest {
        who: UserRef::Name(name("B")),
    };
    let state = FriendState::Requested;
    assert_eq!(
        world.ok(a, request),
        Reply::FriendRequested {
            user: UserId(2),
            state
        }
    );
    assert_eq!(world.events(a), [friend(2, "b", FriendState::Requested)]);
    assert_eq!(world.events(b), [friend(1, "a", FriendState::RequestedBy)]);
    world.ok(b, act(FriendAction::Accept, 1));
    let online = |number| Event::Presence {
        user: UserId(number),
        online: true,
    };
    assert_eq!(
        world.events(a),
        [friend(2, "b", FriendState::Friends), online(2)]
    );
    assert_eq!(
        world.events(b),
        [friend(1, "a", FriendState::Friends), online(1)]
    );
    world.ok(a, send(user(2), "hello"));
    assert_eq!(world.messages(b), [(user(1), 1, "hello".into())]);
}

#[test]
fn a_request_waits_for_the_next_login() {
    let mut world = World::new();
    world.register("a");
    world.register("b");
    let (a, _) = world.login("a");
    world.ok(
        a,
        Request::FriendRequest {
            who: UserRef::Id(UserId(2)),
        },
    );
    let (_, session) = world.login("b");
    assert_eq!(session.requests.len(), 1);
    assert_eq!(session.requests[0].user, UserId(1));
    assert!(session.friends.is_empty());
}

#[test]
fn blocking_ends_the_friendship_and_unblocking_does_not_bring_it_back() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.ok(circle[0], act(FriendAction::Block, 2));
    assert_eq!(
        world.events(circle[0]),
        [friend(2, "b", FriendState::Blocked)]
    );
    assert_eq!(world.events(circle[1]), [friend(1, "a", FriendState::None)]);
    for connection in &circle {
        let other = if *connection == circle[0] { 2 } else { 1 };
        assert_eq!(
            world.ask(*connection, send(user(other), "x")),
            Err(ErrorCode::Blocked)
        );
        let ask = Request::FriendRequest {
            who: UserRef::Id(UserId(other)),
        };
        assert_eq!(world.ask(*connection, ask), Err(ErrorCode::Blocked));
    }
    let state = FriendState::None;
    assert_eq!(
        world.ok(circle[0], act(FriendAction::Unblock, 2)),
        Reply::FriendState { state }
    );
    assert_eq!(
        world.ask(circle[0], send(user(2), "x")),
        Err(ErrorCode::NotFriends)
    );
}

#[test]
fn friends_see_each_other_come_and_go() {
    let mut world = World::new();
    let circle = world.circle(3);
    let presence = |online| Event::Presence {
        user: UserId(2),
        online,
    };
    world.node.disconnect(circle[1]).unwrap();
    assert_eq!(world.events(circle[0]), [], "going is told after a while");
    let (b, session) = world.login("b");
    assert!(session.friends.iter().all(|friend| friend.online));
    world.wait(Duration::from_secs(10));
    assert_eq!(
        world.events(circle[0]),
        [],
        "who came back at once never went"
    );
    world.node.disconnect(b).unwrap();
    world.wait(Duration::from_secs(10));
    assert_eq!(world.events(circle[0]), [presence(false)]);
    assert_eq!(world.events(circle[2]), [], "a stranger is told nothing");
    world.login("b");
    assert_eq!(world.events(circle[0]), [presence(true)]);
}

#[test]
fn only_friends_and_oneself_are_shown_online() {
    let mut world = World::new();
    let circle = world.circle(3);
    let mut online = |connection, number| {
        let request = Request::User {
            who: UserRef::Id(UserId(number)),
        };
        let Reply::User { online, .. } = world.ok(connection, request) else {
            panic!()
        };
        online
    };
    assert_eq!(online(circle[1], 1), Some(true));
    assert_eq!(online(circle[1], 2), Some(true));
    assert_eq!(online(circle[1], 3), None);
}
