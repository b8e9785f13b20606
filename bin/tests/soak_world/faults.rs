//! What breaks, one after the other.

use std::thread;
use std::time::Duration;

use parlor_servers::Server;

use crate::load_world::cluster::Cluster;

/// How many kinds of faults there are.
pub(crate) const FAULTS: usize = 5;

/// Breaks something for a while; returns what it was.
pub(crate) fn strike(cluster: &mut Cluster, number: usize, lasting: Duration) -> &'static str {
    match number % FAULTS {
        0 => {
            kill(&mut cluster.redis.server, lasting);
            "Redis was killed"
        }
        1 => {
            kill(&mut cluster.database.server, lasting);
            "MariaDB was killed"
        }
        2 => {
            stop(&mut cluster.redis.server, lasting);
            "Redis hung"
        }
        3 => {
            let node = number / FAULTS % cluster.nodes.len();
            stop(&mut cluster.nodes[node].server, lasting);
            "a node hung"
        }
        _ => {
            stop(&mut cluster.database.server, lasting);
            "MariaDB hung"
        }
    }
}

fn kill(server: &mut Server, lasting: Duration) {
    server.kill9().unwrap();
    thread::sleep(lasting);
    server.restart().unwrap();
}

fn stop(server: &mut Server, lasting: Duration) {
    server.stop().unwrap();
    thread::sleep(lasting);
    server.cont().unwrap();
}
