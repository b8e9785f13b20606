//! One Redis process, whatever its part.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ServerError;
use crate::program::find;
use crate::redis::client::RedisClient;
use crate::server::{Launch, Server};

/// What to start.
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) folder: &'a Path,
    pub(super) port: u16,
    pub(super) password: Option<&'a str>,
    /// Further options, in pairs of name and value.
    pub(super) options: &'a [(&'a str, String)],
}

impl Node<'_> {
    /// Starts a server, without a save to disk: it has nothing that must outlast it.
    pub(super) fn start(&self) -> Result<Server, ServerError> {
        let program = find("redis-server", "redis-server")?;
        let mut arguments: Vec<String> = ["--save", "", "--appendonly", "no"]
            .map(str::to_owned)
            .into();
        if let Some(password) = self.password {
            let options = ["--requirepass", password, "--masterauth", password];
            arguments.extend(options.map(str::to_owned));
        }
        for (name, value) in self.options {
            arguments.extend([format!("--{name}"), value.clone()]);
        }
        self.launch(program, arguments)
    }

    /// Starts a program that takes Redis's options.
    pub(super) fn launch(
        &self,
        program: PathBuf,
        mut arguments: Vec<String>,
    ) -> Result<Server, ServerError> {
        let socket = self.folder.join(format!("{}.sock", self.name));
        let common = [
            "--port".to_owned(),
            self.port.to_string(),
            "--bind".to_owned(),
            "127.0.0.1".to_owned(),
            "--dir".to_owned(),
            self.folder.display().to_string(),
            "--unixsocket".to_owned(),
            socket.display().to_string(),
            "--daemonize".to_owned(),
            "no".to_owned(),
        ];
        arguments.extend(common);
        let password = self.password.map(str::to_owned);
        Server::start(Launch {
            name: self.name.to_owned(),
            program,
            arguments,
            folder: self.folder.to_owned(),
            with_owner: "KILL",
            ready: Box::new(move |_| ping(&socket, password.as_deref())),
        })
    }
}

/// Asks through the unix socket, which is made after the TCP port was had.
fn ping(socket: &Path, password: Option<&str>) -> io::Result<()> {
    let mut client = RedisClient::connect_unix(socket, password)?;
    client.command(&["PING"]).map(|_| ())
}
