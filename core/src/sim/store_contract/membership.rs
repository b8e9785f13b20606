//! How members of groups come and go.

use crate::id::{GroupId, Place, Seq, UserId};
use crate::log::{Body, FriendState, JoinPolicy, Role};
use crate::protocol::ErrorCode;
use crate::protocol::reply::{InviteItem, JoinState};
use crate::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction};
use crate::store::command::Requested;
use crate::store::{Applied, Done};

use super::world::{World, bodies, edit, manage, name, own, recall, send, seqs, touched};
use super::{Subject, limits};

pub(super) fn open_groups_are_joined_by_asking(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let group = world.group(alice, JoinPolicy::Open);
    let place = Place::Group(group);
    world.send(alice, place, "k", "before");
    let version = world.version(bob);
    let done = world.join(bob, group);
    assert_eq!(
        bodies(&done.entries),
        [(3, bob, Body::Joined { user: bob })]
    );
    assert_eq!(done.changed, [(bob, version + 1)]);
    assert_eq!(done.requested, None);
    assert_eq!(world.log(bob, place), done.entries[..]);
    let state = world.roster(bob).conversations[0];
    assert_eq!(
        (state.last, state.joined, state.delivered, state.read),
        (Seq(3), Seq(3), Seq(2), Seq(2))
    );
    assert_eq!(world.roster(bob).groups[0].role, Role::Member);
    let again = world.join(bob, group);
    assert_eq!(again, Applied::unchanged(Done::Joined(JoinState::Member)));
    let nowhere = own(bob, GroupSelfAction::Join, GroupId(999_999));
    world.refused(nowhere, ErrorCode::NoSuchGroup);
}

pub(super) fn approval_groups_need_an_approval(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol, dave] = world.users();
    let group = world.group(alice, JoinPolicy::Approval);
    let asks = Done::Joined(JoinState::Requested);
    for user in [bob, carol] {
        let version = world.version(user);
        let done = world.command(own(user, GroupSelfAction::Join, group));
        assert_eq!(
            done,
            Applied {
                changed: vec![(user, version + 1)],
                requested: Some(Requested {
                    group,
                    name: name("a group"),
                    user,
                }),
                ..Applied::unchanged(asks.clone())
            }
        );
        let again = world.command(own(user, GroupSelfAction::Join, group));
        assert_eq!(again, Applied::unchanged(asks.clone()));
        assert_eq!(world.roster(user).waiting, [(group, name("a group"))]);
        assert_eq!(world.roster(user).groups, []);
    }
    let approve = |user, other| manage(user, GroupOtherAction::Approve, group, other);
    let reject = |user, other| manage(user, GroupOtherAction::Reject, group, other);
    world.refused(approve(bob, bob), ErrorCode::NotMember);
    world.refused(approve(alice, dave), ErrorCode::Forbidden);

    let done = world.command(approve(alice, bob));
    assert_eq!(done.done, Done::Nothing);
    assert_eq!(
        bodies(&done.entries),
        [(2, alice, Body::Joined { user: bob })]
    );
    assert_eq!(touched(&done), [bob]);
    assert_eq!(world.log(bob, Place::Group(group)), done.entries[..]);
    assert_eq!(world.roster(bob).waiting, []);
    let again = world.command(approve(alice, bob));
    assert_eq!(again, Applied::unchanged(Done::Nothing));
    world.refused(approve(bob, carol), ErrorCode::Forbidden);
    world.refused(reject(bob, carol), ErrorCode::Forbidden);

    let done = world.command(reject(alice, carol));
    assert_eq!(touched(&done), [carol]);
    assert_eq!(done.entries[..], []);
    assert_eq!(world.roster(carol).waiting, []);
    let again = world.command(reject(alice, carol));
    assert_eq!(again, Applied::unchanged(Done::Nothing));
    world.refused(approve(alice, carol), ErrorCode::Forbidden);

    // Who is invited need not wait, and what was asked for is settled with it.
    world.command(own(dave, GroupSelfAction::Join, group));
    world.command(manage(alice, GroupOtherAction::Invite, group, dave));
    world.join(dave, group);
    let roster = world.roster(dave);
    assert_eq!(
        (&roster.waiting[..], &roster.invites[..]),
        (&[][..], &[][..])
    );
}

