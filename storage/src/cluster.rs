//! Which cluster a database belongs to.

use std::fmt::Write as _;

use parlor_core::secret::Secret;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait as _};

use crate::context::Context;
use crate::dialect::Dialect;
use crate::entity::cluster;
use crate::error::OpenError;
use crate::failure::Failure;
use crate::sql::Sql;

/// The primary key of the one row.
const ROW: i32 = 1;

/// What the database says of the cluster that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's random name, 32 hexadecimal digits; it never changes.
    pub id: String,
    /// What [`SqlStore::claim`](crate::SqlStore::claim) kept, if anything.
    pub check: Option<String>,
}

/// Names the cluster, if it has no name yet.
pub(crate) async fn name<C: ConnectionTrait>(
    connection: &C,
    dialect: Dialect,
    name: String,
) -> Result<(), DbErr> {
    let row = cluster::Entity::find_by_id(ROW).one(connection).await?;
    if row.is_none() {
        Sql::new(dialect, "INSERT INTO cluster (id, name) VALUES (?, ?)")
            .bind(ROW)
            .bind(name)
            .run(connection)
            .await?;
    }
    Ok(())
}

/// Reads what is kept.
pub(crate) async fn read(context: &Context) -> Result<Cluster, Failure> {
    let row = row(context).await?;
    Ok(Cluster {
        id: row.name,
        check: row.secret_check,
    })
}

/// Keeps a check where none is, and tells whether the one that is kept is this one.
pub(crate) async fn claim(context: &Context, check: &str) -> Result<bool, Failure> {
    let text = "UPDATE cluster SET secret_check = ? WHERE id = ? AND secret_check IS NULL";
    keep(context, text, check).await?;
    Ok(row(context).await?.secret_check.as_deref() == Some(check))
}

/// Returns the secret; keeps the given one where none is.
pub(crate) async fn secret(context: &Context, fresh: &str) -> Result<Secret, Failure> {
    let text = "UPDATE cluster SET secret = ? WHERE id = ? AND secret IS NULL";
    keep(context, text, fresh).await?;
    row(context)
        .await?
        .secret
        .map(Secret::new)
        .ok_or(Failure::Unavailable)
}

async fn keep(context: &Context, text: &'static str, value: &str) -> Result<(), Failure> {
    let keep = || {
        let keep = Sql::new(context.dialect, text).bind(value).bind(ROW);
        keep.run(&context.writer)
    };
    context.query(keep).await?;
    Ok(())
}

/// Reads the row where changes are made, so that it shows what was kept just now.
async fn row(context: &Context) -> Result<cluster::Model, Failure> {
    let find = || cluster::Entity::find_by_id(ROW).one(&context.writer);
    context.query(find).await?.ok_or(Failure::Unavailable)
}

/// Returns random bytes as hexadecimal digits.
pub(crate) fn random<const BYTES: usize>() -> Result<String, OpenError> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::Random {
        reason: error.to_string(),
    })?;
    let mut text = String::with_capacity(BYTES * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
