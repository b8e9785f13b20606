//! The store as its users see it.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_channel::Sender;
use async_std::task::{JoinHandle, sleep, spawn, spawn_blocking};
use futures::channel::oneshot;
use futures::executor::block_on;
use parlor_core::id::StoreToken;
use parlor_core::secret::Secret;
use parlor_core::store::{
    Command, Read, Store, StoreError, StoreFailure, StoreRequest, StoreResult,
};
use tracing::warn;

use crate::cluster::{self, Cluster};
use crate::context::{Context, Doubt};
use crate::counters::{Counters, Status};
use crate::error::OpenError;
use crate::grouped::{self, Grouped, GroupedJob};
use crate::jwt::Jwt;
use crate::open;
use crate::options::{Options, Sink};
use crate::password::{self, Hasher, PasswordJob, PasswordWork};
use crate::queue::{Gate, Reply, Target, answer};
use crate::reads::{self, ReadJob};
use crate::writer::{Work, WriteJob, Writer};

/// How many tasks read rosters and heads: one may wait for the database while the other gathers.
const GROUPED_READERS: usize = 2;

/// How often closing looks whether everything is answered.
const CLOSING: Duration = Duration::from_millis(5);

/// A store in an SQL database.
///
/// - [`open`](Self::open) makes, checks and migrates the database and starts the tasks.
/// - [`submit`](Store::submit) takes requests; the sink gets the answers. [`execute`](Self::execute)
///   waits for one answer.
/// - [`secret`](Self::secret), [`cluster`](Self::cluster) and [`claim`](Self::claim) are about the
///   cluster that the database belongs to. [`status`](Self::status) is for operators.
/// - [`close`](Self::close) completes what is under way.
///
/// Cloning shares the store.
#[derive(Clone)]
pub struct SqlStore {
    shared: Arc<Shared>,
}

struct Shared {
    context: Arc<Context>,
    gates: Gates,
    queues: Queues,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What bounds each kind of request.
struct Gates {
    writes: Arc<Gate>,
    reads: Arc<Gate>,
    passwords: Arc<Gate>,
}

/// What leads to the tasks. The gates bound what is in these.
struct Queues {
    writes: Sender<WriteJob>,
    passwords: Sender<PasswordJob>,
    grouped: Sender<GroupedJob>,
    reads: Sender<ReadJob>,
}

impl SqlStore {
    /// Opens a store, and migrates it where needed. Answers to [`submit`](Store::submit) go to `sink`.
    ///
    /// - `sqlite:/path/to/file` or `sqlite:relative.db`: the file is made, readable by its owner
    ///   alone.
    /// - `mysql://user:password@host:port/database`: MySQL 8 or MariaDB 10.6 and later; the database
    ///   is there, and empty at first. What is no letter or digit in user and password is written as
    ///   `%` and two hexadecimal digits. After a `?` may stand, joined by `&`: `ssl-mode` (`DISABLED`,
    ///   `PREFERRED`, which is the default and checks nothing, `REQUIRED`, `VERIFY_CA`,
    ///   `VERIFY_IDENTITY`), `ssl-ca`, `ssl-cert` and `ssl-key` (files of PEM), and `socket` (the
    ///   path of a unix socket).
    ///
    /// # Errors
    /// Says in one line what to do.
    pub async fn open(url: &str, options: Options, sink: Sink) -> Result<Self, OpenError> {
        let options = Options {
            request_timeout: options.request_timeout.max(options.timeout * 5 / 2),
            ..options
        };
        let hasher = Arc::new(Hasher::new(options.password).await?);
        let jwt = options.jwt.as_ref().map(Jwt::new).transpose()?;
        let doubt = Arc::new(Doubt::default());
        let opened = open::open(url, &options, &doubt).await?;
        let context = Arc::new(Context {
            dialect: opened.dialect,
            writer: opened.writer,
            connections: opened.connections,
            reader: opened.reader,
            doubt,
            jwt: jwt.map(Arc::new),
            options,
            sink,
            counters: Counters::default(),
        });
        Ok(Self::start(context, &hasher))
    }

