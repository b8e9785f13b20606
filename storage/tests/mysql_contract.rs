//! The contract of a store, on MariaDB.

mod common;

use async_std::task::block_on;
use futures::future::join_all;
use parlor_core::sim::store_contract::{self, Subject};
use parlor_core::store::{StoreRequest, StoreResult};
use parlor_storage::{Options, SqlStore};

use common::server::Fresh;

struct MariaDb {
    store: SqlStore,
    _database: Fresh,
}

impl MariaDb {
    fn boxed() -> Box<dyn Subject> {
        let database = Fresh::new();
        let options = Options {
            limits: store_contract::limits(),
            ..common::options()
        };
        let store = block_on(common::open_url(&database.url, options));
        Box::new(Self {
            store,
            _database: database,
        })
    }
}

impl Subject for MariaDb {
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

impl Drop for MariaDb {
    fn drop(&mut self) {
        block_on(self.store.close());
    }
}

parlor_core::store_contract_tests!(MariaDb::boxed());
