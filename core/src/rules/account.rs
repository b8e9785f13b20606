//! Accounts and sessions.

use smol_str::SmolStr;

use crate::id::{Pair, Place, SessionId, UserId};
use crate::identity::Identity;
use crate::log::{FriendState, Role};
use crate::name::{MAX_NAME_CHARS, Name};
use crate::protocol::{ErrorCode, RequestError};
use crate::secret::Secret;
use crate::sorted::SortedSet;
use crate::store::{Command, Done, Kind, ReadSet, Refusal, SessionRow, UserRow, View};

use super::lookup::{self, Log, incomplete};
use super::password;
use super::plan::{Plan, Step};

/// The version of an account that nothing has happened to yet.
const FIRST_VERSION: u64 = 1;

/// How many digits of an identity make a name that is taken another one.
const MARK_DIGITS: usize = 8;

/// How many digits of an identity make a name by themselves.
const PLAIN_DIGITS: usize = 24;

pub(super) fn read_for_register(name: &Name) -> ReadSet {
    ReadSet {
        names: SortedSet::from([name.key()]),
        new_users: 1,
        ..ReadSet::default()
    }
}

pub(super) fn register(view: &View, name: &Name, hash: &Secret) -> Result<Plan, Refusal> {
    if lookup::named(view, &name.key())?.is_some() {
        return Err(ErrorCode::NameTaken.into());
    }
    let id = lookup::new_user(view)?;
    let mut plan = Plan::new(Done::Registered(id));
    let row = UserRow {
        name: Some(name.clone()),
        hash: hash.clone(),
        identity: None,
        version: FIRST_VERSION,
        locked: false,
    };
    plan.step(Step::User(id, row));
    Ok(plan)
}

pub(super) fn read_for_sessions(user: UserId) -> ReadSet {
    ReadSet {
        users: SortedSet::from([user]),
        sessions_of: SortedSet::from([user]),
        ..ReadSet::default()
    }
}

pub(super) fn read_for_open_session(user: UserId) -> ReadSet {
    ReadSet {
        new_sessions: 1,
        ..read_for_sessions(user)
    }
}

/// Opens a session, for a password or for whom another service vouches.
pub(super) fn begin(view: &View, command: &Command) -> Result<Plan, Refusal> {
    match command {
        Command::OpenSession {
            user,
            verified,
            renewed,
            device,
        } => open_session(view, *user, verified, renewed.as_ref(), device.as_ref()),
        Command::OpenSessionOf {
            identity,
            name,
            device,
        } => open_session_of(view, *identity, name.as_ref(), device.as_ref()),
        // It opens none.
        _ => Err(ErrorCode::BadRequest.into()),
    }
}

fn open_session(
    view: &View,
    user: UserId,
    verified: &Secret,
    renewed: Option<&Secret>,
    device: Option<&SmolStr>,
) -> Result<Plan, Refusal> {
    let account = check(view, user, verified)?;
    // Where another login has replaced it already, there is nothing to do.
    let renewed = renewed.filter(|_| account.hash == *verified);
    let row = renewed.map(|hash| UserRow {
        hash: hash.clone(),
        ..account.clone()
    });
    open(view, user, row, device)
}

/// Everything that a new account may need: it is made once, and the one that is there is found by a
/// second look.
pub(super) fn read_for_identity(identity: Identity, name: Option<&Name>) -> ReadSet {
    ReadSet {
        identities: SortedSet::from([identity]),
        names: names(identity, name).iter().map(Name::key).collect(),
        new_users: 1,
        new_sessions: 1,
        ..ReadSet::default()
    }
}

fn open_session_of(
    view: &View,
    identity: Identity,
    name: Option<&Name>,
    device: Option<&SmolStr>,
) -> Result<Plan, Refusal> {
    if let Some(user) = lookup::identified(view, identity)? {
        let row = lookup::live_user(view, user)?.ok_or(ErrorCode::BadCredentials)?;
        if row.locked {
            return Err(ErrorCode::Locked.into());
        }
        return open(view, user, None, device);
    }
    for name in names(identity, name) {
        if lookup::named(view, &name.key())?.is_none() {
            let row = UserRow {
                name: Some(name),
                // Nobody has a password that it is the hash of.
                hash: Secret::new(""),
                identity: Some(identity),
                version: FIRST_VERSION,
                locked: false,
            };
            return open(view, lookup::new_user(view)?, Some(row), device);
        }
    }
    Err(ErrorCode::NameTaken.into())
}

