use std::time::Duration;

use parlor_core::id::UserId;
use parlor_core::log::FriendState;
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::protocol::{ErrorCode, Event, Reply, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_core::store::{Command, StoreRequest, StoreResponse};

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
fn who_leaves_again_has_the_whole_debounceto_come_back() {
    let mut world = World::new();
    let circle = world.circle(2);
    let offline = Event::Presence {
        user: UserId(2),
        online: false,
    };
    let debounce = crate::config().offline_after;
    world.node.disconnect(circle[1]).unwrap();
    world.wait(debounce / 2);
    let (b, _) = world.login("b");
    world.node.disconnect(b).unwrap();
    world.wait(debounce * 3 / 4);
    assert_eq!(world.events(circle[0]), []);
    world.wait(debounce / 2);
    assert_eq!(world.events(circle[0]), [offline]);
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

/// Carries a change out as another node would: this one hears nothing of it.
fn elsewhere(world: &mut World, command: Command) -> Vec<(UserId, u64)> {
    let now = world.node.now();
    let request = StoreRequest::Command(Box::new(command));
    match world.node.store.execute(request, now) {
        Ok(StoreResponse::Applied(applied)) => applied.changed,
        other => panic!("{other:?}"),
    }
}

fn tell(world: &mut World, changed: Vec<(UserId, u64)>) {
    for (user, version) in changed {
        world.relay(RelayMessage::Changed { user, version });
    }
}

#[test]
fn who_learns_of_a_friendship_late_is_shown_the_friend_then() {
    for mut world in [World::new(), World::cluster()] {
        let circle = world.circle(1);
        world.register("b");
        let (user, other) = (UserId(1), UserId(2));
        let who = UserRef::Id(other);
        elsewhere(&mut world, Command::FriendRequest { user, who });
        let action = FriendAction::Accept;
        let (user, other) = (UserId(2), UserId(1));
        let command = Command::Friend {
            user,
            action,
            other,
        };
        let changed = elsewhere(&mut world, command);
        world.login("b");
        assert_eq!(world.events(circle[0]), []);
        tell(&mut world, changed);
        let online = Event::Presence { user, online: true };
        let befriended = friend(2, "b", FriendState::Friends);
        assert_eq!(world.events(circle[0]), [befriended, online]);
    }
}

#[test]
fn who_is_blocked_is_shown_nothing_before_knowing_it() {
    for mut world in [World::new(), World::cluster()] {
        let circle = world.circle(3);
        world.node.disconnect(circle[1]).unwrap();
        world.wait(Duration::from_secs(5));
        world.events(circle[0]);
        let command = Command::Friend {
            user: UserId(2),
            action: FriendAction::Block,
            other: UserId(1),
        };
        elsewhere(&mut world, command);
        let (b, _) = world.login("b");
        assert_eq!(world.events(circle[0]), []);
        world.node.published.clear();
        world.node.disconnect(b).unwrap();
        world.wait(Duration::from_secs(2));
        let asked = |message: &RelayMessage| matches!(message, RelayMessage::AskAbout { .. });
        let published = &world.node.published;
        assert!(!published.iter().any(|(_, message)| asked(message)));
    }
}

#[test]
fn who_accepted_is_told_of_the_one_whose_roster_does_not_say_so_yet() {
    for mut world in [World::new(), World::cluster()] {
        let circle = world.circle(1);
        world.register("b");
        let (b, _) = world.login("b");
        let who = UserRef::Id(UserId(1));
        world.ok(b, Request::FriendRequest { who });
        world.node.disconnect(b).unwrap();
        world.wait(Duration::from_secs(5));
        world.events(circle[0]);
        // User 2 comes back with a roster from before user 1 accepts.
        world.node.hold_store();
        let connection = world.connect();
        let login = Request::Login {
            who: UserRef::Id(UserId(2)),
            password: Secret::new("password"),
            device: None,
            start: Default::default(),
        };
        world.node.request(connection, 1, login).unwrap();
        let (token, request) = world.node.take_held().pop().unwrap();
        let now = world.node.now();
        let result = world.node.store.execute(request, now);
        let accept = Command::Friend {
            user: UserId(1),
            action: FriendAction::Accept,
            other: UserId(2),
        };
        let changed = elsewhere(&mut world, accept);
        let first = changed.into_iter().filter(|(user, _)| *user == UserId(1));
        tell(&mut world, first.collect());
        for (token, request) in world.node.take_held() {
            let result = world.node.store.execute(request, now);
            world.node.complete(token, result).unwrap();
        }
        let befriended = friend(2, "b", FriendState::Friends);
        assert_eq!(world.events(circle[0]), [befriended]);
        world.node.complete(token, result).unwrap();
        let (user, online) = (UserId(2), true);
        let shown = world.events(circle[0]);
        assert_eq!(shown, [Event::Presence { user, online }]);
    }
}
