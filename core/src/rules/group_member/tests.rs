//! Tests of how members come and go, and what they may do.

use smallvec::smallvec;

use crate::id::{ConversationId, GroupId, Place, Seq, UserId};
use crate::log::{Body, JoinPolicy, Role};
use crate::protocol::ErrorCode;
use crate::protocol::reply::JoinState;
use crate::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction};
use crate::rules::fixture::{
    ANN, BEN, CAT, DAN, NOBODY, World, Written, create, entry, friend, give, join, joined, name,
    on_other, on_self,
};
use crate::store::command::Requested;
use crate::store::{
    Applied, Command, Done, GroupRow, InvitationRow, Kind, Limits, MemberRow, MessageRow,
};

/// A group of Ann's.
const GROUP: GroupId = GroupId(11);
const PLACE: Place = Place::Group(GROUP);
const LOG: ConversationId = ConversationId(11);

const MEMBER: Done = Done::Joined(JoinState::Member);
const WAITING: Done = Done::Joined(JoinState::Requested);

fn world(join: JoinPolicy) -> World {
    let mut world = World::new();
    assert_eq!(world.make_group(join), GROUP);
    world
}

/// Ann's group with Ben as its admin and Cat as a member: entries 1 to 4.
fn staffed() -> World {
    let mut world = world(JoinPolicy::Open);
    world.add(GROUP, BEN, Role::Admin);
    world.add(GROUP, CAT, Role::Member);
    world
}

const fn leave(user: UserId) -> Command {
    on_self(user, GroupSelfAction::Leave, GROUP)
}

const fn invite(user: UserId, other: UserId) -> Command {
    on_other(user, GroupOtherAction::Invite, GROUP, other)
}

const fn approve(user: UserId, other: UserId) -> Command {
    on_other(user, GroupOtherAction::Approve, GROUP, other)
}

const fn reject(user: UserId, other: UserId) -> Command {
    on_other(user, GroupOtherAction::Reject, GROUP, other)
}

const fn remove(user: UserId, other: UserId) -> Command {
    on_other(user, GroupOtherAction::Remove, GROUP, other)
}

/// What comes of a change that raises the version of one user and adds no entry.
fn raised(world: &World, done: Done, user: UserId) -> (Applied, Written) {
    let applied = Applied {
        changed: vec![world.next_version(user)],
        ..Applied::unchanged(done)
    };
    let written = Written {
        users: vec![world.risen(user)],
        ..Written::default()
    };
    (applied, written)
}

/// What comes of a change to one member that one entry tells of.
fn told(
    world: &World,
    done: Done,
    (seq, from): (u64, UserId),
    (kind, body): (Kind, Body),
    (user, row): (UserId, Option<MemberRow>),
) -> (Applied, Written) {
    let (applied, written) = raised(world, done, user);
    let applied = Applied {
        entries: smallvec![entry(world, PLACE, (LOG.0, seq), from, body)],
        ..applied
    };
    let message = MessageRow {
        from,
        at: world.now,
        kind,
        change: None,
    };
    let written = Written {
        conversations: vec![(LOG, Some((PLACE, Seq(seq))))],
        members: vec![((LOG, user), row)],
        messages: vec![((LOG, Seq(seq)), Some(message))],
        ..written
    };
    (applied, written)
}

fn entered(world: &World, done: Done, seq: u64, from: UserId, user: UserId) -> (Applied, Written) {
    let says = (Kind::Joined { user }, Body::Joined { user });
    let row = Some(joined(Role::Member, seq));
    told(world, done, (seq, from), says, (user, row))
}

#[track_caller]
fn check(world: &mut World, command: &Command, (applied, written): (Applied, Written)) {
    world.check(command, &applied, &written);
}

#[test]
fn one_enters_an_open_group() {
    let mut world = world(JoinPolicy::Open);
    let expected = entered(&world, MEMBER, 2, BEN, BEN);
    check(&mut world, &join(BEN, GROUP), expected);
    world.check_unchanged(&join(BEN, GROUP), MEMBER);
    world.check_refused(&join(BEN, GroupId(40)), ErrorCode::NoSuchGroup);
    world.check_refused(&join(NOBODY, GROUP), ErrorCode::NotLoggedIn);
}

