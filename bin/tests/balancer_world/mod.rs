//! A private nginx with the configuration that operators copy.

use std::path::Path;

use parlor_servers::{Nginx, balancer};

/// Starts nginx with that configuration, in front of these nodes, in a folder of its own.
pub(crate) fn nginx(folder: &Path, nodes: &[u16]) -> Nginx {
    let folder = folder.join("nginx");
    Nginx::start(&folder, |port| balancer(port, nodes)).unwrap_or_else(|error| panic!("{error}"))
}
