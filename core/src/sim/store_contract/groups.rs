//! Groups as a whole, and roles.

use crate::id::{ConversationRef, GroupId, Place, Seq, UserId};
use crate::log::{Body, GroupChange, JoinPolicy, Role};
use crate::name::Key;
use crate::protocol::ErrorCode;
use crate::protocol::reply::{GroupItem, GroupReply};
use crate::protocol::request::{Anchor, GroupOtherAction, GroupSelfAction};
use crate::store::{Applied, Command, ConversationState, Done, Read, ReadDone};

use super::world::{World, bodies, edit, key, manage, name, own, recall, role, send, touched};
use super::{Subject, limits};

fn create(user: UserId, text: &str, join: JoinPolicy, key: Option<Key>) -> Command {
    Command::GroupCreate {
        user,
        name: name(text),
        description: "about".into(),
        join,
        key,
    }
}

fn update(user: UserId, group: GroupId, change: GroupChange) -> Command {
    Command::GroupUpdate {
        user,
        group,
        change,
    }
}

pub(super) fn creating_a_group_makes_its_first_entry(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    let version = world.version(alice);
    let done = world.command(create(alice, "Go players", JoinPolicy::Approval, None));
    let Done::GroupCreated(group) = done.done else {
        panic!("a group is created: {done:?}");
    };
    let place = Place::Group(group);
    assert_eq!(done.changed, [(alice, version + 1)]);
    assert_eq!(done.entries.len(), 1);
    let entry = &done.entries[0];
    assert_eq!(
        (entry.conversation, entry.place),
        (group.conversation(), place)
    );
    assert_eq!(
        bodies(&done.entries),
        [(1, alice, Body::Joined { user: alice })]
    );
    assert_eq!(world.log(alice, place), done.entries[..]);
    let roster = world.roster(alice);
    assert_eq!(
        roster.groups,
        [GroupItem {
            group,
            name: name("Go players"),
            role: Role::Owner
        }]
    );
    assert_eq!(
        roster.conversations,
        [ConversationState {
            id: group.conversation(),
            conversation: ConversationRef::Group(group),
            last: Seq(1),
            joined: Seq(1),
            delivered: Seq(0),
            read: Seq(0),
            peer: None,
        }]
    );
    // Names of groups need not be unique.
    let done = world.command(create(alice, "Go players", JoinPolicy::Approval, None));
    assert_ne!(done.done, Done::GroupCreated(group));
}

pub(super) fn a_creators_key_makes_one_group(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let make = |user, text: &str, join| create(user, text, join, Some(key("k")));
    let first = world.command(make(alice, "one", JoinPolicy::Open));
    let again = world.command(make(alice, "one", JoinPolicy::Open));
    assert_eq!(again, Applied::unchanged(first.done.clone()));
    for conflict in [
        make(alice, "two", JoinPolicy::Open),
        make(alice, "One", JoinPolicy::Open),
        make(alice, "one", JoinPolicy::Invite),
    ] {
        world.refused(conflict, ErrorCode::KeyConflict);
    }
    let other = world.command(create(alice, "one", JoinPolicy::Open, Some(key("K"))));
    assert_ne!(other.done, first.done);
    let bobs = world.command(make(bob, "one", JoinPolicy::Open));
    assert_ne!(bobs.done, first.done);
    // The keys of messages are others.
    let Done::GroupCreated(group) = first.done else {
        panic!("a group is created: {first:?}");
    };
    assert_eq!(world.send(alice, Place::Group(group), "k", "hello"), Seq(2));
    let change = GroupChange {
        name: Some(name("renamed")),
        ..GroupChange::default()
    };
    world.command(update(alice, group, change));
    world.command(own(alice, GroupSelfAction::Disband, group));
    let again = world.command(make(alice, "one", JoinPolicy::Open));
    assert_eq!(again, Applied::unchanged(first.done));
    let results = world.batch(vec![
        create(bob, "two", JoinPolicy::Open, Some(key("b"))),
        create(bob, "two", JoinPolicy::Open, Some(key("b"))),
    ]);
    let results: Vec<Applied> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(results[1], Applied::unchanged(results[0].done.clone()));
}