#[test]
fn an_invitation_opens_every_group() {
    for policy in [JoinPolicy::Open, JoinPolicy::Approval, JoinPolicy::Invite] {
        let mut world = world(policy);
        world.must(&invite(ANN, BEN));
        let (applied, written) = entered(&world, MEMBER, 2, BEN, BEN);
        let written = Written {
            invitations: vec![((GROUP, BEN), None)],
            ..written
        };
        world.check(&join(BEN, GROUP), &applied, &written);
    }
    world(JoinPolicy::Invite).check_refused(&join(BEN, GROUP), ErrorCode::Forbidden);
}

#[test]
fn one_waits_for_approval_and_is_told_of_once() {
    let mut world = world(JoinPolicy::Approval);
    let (applied, written) = raised(&world, WAITING, BEN);
    let applied = Applied {
        requested: Some(Requested {
            group: GROUP,
            name: name("group"),
            user: BEN,
        }),
        ..applied
    };
    let written = Written {
        join_requests: vec![((GROUP, BEN), Some(()))],
        ..written
    };
    world.check(&join(BEN, GROUP), &applied, &written);
    world.check_unchanged(&join(BEN, GROUP), WAITING);
    let (applied, written) = entered(&world, Done::Nothing, 2, ANN, BEN);
    let written = Written {
        join_requests: vec![((GROUP, BEN), None)],
        ..written
    };
    world.check(&approve(ANN, BEN), &applied, &written);
    world.check_unchanged(&approve(ANN, BEN), Done::Nothing);
    world.check_refused(&approve(ANN, CAT), ErrorCode::Forbidden);
    world.check_refused(&approve(BEN, CAT), ErrorCode::Forbidden);
    world.check_refused(&approve(CAT, DAN), ErrorCode::NotMember);
}

#[test]
fn entering_ends_the_invitation_and_the_request() {
    let mut world = world(JoinPolicy::Approval);
    world.must(&join(BEN, GROUP));
    world.must(&invite(ANN, BEN));
    let (applied, written) = entered(&world, MEMBER, 2, BEN, BEN);
    let written = Written {
        invitations: vec![((GROUP, BEN), None)],
        join_requests: vec![((GROUP, BEN), None)],
        ..written
    };
    world.check(&join(BEN, GROUP), &applied, &written);
}

#[test]
fn a_request_is_rejected_once() {
    let mut world = world(JoinPolicy::Approval);
    world.must(&join(BEN, GROUP));
    let (applied, written) = raised(&world, Done::Nothing, BEN);
    let written = Written {
        join_requests: vec![((GROUP, BEN), None)],
        ..written
    };
    world.check(&reject(ANN, BEN), &applied, &written);
    world.check_unchanged(&reject(ANN, BEN), Done::Nothing);
    world.check_refused(&reject(BEN, CAT), ErrorCode::NotMember);
}

#[test]
fn members_are_counted_on_both_sides() {
    let full = |world: &World| {
        let limits = world.limits;
        [
            Limits {
                members: 1,
                ..limits
            },
            Limits {
                groups: 0,
                ..limits
            },
            Limits {
                conversations: 0,
                ..limits
            },
        ]
    };
    let mut open = world(JoinPolicy::Open);
    for limits in full(&open) {
        open.limits = limits;
        open.check_refused(&join(BEN, GROUP), ErrorCode::Limit);
    }
    let mut asking = world(JoinPolicy::Approval);
    asking.must(&join(BEN, GROUP));
    for limits in full(&asking) {
        asking.limits = limits;
        asking.check_refused(&approve(ANN, BEN), ErrorCode::Limit);
    }
    asking.limits = Limits {
        join_requests: 1,
        invitations: 0,
        ..Limits::default()
    };
    asking.check_refused(&join(CAT, GROUP), ErrorCode::Limit);
    asking.check_refused(&invite(ANN, CAT), ErrorCode::Limit);
}

#[test]
fn one_leaves_and_comes_back_behind_what_happened() {
    let mut world = world(JoinPolicy::Open);
    world.add(GROUP, BEN, Role::Muted);
    let says = (Kind::Left { user: BEN }, Body::Left { user: BEN });
    let expected = told(&world, Done::Nothing, (4, BEN), says, (BEN, None));
    check(&mut world, &leave(BEN), expected);
    world.check_unchanged(&leave(BEN), Done::Nothing);
    let expected = entered(&world, MEMBER, 5, BEN, BEN);
    check(&mut world, &join(BEN, GROUP), expected);
    world.check_refused(&leave(ANN), ErrorCode::Forbidden);
    let nowhere = on_self(BEN, GroupSelfAction::Leave, GroupId(40));
    world.check_refused(&nowhere, ErrorCode::NoSuchGroup);
}