    fn start(context: Arc<Context>, hasher: &Arc<Hasher>) -> Self {
        let options = &context.options;
        let gate = |requests| Arc::new(Gate::new(requests, options.queue_bytes));
        let gates = Gates {
            writes: gate(options.queue),
            reads: gate(options.queue),
            passwords: gate(options.password.queue),
        };
        let (writes, to_write) = async_channel::unbounded();
        let (passwords, to_hash) = async_channel::unbounded();
        let (grouped, to_group) = async_channel::unbounded();
        let (reads, to_read) = async_channel::unbounded();
        let mut tasks = Vec::new();
        let writer = Writer::new(Arc::clone(&context), to_write, grouped.clone());
        // On a thread of its own, which what it waits for wakes at once: among the runtime's threads it
        // would mostly be the one in the reactor, behind other tasks.
        tasks.push(spawn_blocking(|| block_on(writer.run())));
        for _ in 0..threads(options.password.threads) {
            let (context, hasher) = (Arc::clone(&context), Arc::clone(hasher));
            let (jobs, writes) = (to_hash.clone(), writes.clone());
            tasks.push(spawn(password::run(context, hasher, jobs, writes)));
        }
        for _ in 0..GROUPED_READERS {
            let run = grouped::run(Arc::clone(&context), to_group.clone());
            tasks.push(spawn_blocking(|| block_on(run)));
        }
        for _ in 0..options.readers.max(1) {
            let run = reads::run(Arc::clone(&context), to_read.clone());
            tasks.push(spawn_blocking(|| block_on(run)));
        }
        let shared = Shared {
            context,
            gates,
            queues: Queues {
                writes,
                passwords,
                grouped,
                reads,
            },
            tasks: Mutex::new(tasks),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Carries one request out and waits for the answer; for tests and tools.
    ///
    /// # Errors
    /// As [`StoreResult`].
    pub async fn execute(&self, request: StoreRequest) -> StoreResult {
        let (sender, receiver) = oneshot::channel();
        if let Err((_, failure)) = self.take(Target::Waiter(sender), request) {
            return Err(failure);
        }
        receiver
            .await
            .unwrap_or_else(|_| Err(StoreError::Unknown.into()))
    }

    /// Returns the random secret of a single node, 64 hexadecimal digits, made at the first call
    /// ever and kept in the store.
    ///
    /// # Errors
    /// Where the database fails, or the system gives no random bytes.
    pub async fn secret(&self) -> Result<Secret, StoreError> {
        let fresh = cluster::random::<32>().map_err(|error| {
            warn!(%error, "no secret could be made");
            StoreError::Unavailable
        })?;
        Ok(cluster::secret(&self.shared.context, &fresh).await?)
    }

    /// Reads what the database says of its cluster.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn cluster(&self) -> Result<Cluster, StoreError> {
        Ok(cluster::read(&self.shared.context).await?)
    }

    /// Keeps a check of the cluster's secret, HMAC(secret, [`Cluster::id`]), where none is kept
    /// yet; answers whether the one that is kept is this one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim(&self, check: &str) -> Result<bool, StoreError> {
        Ok(cluster::claim(&self.shared.context, check).await?)
    }

    /// Says what the store has done and what is under way.
    #[must_use]
    pub fn status(&self) -> Status {
        let Gates {
            writes,
            reads,
            passwords,
        } = &self.shared.gates;
        Status {
            writing: writes.len(),
            reading: reads.len(),
            hashing: passwords.len(),
            ..self.shared.context.counters.read()
        }
    }

    /// Takes no more requests (they are answered `Unavailable`), completes those under way, and
    /// closes the database. Lasts no longer than a request may.
    pub async fn close(&self) {
        let Shared {
            context,
            gates,
            queues,
            tasks,
        } = &*self.shared;
        let all = [&gates.passwords, &gates.writes, &gates.reads];
        for gate in all {
            gate.close();
        }
        let end = Instant::now() + context.options.request_timeout;
        while !all.iter().all(|gate| gate.is_empty()) && Instant::now() < end {
            sleep(CLOSING).await;
        }
        queues.passwords.close();
        queues.writes.close();
        queues.grouped.close();
        queues.reads.close();
        let tasks = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if all.iter().all(|gate| gate.is_empty()) {
            for task in tasks {
                task.await;
            }
        } else {
            warn!("closing with requests unanswered");
            for task in tasks {
                task.cancel().await;
            }
        }
        for database in [&context.reader, &context.writer] {
            // The last connection writes the log back into the file.
            if let Err(error) = database.close_by_ref().await {
                warn!(%error, "the database was not closed");
            }
        }
    }

