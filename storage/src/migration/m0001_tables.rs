//! The first tables.
//!
//! MySQL cannot create tables in a transaction: a migration that was cut short is completed by the
//! next one, so whatever is there already is left alone.
//!
//! There are no foreign keys: the rules decide what goes together, and rows of deleted accounts
//! and disbanded groups stay.

use sea_orm::{DbBackend, DbErr, EntityTrait};
use sea_orm_migration::prelude::{
    ColumnDef, Index, IndexCreateStatement, IntoIden, IntoIndexColumn, SchemaManager, Table,
    TableCreateStatement, async_trait,
};
use sea_orm_migration::{MigrationName, MigrationTrait};

use crate::dialect::{Dialect, Order};
use crate::entity::{
    cluster, conversation, friendship, group, invitation, join_request, member, message, number,
    session, user,
};

/// The longest form of a name that makes it unique, in bytes: 32 characters, each of which becomes
/// at most 18 of at most 4 bytes; MySQL indexes up to 3072.
const NAME_KEY_BYTES: u32 = 2304;

/// The longest key of a message or group, in bytes.
const KEY_BYTES: u32 = 64;

#[derive(Debug)]
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dialect = match manager.get_database_backend() {
            DbBackend::MySql => Dialect::MySql,
            _ => Dialect::Sqlite,
        };
        for mut table in tables() {
            dialect.shape(&mut table, Order::ByKey);
            manager.create_table(table).await?;
        }
        let mut messages = messages();
        dialect.shape(&mut messages, Order::AsTheyCome);
        manager.create_table(messages).await?;
        for index in indexes() {
            index.make(manager).await?;
        }
        Ok(())
    }
}

/// Every table but that of messages.
fn tables() -> Vec<TableCreateStatement> {
    vec![
        accounts(),
        sessions(),
        friendships(),
        conversations(),
        groups(),
        members(),
        invitations(),
        join_requests(),
        clusters(),
        numbers(),
    ]
}

fn accounts() -> TableCreateStatement {
    table(user::Entity)
        .col(id(user::Column::Id).primary_key())
        .col(ColumnDef::new(user::Column::Name).string_len(128).null())
        .col(
            ColumnDef::new(user::Column::NameKey)
                .var_binary(NAME_KEY_BYTES)
                .null(),
        )
        .col(
            ColumnDef::new(user::Column::Hash)
                .string_len(255)
                .not_null(),
        )
        .col(id(user::Column::Version))
        .col(flag(user::Column::Locked))
        .col(id(user::Column::UpdatedAt))
        .take()
}

fn sessions() -> TableCreateStatement {
    table(session::Entity)
        .col(id(session::Column::Id).primary_key())
        .col(id(session::Column::UserId))
        .col(
            ColumnDef::new(session::Column::Device)
                .string_len(255)
                .null(),
        )
        .col(id(session::Column::CreatedAt))
        .col(id(session::Column::ExpiresAt))
        .take()
}

fn friendships() -> TableCreateStatement {
    table(friendship::Entity)
        .col(id(friendship::Column::UserId))
        .col(id(friendship::Column::OtherId))
        .col(name(friendship::Column::State))
        .primary_key(
            Index::create()
                .col(friendship::Column::UserId)
                .col(friendship::Column::OtherId),
        )
        .take()
}

fn conversations() -> TableCreateStatement {
    table(conversation::Entity)
        .col(id(conversation::Column::Id).primary_key())
        .col(
            ColumnDef::new(conversation::Column::LowId)
                .big_integer()
                .null(),
        )
        .col(
            ColumnDef::new(conversation::Column::HighId)
                .big_integer()
                .null(),
        )
        .col(id(conversation::Column::LastSeq))
        .col(id(conversation::Column::UpdatedAt))
        .take()
}

fn groups() -> TableCreateStatement {
    table(group::Entity)
        .col(id(group::Column::Id).primary_key())
        .col(
            ColumnDef::new(group::Column::Name)
                .string_len(128)
                .not_null(),
        )
        .col(ColumnDef::new(group::Column::Description).text().not_null())
        .col(name(group::Column::JoinPolicy))
        .col(id(group::Column::OwnerId))
        .col(flag(group::Column::Disbanded))
        .col(id(group::Column::CreatorId))
        .col(
            ColumnDef::new(group::Column::GroupKey)
                .var_binary(KEY_BYTES)
                .null(),
        )
        .col(
            ColumnDef::new(group::Column::Digest)
                .var_binary(16)
                .not_null(),
        )
        .take()
}

fn members() -> TableCreateStatement {
    table(member::Entity)
        .col(id(member::Column::ConversationId))
        .col(id(member::Column::UserId))
        .col(name(member::Column::Role))
        .col(id(member::Column::JoinedSeq))
        .col(id(member::Column::DeliveredSeq))
        .col(id(member::Column::ReadSeq))
        .primary_key(
            Index::create()
                .col(member::Column::ConversationId)
                .col(member::Column::UserId),
        )
        .take()
}

