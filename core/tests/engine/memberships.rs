//! Memberships that changed elsewhere, learnt of from rosters.

use std::time::Duration;

use parlor_core::id::{ConnectionId, GroupId, UserId};
use parlor_core::log::{GroupChange, JoinPolicy};
use parlor_core::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction};
use parlor_core::protocol::{Reply, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::store::{Command, ReadDone, Roster, StoreRequest, StoreResponse};

use crate::groups::brief;
use crate::{World, group, login_of, name, send};

/// Has the store carry out a change, as another node would: this one is not told.
fn elsewhere(world: &mut World, command: Command) {
    let request = StoreRequest::Command(Box::new(command));
    world.node.store.execute(request, world.node.now()).unwrap();
}

fn by_self(user: u64, action: GroupSelfAction, group: GroupId) -> Command {
    Command::GroupSelf {
        user: UserId(user),
        action,
        group,
    }
}

/// Tells this node that a user's version rose, whatever to.
fn tell_changed(world: &mut World, user: u64) {
    world.relay(RelayMessage::Changed {
        user: UserId(user),
        version: 1000,
    });
}

/// Has the held store read `b`'s roster again, and changes what it says.
fn roster_read(world: &mut World, version: u64, change: impl FnOnce(&mut Roster)) {
    let user = UserId(2);
    world.relay(RelayMessage::Changed { user, version });
    let (token, request) = world.node.take_held().pop().unwrap();
    let mut result = world.node.store.execute(request, world.node.now());
    let Ok(StoreResponse::Read(ReadDone::Rosters(rosters))) = &mut result else {
        panic!("{result:?}")
    };
    let mut roster = (*rosters[0]).clone();
    roster.version = version;
    change(&mut roster);
    rosters[0] = roster.into();
    world.node.complete(token, result).unwrap();
}

/// Makes a group that lets in who is approved, to which `b` has asked to be let in.
fn asked_for(world: &mut World, circle: &[ConnectionId], text: &str) -> GroupId {
    let create = Request::GroupCreate {
        name: name(text),
        description: "".into(),
        join: JoinPolicy::Approval,
        key: None,
    };
    let Reply::GroupCreated { group } = world.ok(circle[0], create) else {
        panic!()
    };
    let action = GroupSelfAction::Join;
    world.ok(circle[1], Request::GroupSelf { action, group });
    group
}

#[test]
fn who_was_refused_elsewhere_is_told_of_that_group_only() {
    for (action, told) in [
        (GroupOtherAction::Reject, &["one none"][..]),
        (GroupOtherAction::Approve, &["2 joined 2", "one member"]),
    ] {
        let mut world = World::cluster();
        let circle = world.circle(2);
        let [one, _] = ["one", "two"].map(|text| asked_for(&mut world, &circle, text));
        world.events(circle[1]);
        let answer = Command::GroupOther {
            user: UserId(1),
            action,
            group: one,
            other: UserId(2),
        };
        elsewhere(&mut world, answer);
        tell_changed(&mut world, 2);
        assert_eq!(brief(world.events(circle[1])), told, "{action:?}");
    }
}

#[test]
fn who_left_and_came_back_elsewhere_is_not_shown_what_came_between() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let id = world.group_of(&circle);
    elsewhere(&mut world, by_self(2, GroupSelfAction::Leave, id));
    world.ok(circle[0], send(group(id.0), "between"));
    elsewhere(&mut world, by_self(2, GroupSelfAction::Join, id));
    world.events(circle[1]);
    tell_changed(&mut world, 2);
    assert_eq!(
        brief(world.events(circle[1])),
        ["5 joined 2", "group member"]
    );
}

#[test]
fn who_logged_in_as_a_member_is_not_told_of_becoming_one() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let id = world.group_of(&circle[..1]);
    world.node.disconnect(circle[1]).unwrap();
    world.wait(Duration::from_secs(5));
    elsewhere(&mut world, by_self(2, GroupSelfAction::Join, id));
    world.node.hold_store();
    let b = world.connect();
    let login = login_of("b");
    world.node.request(b, 1, login).unwrap();
    let page = world.pages_read();
    world.node.take(b);
    // The roster is read again before the first entry came.
    let remove = Command::Friend {
        user: UserId(1),
        action: FriendAction::Remove,
        other: UserId(2),
    };
    elsewhere(&mut world, remove);
    tell_changed(&mut world, 2);
    assert_eq!(world.pages_read(), []);
    for (token, result) in page {
        world.node.complete(token, result).unwrap();
    }
    let told = brief(world.events(b));
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "2 joined 2");
}

#[test]
fn a_membership_that_a_roster_lost_and_the_next_has_again_goes_on() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let id = world.group_of(&circle);
    world.node.hold_store();
    roster_read(&mut world, 1000, |roster| {
        roster.groups.clear();
        let conversations = &mut roster.conversations;
        conversations.retain(|state| state.conversation != group(id.0));
    });
    let pages = world.pages_read();
    assert_eq!(pages.len(), 1, "the end is looked for");
    roster_read(&mut world, 1001, |_| ());
    for (token, result) in pages {
        world.node.complete(token, result).unwrap();
    }
    world.node.release_store().unwrap();
    world.ok(circle[0], send(group(id.0), "still"));
    assert_eq!(brief(world.events(circle[1])), ["3 still"]);
}

#[test]
fn a_group_that_was_left_twice_is_left_under_its_last_name() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let id = world.group_of(&circle);
    // No other member is here, so that only the rosters tell its name.
    world.node.disconnect(circle[0]).unwrap();
    world.wait(Duration::from_secs(5));
    world.events(circle[1]);
    world.node.hold_store();
    elsewhere(&mut world, by_self(2, GroupSelfAction::Leave, id));
    roster_read(&mut world, 1000, |_| ());
    let mut pages = world.pages_read();
    let change = GroupChange {
        name: Some(name("new")),
        ..GroupChange::default()
    };
    let user = UserId(1);
    let update = Command::GroupUpdate {
        user,
        group: id,
        change,
    };
    elsewhere(&mut world, update);
    for (action, version) in [
        (GroupSelfAction::Join, 1001),
        (GroupSelfAction::Leave, 1002),
    ] {
        elsewhere(&mut world, by_self(2, action, id));
        roster_read(&mut world, version, |_| ());
        pages.extend(world.pages_read());
    }
    for (token, result) in pages {
        world.node.complete(token, result).unwrap();
    }
    world.node.release_store().unwrap();
    assert_eq!(
        brief(world.events(circle[1])),
        ["5 joined 2", "6 left 2", "new none"]
    );
}