pub(super) fn updates_are_entries(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let group = world.group_of(&[alice, bob]);
    let change = GroupChange {
        name: Some(name("other name")),
        description: Some("what for".into()),
        join: Some(JoinPolicy::Invite),
    };
    world.refused(update(bob, group, change.clone()), ErrorCode::Forbidden);
    world.refused(update(carol, group, change.clone()), ErrorCode::NotMember);
    let done = world.command(update(alice, group, change.clone()));
    // The description was that already.
    let changed = GroupChange {
        description: None,
        ..change.clone()
    };
    assert_eq!(done.done, Done::Nothing);
    assert_eq!(bodies(&done.entries), [(3, alice, Body::Updated(changed))]);
    assert_eq!(
        world.command(update(alice, group, change)),
        Applied::unchanged(Done::Nothing)
    );
    assert_eq!(
        world.command(update(alice, group, GroupChange::default())),
        Applied::unchanged(Done::Nothing)
    );
    world.give_role(alice, group, bob, Role::Admin);
    let change = GroupChange {
        description: Some("".into()),
        ..GroupChange::default()
    };
    let done = world.command(update(bob, group, change.clone()));
    assert_eq!(bodies(&done.entries), [(5, bob, Body::Updated(change))]);
    assert_eq!(world.log(bob, Place::Group(group))[3], done.entries[0]);
    let read = Read::Group { reader: bob, group };
    assert_eq!(
        world.read(read),
        ReadDone::Group(Box::new(GroupReply {
            group,
            name: name("other name"),
            description: "".into(),
            join: JoinPolicy::Invite,
            role: Some(Role::Admin),
            members: 2,
            last: Some(Seq(5)),
        }))
    );
    assert_eq!(world.roster(bob).groups[0].name, name("other name"));
}

pub(super) fn roles_are_entries(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let group = world.group_of(&[alice, bob]);
    let mut seq = 2;
    for given in [Role::Admin, Role::Muted, Role::Member] {
        let version = world.version(bob);
        let done = world.command(role(alice, group, bob, given));
        seq += 1;
        let body = Body::Role {
            user: bob,
            role: given,
        };
        assert_eq!(done.done, Done::Nothing);
        assert_eq!(bodies(&done.entries), [(seq, alice, body)]);
        assert_eq!(done.changed, [(bob, version + 1)]);
        assert_eq!(world.roster(bob).groups[0].role, given);
        let again = world.command(role(alice, group, bob, given));
        assert_eq!(again, Applied::unchanged(Done::Nothing));
    }
    assert_eq!(world.log(bob, Place::Group(group)).len(), 4);
}

pub(super) fn roles_need_the_right(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [owner, admin, other_admin, member, stranger] = world.users();
    let group = world.group_of(&[owner, admin, other_admin, member]);
    world.give_role(owner, group, admin, Role::Admin);
    world.give_role(owner, group, other_admin, Role::Admin);
    for (user, target, given, code) in [
        (member, admin, Role::Member, ErrorCode::Forbidden),
        (member, member, Role::Admin, ErrorCode::Forbidden),
        (admin, member, Role::Admin, ErrorCode::Forbidden),
        (admin, member, Role::Owner, ErrorCode::Forbidden),
        (admin, other_admin, Role::Member, ErrorCode::Forbidden),
        (admin, owner, Role::Muted, ErrorCode::Forbidden),
        (owner, owner, Role::Member, ErrorCode::Forbidden),
        (owner, stranger, Role::Admin, ErrorCode::NotMember),
        (stranger, member, Role::Muted, ErrorCode::NotMember),
    ] {
        world.refused(role(user, group, target, given), code);
    }
    world.give_role(admin, group, member, Role::Muted);
    world.give_role(admin, group, member, Role::Member);
    let nowhere = GroupId(999_999);
    let command = role(owner, nowhere, member, Role::Muted);
    world.refused(command, ErrorCode::NoSuchGroup);
}

pub(super) fn ownership_is_passed_on(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let group = world.group_of(&[alice, bob]);
    world.refused(
        own(alice, GroupSelfAction::Leave, group),
        ErrorCode::Forbidden,
    );
    let done = world.command(role(alice, group, bob, Role::Owner));
    let body = |user, role| Body::Role { user, role };
    assert_eq!(
        bodies(&done.entries),
        [
            (3, alice, body(bob, Role::Owner)),
            (4, alice, body(alice, Role::Admin)),
        ]
    );
    assert_eq!(touched(&done), [alice, bob]);
    assert_eq!(world.roster(bob).groups[0].role, Role::Owner);
    assert_eq!(world.roster(alice).groups[0].role, Role::Admin);
    assert_eq!(world.log(bob, Place::Group(group))[1..], done.entries[..]);
    world.refused(
        own(bob, GroupSelfAction::Leave, group),
        ErrorCode::Forbidden,
    );
    world.refused(
        own(alice, GroupSelfAction::Disband, group),
        ErrorCode::Forbidden,
    );
    world.command(own(alice, GroupSelfAction::Leave, group));
    world.command(own(bob, GroupSelfAction::Disband, group));
}

