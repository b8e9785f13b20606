//! Groups as a whole: made, changed, disbanded.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::{GroupId, Place, Seq, UserId};
use crate::log::{GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::{ErrorCode, RequestError};
use crate::store::{Count, Done, GroupRow, Kind, MemberRow, ReadSet, Refusal, View};

use super::digest;
use super::lookup::{self, Log, incomplete, places};
use super::plan::{Plan, Step};

pub(super) fn read_for_create(user: UserId, key: Option<&Key>) -> ReadSet {
    ReadSet {
        users: BTreeSet::from([user]),
        group_keys: key.map(|key| (user, key.clone())).into_iter().collect(),
        counts: BTreeSet::from([Count::Groups(user), Count::Conversations(user)]),
        new_conversations: 1,
        ..ReadSet::default()
    }
}

pub(super) fn create(
    view: &View,
    user: UserId,
    name: &Name,
    description: &Arc<str>,
    join: JoinPolicy,
    key: Option<&Key>,
) -> Result<Plan, Refusal> {
    let digest = digest::of_group(name, description, join);
    if let Some(key) = key
        && let Some(known) = lookup::group_key(view, user, key)?
    {
        let row = match view.groups.get(&known) {
            Some(row) => row,
            None => lookup::group(view, known)?.map(|(_, row)| row),
        };
        return if row.is_some_and(|row| row.digest == digest) {
            Ok(Plan::new(Done::GroupCreated(known)))
        } else {
            Err(ErrorCode::KeyConflict.into())
        };
    }
    lookup::actor(view, user)?;
    lookup::room(view, &[Count::Groups(user), Count::Conversations(user)])?;
    let id = lookup::new_conversation(view)?;
    let group = GroupId(id.0);
    let log = Log {
        id,
        place: Place::Group(group),
        last: Seq(0),
    };
    let row = GroupRow {
        name: name.clone(),
        description: Arc::clone(description),
        join,
        owner: user,
        disbanded: false,
        creator: user,
        key: key.cloned(),
        digest,
    };
    let member = MemberRow {
        role: Role::Owner,
        joined: Seq(1),
        delivered: Seq(0),
        read: Seq(0),
    };
    let mut plan = Plan::new(Done::GroupCreated(group));
    plan.step(Step::Conversation(id, log.place));
    plan.step(Step::Group(group, row));
    plan.append(log, user, Kind::Joined { user });
    plan.step(Step::Member(log, user, Some(member)));
    plan.touch(user);
    Ok(plan)
}

pub(super) fn read_for_update(user: UserId, group: GroupId) -> ReadSet {
    let place = Place::Group(group);
    ReadSet {
        members: BTreeSet::from([(place, user)]),
        ..places([place])
    }
}

pub(super) fn update(
    view: &View,
    user: UserId,
    group: GroupId,
    change: &GroupChange,
) -> Result<Plan, Refusal> {
    let (log, row) = live(view, group)?;
    manager(view, log, user)?;
    let change = GroupChange {
        name: change.name.clone().filter(|name| *name != row.name),
        description: change
            .description
            .clone()
            .filter(|text| *text != row.description),
        join: change.join.filter(|join| *join != row.join),
    };
    let mut plan = Plan::new(Done::Nothing);
    if change == GroupChange::default() {
        return Ok(plan);
    }
    let mut row = row.clone();
    if let Some(name) = &change.name {
        row.name = name.clone();
    }
    if let Some(description) = &change.description {
        row.description = Arc::clone(description);
    }
    row.join = change.join.unwrap_or(row.join);
    plan.step(Step::Group(group, row));
    plan.append(log, user, Kind::Updated(change));
    Ok(plan)
}

pub(super) fn read_for_disband(user: UserId, group: GroupId) -> ReadSet {
    let place = Place::Group(group);
    ReadSet {
        users: BTreeSet::from([user]),
        members_of: BTreeSet::from([place]),
        invitations_to: BTreeSet::from([group]),
        join_requests_to: BTreeSet::from([group]),
        ..places([place])
    }
}

pub(super) fn disband(view: &View, user: UserId, group: GroupId) -> Result<Plan, Refusal> {
    let (log, row) = lookup::group(view, group)?.ok_or(ErrorCode::NoSuchGroup)?;
    let mut plan = Plan::new(Done::Nothing);
    if row.disbanded {
        return if row.owner == user {
            Ok(plan)
        } else {
            Err(ErrorCode::NoSuchGroup.into())
        };
    }
    let member = lookup::member(view, log, user)?.ok_or(ErrorCode::NotMember)?;
    if member.role != Role::Owner {
        return Err(
            RequestError::new(ErrorCode::Forbidden, "only the owner disbands a group").into(),
        );
    }
    let loaded = &view.loaded;
    let complete = loaded.members_of.contains(&log.place)
        && loaded.invitations_to.contains(&group)
        && loaded.join_requests_to.contains(&group);
    if !complete {
        return Err(incomplete(read_for_disband(user, group)));
    }
    let row = GroupRow {
        disbanded: true,
        ..row.clone()
    };
    plan.step(Step::Group(group, row));
    plan.append(log, user, Kind::Disbanded);
    let first = UserId(0);
    let from = (log.id, first);
    let members = view.members.from(&from);
    for ((_, member), _) in members.take_while(|((of, _), _)| *of == log.id) {
        plan.step(Step::Member(log, *member, None));
        plan.touch(*member);
    }
    let from = (group, first);
    let invitations = view.invitations.from(&from);
    for ((_, invited), _) in invitations.take_while(|((to, _), _)| *to == group) {
        plan.step(Step::Invitation(group, *invited, None));
        plan.touch(*invited);
    }
    let requests = view.join_requests.from(&from);
    for ((_, asking), ()) in requests.take_while(|((to, _), ())| *to == group) {
        plan.step(Step::JoinRequest(group, *asking, false));
        plan.touch(*asking);
    }
    Ok(plan)
}

/// Looks up a group that has not ended.
pub(super) fn live(view: &View, group: GroupId) -> Result<(Log, &GroupRow), Refusal> {
    Ok(lookup::group(view, group)?
        .filter(|(_, row)| !row.disbanded)
        .ok_or(ErrorCode::NoSuchGroup)?)
}

/// Refuses those who do not manage a group.
pub(super) fn manager(view: &View, log: Log, user: UserId) -> Result<Role, Refusal> {
    let role = lookup::member(view, log, user)?
        .ok_or(ErrorCode::NotMember)?
        .role;
    if role.manages() {
        Ok(role)
    } else {
        Err(RequestError::new(
            ErrorCode::Forbidden,
            "only the group's owner and admins may do that",
        )
        .into())
    }
}
