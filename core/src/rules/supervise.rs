//! What operators do about accounts.

use crate::id::{SessionId, UserId};
use crate::protocol::ErrorCode;
use crate::protocol::request::UserRef;
use crate::sorted::SortedSet;
use crate::store::{Done, ReadSet, Refusal, Supervision, UserRow, View};

use super::account::read_for_sessions;
use super::lookup::{self, incomplete};
use super::plan::{Plan, Step};

pub(super) fn read_for(who: &UserRef) -> ReadSet {
    match who {
        UserRef::Id(user) => read_for_sessions(*user),
        UserRef::Name(name) => ReadSet {
            names: SortedSet::from([name.key()]),
            ..ReadSet::default()
        },
    }
}

pub(super) fn act(view: &View, who: &UserRef, action: &Supervision) -> Result<Plan, Refusal> {
    let user = find(view, who)?;
    let account = lookup::live_user(view, user)?.ok_or(ErrorCode::NoSuchUser)?;
    let present = lookup::sessions_of(view, user)?;
    let ended: Vec<SessionId> = match action {
        Supervision::Unlock => Vec::new(),
        _ => present.iter().map(|(session, _)| *session).collect(),
    };
    let row = UserRow {
        locked: match action {
            Supervision::Lock => true,
            Supervision::Unlock => false,
            Supervision::EndSessions | Supervision::SetPassword(_) => account.locked,
        },
        hash: match action {
            Supervision::SetPassword(hash) => hash.clone(),
            _ => account.hash.clone(),
        },
        ..account.clone()
    };
    let is_changed = row != *account;
    let mut plan = Plan::new(Done::Supervised {
        user,
        ended: ended.clone(),
    });
    if is_changed {
        plan.step(Step::User(user, row));
    }
    if !ended.is_empty() {
        plan.touch(user);
    }
    for session in ended {
        plan.step(Step::Session(session, None));
    }
    Ok(plan)
}

/// Finds whom an operator means, with the account locked.
fn find(view: &View, who: &UserRef) -> Result<UserId, Refusal> {
    match who {
        UserRef::Id(user) => Ok(*user),
        UserRef::Name(name) => {
            let user = lookup::named(view, &name.key())?.ok_or(ErrorCode::NoSuchUser)?;
            // A name is read without a lock, but an account only ever loses it by being deleted,
            // which is looked for later.
            match lookup::is_locked(view, user) && view.loaded.sessions_of.contains(&user) {
                true => Ok(user),
                false => Err(incomplete(read_for_sessions(user))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ANN, BEN, NOBODY, World, Written, name};
    use super::*;
    use crate::secret::Secret;
    use crate::store::{Applied, Command};

    fn supervise(who: UserRef, action: Supervision) -> Command {
        Command::Supervise { who, action }
    }

    fn by_id(user: UserId, action: Supervision) -> Command {
        supervise(UserRef::Id(user), action)
    }

    fn done(ended: &[u64]) -> Done {
        Done::Supervised {
            user: ANN,
            ended: ended.iter().copied().map(SessionId).collect(),
        }
    }

    /// A world in which Ann has two sessions, 21 and 22, and Ben one.
    fn world() -> World {
        let mut world = World::new();
        for (user, hash) in [(ANN, "ann"), (ANN, "ann"), (BEN, "ben")] {
            world.must(&Command::OpenSession {
                user,
                verified: Secret::new(hash),
                renewed: None,
                device: None,
            });
        }
        world
    }

    /// What is written where Ann's sessions end and her account becomes so.
    fn ended(world: &World, change: impl FnOnce(&mut UserRow)) -> (Applied, Written) {
        let mut row = world.user(ANN);
        row.version += 1;
        change(&mut row);
        let applied = Applied {
            changed: vec![world.next_version(ANN)],
            ..Applied::unchanged(done(&[21, 22]))
        };
        let written = Written {
            users: vec![(ANN, Some(row))],
            sessions: vec![(SessionId(21), None), (SessionId(22), None)],
            ..Written::default()
        };
        (applied, written)
    }

    #[test]
    fn sessions_end_once() {
        let mut world = world();
        let (applied, written) = ended(&world, |_| {});
        let end = by_id(ANN, Supervision::EndSessions);
        world.check(&end, &applied, &written);
        world.check_unchanged(&end, done(&[]));
    }

    #[test]
    fn a_lock_ends_sessions_and_lets_none_begin() {
        let mut world = world();
        let (applied, written) = ended(&world, |row| row.locked = true);
        let lock = supervise(UserRef::Name(name("ANN")), Supervision::Lock);
        let outcome = world.transact(std::slice::from_ref(&lock));
        assert_eq!(outcome.rounds, 2, "who the name is comes first");
        assert_eq!(outcome.results, [Ok(applied)]);
        assert_eq!(outcome.written, written);
        world.check_unchanged(&lock, done(&[]));
        let open = Command::OpenSession {
            user: ANN,
            verified: Secret::new("ann"),
            renewed: None,
            device: None,
        };
        world.check_refused(&open, ErrorCode::Locked);
        let mut row = world.user(ANN);
        row.locked = false;
        let written = Written {
            users: vec![(ANN, Some(row))],
            ..Written::default()
        };
        let unlock = by_id(ANN, Supervision::Unlock);
        world.check(&unlock, &Applied::unchanged(done(&[])), &written);
        world.check_unchanged(&unlock, done(&[]));
        world.must(&open);
    }

    #[test]
    fn a_new_password_ends_sessions() {
        let mut world = world();
        let (applied, written) = ended(&world, |row| row.hash = Secret::new("new"));
        let set = by_id(ANN, Supervision::SetPassword(Secret::new("new")));
        world.check(&set, &applied, &written);
    }

    #[test]
    fn who_is_not_there_cannot_be_supervised() {
        let mut world = world();
        world.must(&Command::DeleteAccount {
            user: BEN,
            verified: Secret::new("ben"),
        });
        for who in [
            UserRef::Id(NOBODY),
            UserRef::Id(BEN),
            UserRef::Name(name("ben")),
        ] {
            for action in [Supervision::EndSessions, Supervision::Lock] {
                let command = supervise(who.clone(), action);
                world.check_refused(&command, ErrorCode::NoSuchUser);
            }
        }
    }
}
