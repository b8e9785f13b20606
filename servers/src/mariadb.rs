//! MariaDB.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::ServerError;
use crate::port::free_port;
use crate::program::find;
use crate::server::{Launch, Server, folder as make_folder, tail, with_free_ports, write};

/// The Debian packages of the programs.
const SERVER: &str = "mariadb-server";
const CLIENT: &str = "mariadb-client";

/// The user who may do everything.
const USER: &str = "parlor";

/// A private MariaDB server.
///
/// `root` is reached through the unix socket alone. The user `parlor`, whose random password is made
/// at each [`start`](Self::start), may do everything, from 127.0.0.1 and through the socket. What was
/// committed is on disk (`innodb_flush_log_at_trx_commit=1`); buffers are small.
#[derive(Debug)]
pub struct MariaDb {
    /// The process.
    pub server: Server,
    folder: PathBuf,
    port: u16,
    password: String,
}

impl MariaDb {
    /// Starts a server in a folder, making its data where there are none. `options` are further ones
    /// of `mariadbd`, like `--character-set-server=latin1`.
    ///
    /// # Errors
    /// Where a program is missing or the server does not start.
    pub fn start(path: &Path, options: &[&str]) -> Result<Self, ServerError> {
        let program = find("mariadbd", SERVER)?;
        let folder = make_folder(path)?;
        // At its start, a server deletes the temporary tables that it finds, others' too.
        make_folder(&folder.join("tmp"))?;
        if !folder.join("data/mysql").is_dir() {
            install(&folder)?;
        }
        let password = password()?;
        write(&folder.join("users.sql"), &users(&password))?;
        let client = format!("[client]\nuser={USER}\npassword={password}\n");
        write(&folder.join("client.cnf"), &client)?;
        with_free_ports(|| {
            let port = free_port()?;
            let socket = folder.join("socket");
            let server = Server::start(Launch {
                name: "mariadb".to_owned(),
                program: program.clone(),
                arguments: arguments(&folder, port, options),
                folder: folder.clone(),
                with_owner: "KILL",
                ready: Box::new(move |_| greeted(&socket)),
            })?;
            Ok(Self {
                server,
                folder: folder.clone(),
                port,
                password: password.clone(),
            })
        })
    }

    /// Returns the TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `mysql://user:password@127.0.0.1:port/database`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = Ipv4Addr::LOCALHOST;
        format!(
            "mysql://{USER}:{}@{host}:{}/{database}",
            self.password, self.port
        )
    }

    /// Makes an empty database, with the server's defaults, and returns its URL.
    ///
    /// # Errors
    /// Where it is there already, or the server does not answer.
    pub fn create_database(&self, name: &str) -> Result<String, ServerError> {
        self.execute("", &format!("CREATE DATABASE `{name}`"))?;
        Ok(self.url(name))
    }

    /// Runs statements through the program `mariadb`; returns what they print, in lines of columns
    /// with tabs between and without headings.
    ///
    /// # Errors
    /// What the server refuses.
    pub fn execute(&self, database: &str, statements: &str) -> Result<String, ServerError> {
        let output = Command::new(find("mariadb", CLIENT)?)
            .arg(format!(
                "--defaults-file={}",
                self.folder.join("client.cnf").display()
            ))
            .arg(format!("--socket={}", self.folder.join("socket").display()))
            .args([
                "--batch",
                "--skip-column-names",
                "--execute",
                statements,
                database,
            ])
            .stdin(Stdio::null())
            .output()
            .map_err(ServerError::io("running mariadb"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(ServerError::Refused {
                name: "mariadb".to_owned(),
                reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            })
        }
    }
}

/// Makes the system's tables.
fn install(folder: &Path) -> Result<(), ServerError> {
    let program = find("mariadb-install-db", SERVER)?;
    let path = folder.join("install.log");
    let failed = || ServerError::io("making MariaDB's tables");
    let log = File::create(&path).map_err(failed())?;
    let errors = log.try_clone().map_err(failed())?;
    let status = Command::new(program)
        .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
        .args([
            "--auth-root-authentication-method=socket",
            "--innodb-log-file-size=32M",
        ])
        .arg(format!("--datadir={}", folder.join("data").display()))
        .arg(format!("--tmpdir={}", folder.join("tmp").display()))
        .args(as_root())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .status()
        .map_err(failed())?;
    if status.success() {
        return Ok(());
    }
    Err(ServerError::Refused {
        name: "mariadb-install-db".to_owned(),
        reason: format!("{status}; its log ends:\n{}", tail(&path)),
    })
}

fn arguments(folder: &Path, port: u16, options: &[&str]) -> Vec<String> {
    let in_folder =
        |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
    let mut arguments = vec![
        // Only the first argument may be this one.
        "--no-defaults".to_owned(),
        in_folder("datadir", "data"),
        in_folder("tmpdir", "tmp"),
        in_folder("socket", "socket"),
        in_folder("pid-file", "pid"),
        in_folder("init-file", "users.sql"),
        format!("--port={port}"),
    ];
    let fixed = [
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=1",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=32M",
        "--key-buffer-size=1M",
        "--aria-pagecache-buffer-size=8M",
        "--performance-schema=OFF",
        "--max-connections=200",
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments.extend(as_root());
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    arguments
}

/// Returns the option without which MariaDB does not run as root.
fn as_root() -> Option<String> {
    let root = rustix::process::geteuid().is_root();
    root.then(|| "--user=root".to_owned())
}

/// The statements, one a line, that the server executes before it lets anybody in.
fn users(password: &str) -> String {
    ["127.0.0.1", "localhost"]
        .map(|host| {
            format!(
                "CREATE OR REPLACE USER '{USER}'@'{host}' IDENTIFIED BY '{password}';\n\
                 GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'{host}' WITH GRANT OPTION;\n"
            )
        })
        .concat()
}

fn password() -> Result<String, ServerError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| ServerError::io("asking for random bytes")(error.into()))?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

/// Reads the greeting of version 10 of the protocol, which comes unasked. The socket is made after
/// the TCP port was had.
fn greeted(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting)?;
    match greeting {
        [.., 10] => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
