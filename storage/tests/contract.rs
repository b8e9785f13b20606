//! The contract of a store, on SQLite.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use async_std::task::block_on;
use futures::future::join_all;
use parlor_core::sim::store_contract::{self, Subject};
use parlor_core::store::{StoreRequest, StoreResult};
use parlor_storage::{Options, SqlStore};
use tempfile::TempDir;

struct Sqlite {
    store: SqlStore,
    _folder: TempDir,
}

impl Sqlite {
    fn boxed() -> Box<dyn Subject> {
        let folder = TempDir::new().unwrap();
        let options = Options {
            limits: store_contract::limits(),
            ..common::options()
        };
        let store = block_on(common::open(&folder, options));
        Box::new(Self {
            store,
            _folder: folder,
        })
    }
}

impl Subject for Sqlite {
    fn execute(&mut self, request: StoreRequest) -> StoreResult {
        block_on(self.store.execute(request))
    }

    fn execute_all(&mut self, requests: Vec<StoreRequest>) -> Vec<StoreResult> {
        let store = &self.store;
        block_on(join_all(
            requests.into_iter().map(|request| store.execute(request)),
        ))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        block_on(self.store.close());
    }
}

parlor_core::store_contract_tests!(Sqlite::boxed());