pub(super) fn invite_groups_need_an_invitation(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol, dave] = world.users();
    let group = world.group(alice, JoinPolicy::Invite);
    let invite = |user, other| manage(user, GroupOtherAction::Invite, group, other);
    world.refused(own(bob, GroupSelfAction::Join, group), ErrorCode::Forbidden);
    world.refused(invite(carol, bob), ErrorCode::NotMember);
    world.refused(invite(alice, UserId(999_999)), ErrorCode::NoSuchUser);
    let done = world.command(invite(alice, bob));
    assert_eq!(done.done, Done::Nothing);
    assert_eq!(done.entries[..], []);
    assert_eq!(touched(&done), [bob]);
    let item = InviteItem {
        group,
        name: name("a group"),
        by: alice,
    };
    assert_eq!(world.roster(bob).invites, [item]);
    let again = world.command(invite(alice, bob));
    assert_eq!(again, Applied::unchanged(Done::Nothing));

    let done = world.join(bob, group);
    assert_eq!(
        bodies(&done.entries),
        [(2, bob, Body::Joined { user: bob })]
    );
    assert_eq!(world.roster(bob).invites, []);
    world.refused(invite(bob, carol), ErrorCode::Forbidden);
    let again = world.command(invite(alice, bob));
    assert_eq!(again, Applied::unchanged(Done::Nothing));
    // A block, either way, bars invitations.
    world.friend(carol, FriendAction::Block, alice, FriendState::Blocked);
    world.refused(invite(alice, carol), ErrorCode::Blocked);
    world.friend(alice, FriendAction::Block, dave, FriendState::Blocked);
    world.refused(invite(alice, dave), ErrorCode::Blocked);
    world.give_role(alice, group, bob, Role::Admin);
    world.command(invite(bob, carol));
    assert_eq!(world.roster(carol).invites[0].by, bob);
}

pub(super) fn leaving_removes_what_there_is(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol, dave] = world.users();
    let group = world.group(alice, JoinPolicy::Approval);
    let place = Place::Group(group);
    let leave = |user| own(user, GroupSelfAction::Leave, group);
    for user in [bob, dave] {
        world.command(own(user, GroupSelfAction::Join, group));
    }
    world.command(manage(alice, GroupOtherAction::Approve, group, bob));
    world.command(manage(alice, GroupOtherAction::Invite, group, carol));

    let done = world.command(leave(bob));
    assert_eq!(done.done, Done::Nothing);
    assert_eq!(bodies(&done.entries), [(3, bob, Body::Left { user: bob })]);
    assert_eq!(touched(&done), [bob]);
    assert_eq!(world.roster(bob).conversations, []);
    assert_eq!(world.roster(bob).groups, []);
    world.refused(send(bob, place, "k", "x"), ErrorCode::NotMember);

    for user in [carol, dave] {
        let done = world.command(leave(user));
        assert_eq!(done.entries[..], []);
        assert_eq!(touched(&done), [user]);
        let roster = world.roster(user);
        assert_eq!(roster.invites, []);
        assert_eq!(roster.waiting, []);
    }
    for user in [bob, carol, dave] {
        let again = world.command(leave(user));
        assert_eq!(again, Applied::unchanged(Done::Nothing));
    }
    assert_eq!(seqs(&world.log(alice, place)), [1, 2, 3]);
}

