//! Signals that are not stored, from other nodes and from this one; limits of what users ask.

use std::time::Duration;

use parlor_core::engine::{Config, Input, Rate, Rates};
use parlor_core::id::{GroupId, UserId};
use parlor_core::log::JoinPolicy;
use parlor_core::protocol::event::GroupState;
use parlor_core::protocol::request::{FriendAction, GroupSelfAction};
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Reply, Request, RequestError};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_core::sim::Sent;
use parlor_core::store::{Command, StoreRequest};

use crate::{World, config, group, name, send, user};

fn cluster() -> World {
    World::with(Config {
        clustered: true,
        ..config()
    })
}

fn relay(world: &mut World, message: RelayMessage) {
    world.node.input(Input::Relayed { message }).unwrap();
}

/// Gives the node back what it published.
fn echo(world: &mut World) {
    for (_, message) in std::mem::take(&mut world.node.published) {
        relay(world, message);
    }
}

#[test]
fn typing_in_a_group_reaches_the_other_members_once() {
    let mut world = cluster();
    let circle = world.circle(3);
    let id = world.group_of(&circle);
    world.node.published.clear();
    world.ok(circle[0], Request::Typing { to: group(id.0) });
    echo(&mut world);
    let typing = |number| Event::Typing {
        conversation: group(id.0),
        user: UserId(number),
    };
    assert_eq!(world.events(circle[0]), []);
    assert_eq!(world.events(circle[1]), [typing(1)]);
    assert_eq!(world.events(circle[2]), [typing(1)]);
    let message = RelayMessage::TypingGroup {
        group: id,
        user: UserId(2),
        origin: 7,
    };
    relay(&mut world, message);
    assert_eq!(world.events(circle[0]), [typing(2)]);
    assert_eq!(world.events(circle[1]), []);
    assert_eq!(world.events(circle[2]), [typing(2)]);
}

#[test]
fn who_asks_to_join_is_told_to_those_who_decide_once() {
    let mut world = cluster();
    let circle = world.circle(3);
    let create = Request::GroupCreate {
        name: name("club"),
        description: "".into(),
        join: JoinPolicy::Approval,
        key: None,
    };
    let Reply::GroupCreated { group } = world.ok(circle[0], create) else {
        panic!()
    };
    world.events(circle[0]);
    world.node.published.clear();
    let join = Request::GroupSelf {
        action: GroupSelfAction::Join,
        group,
    };
    let requested = |number| Event::Group {
        group,
        name: name("club"),
        state: GroupState::Requested {
            user: UserId(number),
        },
    };
    world.ok(circle[1], join);
    echo(&mut world);
    assert_eq!(world.events(circle[0]), [requested(2)]);
    let message = RelayMessage::Requested {
        group,
        name: name("club"),
        user: UserId(3),
        origin: 7,
    };
    relay(&mut world, message);
    assert_eq!(world.events(circle[0]), [requested(3)]);
    assert_eq!(world.events(circle[1]), []);
}

#[test]
fn signals_to_whom_one_has_blocked_are_refused_as_such() {
    let mut world = World::new();
    let circle = world.circle(2);
    let block = Request::Friend {
        action: FriendAction::Block,
        user: UserId(2),
    };
    world.ok(circle[0], block);
    let typing = |number| Request::Typing { to: user(number) };
    assert_eq!(world.ask(circle[0], typing(2)), Err(ErrorCode::Blocked));
    assert_eq!(world.ask(circle[1], typing(1)), Err(ErrorCode::NotFriends));
}

#[test]
fn a_user_sends_no_faster_than_the_rate_and_asks_as_before() {
    let plenty = Rate::per_second(1000, 1000);
    let mut world = World::with(Config {
        rates: Some(Rates {
            requests: plenty,
            logins: plenty,
            sends: Rate::per_second(2, 1),
            ..Rates::default()
        }),
        ..config()
    });
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(circle[0], send(user(2), "two"));
    world.node.take(circle[0]);
    let third = send(user(2), "three");
    world.node.request(circle[0], 1000, third.clone()).unwrap();
    let sent = world.node.take(circle[0]);
    let [Sent::Reply(_, Err(RequestError { code, retry_ms, .. }))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!((*code, *retry_ms), (ErrorCode::RateLimited, Some(1000)));
    world.ok(circle[0], Request::Typing { to: user(2) });
    world.ok(circle[1], send(user(1), "another's"));
    world.wait(Duration::from_secs(1));
    world.ok(circle[0], third);
}

#[test]
fn a_busy_node_says_when_to_come_back() {
    let mut world = World::with(Config {
        store_requests: 0,
        ..config()
    });
    let connection = world.connect();
    for id in 0..20 {
        let register = Request::Register {
            name: name("a"),
            password: Secret::new("password"),
            invite: None,
        };
        world.node.request(connection, id, register).unwrap();
        let sent = world.node.take(connection);
        let [Sent::Reply(_, Err(error))] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(error.code, ErrorCode::Busy);
        let wait = error.retry_ms.unwrap();
        assert!((250..1000).contains(&wait), "{wait}");
    }
}

#[test]
fn the_sessions_of_an_account_that_is_gone_end() {
    let mut world = World::new();
    world.register("a");
    let (first, _) = world.login("a");
    let (second, _) = world.login("a");
    let delete = Request::DeleteAccount {
        password: Secret::new("password"),
    };
    assert_eq!(world.ok(first, delete), Reply::Done);
    let sent = world.node.take(second);
    let ended = |sent: &Sent| {
        matches!(
            sent,
            Sent::Event(Event::Notice {
                code: NoticeCode::Ended,
                ..
            })
        )
    };
    assert!(sent.iter().any(ended), "{sent:?}");
    assert_eq!(sent.last(), Some(&Sent::Closed));
}

#[test]
fn who_lags_when_a_group_has_no_other_member_here_is_told_its_name_at_the_end() {
    let mut world = cluster();
    let circle = world.circle(2);
    let id: GroupId = world.group_of(&circle);
    world.node.disconnect(circle[0]).unwrap();
    world.wait(Duration::from_secs(30));
    world.node.hold_store();
    let now = world.node.now();
    let remove = Command::GroupOther {
        user: UserId(1),
        action: parlor_core::protocol::request::GroupOtherAction::Remove,
        group: id,
        other: UserId(2),
    };
    world
        .node
        .store
        .execute(StoreRequest::Command(Box::new(remove)), now)
        .unwrap();
    let version = world.node.store.roster(UserId(2), now).unwrap().version;
    let user = UserId(2);
    relay(&mut world, RelayMessage::Changed { user, version });
    world.node.release_store().unwrap();
    let removed = Event::Group {
        group: id,
        name: name("group"),
        state: GroupState::Removed,
    };
    let events = world.events(circle[1]);
    assert_eq!(events.last(), Some(&removed), "{events:?}");
    assert_eq!(world.node.engine.counts().groups, 0);
}
