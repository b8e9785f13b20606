//! Free ports.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use crate::error::ServerError;

/// The lowest port that is given out.
const LOWEST: u16 = 10_240;

/// How many ports are tried.
const TRIES: usize = 200;

/// Finds a TCP port of 127.0.0.1 that nobody listens on, below those of outgoing connections. It is
/// not held: whoever uses it must be ready to see it taken, and ask again.
///
/// # Errors
/// Where no such port is found, or the system gives no random bytes.
pub fn free_port() -> Result<u16, ServerError> {
    let end = outgoing()
        .filter(|end| *end > LOWEST + 1000)
        .unwrap_or(u16::MAX);
    let mut refusal = None;
    for _ in 0..TRIES {
        let port = LOWEST + random()? % (end - LOWEST);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => refusal = Some(error),
        }
    }
    let refusal = refusal.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(ServerError::io("finding a free port")(refusal))
}

/// Returns where the ports of outgoing connections begin, on Linux.
fn outgoing() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_whitespace().next()?.parse().ok()
}

fn random() -> Result<u16, ServerError> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes)
        .map_err(|error| ServerError::io("asking for random bytes")(error.into()))?;
    Ok(u16::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_not_of_outgoing_connections() {
        let port = free_port().unwrap();
        assert!(port >= LOWEST);
        if let Some(end) = outgoing() {
            assert!(port < end, "{port} is not below {end}");
        }
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
