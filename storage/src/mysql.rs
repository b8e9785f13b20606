//! MySQL and MariaDB: pools of connections, which are set alike and never trusted for long.

use std::sync::Arc;
use std::time::Duration;

use async_std::future::timeout;
use sea_orm::sqlx::mysql::MySqlConnectOptions;
use sea_orm::sqlx::{
    AssertSqlSafe, Connection as _, Error as SqlxError, Executor as _, MySql, MySqlConnection,
    pool::PoolOptions,
};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use crate::context::Doubt;
use crate::convert::column;
use crate::dialect::Dialect;
use crate::error::OpenError;
use crate::open::Opened;
use crate::options::Options;
use crate::schema;
use crate::sql::Sql;

/// What a URL may say after its `?`.
const SETTINGS: [&str; 5] = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"];

/// The most connections that write: one does, while others are on their way back to the pool, or
/// claim a secret.
const WRITERS: u32 = 3;

/// How many connections more are for reads that many need at once, and for passwords.
const GROUPED: u32 = 4;

/// How long a connection may take to show that it is fit for further use.
const FIT: Duration = Duration::from_secs(3);

/// How long another node's migration is waited for.
const MIGRATION: Duration = Duration::from_secs(60);

/// Where a database is, and how to get in.
#[derive(Debug)]
pub(crate) struct Server {
    connect: MySqlConnectOptions,
    /// The URL without its password.
    shown: String,
}

impl Server {
    /// Reads `mysql://user:password@host:port/database?ssl-mode=..`.
    pub(crate) fn of(url: &str, shown: String) -> Result<Self, OpenError> {
        let (_, settings) = url.split_once('?').unwrap_or((url, ""));
        let unknown = settings
            .split('&')
            .filter_map(|setting| setting.split('=').next())
            .find(|name| !name.is_empty() && !SETTINGS.contains(name));
        let refused = |reason| OpenError::Setting {
            store: shown.clone(),
            reason,
        };
        if let Some(name) = unknown {
            let known = SETTINGS.join(", ");
            return Err(refused(format!(
                "there is no setting {name:?}, but {known}"
            )));
        }
        let connect: MySqlConnectOptions = url
            .parse()
            .map_err(|error: SqlxError| refused(error.to_string()))?;
        if connect.get_database().is_none_or(str::is_empty) {
            return Err(refused("name a database after the host".to_owned()));
        }
        Ok(Self { connect, shown })
    }

    fn failed(&self) -> impl Fn(DbErr) -> OpenError + use<> {
        OpenError::database(self.shown.clone())
    }
}

/// Opens a database, which is migrated where needed.
pub(crate) async fn open(
    server: &Server,
    options: &Options,
    doubt: &Arc<Doubt>,
) -> Result<Opened, OpenError> {
    let database = migrating(server, options).await?;
    let migrated = migrate(&database, server, options.migrate).await;
    // Whatever it says, the connection ends.
    let _closed = database.close().await;
    migrated?;
    let pool = |isolation, connections| {
        let setting = Setting::of(options, isolation, connections);
        connect(server, setting, Some(Arc::clone(doubt)))
    };
    Ok(Opened {
        dialect: Dialect::MySql,
        writer: pool("READ COMMITTED", WRITERS)
            .await
            .map_err(server.failed())?,
        connections: Arc::default(),
        reader: pool("REPEATABLE READ", options.readers.max(1) + GROUPED)
            .await
            .map_err(server.failed())?,
    })
}

/// Lists the migrations that a database lacks, and applies them if that is wanted.
pub(crate) async fn bring_up_to_date(
    server: &Server,
    apply: bool,
) -> Result<Vec<String>, OpenError> {
    let database = migrating(server, &Options::default()).await?;
    let lacking = if apply {
        migrate(&database, server, true).await
    } else {
        schema::check(&database, Dialect::MySql, &server.shown, true).await
    };
    // Whatever it says, the connection ends.
    let _closed = database.close().await;
    lacking
}

/// Checks the tables and brings them up to date if that is wanted, one node at a time. Statements
/// that make tables end their transaction, so a lock of the connection has to do.
async fn migrate(
    database: &DatabaseConnection,
    server: &Server,
    apply: bool,
) -> Result<Vec<String>, OpenError> {
    let (dialect, shown) = (Dialect::MySql, &server.shown);
    let sql = |text| Sql::new(dialect, text);
    let locked = sql("SELECT GET_LOCK(CONCAT('parlor.', MD5(DATABASE())), ?)")
        .bind(i64::try_from(MIGRATION.as_secs()).unwrap_or(i64::MAX))
        .one(database)
        .await
        .and_then(|row| row.map_or(Ok(None), |row| column::<Option<i64>>(&row, 0)));
    if locked.map_err(server.failed())? != Some(1) {
        return Err(OpenError::Database {
            store: shown.clone(),
            reason: "another node has been migrating it for a minute; start again when it is done"
                .to_owned(),
        });
    }
    let lacking = schema::check(database, dialect, shown, apply).await?;
    if apply {
        schema::apply(database, dialect, shown, &lacking).await?;
    }
    Ok(lacking)
}

