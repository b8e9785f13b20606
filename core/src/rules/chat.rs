//! Messages: sent, edited, recalled.

use std::sync::Arc;

use crate::id::{Pair, Place, Seq, UserId};
use crate::log::{FriendState, Role};
use crate::name::Key;
use crate::protocol::{ErrorCode, RequestError};
use crate::sorted::SortedSet;
use crate::store::{Done, Kind, MessageRow, ReadSet, Refusal, View};

use super::lookup::{self, Log};
use super::plan::{Plan, Step, erased};
use super::{digest, group};

pub(super) fn read_for_send(set: &mut ReadSet, user: UserId, place: Place, key: &Key) {
    set.keys.insert((user, key.clone()));
    read_for_rights(set, user, place);
}

pub(super) fn send(
    view: &View,
    user: UserId,
    place: Place,
    key: &Key,
    text: &Arc<str>,
    reply_to: Option<Seq>,
    meta: Option<&Arc<str>>,
) -> Result<Plan, Refusal> {
    let digest = digest::of_message(place, text, reply_to);
    if let Some(known) = lookup::key(view, user, key)? {
        return if known.digest == digest {
            Ok(Plan::new(Done::Appended {
                seq: known.seq,
                at: known.at,
            }))
        } else {
            Err(ErrorCode::KeyConflict.into())
        };
    }
    let reach = reach(view, user, place)?;
    reach.may_write(view, user)?;
    if reply_to.is_some_and(|target| !reach.shows(target)) {
        return Err(
            RequestError::new(ErrorCode::NoSuchMessage, "`reply_to` names no message").into(),
        );
    }
    let mut plan = appended(view, reach.log);
    let kind = Kind::Text {
        key: key.clone(),
        digest,
        text: Arc::clone(text),
        reply_to,
        meta: meta.cloned(),
        edited: false,
        recalled: false,
    };
    plan.append(reach.log, user, kind);
    Ok(plan)
}

pub(super) fn read_for_message(user: UserId, place: Place, seq: Seq) -> ReadSet {
    let mut set = ReadSet {
        messages: SortedSet::from([(place, seq)]),
        ..ReadSet::default()
    };
    read_for_rights(&mut set, user, place);
    set
}

pub(super) fn edit(
    view: &View,
    user: UserId,
    place: Place,
    seq: Seq,
    new: &Arc<str>,
) -> Result<Plan, Refusal> {
    let reach = reach(view, user, place)?;
    let target = reach.message(view, seq)?;
    let Kind::Text {
        text,
        recalled: false,
        ..
    } = &target.kind
    else {
        return Err(ErrorCode::NoSuchMessage.into());
    };
    if target.from != user {
        return Err(
            RequestError::new(ErrorCode::Forbidden, "one edits one's own messages only").into(),
        );
    }
    reach.may_write(view, user)?;
    // What holds already is granted for ever, so that repeating an edit is safe.
    if text == new {
        return Ok(settled(seq, target));
    }
    within_window(view, target)?;
    let mut row = target.clone();
    row.change = Some((reach.log.last.next(), view.now));
    if let Kind::Text { text, edited, .. } = &mut row.kind {
        *text = Arc::clone(new);
        *edited = true;
    }
    let mut plan = appended(view, reach.log);
    plan.step(Step::Message(reach.log, seq, row));
    plan.step(Step::Append(
        reach.log,
        user,
        Kind::Edit { target: seq },
        Some(Arc::clone(new)),
    ));
    Ok(plan)
}

pub(super) fn recall(view: &View, user: UserId, place: Place, seq: Seq) -> Result<Plan, Refusal> {
    let reach = match place {
        // Recalling needs no friendship, only that there is something to recall.
        Place::Direct(pair) => direct(view, user, pair)?.ok_or(ErrorCode::NotFriends)?,
        Place::Group(_) => reach(view, user, place)?,
    };
    let target = reach.message(view, seq)?;
    let Kind::Text { recalled, .. } = target.kind else {
        return Err(ErrorCode::NoSuchMessage.into());
    };
    if target.from != user && !reach.role.manages() {
        return Err(RequestError::new(
            ErrorCode::Forbidden,
            "one recalls one's own messages only, unless one manages the group",
        )
        .into());
    }
    if recalled {
        return Ok(settled(seq, target));
    }
    within_window(view, target)?;
    let mut row = erased(target).ok_or(ErrorCode::NoSuchMessage)?;
    row.change = Some((reach.log.last.next(), view.now));
    let mut plan = appended(view, reach.log);
    plan.step(Step::Message(reach.log, seq, row));
    plan.append(reach.log, user, Kind::Recall { target: seq });
    Ok(plan)
}