fn invitations() -> TableCreateStatement {
    table(invitation::Entity)
        .col(id(invitation::Column::GroupId))
        .col(id(invitation::Column::UserId))
        .col(id(invitation::Column::ById))
        .primary_key(
            Index::create()
                .col(invitation::Column::GroupId)
                .col(invitation::Column::UserId),
        )
        .take()
}

fn join_requests() -> TableCreateStatement {
    table(join_request::Entity)
        .col(id(join_request::Column::GroupId))
        .col(id(join_request::Column::UserId))
        .primary_key(
            Index::create()
                .col(join_request::Column::GroupId)
                .col(join_request::Column::UserId),
        )
        .take()
}

fn messages() -> TableCreateStatement {
    use message::Column;
    table(message::Entity)
        .col(id(Column::ConversationId))
        .col(id(Column::Seq))
        .col(id(Column::SenderId))
        .col(name(Column::Kind))
        .col(
            ColumnDef::new(Column::MessageKey)
                .var_binary(KEY_BYTES)
                .null(),
        )
        .col(ColumnDef::new(Column::Digest).var_binary(16).null())
        .col(ColumnDef::new(Column::Body).text().null())
        .col(ColumnDef::new(Column::Meta).text().null())
        .col(ColumnDef::new(Column::ReplyTo).big_integer().null())
        .col(ColumnDef::new(Column::Target).big_integer().null())
        .col(ColumnDef::new(Column::SubjectId).big_integer().null())
        .col(ColumnDef::new(Column::Role).string_len(16).null())
        .col(ColumnDef::new(Column::Name).string_len(128).null())
        .col(ColumnDef::new(Column::JoinPolicy).string_len(16).null())
        .col(flag(Column::Edited))
        .col(flag(Column::Recalled))
        .col(ColumnDef::new(Column::ChangeSeq).big_integer().null())
        .col(ColumnDef::new(Column::ChangeAt).big_integer().null())
        .col(id(Column::CreatedAt))
        .primary_key(Index::create().col(Column::ConversationId).col(Column::Seq))
        .take()
}

fn clusters() -> TableCreateStatement {
    table(cluster::Entity)
        .col(
            ColumnDef::new(cluster::Column::Id)
                .integer()
                .not_null()
                .primary_key(),
        )
        .col(
            ColumnDef::new(cluster::Column::Name)
                .string_len(64)
                .not_null(),
        )
        .col(
            ColumnDef::new(cluster::Column::Secret)
                .string_len(128)
                .null(),
        )
        .col(
            ColumnDef::new(cluster::Column::SecretCheck)
                .string_len(128)
                .null(),
        )
        .take()
}

fn numbers() -> TableCreateStatement {
    table(number::Entity)
        .col(name(number::Column::Kind).primary_key())
        .col(id(number::Column::Next))
        .take()
}

fn indexes() -> Vec<NewIndex> {
    vec![
        unique("user_by_name", user::Entity).col(user::Column::NameKey),
        index("user_by_update", user::Entity)
            .col(user::Column::UpdatedAt)
            .col(user::Column::Id),
        index("session_by_user", session::Entity).col(session::Column::UserId),
        index("friendship_by_other", friendship::Entity).col(friendship::Column::OtherId),
        unique("conversation_by_pair", conversation::Entity)
            .col(conversation::Column::LowId)
            .col(conversation::Column::HighId),
        index("conversation_by_update", conversation::Entity)
            .col(conversation::Column::UpdatedAt)
            .col(conversation::Column::Id),
        unique("group_by_key", group::Entity)
            .col(group::Column::CreatorId)
            .col(group::Column::GroupKey),
        index("member_by_user", member::Entity).col(member::Column::UserId),
        index("invitation_by_user", invitation::Entity).col(invitation::Column::UserId),
        index("join_request_by_user", join_request::Entity).col(join_request::Column::UserId),
        unique("message_by_key", message::Entity)
            .col(message::Column::SenderId)
            .col(message::Column::MessageKey),
    ]
}

fn table(entity: impl EntityTrait) -> TableCreateStatement {
    Table::create().table(entity).if_not_exists().take()
}

/// An index to make where it is missing.
pub(super) struct NewIndex {
    table: String,
    name: &'static str,
    statement: IndexCreateStatement,
}

impl NewIndex {
    pub(super) fn col(mut self, column: impl IntoIndexColumn) -> Self {
        self.statement.col(column);
        self
    }

    pub(super) async fn make(self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        if manager.has_index(&self.table, self.name).await? {
            return Ok(());
        }
        manager.create_index(self.statement).await
    }
}

fn index(name: &'static str, entity: impl EntityTrait) -> NewIndex {
    NewIndex {
        table: entity.table_name().to_owned(),
        name,
        statement: Index::create().name(name).table(entity).take(),
    }
}

pub(super) fn unique(name: &'static str, entity: impl EntityTrait) -> NewIndex {
    let mut index = index(name, entity);
    index.statement.unique();
    index
}

/// A number that is always there.
fn id(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn flag(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).boolean().not_null().take()
}

/// The name of a role, state or kind.
fn name(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).string_len(16).not_null().take()
}
