//! Reads that many sessions need at once: whatever waits is read with one set of queries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use async_channel::Receiver;
use parlor_core::id::{ConversationId, SessionId, UserId};
use parlor_core::protocol::{ErrorCode, RequestError};
use parlor_core::rules::read as rights;
use parlor_core::store::{
    Head, ReadDone, Roster, SessionRow, Standing, StoreError, StoreFailure, StoreResponse,
    StoreResult,
};
use parlor_core::time::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::context::Context;
use crate::convert::{self, conversation, sql, unsql};
use crate::entity::session;
use crate::failure::Failure;
use crate::queue::{Reply, deliver};
use crate::reads::roster::{self, Account};
use crate::sql::{Row, rows_by_ids};

/// The most requests that are read together.
const MOST: usize = 256;

/// One of these reads.
#[derive(Debug)]
pub(crate) struct GroupedJob {
    pub(crate) work: Grouped,
    pub(crate) reply: Reply,
}

/// What to read.
#[derive(Debug)]
pub(crate) enum Grouped {
    /// Rosters.
    Rosters(Vec<UserId>),
    /// The newest numbers of conversations, and the versions of users.
    Heads(Vec<ConversationId>, Vec<UserId>),
    /// The roster of a session, if that stands.
    Resume {
        user: UserId,
        session: SessionId,
        expires: Timestamp,
    },
    /// The roster of a session that was opened just now.
    Opened {
        user: UserId,
        session: SessionId,
        expires: Timestamp,
        changed: Vec<(UserId, u64)>,
    },
}

/// Reads until no more can come.
pub(crate) async fn run(context: Arc<Context>, jobs: Receiver<GroupedJob>) {
    while let Ok(first) = jobs.recv().await {
        let mut batch = vec![first];
        while batch.len() < MOST {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        let batch = in_time(&context, batch);
        if batch.is_empty() {
            continue;
        }
        match read(&context, &batch).await {
            Err(Failure::Rejected) if batch.len() > 1 => {
                // What one of them stumbles over must not harm the others.
                for job in batch {
                    let job = [job];
                    let found = read(&context, &job).await;
                    complete(&context, job.into(), &found);
                }
            }
            found => complete(&context, batch, &found),
        }
    }
}

/// Refuses those that could not be read before their deadline; the roster of a session that was
/// opened is read all the same.
fn in_time(context: &Context, batch: Vec<GroupedJob>) -> Vec<GroupedJob> {
    let limit = context.options.timeout;
    let (batch, late): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .partition(|job| matches!(job.work, Grouped::Opened { .. }) || job.reply.has_time(limit));
    complete(context, late, &Err(Failure::Unavailable));
    batch
}

/// What was read for a batch.
#[derive(Debug)]
struct Found {
    now: Timestamp,
    sessions: BTreeMap<SessionId, SessionRow>,
    accounts: BTreeMap<UserId, Account>,
    heads: BTreeMap<ConversationId, Head>,
    versions: BTreeMap<UserId, u64>,
}

async fn read(context: &Context, batch: &[GroupedJob]) -> Result<Found, Failure> {
    let began = Instant::now();
    let found = context.query(|| found(context, batch)).await;
    context.counters.was_read(began.elapsed());
    found
}

async fn found(context: &Context, batch: &[GroupedJob]) -> Result<Found, DbErr> {
    let dialect = context.dialect;
    let (mut users, mut versions) = (BTreeSet::new(), BTreeSet::new());
    let (mut sessions, mut heads) = (BTreeSet::new(), BTreeSet::new());
    for job in batch {
        match &job.work {
            Grouped::Rosters(of) => users.extend(of),
            Grouped::Heads(conversations, of) => {
                heads.extend(conversations);
                versions.extend(of);
            }
            Grouped::Resume { user, session, .. } => {
                users.insert(user);
                sessions.insert(session);
            }
            Grouped::Opened { user, .. } => {
                users.insert(user);
            }
        }
    }
    let transaction = dialect.begin_read(&context.reader).await?;
    let reader = Reader {
        transaction: &transaction,
        context,
    };
    let now = dialect.now(&transaction).await?;
    let users: Vec<i64> = users.into_iter().map(|user| sql(user.0)).collect();
    let found = Found {
        now,
        sessions: reader.sessions(&sessions).await?,
        accounts: roster::read(&transaction, dialect, &users, now).await?,
        heads: reader.heads(&heads).await?,
        versions: reader.versions(&versions).await?,
    };
    transaction.commit().await?;
    Ok(found)
}

struct Reader<'a> {
    transaction: &'a DatabaseTransaction,
    context: &'a Context,
}

