//! SQLite: one file, with one connection that writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_std::task::{sleep, spawn_blocking};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use crate::dialect::Dialect;
use crate::error::OpenError;
use crate::open::Opened;
use crate::options::Options;
use crate::remembered::Connections;
use crate::schema;
use crate::sql::CHUNK;
use crate::wal;

/// How every SQLite database begins (<https://www.sqlite.org/fileformat.html>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long a writer of another process is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// How often opening is tried while another process changes the file's journal mode, which cannot
/// be waited for otherwise.
const TRIES: u32 = 50;

/// Reads the path out of `sqlite:path` or `sqlite://path`.
pub(crate) fn path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty() && path != ":memory:").then(|| path.into())
}

/// Opens a file, which is made and migrated where needed.
pub(crate) async fn open(path: PathBuf, options: &Options) -> Result<Opened, OpenError> {
    let failed = failed(&path);
    let file = path.clone();
    spawn_blocking(move || prepare(&file)).await?;
    let connections = Arc::new(Connections::default());
    let writer = patiently(|| connect(&path, options, Some(&connections)))
        .await
        .map_err(&failed)?;
    migrate(&writer, &path, options.migrate).await?;
    let reader = patiently(|| connect(&path, options, None))
        .await
        .map_err(&failed)?;
    Ok(Opened {
        dialect: Dialect::Sqlite,
        writer,
        connections,
        reader,
    })
}

/// Lists the migrations that a file lacks, and applies them if that is wanted. A file that is not
/// there is made only then.
pub(crate) async fn bring_up_to_date(path: &Path, apply: bool) -> Result<Vec<String>, OpenError> {
    let file = path.to_owned();
    let absent = spawn_blocking(move || !file.exists()).await;
    if absent && !apply {
        return Ok(schema::all());
    }
    let file = path.to_owned();
    spawn_blocking(move || prepare(&file)).await?;
    let options = Options::default();
    let to_write = apply.then(Arc::default);
    let database = patiently(|| connect(path, &options, to_write.as_ref()))
        .await
        .map_err(failed(path))?;
    let pending = pending(&database, path).await;
    if apply && pending.is_ok() {
        migrate(&database, path, true).await?;
    }
    // What was to be done is done.
    let _closed = database.close().await;
    pending
}

/// Brings the tables up to date, in one transaction, or refuses those that are not.
async fn migrate(writer: &DatabaseConnection, path: &Path, apply: bool) -> Result<(), OpenError> {
    let failed = failed(path);
    let begun = Dialect::Sqlite.begin_write(writer).await;
    let transaction = begun.map_err(&failed)?;
    let name = path.display().to_string();
    let lacking = schema::check(&transaction, Dialect::Sqlite, &name, apply).await?;
    if apply {
        schema::apply(&transaction, Dialect::Sqlite, &name, &lacking).await?;
    }
    transaction.commit().await.map_err(&failed)
}

async fn pending(database: &DatabaseConnection, path: &Path) -> Result<Vec<String>, OpenError> {
    let name = path.display().to_string();
    schema::check(database, Dialect::Sqlite, &name, true).await
}

fn failed(path: &Path) -> impl Fn(DbErr) -> OpenError + use<> {
    OpenError::database(path.display().to_string())
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
                    store: path.display().to_string(),
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

/// Connects to read, or to write with one connection at a time, all of which are counted.
async fn connect(
    path: &Path,
    options: &Options,
    to_write: Option<&Arc<Connections>>,
) -> Result<DatabaseConnection, DbErr> {
    let writes = to_write.is_some();
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
    let layer = wal::register();
    connect.map_sqlx_sqlite_opts(move |options| {
        let options = match layer {
            Some(layer) => options.vfs(layer),
            None => options,
        };
        options
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged message survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(false)
            .statement_cache_capacity(256)
            // As many rows as one list asks for: with fewer, the thread that reads and the one that
            // waits take turns with each row.
            .row_buffer_size(4 * CHUNK)
            // In KiB. What it does not hold the kernel has: four times as much made nothing faster, and
            // is kept for as long as the process runs.
            .pragma("cache_size", "-4096")
            // Every 16 MB instead of 4: each message then costs fewer writes to the file itself.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            // What a statement may have to undo is kept in memory, not in a file for each.
            .pragma("temp_store", "MEMORY")
            .pragma("query_only", if writes { "OFF" } else { "ON" })
    });
    if let Some(connections) = to_write.cloned() {
        connect.map_sqlx_sqlite_pool_opts(move |pool| {
            let connections = Arc::clone(&connections);
            pool.after_connect(move |_, _| {
                connections.add();
                Box::pin(async { Ok(()) })
            })
        });
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files() {
        assert_eq!(path("sqlite:/a/b.db"), Some("/a/b.db".into()));
        assert_eq!(path("sqlite:///a/b.db"), Some("/a/b.db".into()));
        assert_eq!(path("sqlite:b.db"), Some("b.db".into()));
        assert_eq!(path("sqlite://b.db"), Some("b.db".into()));
        for wrong in ["sqlite:", "sqlite::memory:", "b.db", "postgres://host/b"] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }
}
