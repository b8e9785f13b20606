//! The client's side.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use async_io::Async;
use async_std::future;
use async_std::net::ToSocketAddrs;
use parlor_core::protocol::MAX_SERVER_FRAME;

use crate::connection::Connection;

/// Connects to a server (`host:port`) within `timeout`, the look-up of its name included.
///
/// Where the name stands for several addresses they are tried in turn, each for its share of the
/// time that is left. Frames of the connection may have [`MAX_SERVER_FRAME`] bytes.
///
/// # Errors
///
/// The first address's error when none answers, `TimedOut` if that took too long, `NotFound` when
/// the name stands for no address.
pub async fn connect(address: &str, timeout: Duration) -> io::Result<Connection> {
    let start = Instant::now();
    let addresses: Vec<SocketAddr> = within(timeout, address.to_socket_addrs()).await?.collect();
    let mut first_error = None;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for peer in addresses {
        let share = timeout.saturating_sub(start.elapsed()) / left.max(1);
        left = left.saturating_sub(1);
        match within(share, Async::<TcpStream>::connect(peer)).await {
            Ok(stream) => return Ok(Connection::new(stream, peer, MAX_SERVER_FRAME)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| no_address(address)))
}

/// The error for a name that stands for no address.
pub(crate) fn no_address(name: &str) -> io::Error {
    let message = format!("the name in {name:?} stands for no address");
    io::Error::new(io::ErrorKind::NotFound, message)
}

async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match future::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
