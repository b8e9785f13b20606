//! The contract of a store, on MariaDB.

mod common;

use common::server::Fresh;

parlor_core::store_contract_tests!({
    let database = Fresh::new();
    common::contract::subject(&database.url.clone(), database)
});
