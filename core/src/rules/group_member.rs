//! The members of groups: how they come and go, and what they may do.

use crate::id::{GroupId, Place, UserId};
use crate::log::{FriendState, JoinPolicy, Role};
use crate::protocol::reply::JoinState;
use crate::protocol::request::{GroupOtherAction, GroupSelfAction};
use crate::protocol::{ErrorCode, RequestError};
use crate::sorted::SortedSet;
use crate::store::command::Requested;
use crate::store::{Count, Done, GroupRow, InvitationRow, Kind, MemberRow, ReadSet, Refusal, View};

use super::group::{disband, live, manager, read_for_disband};
use super::lookup::{self, Log, places};
use super::plan::{Plan, Step};

pub(super) fn read_for_self(user: UserId, action: GroupSelfAction, group: GroupId) -> ReadSet {
    match action {
        GroupSelfAction::Join => ReadSet {
            counts: SortedSet::from([
                Count::Members(group),
                Count::Groups(user),
                Count::Conversations(user),
                Count::JoinRequests(group),
            ]),
            ..read_for_one(user, group)
        },
        GroupSelfAction::Leave => read_for_one(user, group),
        GroupSelfAction::Disband => read_for_disband(user, group),
    }
}

pub(super) fn act(
    view: &View,
    user: UserId,
    action: GroupSelfAction,
    group: GroupId,
) -> Result<Plan, Refusal> {
    match action {
        GroupSelfAction::Join => join(view, user, group),
        GroupSelfAction::Leave => leave(view, user, group),
        GroupSelfAction::Disband => disband(view, user, group),
    }
}

pub(super) fn read_for_other(
    user: UserId,
    action: GroupOtherAction,
    group: GroupId,
    other: UserId,
) -> ReadSet {
    let place = Place::Group(group);
    let mut read = ReadSet {
        users: SortedSet::from([other]),
        members: SortedSet::from([(place, user), (place, other)]),
        ..places([place])
    };
    let concerned = SortedSet::from([(group, other)]);
    match action {
        GroupOtherAction::Invite => {
            read.invitations = concerned;
            read.friendships = SortedSet::from([(user, other), (other, user)]);
            read.counts = SortedSet::from([Count::Invitations(other)]);
        }
        GroupOtherAction::Approve => {
            read.invitations.clone_from(&concerned);
            read.join_requests = concerned;
            read.counts = SortedSet::from([
                Count::Members(group),
                Count::Groups(other),
                Count::Conversations(other),
            ]);
        }
        GroupOtherAction::Reject => read.join_requests = concerned,
        GroupOtherAction::Remove => read.invitations = concerned,
    }
    read
}

pub(super) fn act_on_other(
    view: &View,
    user: UserId,
    action: GroupOtherAction,
    group: GroupId,
    other: UserId,
) -> Result<Plan, Refusal> {
    let (log, _) = live(view, group)?;
    let role = manager(view, log, user)?;
    match action {
        GroupOtherAction::Invite => invite(view, log, user, (group, other)),
        GroupOtherAction::Approve => approve(view, log, user, (group, other)),
        GroupOtherAction::Reject => {
            let mut plan = Plan::new(Done::Nothing);
            if lookup::join_request(view, group, other)? {
                plan.step(Step::JoinRequest(group, other, false));
                plan.touch(other);
            }
            Ok(plan)
        }
        GroupOtherAction::Remove => remove(view, log, (user, role), (group, other)),
    }
}

pub(super) fn read_for_role(user: UserId, group: GroupId, other: UserId) -> ReadSet {
    let place = Place::Group(group);
    ReadSet {
        users: SortedSet::from([user, other]),
        members: SortedSet::from([(place, user), (place, other)]),
        ..places([place])
    }
}

pub(super) fn set_role(
    view: &View,
    user: UserId,
    group: GroupId,
    other: UserId,
    role: Role,
) -> Result<Plan, Refusal> {
    let (log, row) = live(view, group)?;
    let acting = manager(view, log, user)?;
    let target = *lookup::member(view, log, other)?.ok_or(ErrorCode::NotMember)?;
    let mut plan = Plan::new(Done::Nothing);
    if target.role == role {
        return Ok(plan);
    }
    if target.role == Role::Owner {
        return Err(RequestError::new(ErrorCode::Forbidden, "pass ownership on instead").into());
    }
    let small = |role| matches!(role, Role::Member | Role::Muted);
    if acting != Role::Owner && !(small(target.role) && small(role)) {
        return Err(RequestError::new(
            ErrorCode::Forbidden,
            "only the owner names admins and passes ownership on",
        )
        .into());
    }
    let mut give = |user_concerned, member: MemberRow, role| {
        let member = MemberRow { role, ..member };
        let kind = Kind::Role {
            user: user_concerned,
            role,
        };
        plan.step(Step::Member(log, user_concerned, Some(member)));
        plan.append(log, user, kind);
        plan.touch(user_concerned);
    };
    give(other, target, role);
    if role == Role::Owner {
        let actor = *lookup::member(view, log, user)?.ok_or(ErrorCode::NotMember)?;
        give(user, actor, Role::Admin);
        let row = GroupRow {
            owner: other,
            ..row.clone()
        };
        plan.step(Step::Group(group, row));
    }
    Ok(plan)
}

fn read_for_one(user: UserId, group: GroupId) -> ReadSet {
    let place = Place::Group(group);
    ReadSet {
        users: SortedSet::from([user]),
        members: SortedSet::from([(place, user)]),
        invitations: SortedSet::from([(group, user)]),
        join_requests: SortedSet::from([(group, user)]),
        ..places([place])
    }
}

