//! Changes: whatever waits is carried out in one transaction.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_channel::{Receiver, Sender};
use parlor_core::id::UserId;
use parlor_core::name::Key;
use parlor_core::rules;
use parlor_core::sorted::SortedSet;
use parlor_core::store::{
    Applied, Command, Done, Mark, ReadSet, Refusal, StoreError, StoreFailure, StoreResponse,
    StoreResult, View,
};
use parlor_core::time::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, SqlErr};
use tracing::{error, warn};

use crate::context::{Context, TRIES, pause};
use crate::failure::{self, Failure};
use crate::grouped::{Grouped, GroupedJob};
use crate::marks;
use crate::numbers::Numbers;
use crate::queue::{Reply, deliver};
use crate::remembered::Remembered;
use crate::{load, write};

/// How often a batch may ask for further rows.
const ROUNDS: usize = 8;

/// Something to write.
#[derive(Debug)]
pub(crate) struct WriteJob {
    pub(crate) work: Work,
    /// The bytes of text in it.
    pub(crate) bytes: usize,
    pub(crate) reply: Reply,
}

/// What to write.
#[derive(Debug)]
pub(crate) enum Work {
    /// A change, answered as what came of it.
    Change(Command),
    /// A change that opens a session, answered with the roster.
    Session(Command),
    /// Cursors to raise.
    Marks(Vec<Mark>),
}

/// A change that waits for its answer.
#[derive(Debug)]
struct Job {
    command: Command,
    opens_session: bool,
    reply: Reply,
}

/// The results of a batch, one for each of its commands.
type Results = Vec<Result<Applied, StoreFailure>>;

/// The one that writes.
pub(crate) struct Writer {
    context: Arc<Context>,
    jobs: Receiver<WriteJob>,
    rosters: Sender<GroupedJob>,
    numbers: Numbers,
    remembered: Remembered,
    /// Whether keys of messages are looked up before: after a message was sent again.
    keys_recur: bool,
}

impl Writer {
    pub(crate) fn new(
        context: Arc<Context>,
        jobs: Receiver<WriteJob>,
        rosters: Sender<GroupedJob>,
    ) -> Self {
        Self {
            context,
            jobs,
            rosters,
            numbers: Numbers::default(),
            remembered: Remembered::default(),
            keys_recur: false,
        }
    }

    /// Writes until no more can come.
    pub(crate) async fn run(mut self) {
        while let Ok(first) = self.jobs.recv().await {
            let (mut changes, mut marks) = (Vec::new(), Vec::new());
            let (mut rows, mut bytes) = (0, 0);
            let mut next = Some(first);
            while let Some(job) = next {
                rows += 1;
                bytes += job.bytes;
                let reply = job.reply;
                match job.work {
                    Work::Change(command) => changes.push(Job {
                        command,
                        opens_session: false,
                        reply,
                    }),
                    Work::Session(command) => changes.push(Job {
                        command,
                        opens_session: true,
                        reply,
                    }),
                    Work::Marks(raised) => marks.push((raised, reply)),
                }
                let options = &self.context.options;
                let full = rows >= options.batch_rows || bytes >= options.batch_bytes;
                next = if full {
                    None
                } else {
                    self.jobs.try_recv().ok()
                };
            }
            self.changes(changes).await;
            self.marks(marks).await;
        }
    }

    /// Carries changes out. A batch that the database refuses is halved until the one that is at
    /// fault stands alone; that one is tried once more, since what it collided with is there now
    /// for the rules to see. Where the database lets others go first, or the connection broke before
    /// the commit, all are tried again.
    async fn changes(&mut self, jobs: Vec<Job>) {
        let mut batches = VecDeque::from([(jobs, false)]);
        let mut tries = 1;
        while let Some((jobs, again)) = batches.pop_front() {
            let mut jobs = self.in_time(jobs);
            if jobs.is_empty() {
                continue;
            }
            let commands: Vec<&Command> = jobs.iter().map(|job| &job.command).collect();
            let began = Instant::now();
            match self.transaction(&commands).await {
                Ok(results) => {
                    tries = 1;
                    let took = began.elapsed();
                    self.context.counters.committed(jobs.len(), took);
                    self.complete(jobs, results).await;
                }
                Err(Failure::Passing) if tries < TRIES => {
                    self.context.counters.repeated();
                    pause(tries).await;
                    tries += 1;
                    batches.push_front((jobs, again));
                }
                Err(Failure::Rejected) if jobs.len() > 1 => {
                    let rest = jobs.split_off(jobs.len() / 2);
                    batches.push_front((rest, false));
                    batches.push_front((jobs, false));
                }
                Err(Failure::Rejected) if !again => batches.push_front((jobs, true)),
                Err(failure) => {
                    if failure == Failure::Rejected {
                        error!("the database refuses a change for good");
                    }
                    self.context.counters.failed(jobs.len());
                    let results = jobs
                        .iter()
                        .map(|_| Err(StoreError::from(failure).into()))
                        .collect();
                    self.complete(jobs, results).await;
                }
            }
        }
    }