/// Returns the names that a new account of an identity may have, the best first: the one that is
/// wished for, the same with the identity's first digits, and one of its digits alone.
fn names(identity: Identity, wished: Option<&Name>) -> Vec<Name> {
    let digits = identity.to_string();
    let digits = |count| digits.get(..count).unwrap_or_default();
    let marked = wished.map(|name| {
        let room = MAX_NAME_CHARS - MARK_DIGITS - 1;
        let kept: String = name.as_str().chars().take(room).collect();
        format!("{}-{}", kept.trim_end(), digits(MARK_DIGITS))
    });
    let plain = format!("user-{}", digits(PLAIN_DIGITS));
    let made = marked.into_iter().chain([plain]);
    let made = made.filter_map(|text| Name::new(&text).ok());
    wished.cloned().into_iter().chain(made).collect()
}

/// Opens a session, with the user's row if that is new or has changed, and ends the oldest above the
/// limit.
fn open(
    view: &View,
    user: UserId,
    row: Option<UserRow>,
    device: Option<&SmolStr>,
) -> Result<Plan, Refusal> {
    let is_new = view.new_users.contains(&user);
    let mut present = match is_new {
        true => Vec::new(),
        false => lookup::sessions_of(view, user)?,
    };
    let session = lookup::new_session(view)?;
    let expires = view.now + view.limits.session_lifetime;
    let mut plan = Plan::new(Done::Session { session, expires });
    present.sort_by_key(|(id, row)| (row.created, *id));
    let room = usize::try_from(view.limits.sessions)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let surplus = present.len().saturating_sub(room);
    for (oldest, _) in present.into_iter().take(surplus) {
        plan.step(Step::Session(oldest, None));
    }
    if let Some(row) = row {
        plan.step(Step::User(user, row));
    }
    let row = SessionRow {
        user,
        device: device.cloned(),
        created: view.now,
        expires,
    };
    plan.step(Step::Session(session, Some(row)));
    plan.touch(user);
    Ok(plan)
}

pub(super) fn close_session(
    view: &View,
    user: UserId,
    session: SessionId,
) -> Result<Plan, Refusal> {
    let mut plan = Plan::new(Done::Nothing);
    let present = lookup::sessions_of(view, user)?;
    if present.iter().any(|(id, _)| *id == session) {
        plan.step(Step::Session(session, None));
        plan.touch(user);
    }
    Ok(plan)
}

pub(super) fn change_password(
    view: &View,
    user: UserId,
    session: SessionId,
    verified: &Secret,
    hash: &Secret,
) -> Result<Plan, Refusal> {
    let account = check(view, user, verified)?;
    let present = lookup::sessions_of(view, user)?;
    let (_, kept) = present
        .iter()
        .find(|(id, _)| *id == session)
        .ok_or(ErrorCode::TokenExpired)?;
    // Another expiry is what ends the token that was given out before.
    let mut expires = view.now + view.limits.session_lifetime;
    if expires <= kept.expires {
        expires.0 = kept.expires.0.saturating_add(1);
    }
    let mut plan = Plan::new(Done::Session { session, expires });
    let row = UserRow {
        hash: hash.clone(),
        ..account.clone()
    };
    plan.step(Step::User(user, row));
    for (id, row) in &present {
        let row = (*id == session).then(|| SessionRow {
            expires,
            ..(*row).clone()
        });
        plan.step(Step::Session(*id, row));
    }
    plan.touch(user);
    Ok(plan)
}

pub(super) fn read_for_delete(user: UserId) -> ReadSet {
    let one = || SortedSet::from([user]);
    ReadSet {
        friendships_of: one(),
        memberships_of: one(),
        invitations_of: one(),
        join_requests_of: one(),
        ..read_for_sessions(user)
    }
}

