//! Groups as a whole: made, changed, disbanded.

use std::sync::Arc;

use crate::id::{GroupId, Place, Seq, UserId};
use crate::log::{GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::{ErrorCode, RequestError};
use crate::sorted::SortedSet;
use crate::store::{Count, Done, GroupRow, Kind, MemberRow, ReadSet, Refusal, View};

use super::digest;
use super::lookup::{self, Log, incomplete, places};
use super::plan::{Plan, Step};

pub(super) fn read_for_create(user: UserId, key: Option<&Key>) -> ReadSet {
    ReadSet {
        users: SortedSet::from([user]),
        group_keys: key.map(|key| (user, key.clone())).into_iter().collect(),
        counts: SortedSet::from([Count::Groups(user), Count::Conversations(user)]),
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
        members: SortedSet::from([(place, user)]),
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
        users: SortedSet::from([user]),
        members_of: SortedSet::from([place]),
        invitations_to: SortedSet::from([group]),
        join_requests_to: SortedSet::from([group]),
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

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::super::fixture::{
        ANN, BEN, CAT, DAN, NOBODY, World, Written, create, entry, give, join, joined, key, name,
        on_other, on_self,
    };
    use super::*;
    use crate::id::ConversationId;
    use crate::log::Body;
    use crate::protocol::request::{GroupOtherAction, GroupSelfAction};
    use crate::store::{Applied, Command, Limits};

    const GROUP: GroupId = GroupId(11);
    const PLACE: Place = Place::Group(GROUP);

    fn update(user: UserId, change: &GroupChange) -> Command {
        Command::GroupUpdate {
            user,
            group: GROUP,
            change: change.clone(),
        }
    }

    const fn disband(user: UserId) -> Command {
        on_self(user, GroupSelfAction::Disband, GROUP)
    }

    fn renamed(text: &str) -> GroupChange {
        GroupChange {
            name: Some(name(text)),
            ..GroupChange::default()
        }
    }

    #[test]
    fn a_group_begins_with_its_makers_joined() {
        let mut world = World::new();
        let id = GROUP.conversation();
        let joined_entry = entry(&world, PLACE, (11, 1), ANN, Body::Joined { user: ANN });
        let applied = Applied {
            entries: smallvec![joined_entry],
            changed: vec![world.next_version(ANN)],
            ..Applied::unchanged(Done::GroupCreated(GROUP))
        };
        let row = GroupRow {
            name: name("group"),
            description: Arc::from("about"),
            join: JoinPolicy::Approval,
            owner: ANN,
            disbanded: false,
            creator: ANN,
            key: Some(key("k")),
            digest: digest::of_group(&name("group"), "about", JoinPolicy::Approval),
        };
        let message = crate::store::MessageRow {
            from: ANN,
            at: world.now,
            kind: Kind::Joined { user: ANN },
            change: None,
        };
        let written = Written {
            users: vec![world.risen(ANN)],
            conversations: vec![(id, Some((PLACE, Seq(1))))],
            groups: vec![(GROUP, Some(row))],
            members: vec![((id, ANN), Some(joined(Role::Owner, 1)))],
            messages: vec![((id, Seq(1)), Some(message))],
            ..Written::default()
        };
        let command = create(ANN, "group", JoinPolicy::Approval, Some(key("k")));
        world.check(&command, &applied, &written);
    }

    #[test]
    fn a_key_makes_one_group() {
        let mut world = World::new();
        let command = |user, text, join| create(user, text, join, Some(key("k")));
        let first = command(ANN, "group", JoinPolicy::Open);
        let outcome = world.transact(&[first.clone(), first.clone()]);
        let done: Vec<_> = outcome
            .results
            .into_iter()
            .map(|r| r.unwrap().done)
            .collect();
        assert_eq!(done, [Done::GroupCreated(GROUP), Done::GroupCreated(GROUP)]);
        world.check_unchanged(&first, Done::GroupCreated(GROUP));
        let other = command(ANN, "other", JoinPolicy::Open);
        world.check_refused(&other, ErrorCode::KeyConflict);
        let other = command(ANN, "group", JoinPolicy::Invite);
        world.check_refused(&other, ErrorCode::KeyConflict);
        let bens = world.must(&command(BEN, "other", JoinPolicy::Open));
        assert_eq!(bens.done, Done::GroupCreated(GroupId(12)));
        // What was made was made, even if the group has changed or ended.
        world.must(&update(ANN, &renamed("later")));
        world.must(&disband(ANN));
        world.check_unchanged(&first, Done::GroupCreated(GROUP));
    }

    #[test]
    fn groups_are_counted() {
        let mut world = World::new();
        let command = create(ANN, "group", JoinPolicy::Open, None);
        let limits = world.limits;
        for limits in [
            Limits {
                groups: 1,
                ..limits
            },
            Limits {
                conversations: 1,
                ..limits
            },
        ] {
            world.limits = limits;
            let outcome = world.transact(&[command.clone(), command.clone()]);
            world.check_refused(&command, ErrorCode::Limit);
            let refused = outcome.results[1].clone().map_err(|error| error.code);
            assert_eq!(refused, Err(ErrorCode::Limit));
            world = World::new();
        }
        let nobody = create(NOBODY, "group", JoinPolicy::Open, None);
        world.check_refused(&nobody, ErrorCode::NotLoggedIn);
    }

    #[test]
    fn an_update_says_only_what_differs() {
        let mut world = World::new();
        world.make_group(JoinPolicy::Open);
        let differs = GroupChange {
            name: Some(name("Other")),
            description: None,
            join: Some(JoinPolicy::Invite),
        };
        let asked = GroupChange {
            description: Some(Arc::from("about")),
            ..differs.clone()
        };
        let id = GROUP.conversation();
        let body = Body::Updated(differs.clone());
        let applied = Applied {
            entries: smallvec![entry(&world, PLACE, (11, 2), ANN, body)],
            ..Applied::unchanged(Done::Nothing)
        };
        let row = GroupRow {
            name: name("Other"),
            join: JoinPolicy::Invite,
            ..world.group(GROUP)
        };
        let message = crate::store::MessageRow {
            from: ANN,
            at: world.now,
            kind: Kind::Updated(differs),
            change: None,
        };
        let written = Written {
            conversations: vec![(id, Some((PLACE, Seq(2))))],
            groups: vec![(GROUP, Some(row))],
            messages: vec![((id, Seq(2)), Some(message))],
            ..Written::default()
        };
        world.check(&update(ANN, &asked), &applied, &written);
        world.check_unchanged(&update(ANN, &asked), Done::Nothing);
        world.check_unchanged(&update(ANN, &GroupChange::default()), Done::Nothing);
    }

    #[test]
    fn managers_update() {
        let mut world = World::new();
        world.make_group(JoinPolicy::Open);
        world.add(GROUP, BEN, Role::Admin);
        world.add(GROUP, CAT, Role::Member);
        world.must(&update(BEN, &renamed("b")));
        world.check_refused(&update(CAT, &renamed("c")), ErrorCode::Forbidden);
        world.check_refused(&update(DAN, &renamed("d")), ErrorCode::NotMember);
        let nowhere = Command::GroupUpdate {
            user: ANN,
            group: GroupId(40),
            change: renamed("x"),
        };
        world.check_refused(&nowhere, ErrorCode::NoSuchGroup);
    }

    #[test]
    fn disbanding_ends_it_for_all_concerned() {
        let mut world = World::new();
        world.make_group(JoinPolicy::Approval);
        world.must(&join(BEN, GROUP));
        world.must(&on_other(ANN, GroupOtherAction::Approve, GROUP, BEN));
        world.must(&on_other(ANN, GroupOtherAction::Invite, GROUP, CAT));
        world.must(&join(DAN, GROUP));
        let id = GROUP.conversation();
        let everyone = [ANN, BEN, CAT, DAN];
        let applied = Applied {
            entries: smallvec![entry(&world, PLACE, (11, 3), ANN, Body::Disbanded)],
            changed: everyone.map(|user| world.next_version(user)).into(),
            ..Applied::unchanged(Done::Nothing)
        };
        let row = GroupRow {
            disbanded: true,
            ..world.group(GROUP)
        };
        let message = crate::store::MessageRow {
            from: ANN,
            at: world.now,
            kind: Kind::Disbanded,
            change: None,
        };
        let written = Written {
            users: everyone.map(|user| world.risen(user)).into(),
            conversations: vec![(id, Some((PLACE, Seq(3))))],
            groups: vec![(GROUP, Some(row))],
            members: [ANN, BEN].map(|user| ((id, user), None)).into(),
            invitations: vec![((GROUP, CAT), None)],
            join_requests: vec![((GROUP, DAN), None)],
            messages: vec![((id, Seq(3)), Some(message))],
            ..Written::default()
        };
        world.check_refused(&disband(BEN), ErrorCode::Forbidden);
        world.check_refused(&disband(CAT), ErrorCode::NotMember);
        let outcome = world.transact(&[disband(ANN)]);
        assert_eq!(outcome.results, [Ok(applied)]);
        assert_eq!(outcome.written, written);
        assert_eq!(outcome.rounds, 2);
        world.check_unchanged(&disband(ANN), Done::Nothing);
        world.check_refused(&disband(BEN), ErrorCode::NoSuchGroup);
        world.check_refused(&join(CAT, GROUP), ErrorCode::NoSuchGroup);
        world.check_refused(&give(ANN, GROUP, BEN, Role::Admin), ErrorCode::NoSuchGroup);
        world.check_refused(&update(ANN, &renamed("x")), ErrorCode::NoSuchGroup);
    }

    #[test]
    fn disbanding_leaves_other_groups_alone() {
        let mut world = World::new();
        world.make_group(JoinPolicy::Approval);
        world.must(&create(BEN, "other", JoinPolicy::Approval, None));
        let other = GroupId(12);
        world.must(&on_other(BEN, GroupOtherAction::Invite, other, CAT));
        world.must(&join(DAN, other));
        // Refused, but what it depends on is in the view.
        let refused = on_self(ANN, GroupSelfAction::Disband, other);
        let outcome = world.transact(&[disband(ANN), refused]);
        let changed = &outcome.results[0].as_ref().unwrap().changed;
        assert_eq!(changed.as_slice(), [(ANN, world.user(ANN).version)]);
        let written = outcome.written;
        assert_eq!(written.members, [((GROUP.conversation(), ANN), None)]);
        assert_eq!(written.invitations, []);
        assert_eq!(written.join_requests, []);
    }

    #[test]
    fn the_number_of_a_direct_conversation_is_no_groups() {
        let mut world = World::new();
        world.befriend(ANN, BEN);
        let group = GroupId(ConversationId(11).0);
        world.check_refused(&join(ANN, group), ErrorCode::NoSuchGroup);
        world.check_refused(&disband(ANN), ErrorCode::NoSuchGroup);
    }
}