fn join(view: &View, user: UserId, group: GroupId) -> Result<Plan, Refusal> {
    let (log, row) = live(view, group)?;
    lookup::actor(view, user)?;
    let member = Done::Joined(JoinState::Member);
    if lookup::member(view, log, user)?.is_some() {
        return Ok(Plan::new(member));
    }
    let invited = lookup::invitation(view, group, user)?.is_some();
    match row.join {
        JoinPolicy::Open => enter(view, member, log, user, (group, user)),
        _ if invited => enter(view, member, log, user, (group, user)),
        JoinPolicy::Approval => ask(view, user, group, row),
        JoinPolicy::Invite => Err(RequestError::new(
            ErrorCode::Forbidden,
            "one joins this group by invitation only",
        )
        .into()),
    }
}

fn leave(view: &View, user: UserId, group: GroupId) -> Result<Plan, Refusal> {
    let (log, _) = live(view, group)?;
    let mut plan = Plan::new(Done::Nothing);
    if let Some(member) = lookup::member(view, log, user)? {
        if member.role == Role::Owner {
            return Err(RequestError::new(
                ErrorCode::Forbidden,
                "pass ownership on or disband the group first",
            )
            .into());
        }
        plan.append(log, user, Kind::Left { user });
        plan.step(Step::Member(log, user, None));
        plan.touch(user);
    } else if lookup::invitation(view, group, user)?.is_some() {
        plan.step(Step::Invitation(group, user, None));
        plan.touch(user);
    } else if lookup::join_request(view, group, user)? {
        plan.step(Step::JoinRequest(group, user, false));
        plan.touch(user);
    }
    Ok(plan)
}

/// Has a user wait for approval.
fn ask(view: &View, user: UserId, group: GroupId, row: &GroupRow) -> Result<Plan, Refusal> {
    let mut plan = Plan::new(Done::Joined(JoinState::Requested));
    if lookup::join_request(view, group, user)? {
        return Ok(plan);
    }
    lookup::room(view, &[Count::JoinRequests(group)])?;
    plan.step(Step::JoinRequest(group, user, true));
    plan.touch(user);
    plan.request(Requested {
        group,
        name: row.name.clone(),
        user,
    });
    Ok(plan)
}

/// Makes a user a member.
fn enter(
    view: &View,
    done: Done,
    log: Log,
    from: UserId,
    (group, user): (GroupId, UserId),
) -> Result<Plan, Refusal> {
    let invited = lookup::invitation(view, group, user)?.is_some();
    let asked = lookup::join_request(view, group, user)?;
    lookup::room(
        view,
        &[
            Count::Members(group),
            Count::Groups(user),
            Count::Conversations(user),
        ],
    )?;
    let row = MemberRow {
        role: Role::Member,
        joined: log.last.next(),
        delivered: log.last,
        read: log.last,
    };
    let mut plan = Plan::new(done);
    plan.append(log, from, Kind::Joined { user });
    plan.step(Step::Member(log, user, Some(row)));
    if invited {
        plan.step(Step::Invitation(group, user, None));
    }
    if asked {
        plan.step(Step::JoinRequest(group, user, false));
    }
    plan.touch(user);
    Ok(plan)
}

fn invite(
    view: &View,
    log: Log,
    user: UserId,
    (group, other): (GroupId, UserId),
) -> Result<Plan, Refusal> {
    lookup::live_user(view, other)?.ok_or(ErrorCode::NoSuchUser)?;
    let (state, back) = lookup::friendships(view, user, other)?;
    if [state, back].contains(&FriendState::Blocked) {
        return Err(ErrorCode::Blocked.into());
    }
    let mut plan = Plan::new(Done::Nothing);
    let here = lookup::member(view, log, other)?.is_some();
    if here || lookup::invitation(view, group, other)?.is_some() {
        return Ok(plan);
    }
    lookup::room(view, &[Count::Invitations(other)])?;
    let row = InvitationRow { by: user };
    plan.step(Step::Invitation(group, other, Some(row)));
    plan.touch(other);
    Ok(plan)
}

fn approve(
    view: &View,
    log: Log,
    user: UserId,
    (group, other): (GroupId, UserId),
) -> Result<Plan, Refusal> {
    if lookup::member(view, log, other)?.is_some() {
        return Ok(Plan::new(Done::Nothing));
    }
    if !lookup::join_request(view, group, other)? {
        return Err(
            RequestError::new(ErrorCode::Forbidden, "that user has not asked to join").into(),
        );
    }
    enter(view, Done::Nothing, log, user, (group, other))
}

fn remove(
    view: &View,
    log: Log,
    (user, acting): (UserId, Role),
    (group, other): (GroupId, UserId),
) -> Result<Plan, Refusal> {
    if user == other {
        return Err(RequestError::new(ErrorCode::Forbidden, "leave the group instead").into());
    }
    let mut plan = Plan::new(Done::Nothing);
    let Some(target) = lookup::member(view, log, other)? else {
        if lookup::invitation(view, group, other)?.is_some() {
            plan.step(Step::Invitation(group, other, None));
            plan.touch(other);
        }
        return Ok(plan);
    };
    match (target.role, acting) {
        (Role::Owner, _) => {
            Err(RequestError::new(ErrorCode::Forbidden, "nobody removes the owner").into())
        }
        (Role::Admin, acting) if acting != Role::Owner => {
            Err(RequestError::new(ErrorCode::Forbidden, "only the owner removes an admin").into())
        }
        _ => {
            plan.append(log, user, Kind::Removed { user: other });
            plan.step(Step::Member(log, other, None));
            plan.touch(other);
            Ok(plan)
        }
    }
}

#[cfg(test)]
mod tests;
