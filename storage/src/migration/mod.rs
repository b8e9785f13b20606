//! How the tables came to be.
//!
//! # Nodes of two versions side by side
//!
//! While a cluster is brought from one version to the next, its first new node (or `parlor migrate`)
//! migrates the database, and the old nodes go on over the new tables until they are restarted. So:
//!
//! - A migration **adds**: tables, indexes, and columns that may be null or have a default, since
//!   the old nodes' inserts, which name their columns, leave them out. What a new version reads must
//!   make sense where only old nodes have written.
//! - What is no longer used is **removed** by a later version's migration, when no node of a version
//!   that used it runs any more. Likewise a column is renamed, or its meaning changed, by a new one
//!   that both versions can live with.
//! - A migration leaves alone what is there already, so that one that was cut short can be repeated,
//!   and is not changed once it was released.
//!
//! An old node looks at the tables only when it starts, and then refuses those of a later version: it
//! cannot know what they mean. So there is no way back but a backup, and a node that is to be
//! restarted meanwhile is restarted as the new version.

mod m0001_tables;
mod m0002_identities;

use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// Every migration, in order.
#[derive(Debug)]
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tables::Migration),
            Box::new(m0002_identities::Migration),
        ]
    }
}