#[test]
fn leaving_declines_and_withdraws() {
    let mut world = world(JoinPolicy::Approval);
    world.must(&join(BEN, GROUP));
    world.must(&invite(ANN, CAT));
    let (applied, written) = raised(&world, Done::Nothing, BEN);
    let written = Written {
        join_requests: vec![((GROUP, BEN), None)],
        ..written
    };
    world.check(&leave(BEN), &applied, &written);
    let (applied, written) = raised(&world, Done::Nothing, CAT);
    let written = Written {
        invitations: vec![((GROUP, CAT), None)],
        ..written
    };
    world.check(&leave(CAT), &applied, &written);
}

#[test]
fn managers_invite_whom_no_block_keeps_away() {
    let mut world = staffed();
    let (applied, written) = raised(&world, Done::Nothing, DAN);
    let written = Written {
        invitations: vec![((GROUP, DAN), Some(InvitationRow { by: BEN }))],
        ..written
    };
    world.check(&invite(BEN, DAN), &applied, &written);
    world.check_unchanged(&invite(ANN, DAN), Done::Nothing);
    world.check_unchanged(&invite(ANN, CAT), Done::Nothing);
    world.check_unchanged(&invite(ANN, ANN), Done::Nothing);
    world.check_refused(&invite(CAT, DAN), ErrorCode::Forbidden);
    world.check_refused(&invite(DAN, CAT), ErrorCode::NotMember);
    world.check_refused(&invite(ANN, NOBODY), ErrorCode::NoSuchUser);
    world.must(&leave(CAT));
    world.must(&friend(CAT, FriendAction::Block, ANN));
    world.must(&friend(BEN, FriendAction::Block, CAT));
    world.check_refused(&invite(ANN, CAT), ErrorCode::Blocked);
    world.check_refused(&invite(BEN, CAT), ErrorCode::Blocked);
}

#[test]
fn managers_remove_members_but_not_each_other() {
    let mut world = staffed();
    world.check_refused(&remove(CAT, BEN), ErrorCode::Forbidden);
    world.check_refused(&remove(DAN, CAT), ErrorCode::NotMember);
    world.check_refused(&remove(BEN, ANN), ErrorCode::Forbidden);
    world.check_refused(&remove(BEN, BEN), ErrorCode::Forbidden);
    world.check_refused(&remove(ANN, ANN), ErrorCode::Forbidden);
    let refused = world.transact(&[remove(ANN, ANN)]).results.remove(0);
    assert_eq!(refused.unwrap_err().message, "leave the group instead");
    world.check_unchanged(&remove(BEN, DAN), Done::Nothing);
    let says = (Kind::Removed { user: CAT }, Body::Removed { user: CAT });
    let expected = told(&world, Done::Nothing, (5, BEN), says, (CAT, None));
    check(&mut world, &remove(BEN, CAT), expected);
    world.check_unchanged(&remove(BEN, CAT), Done::Nothing);
    world.add(GROUP, DAN, Role::Admin);
    world.check_refused(&remove(BEN, DAN), ErrorCode::Forbidden);
    world.must(&remove(ANN, DAN));
}

#[test]
fn removing_the_invited_withdraws_the_invitation() {
    let mut world = world(JoinPolicy::Invite);
    world.must(&invite(ANN, BEN));
    let (applied, written) = raised(&world, Done::Nothing, BEN);
    let written = Written {
        invitations: vec![((GROUP, BEN), None)],
        ..written
    };
    world.check(&remove(ANN, BEN), &applied, &written);
}

fn role_of(user: UserId, role: Role) -> (Kind, Body) {
    (Kind::Role { user, role }, Body::Role { user, role })
}