pub(super) fn delete(view: &View, user: UserId, verified: &Secret) -> Result<Plan, Refusal> {
    let account = check(view, user, verified)?;
    let sessions = lookup::sessions_of(view, user)?;
    let friendships = friendships(view, user)?;
    let groups = groups(view, user, &friendships)?;
    let invitations: Vec<_> = view
        .invitations
        .iter()
        .filter(|((_, invited), _)| *invited == user)
        .map(|((group, _), _)| *group)
        .collect();
    let join_requests: Vec<_> = view
        .join_requests
        .iter()
        .filter(|((_, asking), ())| *asking == user)
        .map(|((group, _), ())| *group)
        .collect();

    let mut plan = Plan::new(Done::Nothing);
    for log in groups {
        plan.append(log, user, Kind::Left { user });
        plan.step(Step::Member(log, user, None));
    }
    for (of, to) in friendships {
        plan.step(Step::Friendship(of, to, FriendState::None));
        plan.touch(of);
    }
    for group in invitations {
        plan.step(Step::Invitation(group, user, None));
    }
    for group in join_requests {
        plan.step(Step::JoinRequest(group, user, false));
    }
    for (session, _) in sessions {
        plan.step(Step::Session(session, None));
    }
    let row = UserRow {
        name: None,
        hash: Secret::new(""),
        identity: None,
        ..account.clone()
    };
    plan.step(Step::User(user, row));
    plan.step(Step::Blank(user));
    plan.touch(user);
    Ok(plan)
}

/// Refuses unless the account stands and has the hash that the password was verified against.
fn check<'a>(view: &'a View, user: UserId, verified: &Secret) -> Result<&'a UserRow, Refusal> {
    let row = lookup::live_user(view, user)?
        .filter(|row| password::still_stands(&row.hash, verified))
        .ok_or(ErrorCode::BadCredentials)?;
    if row.locked {
        return Err(ErrorCode::Locked.into());
    }
    Ok(row)
}

/// Returns every friendship row of a user, from both sides, once all is loaded that deleting the
/// account depends on.
fn friendships(view: &View, user: UserId) -> Result<Vec<(UserId, UserId)>, Refusal> {
    let loaded = &view.loaded;
    let complete = loaded.friendships_of.contains(&user)
        && loaded.memberships_of.contains(&user)
        && loaded.invitations_of.contains(&user)
        && loaded.join_requests_of.contains(&user);
    if !complete {
        return Err(incomplete(read_for_delete(user)));
    }
    Ok(view
        .friendships
        .iter()
        .map(|(key, _)| *key)
        .filter(|(of, to)| *of == user || *to == user)
        .collect())
}

/// Returns the groups of a user who owns none of them, once these, the direct conversations with
/// friends, and the friends are locked: a message that is under way is then committed before or
/// refused.
fn groups(
    view: &View,
    user: UserId,
    friendships: &[(UserId, UserId)],
) -> Result<Vec<Log>, Refusal> {
    let mut missing = ReadSet::default();
    for (one, other) in friendships {
        let friend = if *one == user { *other } else { *one };
        if !lookup::is_locked(view, friend) {
            missing.users.insert(friend);
        }
        if let Some(pair) = Pair::new(*one, *other) {
            let place = Place::Direct(pair);
            if !view.loaded.places.contains(&place) {
                missing.places.insert(place);
            }
        }
    }
    let mut groups = Vec::new();
    for ((conversation, _), member) in view.members.iter().filter(|((_, of), _)| *of == user) {
        let Some((place, _)) = view.conversations.get(conversation).flatten() else {
            missing.memberships_of.insert(user);
            continue;
        };
        if !matches!(place, Place::Group(_)) {
            continue;
        }
        if member.role == Role::Owner {
            return Err(RequestError::new(
                ErrorCode::Forbidden,
                "pass on or disband your groups first",
            )
            .into());
        }
        if view.loaded.places.contains(place) {
            groups.extend(lookup::log(view, *place)?);
        } else {
            missing.places.insert(*place);
        }
    }
    if missing == ReadSet::default() {
        Ok(groups)
    } else {
        Err(incomplete(missing))
    }
}

#[cfg(test)]
mod tests;