/// A conversation that a user may look into.
#[derive(Clone, Copy, Debug)]
struct Reach {
    log: Log,
    /// The first entry that the user may see.
    joined: Seq,
    role: Role,
}

impl Reach {
    /// Tells whether the user may see an entry, and whether there is one.
    fn shows(self, seq: Seq) -> bool {
        (self.joined..=self.log.last).contains(&seq)
    }

    fn message(self, view: &View, seq: Seq) -> Result<&MessageRow, Refusal> {
        if !self.shows(seq) {
            return Err(ErrorCode::NoSuchMessage.into());
        }
        Ok(lookup::message(view, self.log, seq)?.ok_or(ErrorCode::NoSuchMessage)?)
    }

    /// Refuses those who have no right to send today.
    fn may_write(self, view: &View, user: UserId) -> Result<(), Refusal> {
        match self.log.place {
            Place::Direct(pair) => friends(view, user, pair),
            Place::Group(_) if self.role == Role::Muted => Err(ErrorCode::Muted.into()),
            Place::Group(_) => Ok(()),
        }
    }
}

/// Looks up a conversation for who wants to send.
fn reach(view: &View, user: UserId, place: Place) -> Result<Reach, Refusal> {
    match place {
        Place::Direct(pair) => match direct(view, user, pair)? {
            Some(reach) => Ok(reach),
            None => {
                friends(view, user, pair)?;
                Err(ErrorCode::NotFriends.into())
            }
        },
        Place::Group(id) => {
            let (log, _) = group::live(view, id)?;
            let member = lookup::member(view, log, user)?.ok_or(ErrorCode::NotMember)?;
            Ok(Reach {
                log,
                joined: member.joined,
                role: member.role,
            })
        }
    }
}

/// Looks up the conversation of two users, of whom `user` is one. Both see all of it.
fn direct(view: &View, user: UserId, pair: Pair) -> Result<Option<Reach>, Refusal> {
    pair.other(user).ok_or(ErrorCode::NotFriends)?;
    Ok(lookup::log(view, Place::Direct(pair))?.map(|log| Reach {
        log,
        joined: Seq(1),
        role: Role::Member,
    }))
}

/// Refuses unless two users are friends.
fn friends(view: &View, user: UserId, pair: Pair) -> Result<(), Refusal> {
    let other = pair.other(user).ok_or(ErrorCode::NotFriends)?;
    match lookup::friendships(view, user, other)? {
        (FriendState::Blocked, _) | (_, FriendState::Blocked) => Err(ErrorCode::Blocked.into()),
        (FriendState::Friends, _) => Ok(()),
        _ => match lookup::live_user(view, other)? {
            Some(_) => Err(ErrorCode::NotFriends.into()),
            None => Err(ErrorCode::NoSuchUser.into()),
        },
    }
}

/// Refuses what comes too late, by the database's clock.
fn within_window(view: &View, target: &MessageRow) -> Result<(), RequestError> {
    if view.now.since(target.at) > view.limits.edit_window {
        return Err(RequestError::new(
            ErrorCode::Forbidden,
            "the message is too old for that",
        ));
    }
    Ok(())
}

/// Begins the plan that adds an entry to a log.
fn appended(view: &View, log: Log) -> Plan {
    Plan::new(Done::Appended {
        seq: log.last.next(),
        at: view.now,
    })
}

/// Answers with the entry that made a message what it is.
fn settled(seq: Seq, target: &MessageRow) -> Plan {
    let (seq, at) = target.change.unwrap_or((seq, target.at));
    Plan::new(Done::Appended { seq, at })
}

fn read_for_rights(set: &mut ReadSet, user: UserId, place: Place) {
    set.places.insert(place);
    match place {
        Place::Direct(pair) => {
            if let Some(other) = pair.other(user) {
                set.friendships.extend([(user, other), (other, user)]);
            }
        }
        Place::Group(_) => {
            set.members.insert((place, user));
        }
    }
}

#[cfg(test)]
mod tests;
