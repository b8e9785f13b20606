//! The rules of the chat: who may change what, and what becomes of it.
//!
//! Every store carries changes out by these functions, on the rows that it has loaded and locked:
//!
//! ```text
//!   Command ──► read_set ──► the store locks and loads ──► View ──► apply ──► Applied
//!                  ▲                                                  │
//!                  └────────── Refusal::Incomplete (rare) ◄───────────┘
//! ```
//!
//! A rule looks at the view and returns a plan; only a plan changes the view, and it cannot fail.
//! Commands may be applied to one view one after another: each sees what the ones before it did.
//! [`read`] has the rights of reads.

pub mod read;

mod account;
mod chat;
mod digest;
#[cfg(test)]
mod fixture;
mod friend;
mod group;
mod group_member;
mod lookup;
mod password;
mod plan;
mod supervise;

use crate::store::{Applied, Command, ReadSet, Refusal, View};

use plan::Plan;

/// Returns the rows to load first for a command.
///
/// They suffice for most outcomes. Deleting an account, disbanding a group, asking for friendship
/// by name and what operators do by name depend on rows that only other rows name: [`apply`] asks for
/// these.
#[must_use]
pub fn read_set(command: &Command) -> ReadSet {
    let mut set = ReadSet::default();
    read_also(command, &mut set);
    set
}

/// Adds the rows that a command needs to those of others.
pub fn read_also(command: &Command, set: &mut ReadSet) {
    let needs = match command {
        Command::Register { name, .. } => account::read_for_register(name),
        Command::OpenSession { user, .. } => account::read_for_open_session(*user),
        Command::OpenSessionOf { identity, name, .. } => {
            account::read_for_identity(*identity, name.as_ref())
        }
        Command::CloseSession { user, .. } | Command::ChangePassword { user, .. } => {
            account::read_for_sessions(*user)
        }
        Command::DeleteAccount { user, .. } => account::read_for_delete(*user),
        Command::Supervise { who, .. } => supervise::read_for(who),
        Command::FriendRequest { user, who } => friend::read_for_request(*user, who),
        Command::Friend {
            user,
            action,
            other,
        } => friend::read_for_action(*user, *action, *other),
        Command::GroupCreate { user, key, .. } => group::read_for_create(*user, key.as_ref()),
        Command::GroupSelf {
            user,
            action,
            group,
        } => group_member::read_for_self(*user, *action, *group),
        Command::GroupOther {
            user,
            action,
            group,
            other,
        } => group_member::read_for_other(*user, *action, *group, *other),
        Command::GroupRole {
            user, group, other, ..
        } => group_member::read_for_role(*user, *group, *other),
        Command::GroupUpdate { user, group, .. } => group::read_for_update(*user, *group),
        // Most are of this kind: a set for each would cost more than all that is looked up.
        Command::Send {
            user, place, key, ..
        } => return chat::read_for_send(set, *user, *place, key),
        Command::Edit {
            user, place, seq, ..
        }
        | Command::Recall { user, place, seq } => chat::read_for_message(*user, *place, *seq),
    };
    set.merge(needs);
}

/// Carries a command out on a view, or refuses it and leaves the view as it was.
///
/// # Errors
/// [`Refusal::Request`] says what the one who asked is told. [`Refusal::Incomplete`] names rows that
/// are to be loaded besides; what those hold may call for more once again.
pub fn apply(command: &Command, view: &mut View) -> Result<Applied, Refusal> {
    decide(command, view)?.carry_out(view)
}

fn decide(command: &Command, view: &View) -> Result<Plan, Refusal> {
    match command {
        Command::Register { name, hash } => account::register(view, name, hash),
        Command::OpenSession { .. } | Command::OpenSessionOf { .. } => {
            account::begin(view, command)
        }
        Command::CloseSession { user, session } => account::close_session(view, *user, *session),
        Command::ChangePassword {
            user,
            session,
            verified,
            hash,
        } => account::change_password(view, *user, *session, verified, hash),
        Command::DeleteAccount { user, verified } => account::delete(view, *user, verified),
        Command::Supervise { who, action } => supervise::act(view, who, action),
        Command::FriendRequest { user, who } => friend::request(view, *user, who),
        Command::Friend {
            user,
            action,
            other,
        } => friend::act(view, *user, *action, *other),
        Command::GroupCreate {
            user,
            name,
            description,
            join,
            key,
        } => group::create(view, *user, name, description, *join, key.as_ref()),
        Command::GroupSelf {
            user,
            action,
            group,
        } => group_member::act(view, *user, *action, *group),
        Command::GroupOther {
            user,
            action,
            group,
            other,
        } => group_member::act_on_other(view, *user, *action, *group, *other),
        Command::GroupRole {
            user,
            group,
            other,
            role,
        } => group_member::set_role(view, *user, *group, *other, *role),
        Command::GroupUpdate {
            user,
            group,
            change,
        } => group::update(view, *user, *group, change),
        Command::Send {
            user,
            place,
            key,
            text,
            reply_to,
            meta,
        } => chat::send(view, *user, *place, key, text, *reply_to, meta.as_ref()),
        Command::Edit {
            user,
            place,
            seq,
            text,
        } => chat::edit(view, *user, *place, *seq, text),
        Command::Recall { user, place, seq } => chat::recall(view, *user, *place, *seq),
    }
}
