//! Accounts for which another service vouches.

use sea_orm::{DbErr, EntityName as _};
use sea_orm_migration::prelude::{ColumnDef, SchemaManager, Table, async_trait};
use sea_orm_migration::{MigrationName, MigrationTrait};

use crate::entity::user;

use super::m0001_tables::unique;

#[derive(Debug)]
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_identities"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = user::Entity.table_name();
        if !manager.has_column(table, "identity").await? {
            let mut column = ColumnDef::new(user::Column::Identity);
            let mut alter = Table::alter();
            // Nodes of the version before leave it out.
            alter.table(user::Entity);
            alter.add_column(column.var_binary(32).null());
            manager.alter_table(alter).await?;
        }
        let index = unique("user_by_identity", user::Entity);
        index.col(user::Column::Identity).make(manager).await
    }
}
