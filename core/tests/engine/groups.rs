use parlor_core::id::{GroupId, Seq, UserId};
use parlor_core::log::{JoinPolicy, Role};
use parlor_core::protocol::event::GroupState;
use parlor_core::protocol::request::{GroupOtherAction, GroupSelfAction, UserRef};
use parlor_core::protocol::{ErrorCode, Event, Reply, Request};

use crate::{World, group, name, send, show};

fn by_self(action: GroupSelfAction, group: GroupId) -> Request {
    Request::GroupSelf { action, group }
}

fn on(action: GroupOtherAction, group: GroupId, number: u64) -> Request {
    Request::GroupOther {
        action,
        group,
        user: UserId(number),
    }
}

/// Shows events briefly: messages by number and kind, group events by state.
pub(crate) fn brief(events: Vec<Event>) -> Vec<String> {
    events
        .into_iter()
        .map(|event| match event {
            Event::Message(message) => format!("{} {}", message.seq, show(&message.body)),
            Event::Group { state, name, .. } => format!("{name} {}", state.as_str()),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_group_message_reaches_every_member_and_nobody_else() {
    let mut world = World::new();
    let circle = world.circle(4);
    let id = world.group_of(&circle[..3]);
    world.ok(circle[1], send(group(id.0), "hello"));
    for connection in &circle[..3] {
        assert_eq!(
            world.messages(*connection),
            [(group(id.0), 4, "hello".into())]
        );
    }
    assert_eq!(world.messages(circle[3]), []);
    assert_eq!(
        world.ask(circle[3], send(group(id.0), "x")),
        Err(ErrorCode::NotMember)
    );
}

#[test]
fn the_joiner_first_gets_the_entry_that_says_so() {
    let mut world = World::new();
    let circle = world.circle(2);
    let id = world.group_of(&circle[..1]);
    world.ok(circle[0], send(group(id.0), "before"));
    world.events(circle[0]);
    world.ok(circle[1], by_self(GroupSelfAction::Join, id));
    assert_eq!(
        brief(world.events(circle[1])),
        ["3 joined 2", "group member"]
    );
    assert_eq!(brief(world.events(circle[0])), ["3 joined 2"]);
    let (_, session) = world.login("b");
    let conversation = session
        .conversations
        .iter()
        .find(|item| item.conversation == group(id.0))
        .unwrap();
    assert_eq!(
        (conversation.last, conversation.delivered),
        (Seq(3), Seq(2))
    );
}

#[test]
fn nothing_is_pushed_after_a_removal() {
    let mut world = World::new();
    let circle = world.circle(3);
    let id = world.group_of(&circle);
    world.ok(circle[0], on(GroupOtherAction::Remove, id, 2));
    world.ok(circle[2], send(group(id.0), "without b"));
    assert_eq!(
        brief(world.events(circle[1])),
        ["4 removed 2", "group removed"]
    );
    assert_eq!(
        world.ask(circle[1], send(group(id.0), "x")),
        Err(ErrorCode::NotMember)
    );
    assert_eq!(
        brief(world.events(circle[2])),
        ["4 removed 2", "5 without b"]
    );
    world.ok(circle[1], by_self(GroupSelfAction::Join, id));
    assert_eq!(
        brief(world.events(circle[1])),
        ["6 joined 2", "group member"],
        "not what came between"
    );
}

#[test]
fn a_lagging_session_gets_the_log_up_to_its_removal() {
    let mut world = World::new();
    let circle = world.circle(3);
    let id = world.group_of(&circle);
    world.node.stall(circle[1]);
    // More than the credit of a connection, so that the rest has to be fetched.
    let text = "x".repeat(16 * 1024);
    for number in 0..40 {
        world.ok(circle[0], send(group(id.0), &format!("{number:02}{text}")));
    }
    world.ok(circle[0], on(GroupOtherAction::Remove, id, 2));
    world.ok(circle[0], send(group(id.0), "after"));
    world.node.unstall(circle[1]).unwrap();
    let seen = brief(world.events(circle[1]));
    let numbers: Vec<u64> = seen
        .iter()
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (4..=44).collect::<Vec<u64>>());
    assert_eq!(seen.last().unwrap(), "group removed");
    assert_eq!(seen[seen.len() - 2], "44 removed 2");
}

#[test]
fn invitations_requests_and_their_ends_are_told() {
    let mut world = World::new();
    let circle = world.circle(3);
    let create = Request::GroupCreate {
        name: name("club"),
        description: "".into(),
        join: JoinPolicy::Approval,
        key: None,
    };
    let Reply::GroupCreated { group: id } = world.ok(circle[0], create) else {
        panic!()
    };
    assert_eq!(
        brief(world.events(circle[0])),
        ["1 joined 1", "club member"]
    );
    world.ok(circle[1], by_self(GroupSelfAction::Join, id));
    let requested = Event::Group {
        group: id,
        name: name("club"),
        state: GroupState::Requested { user: UserId(2) },
    };
    assert_eq!(world.events(circle[0]), [requested]);
    world.ok(circle[0], on(GroupOtherAction::Reject, id, 2));
    assert_eq!(brief(world.events(circle[1])), ["club none"]);
    world.ok(circle[0], on(GroupOtherAction::Invite, id, 2));
    assert_eq!(brief(world.events(circle[1])), ["club invited"]);
    let (_, session) = world.login("b");
    assert_eq!(session.invites.len(), 1);
    world.ok(circle[1], by_self(GroupSelfAction::Join, id));
    assert_eq!(
        brief(world.events(circle[1])),
        ["2 joined 2", "club member"]
    );
    world.ok(circle[2], by_self(GroupSelfAction::Join, id));
    world.ok(circle[0], on(GroupOtherAction::Approve, id, 3));
    assert_eq!(
        brief(world.events(circle[2])),
        ["3 joined 3", "club member"]
    );
}

#[test]
fn muting_disbanding_and_roles() {
    let mut world = World::new();
    let circle = world.circle(3);
    let id = world.group_of(&circle);
    let role = |number, role| Request::GroupRole {
        group: id,
        user: UserId(number),
        role,
    };
    world.ok(circle[0], role(2, Role::Muted));
    assert_eq!(
        world.ask(circle[1], send(group(id.0), "x")),
        Err(ErrorCode::Muted)
    );
    let typing = Request::Typing { to: group(id.0) };
    assert_eq!(world.ask(circle[1], typing), Err(ErrorCode::Muted));
    world.ok(circle[0], role(3, Role::Owner));
    let disband = by_self(GroupSelfAction::Disband, id);
    assert_eq!(
        world.ask(circle[0], disband.clone()),
        Err(ErrorCode::Forbidden)
    );
    world.ok(circle[2], disband);
    assert_eq!(
        brief(world.events(circle[1])),
        [
            "4 role 2 muted",
            "5 role 3 owner",
            "6 role 1 admin",
            "7 disbanded",
            "group disbanded"
        ]
    );
    assert_eq!(
        world.ask(circle[1], send(group(id.0), "x")),
        Err(ErrorCode::NoSuchGroup)
    );
}

#[test]
fn members_are_listed_with_presence() {
    let mut world = World::new();
    let circle = world.circle(3);
    let id = world.group_of(&circle);
    world.ok(
        circle[2],
        Request::Friend {
            action: parlor_core::protocol::request::FriendAction::Block,
            user: UserId(2),
        },
    );
    let list = Request::GroupMembers {
        group: id,
        after: None,
        limit: 50,
    };
    let Reply::Members(members) = world.ok(circle[1], list) else {
        panic!()
    };
    let shown: Vec<(u64, Role, Option<bool>)> = members
        .items
        .iter()
        .map(|item| (item.user.0, item.role, item.online))
        .collect();
    assert_eq!(
        shown,
        [
            (1, Role::Owner, Some(true)),
            (2, Role::Member, Some(true)),
            (3, Role::Member, None)
        ]
    );
    let stranger = world.register("z");
    assert_eq!(stranger, UserId(4));
    let (z, _) = world.login("z");
    let list = Request::GroupMembers {
        group: id,
        after: None,
        limit: 50,
    };
    assert_eq!(world.ask(z, list), Err(ErrorCode::NotMember));
    let request = Request::User {
        who: UserRef::Id(UserId(99)),
    };
    assert_eq!(world.ask(z, request), Err(ErrorCode::NoSuchUser));
}
