//! A master and its replica, watched by sentinels.

use std::io;
use std::path::Path;

use crate::error::ServerError;
use crate::port::free_port;
use crate::program::find;
use crate::redis::client::{RedisClient, Reply};
use crate::redis::node::Node;
use crate::redis::wait;
use crate::server::{Server, folder, with_free_ports, write};

/// What the sentinels call the master.
const NAME: &str = "parlor";

/// How many sentinels there are; two must agree.
const SENTINELS: usize = 3;

/// A private pair of Redis servers with three sentinels, which make the replica the master when the
/// master has been silent for a second.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The server that began as the master.
    pub master: Server,
    /// The server that began as its replica.
    pub replica: Server,
    /// The sentinels.
    pub sentinels: Vec<Server>,
    ports: Vec<u16>,
    server_ports: [u16; 2],
    password: Option<String>,
}

impl RedisSentinel {
    /// Starts the servers in a folder, where one likes with a password, the sentinels' too.
    ///
    /// # Errors
    /// Where a program is missing, or the servers do not start or do not find each other.
    pub fn start(path: &Path, password: Option<&str>) -> Result<Self, ServerError> {
        let folder = folder(path)?;
        find("redis-sentinel", "redis-sentinel")?;
        let master = || server(&folder, "master", None, password);
        let (master, master_port) = with_free_ports(master)?;
        let replica = || server(&folder, "replica", Some(master_port), password);
        let (replica, replica_port) = with_free_ports(replica)?;
        let (mut sentinels, mut ports) = (Vec::new(), Vec::new());
        for index in 1..=SENTINELS {
            let (server, port) =
                with_free_ports(|| sentinel(&folder, index, master_port, password))?;
            sentinels.push(server);
            ports.push(port);
        }
        let pair = Self {
            master,
            replica,
            sentinels,
            ports,
            server_ports: [master_port, replica_port],
            password: password.map(str::to_owned),
        };
        wait("the Redis sentinels", || pair.is_complete())?;
        Ok(pair)
    }

    /// Returns the name by which the sentinels know the master.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Returns the TCP ports of the sentinels, on 127.0.0.1.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Returns the TCP ports of the server that began as the master and of its replica.
    #[must_use]
    pub fn server_ports(&self) -> [u16; 2] {
        self.server_ports
    }

    /// Asks the sentinels for the port of the present master.
    ///
    /// # Errors
    /// Where no sentinel answers.
    pub fn master_port(&self) -> Result<u16, ServerError> {
        let ask = |port: &u16| -> io::Result<u16> {
            let mut client = RedisClient::connect(*port, self.password.as_deref())?;
            match client.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])? {
                Reply::List(parts) => parts.get(1).and_then(|port| port.text().parse().ok()),
                _ => None,
            }
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
        };
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for port in &self.ports {
            match ask(port) {
                Ok(port) => return Ok(port),
                Err(error) => last = error,
            }
        }
        Err(ServerError::io("asking the Redis sentinels")(last))
    }

    /// Tells whether each sentinel knows the other sentinels, and the replica as one that has the
    /// master's data: another would not be made the master.
    fn is_complete(&self) -> Result<bool, ServerError> {
        let mut complete = true;
        for port in &self.ports {
            let ask = |what: &str| {
                RedisClient::connect(*port, self.password.as_deref())
                    .and_then(|mut client| client.command(&["SENTINEL", what, NAME]))
                    .map_err(ServerError::io("asking the Redis sentinels"))
            };
            let others = (SENTINELS - 1).to_string();
            complete &= field(&ask("MASTER")?, "num-other-sentinels") == Some(&others);
            complete &= match ask("REPLICAS")? {
                Reply::List(replicas) => replicas
                    .iter()
                    .any(|replica| field(replica, "master-link-status") == Some("ok")),
                _ => false,
            };
        }
        Ok(complete)
    }
}

/// Looks up a field in a list of names and values.
fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let Reply::List(parts) = reply else {
        return None;
    };
    let at = parts.iter().position(|part| part.text() == name)?;
    parts.get(at + 1).map(Reply::text)
}

fn server(
    folder: &Path,
    name: &str,
    master: Option<u16>,
    password: Option<&str>,
) -> Result<(Server, u16), ServerError> {
    let port = free_port()?;
    let mut options = vec![("repl-diskless-sync-delay", "0".to_owned())];
    options.extend(master.map(|master| ("replicaof", format!("127.0.0.1 {master}"))));
    let node = Node {
        name,
        folder,
        port,
        password,
        options: &options,
    };
    Ok((node.start()?, port))
}

fn sentinel(
    folder: &Path,
    index: usize,
    master: u16,
    password: Option<&str>,
) -> Result<(Server, u16), ServerError> {
    let port = free_port()?;
    let name = format!("sentinel-{index}");
    let path = folder.join(format!("{name}.conf"));
    // Sentinels write what they learn into their configuration.
    let mut text = format!(
        "sentinel monitor {NAME} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 5000\n"
    );
    if let Some(password) = password {
        text.push_str(&format!(
            "requirepass {password}\nsentinel auth-pass {NAME} {password}\n"
        ));
    }
    write(&path, &text)?;
    let node = Node {
        name: &name,
        folder,
        port,
        password,
        options: &[],
    };
    let program = find("redis-sentinel", "redis-sentinel")?;
    let arguments = vec![path.display().to_string()];
    Ok((node.launch(program, arguments)?, port))
}
