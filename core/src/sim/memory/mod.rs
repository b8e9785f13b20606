//! A store in memory that keeps the store's contract to the letter.
//!
//! It works like the SQL store: for each change it loads the rows that the change's [`ReadSet`]
//! names into a [`View`], and only these, lets [`rules`] decide, and writes
//! back what became of them. A row that the rules change without having named it is a bug of the
//! rules and panics, where the SQL store would lack a lock.

mod load;
mod logs;
mod password;
mod reads;
mod tables;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use smol_str::SmolStr;

use crate::id::{Place, Seq, SessionId, UserId};
use crate::identity::Identity;
use crate::log::Entry;
use crate::name::Name;
use crate::protocol::request::UserRef;
use crate::protocol::{ErrorCode, RequestError};
use crate::rules;
use crate::secret::Secret;
use crate::store::{
    Applied, Command, Done, Limits, ReadSet, Refusal, Roster, Standing, StoreError, StoreFailure,
    StoreRequest, StoreResponse, StoreResult, Supervision, View,
};
use crate::time::Timestamp;

use tables::Tables;

/// How often a change may ask for further rows.
const ROUNDS: usize = 16;

/// The results of a transaction, one for each of its changes.
type Results = SmallVec<[Result<Applied, StoreFailure>; 1]>;