/// Connects once, for a migration: it may take its time.
async fn migrating(server: &Server, options: &Options) -> Result<DatabaseConnection, OpenError> {
    let setting = Setting {
        isolation: "READ COMMITTED",
        connections: 1,
        acquire: options.timeout,
        transaction: None,
    };
    let database = connect(server, setting, None).await;
    database.map_err(server.failed())
}

/// How a pool is set.
#[derive(Clone, Copy)]
struct Setting {
    isolation: &'static str,
    connections: u32,
    /// How long a connection is waited for.
    acquire: Duration,
    /// The longest that a transaction may last, where that is bounded.
    transaction: Option<Duration>,
}

impl Setting {
    fn of(options: &Options, isolation: &'static str, connections: u32) -> Self {
        // Long before those who wait give up: a dead server is not waited for twice.
        let acquire = (options.timeout / 3).max(Duration::from_secs(1));
        Self {
            isolation,
            connections,
            acquire: acquire.min(options.timeout),
            transaction: Some(options.timeout),
        }
    }

    /// Returns how long the server lets a connection be silent, a transaction's included.
    fn silence(&self) -> Option<Duration> {
        self.transaction
            .map(|limit| Duration::from_secs(seconds(limit)))
    }

    /// Returns what is set on a new connection, whatever the server's defaults: what is too long is
    /// refused instead of cut; the server ends transactions that a node has left. MariaDB bounds
    /// statements as well.
    fn statements(&self) -> [String; 2] {
        let mut set =
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'".to_owned();
        if let Some(limit) = self.transaction {
            let (all, half) = (seconds(limit), seconds(limit / 2));
            set = format!(
                "{set}, wait_timeout = {all}, innodb_lock_wait_timeout = {half} \
                 /*M!100301 , idle_transaction_timeout = {all}, max_statement_time = {all} */"
            );
        }
        let isolation = self.isolation;
        [
            set,
            format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"),
        ]
    }
}

/// Returns whole seconds, one at least.
fn seconds(duration: Duration) -> u64 {
    duration
        .as_millis()
        .div_ceil(1000)
        .try_into()
        .unwrap_or(u64::MAX)
        .max(1)
}

/// Makes a pool. It connects when it is used; a pool of one, at once.
async fn connect(
    server: &Server,
    setting: Setting,
    doubt: Option<Arc<Doubt>>,
) -> Result<DatabaseConnection, DbErr> {
    let mut connect = ConnectOptions::new("mysql://localhost");
    connect
        .max_connections(setting.connections)
        .min_connections(0)
        .acquire_timeout(setting.acquire)
        .idle_timeout(setting.silence().map(|silence| silence / 2))
        .test_before_acquire(false)
        .connect_lazy(setting.transaction.is_some())
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    let options = server.connect.clone();
    connect.map_sqlx_mysql_opts(move |_| {
        options
            .clone()
            .charset("utf8mb4")
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .statement_cache_capacity(256)
    });
    connect.map_sqlx_mysql_pool_opts(move |pool| hooks(pool, setting, doubt.clone()));
    Database::connect(connect).await
}

/// Sets what happens when a connection is made, taken and returned.
fn hooks(
    pool: PoolOptions<MySql>,
    setting: Setting,
    doubt: Option<Arc<Doubt>>,
) -> PoolOptions<MySql> {
    let pool = pool
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for statement in setting.statements() {
                    connection.execute(AssertSqlSafe(statement)).await?;
                }
                Ok(())
            })
        })
        .before_acquire(move |_, seen| {
            // The server may be about to close one that has been silent for long.
            let fresh = setting
                .silence()
                .is_none_or(|silence| seen.idle_for < silence / 2);
            Box::pin(async move { Ok(fresh) })
        });
    let Some(doubt) = doubt else {
        return pool;
    };
    let distrust = setting.transaction.unwrap_or(FIT) + FIT;
    pool.after_release(move |connection, _| {
        // Work that was given up may have left a transaction behind, or an answer unread.
        let doubted = doubt.holds(distrust);
        Box::pin(async move {
            if doubted {
                return Ok(false);
            }
            fit(connection).await?;
            Ok(true)
        })
    })
}

/// Tells whether a connection answers. Without a bound, one to a server that is silent would keep its
/// place in the pool.
async fn fit(connection: &mut MySqlConnection) -> Result<(), SqlxError> {
    let answer = timeout(FIT, connection.ping()).await;
    answer.unwrap_or_else(|_| Err(SqlxError::PoolTimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_one_at_least() {
        let of = |millis| seconds(Duration::from_millis(millis));
        assert_eq!([of(0), of(300), of(1000), of(1001)], [1, 1, 1, 2]);
    }
}
