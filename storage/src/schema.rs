//! The state of a database's tables.

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use sea_orm_migration::{IntoSchemaManagerConnection, MigratorTrait as _};

use crate::cluster;
use crate::convert::column;
use crate::dialect::Dialect;
use crate::error::OpenError;
use crate::migration::Migrator;
use crate::numbers::KINDS;
use crate::sql::Sql;

/// Lists the migrations that a database lacks.
///
/// # Errors
/// Where it holds something else, or what a later version has made of it, or lacks any while none
/// may lack.
pub(crate) async fn check<C: ConnectionTrait>(
    connection: &C,
    dialect: Dialect,
    store: &str,
    may_lack: bool,
) -> Result<Vec<String>, OpenError> {
    let state = state(connection, dialect).await;
    let store = store.to_owned();
    match state.map_err(OpenError::database(store.clone()))? {
        State::Ours(lacking) => match lacking.first() {
            Some(migration) if !may_lack => Err(OpenError::Older {
                store,
                migration: migration.clone(),
            }),
            _ => Ok(lacking),
        },
        State::Foreign => Err(OpenError::Foreign { store }),
        State::Newer(migration) => Err(OpenError::Newer { store, migration }),
    }
}

/// Applies the migrations that lack, if any do, and writes the rows that every database has. Nobody
/// else may do so meanwhile.
pub(crate) async fn apply<'c, C>(
    connection: &'c C,
    dialect: Dialect,
    store: &str,
    lacking: &[String],
) -> Result<(), OpenError>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let name = cluster::random::<16>()?;
    let applied = async {
        // Looking for them that way takes the right to make tables.
        if !lacking.is_empty() {
            Migrator::up(connection, None).await?;
        }
        cluster::name(connection, dialect, name).await?;
        for kind in KINDS {
            let text = "INSERT INTO number (kind, next) SELECT ?, 1 \
                 WHERE NOT EXISTS (SELECT 1 FROM number WHERE kind = ?)";
            let insert = Sql::new(dialect, text).bind(kind).bind(kind);
            insert.run(connection).await?;
        }
        Ok(())
    };
    applied.await.map_err(OpenError::database(store.to_owned()))
}

/// Lists all migrations.
pub(crate) fn all() -> Vec<String> {
    let migrations = Migrator::migrations();
    let names = migrations
        .iter()
        .map(|migration| migration.name().to_owned());
    names.collect()
}

/// What a database holds.
enum State {
    /// Nothing, or tables that this version knows, which lack these migrations.
    Ours(Vec<String>),
    /// Tables of another program.
    Foreign,
    /// Tables that a later version has changed: the first migration that is unknown.
    Newer(String),
}

async fn state<C: ConnectionTrait>(connection: &C, dialect: Dialect) -> Result<State, DbErr> {
    let names = |rows: Vec<QueryResult>| -> Result<Vec<String>, DbErr> {
        rows.iter().map(|row| column(row, 0)).collect()
    };
    let known = all();
    let tables = names(Sql::new(dialect, dialect.tables()).all(connection).await?)?;
    if tables.is_empty() {
        return Ok(State::Ours(known));
    }
    if !tables.iter().any(|name| name == "seaql_migrations") {
        return Ok(State::Foreign);
    }
    let text = "SELECT version FROM seaql_migrations ORDER BY version";
    let applied = names(Sql::new(dialect, text).all(connection).await?)?;
    let is_ours = applied.is_empty() || applied.iter().any(|name| known.contains(name));
    Ok(match applied.iter().find(|name| !known.contains(name)) {
        None => State::Ours(
            known
                .into_iter()
                .filter(|name| !applied.contains(name))
                .collect(),
        ),
        Some(migration) if is_ours => State::Newer(migration.clone()),
        Some(_) => State::Foreign,
    })
}
