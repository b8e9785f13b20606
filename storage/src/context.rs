//! What the tasks of a store share.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_std::future::timeout;
use async_std::task::sleep;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr};
use tracing::warn;

use crate::counters::Counters;
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::jwt::Jwt;
use crate::options::{Options, Sink};
use crate::remembered::{Connections, Version};

/// The database and the settings.
pub(crate) struct Context {
    pub(crate) dialect: Dialect,
    /// Where changes are made: on SQLite, its one writing connection.
    pub(crate) writer: DatabaseConnection,
    /// The connections that `writer` has had, where it is one at a time.
    pub(crate) connections: Arc<Connections>,
    /// Where reads are made.
    pub(crate) reader: DatabaseConnection,
    /// What the pools of these connections ask.
    pub(crate) doubt: Arc<Doubt>,
    /// What believes another service's tokens.
    pub(crate) jwt: Option<Arc<Jwt>>,
    pub(crate) options: Options,
    pub(crate) sink: Sink,
    pub(crate) counters: Counters,
}

/// How often work that others were let past is tried.
pub(crate) const TRIES: u32 = 6;

/// Remembers that work was given up: connections that are returned soon after may be in the middle
/// of something.
#[derive(Debug, Default)]
pub(crate) struct Doubt(Mutex<Option<Instant>>);

impl Doubt {
    /// Says that work was given up just now.
    fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Tells whether work was given up within a time.
    pub(crate) fn holds(&self, within: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= within)
    }
}

/// An error that says whether the same may go well at once.
pub(crate) trait Hindrance: From<Failure> {
    /// Tells whether it passes.
    fn passes(&self) -> bool;
}

impl Hindrance for Failure {
    fn passes(&self) -> bool {
        *self == Self::Passing
    }
}

impl Context {
    /// Reads which version of the data a transaction that writes has before it, where that can be
    /// told.
    pub(crate) async fn version(
        &self,
        transaction: &DatabaseTransaction,
    ) -> Result<Option<Version>, DbErr> {
        let connection = self.connections.newest();
        let data = self.dialect.data_version(transaction).await?;
        Ok(data.map(|data| Version { connection, data }))
    }

    /// Bounds a piece of work, in time and in tries. It may be repeated: it changes nothing, or
    /// repeating it changes nothing more.
    pub(crate) async fn bounded<T, E, W>(&self, work: impl Fn() -> W) -> Result<T, E>
    where
        E: Hindrance,
        W: Future<Output = Result<T, E>>,
    {
        let tries = async {
            let mut tries = 1;
            loop {
                match work().await {
                    Err(error) if tries < TRIES && error.passes() => pause(tries).await,
                    result => return result,
                }
                tries += 1;
            }
        };
        match self.in_time(tries).await {
            Some(result) => result,
            None => {
                warn!("the database did not answer in time");
                Err(Failure::Unavailable.into())
            }
        }
    }

    /// As [`bounded`](Self::bounded), for plain statements.
    pub(crate) async fn query<T, W>(&self, work: impl Fn() -> W) -> Result<T, Failure>
    where
        W: Future<Output = Result<T, DbErr>>,
    {
        self.bounded(|| {
            let work = work();
            async { work.await.map_err(Failure::from) }
        })
        .await
    }

    /// Gives work up that takes too long.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let done = timeout(self.options.timeout, work).await.ok();
        if done.is_none() {
            self.doubt.raise();
        }
        done
    }
}

/// Lets others go first, for a time that rises from try to try and is not the same for all.
pub(crate) async fn pause(tries: u32) {
    let mut random = [128];
    // Without randomness the middle has to do.
    let _ = getrandom::fill(&mut random);
    let [random] = random.map(u32::from);
    sleep(Duration::from_micros(20 * u64::from(random)) * tries).await;
}