pub(super) fn disbanding_ends_everything(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol, dave, erin] = world.users();
    let group = world.group(alice, JoinPolicy::Approval);
    let place = Place::Group(group);
    world.command(own(bob, GroupSelfAction::Join, group));
    world.command(manage(alice, GroupOtherAction::Approve, group, bob));
    world.command(manage(alice, GroupOtherAction::Invite, group, carol));
    world.command(own(dave, GroupSelfAction::Join, group));
    let disband = |user| own(user, GroupSelfAction::Disband, group);
    world.refused(disband(bob), ErrorCode::Forbidden);
    world.refused(disband(erin), ErrorCode::NotMember);

    let done = world.command(disband(alice));
    assert_eq!(done.done, Done::Nothing);
    assert_eq!(bodies(&done.entries), [(3, alice, Body::Disbanded)]);
    assert_eq!(touched(&done), [alice, bob, carol, dave]);
    for (user, version) in done.changed {
        let roster = world.roster(user);
        assert_eq!(roster.version, version);
        assert_eq!(roster.groups, []);
        assert_eq!(roster.conversations, []);
        assert_eq!(roster.invites, []);
        assert_eq!(roster.waiting, []);
    }
    // The log stays, for what is still to be pushed.
    let page = world.fetch(group.conversation(), Seq(2), 9, 999);
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.entries[0].body, Body::Disbanded);

    assert_eq!(
        world.command(disband(alice)),
        Applied::unchanged(Done::Nothing)
    );
    let gone = ErrorCode::NoSuchGroup;
    for command in [
        disband(bob),
        own(erin, GroupSelfAction::Join, group),
        own(bob, GroupSelfAction::Leave, group),
        send(alice, place, "k", "x"),
        edit(alice, place, Seq(1), "x"),
        recall(alice, place, Seq(1)),
        manage(alice, GroupOtherAction::Invite, group, erin),
        role(alice, group, bob, Role::Admin),
        update(alice, group, GroupChange::default()),
    ] {
        world.refused(command, gone);
    }
    for reader in [alice, erin] {
        let history = world.history(reader, place, Anchor::Newest, 9, 999);
        assert_eq!(history, Err(gone));
        assert_eq!(world.try_read(Read::Group { reader, group }), Err(gone));
    }
}

pub(super) fn group_numbers_are_not_those_of_direct_conversations(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let direct = world.befriend(alice, bob);
    world.send(alice, direct, "k", "private");
    let group = GroupId(world.conversation(alice, direct).0);
    let place = Place::Group(group);
    let gone = ErrorCode::NoSuchGroup;
    for user in [alice, bob] {
        for command in [
            send(user, place, "x", "x"),
            edit(user, place, Seq(1), "x"),
            recall(user, place, Seq(1)),
            own(user, GroupSelfAction::Join, group),
            own(user, GroupSelfAction::Leave, group),
            own(user, GroupSelfAction::Disband, group),
            role(user, group, bob, Role::Admin),
            update(user, group, GroupChange::default()),
            manage(user, GroupOtherAction::Remove, group, alice),
        ] {
            world.refused(command, gone);
        }
        let reader = user;
        let history = world.history(reader, place, Anchor::Newest, 9, 999);
        assert_eq!(history, Err(gone));
        let (after, limit) = (None, 9);
        for read in [
            Read::Group { reader, group },
            Read::Members {
                reader,
                group,
                after,
                limit,
            },
            Read::Requests {
                reader,
                group,
                after,
                limit,
            },
        ] {
            assert_eq!(world.try_read(read), Err(gone));
        }
    }
    assert_eq!(world.texts(bob, direct), ["private"]);
}

pub(super) fn groups_have_a_limit(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let groups: Vec<GroupId> = (0..limits().groups)
        .map(|_| world.group(alice, JoinPolicy::Open))
        .collect();
    world.refused(
        create(alice, "more", JoinPolicy::Open, None),
        ErrorCode::Limit,
    );
    let bobs = world.group(bob, JoinPolicy::Open);
    world.refused(own(alice, GroupSelfAction::Join, bobs), ErrorCode::Limit);
    world.command(own(alice, GroupSelfAction::Disband, groups[0]));
    world.join(alice, bobs);
    assert_eq!(world.roster(alice).groups.len(), groups.len());

    // Members of a group.
    for number in 2..limits().members {
        let user = world.register(&format!("member {number}"));
        world.join(user, bobs);
    }
    let late = world.register("late");
    world.refused(own(late, GroupSelfAction::Join, bobs), ErrorCode::Limit);
    world.command(own(alice, GroupSelfAction::Leave, bobs));
    world.join(late, bobs);
}