#[test]
fn managers_mute_and_only_the_owner_names_admins() {
    let mut world = staffed();
    let says = role_of(CAT, Role::Muted);
    // Cat's own entry is the fourth.
    let row = Some(joined(Role::Muted, 4));
    let expected = told(&world, Done::Nothing, (5, BEN), says, (CAT, row));
    check(&mut world, &give(BEN, GROUP, CAT, Role::Muted), expected);
    world.check_unchanged(&give(BEN, GROUP, CAT, Role::Muted), Done::Nothing);
    world.check_unchanged(&give(ANN, GROUP, ANN, Role::Owner), Done::Nothing);
    world.check_unchanged(&give(BEN, GROUP, BEN, Role::Admin), Done::Nothing);
    for (user, other, role) in [
        (BEN, CAT, Role::Admin),
        (BEN, CAT, Role::Owner),
        (BEN, BEN, Role::Member),
        (BEN, BEN, Role::Owner),
        (BEN, ANN, Role::Member),
        (CAT, BEN, Role::Muted),
        (CAT, CAT, Role::Member),
        (ANN, ANN, Role::Member),
    ] {
        world.check_refused(&give(user, GROUP, other, role), ErrorCode::Forbidden);
    }
    world.check_refused(&give(ANN, GROUP, DAN, Role::Admin), ErrorCode::NotMember);
    world.check_refused(&give(DAN, GROUP, CAT, Role::Admin), ErrorCode::NotMember);
    let nowhere = give(ANN, GroupId(40), BEN, Role::Admin);
    world.check_refused(&nowhere, ErrorCode::NoSuchGroup);
    let says = role_of(CAT, Role::Admin);
    let row = Some(joined(Role::Admin, 4));
    let expected = told(&world, Done::Nothing, (6, ANN), says, (CAT, row));
    check(&mut world, &give(ANN, GROUP, CAT, Role::Admin), expected);
    world.must(&give(ANN, GROUP, CAT, Role::Muted));
}

#[test]
fn ownership_passes_on_and_leaves_an_admin() {
    let mut world = staffed();
    let mut applied = Applied {
        changed: vec![world.next_version(ANN), world.next_version(CAT)],
        ..Applied::unchanged(Done::Nothing)
    };
    let mut written = Written {
        users: vec![world.risen(ANN), world.risen(CAT)],
        conversations: vec![(LOG, Some((PLACE, Seq(6))))],
        members: vec![
            ((LOG, ANN), Some(joined(Role::Admin, 1))),
            ((LOG, CAT), Some(joined(Role::Owner, 4))),
        ],
        ..Written::default()
    };
    for (seq, user, role) in [(5, CAT, Role::Owner), (6, ANN, Role::Admin)] {
        let (kind, body) = role_of(user, role);
        applied
            .entries
            .push(entry(&world, PLACE, (LOG.0, seq), ANN, body));
        let message = MessageRow {
            from: ANN,
            at: world.now,
            kind,
            change: None,
        };
        written.messages.push(((LOG, Seq(seq)), Some(message)));
    }
    let row = GroupRow {
        owner: CAT,
        ..world.group(GROUP)
    };
    written.groups.push((GROUP, Some(row)));
    world.check(&give(ANN, GROUP, CAT, Role::Owner), &applied, &written);
    world.check_refused(&give(ANN, GROUP, ANN, Role::Owner), ErrorCode::Forbidden);
    world.must(&leave(ANN));
}

#[test]
fn a_batch_sees_who_came_and_went() {
    let mut world = world(JoinPolicy::Open);
    let outcome = world.transact(&[
        join(BEN, GROUP),
        remove(ANN, BEN),
        give(ANN, GROUP, BEN, Role::Admin),
        join(BEN, GROUP),
        join(CAT, GROUP),
        give(ANN, GROUP, BEN, Role::Admin),
        create(BEN, "other", JoinPolicy::Open, None),
    ]);
    let refused: Vec<_> = outcome
        .results
        .iter()
        .map(|result| result.as_ref().err().map(|error| error.code))
        .collect();
    let mut expected = vec![None; 7];
    expected[2] = Some(ErrorCode::NotMember);
    assert_eq!(refused, expected);
    assert_eq!(outcome.rounds, 1);
    let rows = [
        (LOG, ANN, Some(joined(Role::Owner, 1))),
        (LOG, BEN, Some(joined(Role::Admin, 4))),
        (LOG, CAT, Some(joined(Role::Member, 5))),
        (ConversationId(12), BEN, Some(joined(Role::Owner, 1))),
    ];
    let rows = rows.map(|(log, user, row)| ((log, user), row));
    // Ann's row did not change.
    assert_eq!(outcome.written.members, rows[1..]);
    let raised = outcome.results[6].as_ref().unwrap();
    assert_eq!(raised.changed[0].1, world.user(BEN).version);
}
