//! Opening a database: making, checking and migrating it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_std::task::{sleep, spawn_blocking};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbErr, QueryResult,
};
use sea_orm_migration::MigratorTrait as _;

use crate::cluster;
use crate::convert::column;
use crate::dialect::Dialect;
use crate::error::OpenError;
use crate::migration::Migrator;
use crate::numbers::KINDS;
use crate::options::Options;
use crate::sql::Sql;

/// How every SQLite database begins (<https://www.sqlite.org/fileformat.html>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long a writer of another process is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// How often opening is tried while another process changes the file's journal mode, which cannot
/// be waited for otherwise.
const TRIES: u32 = 50;

/// An open database.
pub(crate) struct Opened {
    pub(crate) dialect: Dialect,
    pub(crate) writer: DatabaseConnection,
    pub(crate) reader: DatabaseConnection,
}

/// Opens a database by its URL.
pub(crate) async fn open(url: &str, options: &Options) -> Result<Opened, OpenError> {
    let path = sqlite_path(url)?;
    let file = path.clone();
    spawn_blocking(move || prepare(&file)).await?;
    let failed = |error: DbErr| OpenError::Database {
        store: path.display().to_string(),
        reason: error.to_string(),
    };
    let writer = patiently(|| connect(&path, options, true))
        .await
        .map_err(failed)?;
    migrate(&writer, &path).await?;
    let reader = patiently(|| connect(&path, options, false))
        .await
        .map_err(failed)?;
    Ok(Opened {
        dialect: Dialect::Sqlite,
        writer,
        reader,
    })
}

/// Reads the path out of `sqlite:path` or `sqlite://path`.
fn sqlite_path(url: &str) -> Result<PathBuf, OpenError> {
    let path = url
        .strip_prefix("sqlite:")
        .map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) if !path.is_empty() && path != ":memory:" => Ok(PathBuf::from(path)),
        _ => Err(OpenError::Url {
            url: without_password(url),
        }),
    }
}

/// Leaves out what stands before the host of a URL.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (scheme, host) = (url.get(..scheme + 3), url.get(at..));
            [scheme, Some(".."), host].into_iter().flatten().collect()
        }
        _ => url.to_owned(),
    }
}

/// Checks the file, and makes it where it is missing: readable by its owner alone.
fn prepare(path: &Path) -> Result<(), OpenError> {
    let failed = |source: io::Error| OpenError::File {
        path: path.to_owned(),
        advice: advice(&source),
        source,
    };
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => {
            if holds_something_else(file).map_err(failed)? {
                return Err(OpenError::Foreign {
                    path: path.to_owned(),
                });
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match make(path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map(|_| ()).map_err(failed),
        },
        Err(error) => Err(failed(error)),
    }
}

fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Tells whether a file is neither empty nor a database.
fn holds_something_else(mut file: File) -> io::Result<bool> {
    let mut start = Vec::new();
    io::Read::by_ref(&mut file)
        .take(16)
        .read_to_end(&mut start)?;
    Ok(!start.is_empty() && start != MAGIC)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make its folder first, or name another",
        io::ErrorKind::PermissionDenied => {
            "give this user the right to write there, or name another file"
        }
        io::ErrorKind::IsADirectory => "name a file in that folder",
        io::ErrorKind::ReadOnlyFilesystem => "name a file on a disk that can be written",
        _ => "name another file",
    }
}

async fn connect(
    path: &Path,
    options: &Options,
    writes: bool,
) -> Result<DatabaseConnection, DbErr> {
    // The path is set below: in a URL, `?` and `%` would mean something.
    let mut connect = ConnectOptions::new("sqlite:parlor");
    connect
        .max_connections(if writes { 1 } else { options.readers.max(1) })
        .min_connections(1)
        .acquire_timeout(options.timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    let path = path.to_owned();
    connect.map_sqlx_sqlite_opts(move |options| {
        options
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged message survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(false)
            .statement_cache_capacity(256)
            .pragma("cache_size", "-16384")
            // Every 16 MB instead of 4: each message then costs fewer writes to the file itself.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            .pragma("query_only", if writes { "OFF" } else { "ON" })
    });
    Database::connect(connect).await
}

/// Tries again while the database is locked.
async fn patiently<F>(connect: impl Fn() -> F) -> Result<DatabaseConnection, DbErr>
where
    F: Future<Output = Result<DatabaseConnection, DbErr>>,
{
    let mut tries = 1;
    loop {
        match connect().await {
            Err(error) if tries < TRIES && error.to_string().contains("database is locked") => {
                tries += 1;
                sleep(BUSY / TRIES).await;
            }
            result => return result,
        }
    }
}

/// Brings the tables up to date, in one transaction.
async fn migrate(writer: &DatabaseConnection, path: &Path) -> Result<(), OpenError> {
    let name = cluster::random::<16>()?;
    let dialect = Dialect::Sqlite;
    let failed = |error: DbErr| OpenError::Database {
        store: path.display().to_string(),
        reason: error.to_string(),
    };
    let transaction = dialect.begin_write(writer).await.map_err(failed)?;
    match state(&transaction).await.map_err(failed)? {
        State::Ours => {}
        State::Foreign => {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
            });
        }
        State::Newer(migration) => {
            return Err(OpenError::Newer {
                store: path.display().to_string(),
                migration,
            });
        }
    }
    let migrated = async {
        Migrator::up(&transaction, None).await?;
        cluster::name(&transaction, dialect, name).await?;
        for kind in KINDS {
            let text = "INSERT INTO number (kind, next) SELECT ?, 1 \
                 WHERE NOT EXISTS (SELECT 1 FROM number WHERE kind = ?)";
            let insert = Sql::new(dialect, text).bind(kind).bind(kind);
            insert.run(&transaction).await?;
        }
        transaction.commit().await
    };
    migrated.await.map_err(failed)
}

/// What a database holds.
enum State {
    /// Nothing, or tables that this version knows.
    Ours,
    /// Tables of another program.
    Foreign,
    /// Tables that a later version has changed: the first migration that is unknown.
    Newer(String),
}

async fn state(transaction: &DatabaseTransaction) -> Result<State, DbErr> {
    let names = |rows: Vec<QueryResult>| -> Result<Vec<String>, DbErr> {
        rows.iter().map(|row| column(row, 0)).collect()
    };
    let text = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables = names(Sql::new(Dialect::Sqlite, text).all(transaction).await?)?;
    if tables.is_empty() {
        return Ok(State::Ours);
    }
    if !tables.iter().any(|name| name == "seaql_migrations") {
        return Ok(State::Foreign);
    }
    let text = "SELECT version FROM seaql_migrations ORDER BY version";
    let applied = names(Sql::new(Dialect::Sqlite, text).all(transaction).await?)?;
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    let is_ours = applied.is_empty() || applied.iter().any(|name| known.contains(name));
    Ok(
        match applied.into_iter().find(|name| !known.contains(name)) {
            None => State::Ours,
            Some(migration) if is_ours => State::Newer(migration),
            Some(_) => State::Foreign,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files() {
        let path = |url| sqlite_path(url).ok();
        assert_eq!(path("sqlite:/a/b.db"), Some("/a/b.db".into()));
        assert_eq!(path("sqlite:///a/b.db"), Some("/a/b.db".into()));
        assert_eq!(path("sqlite:b.db"), Some("b.db".into()));
        assert_eq!(path("sqlite://b.db"), Some("b.db".into()));
        for wrong in ["sqlite:", "sqlite::memory:", "b.db", "postgres://host/b"] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_refused_url_shows_no_password() {
        let error = sqlite_path("oracle://me:secret@host/b").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("oracle://..@host/b"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
