//! The store as its users see it.

use parlor_core::id::StoreToken;
use parlor_core::secret::Secret;
use parlor_core::store::{Store, StoreError, StoreRequest, StoreResult};

use crate::error::OpenError;
use crate::options::{Options, Sink};

/// A store in an SQL database.
#[derive(Clone, Debug)]
pub struct SqlStore {}

/// What the database says of the cluster that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's random name, 32 hexadecimal digits; never changes.
    pub id: String,
    /// What [`SqlStore::claim`] kept, if anything.
    pub check: Option<String>,
}

impl SqlStore {
    /// Opens a store: `sqlite:/path/to/file` or `sqlite:relative.db`; the file is made and migrated
    /// where needed.
    ///
    /// # Errors
    /// Says in one line what to do.
    pub async fn open(_url: &str, _options: Options, _sink: Sink) -> Result<Self, OpenError> {
        Ok(Self {})
    }

    /// Carries one request out and waits for the answer; for tests and tools.
    ///
    /// # Errors
    /// As [`StoreResult`].
    pub async fn execute(&self, _request: StoreRequest) -> StoreResult {
        Err(StoreError::Unavailable.into())
    }

    /// Returns the random secret of a single node, 64 hexadecimal digits, made at the first call
    /// ever and kept in the store.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn secret(&self) -> Result<Secret, StoreError> {
        Err(StoreError::Unavailable)
    }

    /// Reads what the database says of its cluster.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn cluster(&self) -> Result<Cluster, StoreError> {
        Err(StoreError::Unavailable)
    }

    /// Keeps a check of the cluster's secret (HMAC(secret, id)) where none is kept yet; answers
    /// whether the one that is kept is this one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim(&self, _check: &str) -> Result<bool, StoreError> {
        Err(StoreError::Unavailable)
    }

    /// Takes no more requests (they are answered `Unavailable`), completes those under way, and
    /// closes the database.
    pub async fn close(&self) {}
}

impl Store for SqlStore {
    fn submit(&self, _requests: Vec<(StoreToken, StoreRequest)>) {}
}