    /// Refuses those that could not be completed before their deadline.
    fn in_time(&self, jobs: Vec<Job>) -> Vec<Job> {
        let limit = self.context.options.timeout;
        let (jobs, late): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| job.reply.has_time(limit));
        if !late.is_empty() {
            warn!(changes = late.len(), "changes have waited for too long");
            let unavailable = |job: Job| (job.reply, Err(StoreError::Unavailable.into()));
            let answers = late.into_iter().map(unavailable).collect();
            deliver(&self.context.sink, answers);
        }
        jobs
    }

    /// Answers a batch, all at once but for new sessions, whose rosters are read first.
    async fn complete(&self, jobs: Vec<Job>, results: Results) {
        let mut answers: Vec<(Reply, StoreResult)> = Vec::with_capacity(jobs.len());
        for (job, result) in jobs.into_iter().zip(results) {
            match result {
                Ok(applied) if job.opens_session => {
                    if let Some(roster) = opened(&applied, job.reply) {
                        // The channel is closed only after this task has ended.
                        let _ = self.rosters.send(roster).await;
                    }
                }
                Ok(applied) => answers.push((job.reply, Ok(StoreResponse::Applied(applied)))),
                Err(failure) => answers.push((job.reply, Err(failure))),
            }
        }
        deliver(&self.context.sink, answers);
    }

    /// Carries changes out in one transaction, in order; a refused one does not affect the others.
    async fn transaction(&mut self, commands: &[&Command]) -> Result<Results, Failure> {
        let committing = AtomicBool::new(false);
        let context = Arc::clone(&self.context);
        let result = match context.in_time(self.rounds(commands, &committing)).await {
            Some(result) => result,
            None if committing.load(Ordering::Acquire) => {
                warn!("the database did not say in time whether it committed");
                Err(Failure::Unknown)
            }
            None => {
                warn!("the database did not write in time");
                Err(Failure::Unavailable)
            }
        };
        if result.is_err() {
            // Perhaps it wrote all the same.
            self.remembered = Remembered::default();
        }
        result
    }

    async fn rounds(
        &mut self,
        commands: &[&Command],
        committing: &AtomicBool,
    ) -> Result<Results, Failure> {
        let mut needs = ReadSet::default();
        for command in commands {
            rules::read_also(command, &mut needs);
        }
        let mut keys = if self.keys_recur {
            SortedSet::new()
        } else {
            // Nearly every key is new: the one that is not is found by the table, which refuses it.
            mem::take(&mut needs.keys)
        };
        for _ in 0..ROUNDS {
            match self.round(commands, needs, &keys, committing).await? {
                Round::Committed(results) => return Ok(results),
                Round::Again(more) => {
                    for key in &more.keys {
                        keys.remove(key);
                    }
                    needs = *more;
                }
            }
        }
        error!("a change asks for rows without end");
        Err(Failure::Rejected)
    }

    /// Carries changes out with the rows that are named, taking `new` for keys that no message has.
    async fn round(
        &mut self,
        commands: &[&Command],
        mut needs: ReadSet,
        new: &SortedSet<(UserId, Key)>,
        committing: &AtomicBool,
    ) -> Result<Round, Failure> {
        let context = Arc::clone(&self.context);
        let mut view = View::new(Timestamp::default(), context.options.limits);
        self.numbers.hand_out(&context, &needs, &mut view).await?;
        let transaction = context.dialect.begin_write(&context.writer).await?;
        let version = context.version(&transaction).await?;
        self.remembered.begin(version);
        let mut unknown = needs.clone();
        self.remembered.fill(&mut unknown, &mut view);
        load::load(&transaction, context.dialect, &unknown, &mut view).await?;
        let recurs = view.keys.iter().next().is_some();
        for key in new {
            view.keys.load(key.clone(), None);
        }
        view.loaded = Arc::new(needs);
        // After the locks: an entry is not older than the one before it.
        view.now = context.dialect.now(&transaction).await?;
        let (results, missing) = apply(commands, new, &mut view);
        self.numbers.take_back(&view);
        if let Some(missing) = missing {
            transaction.rollback().await?;
            needs = Arc::unwrap_or_clone(view.loaded);
            needs.merge(missing);
            return Ok(Round::Again(needs.into()));
        }
        match write::write(&transaction, context.dialect, &view).await {
            Err(error) if is_taken(&error) && !new.is_empty() => {
                transaction.rollback().await?;
                self.keys_recur = true;
                needs = Arc::unwrap_or_clone(view.loaded);
                needs.keys.extend(new.iter().cloned());
                return Ok(Round::Again(needs.into()));
            }
            written => written?,
        }
        commit(transaction, committing).await?;
        if !view.loaded.keys.is_empty() {
            self.keys_recur = recurs;
        }
        self.remembered.learn(&view);
        Ok(Round::Committed(results))
    }

    /// Raises cursors, in one transaction.
    async fn marks(&self, jobs: Vec<(Vec<Mark>, Reply)>) {
        if jobs.is_empty() {
            return;
        }
        let marks: Vec<Mark> = jobs.iter().flat_map(|(marks, _)| marks).copied().collect();
        let result: StoreResult = match self
            .context
            .bounded(|| marks::raise(&self.context, &marks))
            .await
        {
            Ok(()) => Ok(StoreResponse::Marked),
            Err(failure) => Err(StoreError::from(failure).into()),
        };
        let answers = jobs
            .into_iter()
            .map(|(_, reply)| (reply, result.clone()))
            .collect();
        deliver(&self.context.sink, answers);
    }
}