impl Reader<'_> {
    async fn rows<R: Row>(
        &self,
        text: &'static str,
        ids: impl Iterator<Item = u64>,
    ) -> Result<Vec<R>, DbErr> {
        let ids: Vec<i64> = ids.map(sql).collect();
        rows_by_ids(self.transaction, self.context.dialect, text, &ids, "").await
    }

    async fn sessions(
        &self,
        ids: &BTreeSet<&SessionId>,
    ) -> Result<BTreeMap<SessionId, SessionRow>, DbErr> {
        let text = "SELECT id, user_id, device, created_at, expires_at FROM session WHERE id IN ";
        let mut sessions = BTreeMap::new();
        for row in self.rows(text, ids.iter().map(|id| id.0)).await? {
            let (id, user_id, device, created_at, expires_at) = row;
            let model = session::Model {
                id,
                user_id,
                device,
                created_at,
                expires_at,
            };
            sessions.insert(SessionId(unsql(id)), convert::session(model));
        }
        Ok(sessions)
    }

    async fn heads(
        &self,
        ids: &BTreeSet<&ConversationId>,
    ) -> Result<BTreeMap<ConversationId, Head>, DbErr> {
        let text = "SELECT id, low_id, high_id, last_seq FROM conversation WHERE id IN ";
        let mut heads = BTreeMap::new();
        for row in self.rows(text, ids.iter().map(|id| id.0)).await? {
            let (id, place, last) = conversation(row)?;
            let head = Head {
                conversation: id,
                place,
                last,
            };
            heads.insert(id, head);
        }
        Ok(heads)
    }

    async fn versions(&self, ids: &BTreeSet<&UserId>) -> Result<BTreeMap<UserId, u64>, DbErr> {
        let text = "SELECT id, version FROM `user` WHERE name IS NOT NULL AND id IN ";
        let mut versions = BTreeMap::new();
        for (user, version) in self.rows(text, ids.iter().map(|id| id.0)).await? {
            versions.insert(UserId(unsql(user)), unsql(version));
        }
        Ok(versions)
    }
}

/// Answers a batch, all at once.
fn complete(context: &Context, batch: Vec<GroupedJob>, found: &Result<Found, Failure>) {
    let answers = batch
        .into_iter()
        .map(|job| {
            let result = match found {
                Ok(found) => found.answer(job.work),
                Err(failure) => Err(failed(&job.work, *failure).into()),
            };
            (job.reply, result)
        })
        .collect();
    deliver(&context.sink, answers);
}

/// A session that was opened is open, whether or not its roster could be read.
fn failed(work: &Grouped, failure: Failure) -> StoreError {
    match work {
        Grouped::Opened { .. } => StoreError::Unknown,
        _ => failure.into(),
    }
}

impl Found {
    fn answer(&self, work: Grouped) -> StoreResult {
        match work {
            Grouped::Rosters(users) => {
                let rosters = BTreeSet::from_iter(users)
                    .iter()
                    .filter_map(|user| self.roster(*user))
                    .collect();
                Ok(StoreResponse::Read(ReadDone::Rosters(rosters)))
            }
            Grouped::Heads(conversations, users) => {
                let heads = BTreeSet::from_iter(conversations)
                    .iter()
                    .filter_map(|id| self.heads.get(id).copied())
                    .collect();
                let versions = BTreeSet::from_iter(users)
                    .into_iter()
                    .filter_map(|user| Some((user, *self.versions.get(&user)?)))
                    .collect();
                Ok(StoreResponse::Read(ReadDone::Heads { heads, versions }))
            }
            Grouped::Resume {
                user,
                session,
                expires,
            } => {
                rights::resume(self.sessions.get(&session), user, expires, self.now)?;
                let locked = self
                    .accounts
                    .get(&user)
                    .is_none_or(|account| account.locked);
                let roster = self.roster(user).filter(|_| !locked);
                self.stands(session, expires, roster, Vec::new())
            }
            Grouped::Opened {
                user,
                session,
                expires,
                changed,
            } => self.stands(session, expires, self.roster(user), changed),
        }
    }

    fn roster(&self, user: UserId) -> Option<Arc<Roster>> {
        self.accounts
            .get(&user)
            .map(|account| Arc::clone(&account.roster))
    }

    /// Answers with a session, unless its user is gone.
    fn stands(
        &self,
        session: SessionId,
        expires: Timestamp,
        roster: Option<Arc<Roster>>,
        changed: Vec<(UserId, u64)>,
    ) -> StoreResult {
        match roster {
            Some(roster) => Ok(StoreResponse::Session(Standing {
                session,
                expires,
                roster,
                changed,
                as_of: self.now,
            })),
            None => Err(StoreFailure::Refused(RequestError::from(
                ErrorCode::TokenExpired,
            ))),
        }
    }
}
