//! Three masters that share the slots.

use std::path::Path;

use crate::error::ServerError;
use crate::port::free_port;
use crate::redis::client::RedisClient;
use crate::redis::node::Node;
use crate::redis::wait;
use crate::server::{Server, folder, with_free_ports};

/// The slots of each master (16,384 in all).
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// A private Redis Cluster of three masters without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters, in the order of their slots.
    pub masters: Vec<Server>,
    ports: Vec<u16>,
}

impl RedisCluster {
    /// Starts three servers in a folder and makes a cluster of them.
    ///
    /// # Errors
    /// Where a program is missing, or the servers do not start or do not find each other.
    pub fn start(path: &Path) -> Result<Self, ServerError> {
        let folder = folder(path)?;
        let (mut masters, mut members) = (Vec::new(), Vec::new());
        for (index, _) in SLOTS.iter().enumerate() {
            let (server, port, bus) = with_free_ports(|| start(&folder, index))?;
            masters.push(server);
            members.push((port, bus));
        }
        let ports: Vec<u16> = members.iter().map(|(port, _)| *port).collect();
        for (index, (port, slots)) in ports.iter().zip(SLOTS).enumerate() {
            introduce(*port, slots, index + 1, &members).map_err(failed("making"))?;
        }
        let cluster = Self { masters, ports };
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// Returns the TCP ports of the masters, on 127.0.0.1.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Waits until each master says that all slots are served and that it knows all others.
    ///
    /// # Errors
    /// Where a master does not answer, or that is not so within a minute.
    pub fn wait_until_whole(&self) -> Result<(), ServerError> {
        wait("the Redis Cluster", || {
            let mut whole = true;
            for port in &self.ports {
                let info = info(*port).map_err(failed("asking"))?;
                whole &= info.contains("cluster_state:ok") && info.contains("cluster_size:3");
            }
            Ok(whole)
        })
    }
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> ServerError {
    ServerError::io(format!("{what} the Redis Cluster"))
}

fn start(folder: &Path, index: usize) -> Result<(Server, u16, u16), ServerError> {
    let (port, bus) = (free_port()?, free_port()?);
    let name = format!("master-{}", index + 1);
    let node = Node {
        name: &name,
        folder,
        port,
        password: None,
        options: &[
            ("cluster-enabled", "yes".to_owned()),
            ("cluster-config-file", format!("{name}.nodes")),
            ("cluster-node-timeout", "2000".to_owned()),
            ("cluster-port", bus.to_string()),
        ],
    };
    Ok((node.start()?, port, bus))
}

/// Gives a master its slots and makes it known to the others.
fn introduce(
    port: u16,
    (first, last): (&str, &str),
    epoch: usize,
    members: &[(u16, u16)],
) -> std::io::Result<()> {
    let mut client = RedisClient::connect(port, None)?;
    // Where the folder was used before, it has both already.
    if info(port)?.contains("cluster_slots_assigned:0") {
        client.command(&["CLUSTER", "ADDSLOTSRANGE", first, last])?;
        client.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])?;
    }
    for (port, bus) in members {
        let (port, bus) = (port.to_string(), bus.to_string());
        client.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
    }
    Ok(())
}

fn info(port: u16) -> std::io::Result<String> {
    let reply = RedisClient::connect(port, None)?.command(&["CLUSTER", "INFO"])?;
    Ok(reply.text().to_owned())
}
