//! A store as the contract suite sees it.

use async_std::task::block_on;
use futures::future::join_all;
use parlor_core::sim::store_contract::{self, Subject};
use parlor_core::store::{StoreRequest, StoreResult};
use parlor_storage::{Options, SqlStore};

use super::{open_url, options};

/// A store, and what keeps its data.
struct Kept<D> {
    store: SqlStore,
    _data: D,
}

/// Opens a fresh store by its URL. It is closed before what keeps its data is dropped.
pub(crate) fn subject<D: 'static>(url: &str, data: D) -> Box<dyn Subject> {
    let options = Options {
        limits: store_contract::limits(),
        ..options()
    };
    let store = block_on(open_url(url, options));
    Box::new(Kept { store, _data: data })
}

impl<D> Subject for Kept<D> {
    fn execute(&mut self, request: StoreRequest) -> StoreResult {
        block_on(self.store.execute(request))
    }

    fn execute_all(&mut self, requests: Vec<StoreRequest>) -> Vec<StoreResult> {
        let requests = requests.into_iter();
        let executed = requests.map(|request| self.store.execute(request));
        block_on(join_all(executed))
    }
}

impl<D> Drop for Kept<D> {
    fn drop(&mut self) {
        block_on(self.store.close());
    }
}