/// What came of a transaction.
enum Round {
    /// It is committed.
    Committed(Results),
    /// It was rolled back: it is to be carried out again with these rows.
    Again(Box<ReadSet>),
}

/// Lets the rules decide on each change; also returns what rows are missing, if any are. Who sends
/// something again is never refused, so where one is refused it matters whether the key is new.
fn apply(
    commands: &[&Command],
    new: &SortedSet<(UserId, Key)>,
    view: &mut View,
) -> (Results, Option<ReadSet>) {
    let mut results = Vec::with_capacity(commands.len());
    let mut missing: Option<ReadSet> = None;
    for command in commands {
        match rules::apply(command, view) {
            Ok(applied) => results.push(Ok(applied)),
            Err(Refusal::Request(error)) => {
                if let Some(key) = key_of(command).filter(|key| new.contains(key)) {
                    missing
                        .get_or_insert_with(ReadSet::default)
                        .keys
                        .insert(key);
                }
                results.push(Err(error.into()));
            }
            Err(Refusal::Incomplete(more)) => {
                missing.get_or_insert_with(ReadSet::default).merge(*more);
            }
        }
    }
    (results, missing)
}

/// Returns whose message a command sends with which key.
fn key_of(command: &Command) -> Option<(UserId, Key)> {
    match command {
        Command::Send { user, key, .. } => Some((*user, key.clone())),
        _ => None,
    }
}

/// Tells whether a table has a row with the same unique key.
fn is_taken(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// Commits. If something goes wrong from here on, the database may have committed.
async fn commit(transaction: DatabaseTransaction, committing: &AtomicBool) -> Result<(), Failure> {
    committing.store(true, Ordering::Release);
    let committed = transaction.commit().await;
    committed.map_err(|error| failure::of_commit(&error))
}

/// Asks for the roster of a new session.
fn opened(applied: &Applied, reply: Reply) -> Option<GroupedJob> {
    // Its user's version is the one that opening it raises.
    match (&applied.done, applied.changed.first()) {
        (Done::Session { session, expires }, Some((user, _))) => {
            let work = Grouped::Opened {
                user: *user,
                session: *session,
                expires: *expires,
                changed: applied.changed.clone(),
            };
            Some(GroupedJob { work, reply })
        }
        _ => {
            reply.send(Err(StoreError::Unknown.into()));
            None
        }
    }
}

#[cfg(test)]
mod tests;
