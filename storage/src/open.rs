//! Opening a database by its URL.

use std::path::PathBuf;
use std::sync::Arc;

use sea_orm::DatabaseConnection;

use crate::context::Doubt;
use crate::dialect::Dialect;
use crate::error::OpenError;
use crate::mysql::{self, Server};
use crate::options::Options;
use crate::remembered::Connections;
use crate::sqlite;

/// An open database.
pub(crate) struct Opened {
    pub(crate) dialect: Dialect,
    /// Where changes are made.
    pub(crate) writer: DatabaseConnection,
    /// The connections that `writer` has had, where it is one at a time.
    pub(crate) connections: Arc<Connections>,
    /// Where reads are made.
    pub(crate) reader: DatabaseConnection,
}

/// Opens a database. Its pools ask `doubt` whether a connection may be used again.
pub(crate) async fn open(
    url: &str,
    options: &Options,
    doubt: &Arc<Doubt>,
) -> Result<Opened, OpenError> {
    match Place::of(url)? {
        Place::File(path) => sqlite::open(path, options).await,
        Place::Server(server) => mysql::open(&server, options, doubt).await,
    }
}

/// Lists the migrations that a database lacks, and applies them unless `dry_run`. A node does the
/// same when it opens its store, unless [`Options::migrate`] says that it must not.
///
/// # Errors
/// Says in one line what to do.
pub async fn migrate(url: &str, dry_run: bool) -> Result<Vec<String>, OpenError> {
    match Place::of(url)? {
        Place::File(path) => sqlite::bring_up_to_date(&path, !dry_run).await,
        Place::Server(server) => mysql::bring_up_to_date(&server, !dry_run).await,
    }
}

/// Where a database is.
#[derive(Debug)]
enum Place {
    File(PathBuf),
    Server(Box<Server>),
}

impl Place {
    fn of(url: &str) -> Result<Self, OpenError> {
        if let Some(path) = sqlite::path(url) {
            return Ok(Self::File(path));
        }
        if url.starts_with("mysql://") {
            return Server::of(url, without_password(url))
                .map(|server| Self::Server(server.into()));
        }
        Err(OpenError::Url {
            url: without_password(url),
        })
    }
}

/// Leaves out what stands before the host of a URL, and its options.
fn without_password(url: &str) -> String {
    let (url, _) = url.split_once('?').unwrap_or((url, ""));
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (scheme, host) = (url.get(..scheme + 3), url.get(at..));
            [scheme, Some(".."), host].into_iter().flatten().collect()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_url_shows_no_password() {
        for url in ["oracle://me:secret@host/b", "mysql://me:secret@host"] {
            let text = Place::of(url).unwrap_err().to_string();
            assert!(text.contains("://..@host"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn options_of_servers_are_checked() {
        let refused = |url| Place::of(url).unwrap_err().to_string();
        let text = refused("mysql://me:secret@host/b?ssl-mode=perhaps");
        assert!(text.contains("perhaps"), "{text}");
        let text = refused("mysql://me:secret@host/b?sslmod=required");
        assert!(text.contains("sslmod"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        Place::of("mysql://me:p%40ss@host:3307/b?ssl-mode=VERIFY_CA&ssl-ca=/ca.pem").unwrap();
    }
}