    /// Takes a request over.
    ///
    /// # Errors
    /// Gives the target back with the answer where the request is refused at once.
    fn take(&self, target: Target, request: StoreRequest) -> Result<(), (Target, StoreFailure)> {
        let Queues {
            writes,
            passwords,
            grouped,
            reads,
        } = &self.shared.queues;
        // Sending fails only once the store is closed; the reply that is dropped then says so.
        match sort(request) {
            Sorted::Write(work, bytes) => {
                let reply = self.reply(target, &self.shared.gates.writes, bytes)?;
                let _ = writes.try_send(WriteJob { work, bytes, reply });
            }
            Sorted::Password(work) => {
                let gate = &self.shared.gates.passwords;
                let busy = |(target, failure)| match failure {
                    StoreFailure::Failed(StoreError::Busy) => (target, password::busy()),
                    other => (target, other),
                };
                let reply = self.reply(target, gate, 0).map_err(busy)?;
                let _ = passwords.try_send(PasswordJob { work, reply });
            }
            Sorted::Grouped(work) => {
                let reply = self.reply(target, &self.shared.gates.reads, 0)?;
                let _ = grouped.try_send(GroupedJob { work, reply });
            }
            Sorted::Read(read) => {
                let reply = self.reply(target, &self.shared.gates.reads, 0)?;
                let _ = reads.try_send(ReadJob { read, reply });
            }
        }
        Ok(())
    }

    fn reply(
        &self,
        target: Target,
        gate: &Arc<Gate>,
        bytes: usize,
    ) -> Result<Reply, (Target, StoreFailure)> {
        let Context { sink, options, .. } = &*self.shared.context;
        let deadline = Instant::now() + options.request_timeout;
        Reply::new(target, gate, bytes, sink, deadline)
            .map_err(|(target, error)| (target, error.into()))
    }
}

impl Store for SqlStore {
    fn submit(&self, requests: Vec<(StoreToken, StoreRequest)>) {
        let refused = requests
            .into_iter()
            .filter_map(|(token, request)| self.take(Target::Token(token), request).err())
            .map(|(target, failure)| (target, Err(failure)))
            .collect();
        answer(&self.shared.context.sink, refused);
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqlStore")
            .field("dialect", &self.shared.context.dialect)
            .finish_non_exhaustive()
    }
}

/// A request, by who carries it out.
enum Sorted {
    /// The writer; with the bytes of text in it.
    Write(Work, usize),
    /// The password threads, then the writer.
    Password(PasswordWork),
    /// The readers of many at once.
    Grouped(Grouped),
    /// The other readers.
    Read(Read),
}

fn sort(request: StoreRequest) -> Sorted {
    match request {
        StoreRequest::Register { name, password } => {
            Sorted::Password(PasswordWork::Register { name, password })
        }
        StoreRequest::Login {
            who,
            password,
            device,
        } => Sorted::Password(PasswordWork::Login {
            who,
            password,
            device,
        }),
        StoreRequest::LoginJwt { jwt, device } => {
            Sorted::Password(PasswordWork::LoginJwt { jwt, device })
        }
        StoreRequest::Resume {
            user,
            session,
            expires,
        } => Sorted::Grouped(Grouped::Resume {
            user,
            session,
            expires,
        }),
        StoreRequest::ChangePassword {
            user,
            session,
            old,
            new,
        } => Sorted::Password(PasswordWork::Change {
            user,
            session,
            old,
            new,
        }),
        StoreRequest::DeleteAccount { user, password } => {
            Sorted::Password(PasswordWork::Delete { user, password })
        }
        StoreRequest::ResetPassword { who, password } => {
            Sorted::Password(PasswordWork::Reset { who, password })
        }
        StoreRequest::Command(command) => {
            let bytes = text_bytes(&command);
            Sorted::Write(Work::Change(*command), bytes)
        }
        StoreRequest::Read(Read::Rosters(users)) => Sorted::Grouped(Grouped::Rosters(users)),
        StoreRequest::Read(Read::Heads {
            conversations,
            users,
        }) => Sorted::Grouped(Grouped::Heads(conversations, users)),
        StoreRequest::Read(read) => Sorted::Read(read),
        StoreRequest::Mark(marks) => Sorted::Write(Work::Marks(marks), 0),
    }
}

/// Returns how many bytes of text a change carries.
fn text_bytes(command: &Command) -> usize {
    match command {
        Command::Send { text, meta, .. } => text.len() + meta.as_ref().map_or(0, |meta| meta.len()),
        Command::Edit { text, .. } => text.len(),
        Command::GroupCreate { description, .. } => description.len(),
        Command::GroupUpdate { change, .. } => {
            change.description.as_ref().map_or(0, |text| text.len())
        }
        _ => 0,
    }
}

/// Returns how many hashes to compute at a time.
fn threads(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        wanted => wanted,
    }
}