/// A store in memory.
///
/// - [`execute`](Self::execute) and [`execute_batch`](Self::execute_batch) carry requests out; the
///   `now` of each plays the database's clock. It is the caller's alone: passing an earlier moment
///   than before makes a transaction that began early and commits late, which is how
///   [`Read::Changes`](crate::store::Read::Changes) comes to be read with an overlap.
/// - [`log`](Self::log), [`roster`](Self::roster) and [`message_count`](Self::message_count) look
///   inside.
///
/// Accounts, conversations and sessions are numbered 1, 2, 3, .. each; a group's number is its
/// conversation's. Passwords are hashed with a bare SHA-256, and `jwt of ISSUER, SUBJECT, NAME` counts
/// as a token by which that issuer vouches for somebody: good for tests only.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    tables: Tables,
    /// What the last transaction saw; its memory serves the next one.
    view: View,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            tables: Tables::default(),
            view: View::new(Timestamp::default(), limits),
        }
    }

    /// Carries one request out, whole or not at all.
    ///
    /// # Errors
    /// [`StoreFailure::Refused`] as the rules say; never [`StoreFailure::Failed`], unless the rules
    /// ask for rows without end.
    pub fn execute(&mut self, request: StoreRequest, now: Timestamp) -> StoreResult {
        match into_command(request) {
            Ok(command) => self.apply(command, now).map(StoreResponse::Applied),
            Err(request) => self.execute_other(request, now),
        }
    }

    /// Carries requests out in order. Neighbouring changes share one view and are written at
    /// once, as one transaction of the SQL store would; a refused one does not affect the others.
    pub fn execute_batch(
        &mut self,
        requests: Vec<StoreRequest>,
        now: Timestamp,
    ) -> Vec<StoreResult> {
        let mut results = Vec::with_capacity(requests.len());
        let mut commands = Vec::new();
        for request in requests {
            match into_command(request) {
                Ok(command) => commands.push(command),
                Err(request) => {
                    results.extend(self.flush(&mut commands, now));
                    results.push(self.execute_other(request, now));
                }
            }
        }
        results.extend(self.flush(&mut commands, now));
        results
    }

    /// Returns the whole log of a conversation, as readers get its entries.
    #[must_use]
    pub fn log(&self, place: Place) -> Vec<Arc<Entry>> {
        self.tables.log(place)
    }

    /// Returns one entry of a log, as readers get it; `None` where there is none.
    #[must_use]
    pub fn entry(&self, place: Place, seq: Seq) -> Option<Arc<Entry>> {
        self.tables.entry(self.tables.find_place(place)?, seq)
    }

    /// Tells whether there is such a conversation.
    #[must_use]
    pub fn has(&self, place: Place) -> bool {
        self.tables.find_place(place).is_some()
    }

    /// Returns what a user's sessions know; `None` for a user who is not there.
    #[must_use]
    pub fn roster(&self, user: UserId, now: Timestamp) -> Option<Roster> {
        self.tables.roster(user, now)
    }

    /// Returns how many entries all logs have together.
    #[must_use]
    pub fn message_count(&self) -> usize {
        self.tables.messages.len()
    }

    /// Carries the changes out that wait, in one transaction.
    fn flush(&mut self, commands: &mut Vec<Command>, now: Timestamp) -> Vec<StoreResult> {
        self.commit(&std::mem::take(commands), now)
            .into_iter()
            .map(|result| result.map(StoreResponse::Applied))
            .collect()
    }

    /// Carries out what is more, or less, than a change.
    fn execute_other(&mut self, request: StoreRequest, now: Timestamp) -> StoreResult {
        match request {
            StoreRequest::Login {
                who,
                password,
                device,
            } => self.login(&who, &password, device, now),
            StoreRequest::LoginJwt { jwt, device } => {
                let (identity, name) =
                    vouched(&jwt).ok_or_else(|| refused(ErrorCode::BadCredentials))?;
                let command = Command::OpenSessionOf {
                    identity,
                    name,
                    device,
                };
                self.open(command, now)
            }
            StoreRequest::Resume {
                user,
                session,
                expires,
            } => self.resume(user, session, expires, now),
            StoreRequest::ChangePassword {
                user,
                session,
                old,
                new,
            } => {
                let verified = self.verify(user, &old)?;
                let command = Command::ChangePassword {
                    user,
                    session,
                    verified,
                    hash: password::hash(&new),
                };
                self.apply(command, now).map(StoreResponse::Applied)
            }
            StoreRequest::DeleteAccount { user, password } => {
                let verified = self.verify(user, &password)?;
                self.apply(Command::DeleteAccount { user, verified }, now)
                    .map(StoreResponse::Applied)
            }
            StoreRequest::Read(read) => self
                .tables
                .read(read, now)
                .map(StoreResponse::Read)
                .map_err(StoreFailure::Refused),
            StoreRequest::Mark(marks) => {
                for mark in marks {
                    self.tables.mark(mark);
                }
                Ok(StoreResponse::Marked)
            }
            StoreRequest::Register { name, password } => {
                let hash = password::hash(&password);
                self.apply(Command::Register { name, hash }, now)
                    .map(StoreResponse::Applied)
            }
            StoreRequest::ResetPassword { who, password } => {
                let action = Supervision::SetPassword(password::hash(&password));
                self.apply(Command::Supervise { who, action }, now)
                    .map(StoreResponse::Applied)
            }
            StoreRequest::Command(command) => self.apply(*command, now).map(StoreResponse::Applied),
        }
    }

    fn login(
        &mut self,
        who: &UserRef,
        password: &Secret,
        device: Option<SmolStr>,
        now: Timestamp,
    ) -> StoreResult {
        let user = self
            .tables
            .find_user(who)
            .ok_or_else(|| refused(ErrorCode::BadCredentials))?;
        let verified = self.verify(user, password)?;
        let command = Command::OpenSession {
            user,
            verified,
            renewed: None,
            device,
        };
        self.open(command, now)
    }

    /// Carries out a change that opens a session, and reads its user's roster.
    fn open(&mut self, command: Command, now: Timestamp) -> StoreResult {
        let applied = self.apply(command, now)?;
        let Done::Session { session, expires } = applied.done else {
            return Err(StoreError::Unknown.into());
        };
        let user = applied.changed.first().ok_or(StoreError::Unknown)?.0;
        let roster = self.tables.roster(user, now).ok_or(StoreError::Unknown)?;
        Ok(StoreResponse::Session(Standing {
            session,
            expires,
            roster: Arc::new(roster),
            changed: applied.changed,
            as_of: now,
        }))
    }

    fn resume(
        &self,
        user: UserId,
        session: SessionId,
        expires: Timestamp,
        now: Timestamp,
    ) -> StoreResult {
        rules::read::resume(self.tables.sessions.get(&session), user, expires, now)?;
        let locked = self
            .tables
            .users
            .get(&user)
            .is_none_or(|account| account.row.locked);
        match self.tables.roster(user, now) {
            Some(roster) if !locked => Ok(StoreResponse::Session(Standing {
                session,
                expires,
                roster: Arc::new(roster),
                changed: Vec::new(),
                as_of: now,
            })),
            _ => Err(refused(ErrorCode::TokenExpired)),
        }
    }

    /// Returns the stored hash of a user whose password this is.
    fn verify(&self, user: UserId, password: &Secret) -> Result<Secret, StoreFailure> {
        self.tables
            .users
            .get(&user)
            .map(|account| &account.row.hash)
            .filter(|hash| password::verify(password, hash))
            .cloned()
            .ok_or_else(|| refused(ErrorCode::BadCredentials))
    }

    /// Carries one change out.
    fn apply(&mut self, command: Command, now: Timestamp) -> Result<Applied, StoreFailure> {
        self.commit(&[command], now)
            .pop()
            .unwrap_or(Err(StoreError::Unknown.into()))
    }

    /// Carries changes out in one transaction: in order, on one view.
    fn commit(&mut self, commands: &[Command], now: Timestamp) -> Results {
        let Self { tables, view } = self;
        view.clear(now);
        for command in commands {
            rules::read_also(command, Arc::make_mut(&mut view.loaded));
        }
        for _ in 0..ROUNDS {
            tables.load(view);
            let mut results = Results::new();
            let mut missing: Option<ReadSet> = None;
            for command in commands {
                match rules::apply(command, view) {
                    Ok(applied) => results.push(Ok(applied)),
                    Err(Refusal::Request(error)) => results.push(Err(error.into())),
                    Err(Refusal::Incomplete(more)) => {
                        missing.get_or_insert_default().merge(*more);
                    }
                }
            }
            let Some(more) = missing else {
                tables.write(view);
                return results;
            };
            let mut needs = Arc::clone(&view.loaded);
            Arc::make_mut(&mut needs).merge(more);
            view.clear(now);
            view.loaded = needs;
        }
        self.commit_alone(commands, now)
    }

    /// What becomes of a transaction that could not be completed: each change on its own.
    fn commit_alone(&mut self, commands: &[Command], now: Timestamp) -> Results {
        if let [_] = commands {
            return smallvec![Err(StoreError::Unknown.into())];
        }
        commands
            .iter()
            .map(|command| self.apply(command.clone(), now))
            .collect()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// Turns a request that is nothing but a change into that change; gives others back.
fn into_command(request: StoreRequest) -> Result<Command, StoreRequest> {
    match request {
        StoreRequest::Register { name, password } => Ok(Command::Register {
            name,
            hash: password::hash(&password),
        }),
        StoreRequest::Command(command) => Ok(*command),
        other => Err(other),
    }
}

/// Reads what stands for the token of another service here: `jwt of ISSUER, SUBJECT, NAME`; the name
/// may be empty.
fn vouched(jwt: &Secret) -> Option<(Identity, Option<Name>)> {
    let mut parts = jwt.expose().strip_prefix("jwt of ")?.splitn(3, ", ");
    let identity = Identity::new(parts.next()?, parts.next()?);
    Some((identity, Name::new(parts.next()?).ok()))
}

fn refused(code: ErrorCode) -> StoreFailure {
    StoreFailure::Refused(RequestError::from(code))
}
