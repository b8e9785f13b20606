//! A private MariaDB that the tests of a program share: it ends with the last that uses it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use parlor_servers::MariaDb;
use tempfile::TempDir;

/// A server, and the folder that is deleted after it.
pub(crate) struct Private {
    pub(crate) server: MariaDb,
    _folder: TempDir,
}

impl Private {
    /// Starts a server of its own.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let server = match MariaDb::start(folder.path(), options) {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        };
        Self {
            server,
            _folder: folder,
        }
    }
}

/// A fresh database. The shared server's default is latin1: what Parlor keeps must not depend on it.
pub(crate) struct Fresh {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) private: Arc<Private>,
}

impl Fresh {
    /// Makes an empty database on the shared server.
    pub(crate) fn new() -> Self {
        Self::on(shared())
    }

    /// Makes an empty database on a server.
    pub(crate) fn on(private: Arc<Private>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("parlor_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = private.server.create_database(&name).expect("a database");
        Self { url, name, private }
    }

    /// Runs statements, as another program would.
    #[track_caller]
    pub(crate) fn tamper(&self, statements: &str) -> String {
        match self.private.server.execute(&self.name, statements) {
            Ok(text) => text,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE `{}`", self.name);
        // The server ends soon in any case.
        let _ = self.private.server.execute("", &drop);
    }
}

fn shared() -> Arc<Private> {
    static SHARED: Mutex<Weak<Private>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let private = Arc::new(Private::start(&["--character-set-server=latin1"]));
        *shared = Arc::downgrade(&private);
        private
    })
}
