//! The contract of a store, on SQLite.

mod common;

use tempfile::TempDir;

parlor_core::store_contract_tests!({
    let folder = TempDir::new().unwrap();
    common::contract::subject(&common::url(&folder), folder)
});
