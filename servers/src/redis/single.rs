//! One server.

use std::path::Path;

use crate::error::ServerError;
use crate::port::free_port;
use crate::redis::node::Node;
use crate::server::{Server, folder, with_free_ports};

/// A private Redis server, which keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    /// The process.
    pub server: Server,
    port: u16,
    password: Option<String>,
}

impl Redis {
    /// Starts a server in a folder, where one likes with a password, and with further options, like
    /// `("maxmemory", "1mb")`.
    ///
    /// # Errors
    /// Where a program is missing or the server does not start.
    pub fn start(
        path: &Path,
        password: Option<&str>,
        options: &[(&str, &str)],
    ) -> Result<Self, ServerError> {
        let folder = folder(path)?;
        let options: Vec<(&str, String)> = options
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        with_free_ports(|| {
            let port = free_port()?;
            let node = Node {
                name: "redis",
                folder: &folder,
                port,
                password,
                options: &options,
            };
            Ok(Self {
                server: node.start()?,
                port,
                password: password.map(str::to_owned),
            })
        })
    }

    /// Returns the TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `redis://127.0.0.1:port`, with the password where there is one.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }
}