pub(super) fn removing_needs_the_right(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [owner, admin, other_admin, member, invited] = world.users();
    let group = world.group_of(&[owner, admin, other_admin, member]);
    for user in [admin, other_admin] {
        world.give_role(owner, group, user, Role::Admin);
    }
    let remove = |user, other| manage(user, GroupOtherAction::Remove, group, other);
    for (user, other, code) in [
        (member, admin, ErrorCode::Forbidden),
        (admin, other_admin, ErrorCode::Forbidden),
        (admin, owner, ErrorCode::Forbidden),
        (owner, owner, ErrorCode::Forbidden),
        (invited, member, ErrorCode::NotMember),
    ] {
        world.refused(remove(user, other), code);
    }
    let done = world.command(remove(admin, member));
    let body = Body::Removed { user: member };
    assert_eq!(bodies(&done.entries), [(7, admin, body)]);
    assert_eq!(touched(&done), [member]);
    assert_eq!(world.roster(member).groups, []);
    let again = world.command(remove(admin, member));
    assert_eq!(again, Applied::unchanged(Done::Nothing));
    world.command(remove(owner, admin));
    assert_eq!(world.roster(admin).groups, []);

    // It also takes an invitation back.
    world.command(manage(owner, GroupOtherAction::Invite, group, invited));
    let done = world.command(remove(owner, invited));
    assert_eq!(done.entries[..], []);
    assert_eq!(touched(&done), [invited]);
    assert_eq!(world.roster(invited).invites, []);
}

pub(super) fn rejoining_hides_what_came_between(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let group = world.group_of(&[alice, bob]);
    let place = Place::Group(group);
    let mine = world.send(bob, place, "k", "mine");
    world.command(own(bob, GroupSelfAction::Leave, group));
    world.send(alice, place, "k", "between");
    let done = world.join(bob, group);
    assert_eq!(world.log(bob, place), done.entries[..]);
    assert_eq!(done.entries[0].seq, Seq(6));
    let state = world.roster(bob).conversations[0];
    assert_eq!(
        (state.last, state.joined, state.delivered, state.read),
        (Seq(6), Seq(6), Seq(5), Seq(5))
    );
    // What one does not see one does not change, nor answer to.
    world.refused(recall(bob, place, mine), ErrorCode::NoSuchMessage);
    world.refused(edit(bob, place, mine, "x"), ErrorCode::NoSuchMessage);
    let reply = crate::store::Command::Send {
        user: bob,
        place,
        key: super::world::key("r"),
        text: "re".into(),
        reply_to: Some(Seq(5)),
        meta: None,
    };
    world.refused(reply, ErrorCode::NoSuchMessage);
    assert_eq!(seqs(&world.log(alice, place)), [1, 2, 3, 4, 5, 6]);
}

pub(super) fn muted_members_read_only(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let group = world.group_of(&[alice, bob]);
    let place = Place::Group(group);
    let mine = world.send(bob, place, "k", "mine");
    world.give_role(alice, group, bob, Role::Muted);
    world.refused(send(bob, place, "l", "x"), ErrorCode::Muted);
    world.refused(edit(bob, place, mine, "x"), ErrorCode::Muted);
    assert_eq!(world.texts(bob, place), ["mine"]);
    // Recalling needs membership only.
    world.command(recall(bob, place, mine));
    world.give_role(alice, group, bob, Role::Member);
    world.send(bob, place, "l", "again");
    assert_eq!(world.texts(alice, place), ["", "again"]);
}

pub(super) fn join_requests_and_invitations_have_limits(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    let group = world.group(alice, JoinPolicy::Approval);
    let users: Vec<UserId> = (0..=limits().join_requests)
        .map(|number| world.register(&format!("user {number}")))
        .collect();
    let (last, first) = users.split_last().unwrap();
    for user in first {
        world.command(own(*user, GroupSelfAction::Join, group));
    }
    world.refused(own(*last, GroupSelfAction::Join, group), ErrorCode::Limit);
    world.command(own(first[0], GroupSelfAction::Leave, group));
    world.command(own(*last, GroupSelfAction::Join, group));

    let groups: Vec<GroupId> = (0..=limits().invitations)
        .map(|_| world.group(alice, JoinPolicy::Invite))
        .collect();
    let invite = |group| manage(alice, GroupOtherAction::Invite, group, *last);
    for group in &groups[1..] {
        world.command(invite(*group));
    }
    world.refused(invite(groups[0]), ErrorCode::Limit);
    world.join(*last, groups[1]);
    world.command(invite(groups[0]));
    assert_eq!(world.roster(*last).invites.len(), groups.len() - 1);
}
