//! What the tasks of a store share.

use std::future::Future;

use async_std::future::timeout;
use sea_orm::{DatabaseConnection, DbErr};
use tracing::warn;

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::options::{Options, Sink};

/// The database and the settings.
pub(crate) struct Context {
    pub(crate) dialect: Dialect,
    /// Where changes are made: on SQLite, its one writing connection.
    pub(crate) writer: DatabaseConnection,
    /// Where reads are made.
    pub(crate) reader: DatabaseConnection,
    pub(crate) options: Options,
    pub(crate) sink: Sink,
}

impl Context {
    /// Bounds a piece of work that changes nothing.
    pub(crate) async fn bounded<T, E: From<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match timeout(self.options.timeout, work).await {
            Ok(result) => result,
            Err(_) => {
                warn!("the database did not answer in time");
                Err(Failure::Unavailable.into())
            }
        }
    }

    /// As [`bounded`](Self::bounded), for plain statements.
    pub(crate) async fn query<T>(
        &self,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, Failure> {
        self.bounded(async { work.await.map_err(Failure::from) })
            .await
    }
}
