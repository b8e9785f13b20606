//! The client's side.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use async_io::Async;
use async_std::future;
use async_std::net::ToSocketAddrs;
use parlor_core::protocol::MAX_SERVER_FRAME;

use crate::connection::Connection;
use crate::tls::{self, TlsConnector};

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
    connect_with(address, None, timeout).await
}

/// The same with TLS: the server has shown, within the time, that it is whom the name stands for.
///
/// # Errors
///
/// Those of [`connect`]; `InvalidInput` for a name that no certificate could have; `InvalidData`
/// where the server does not show itself to be what the connector believes, or does not speak TLS:
/// then no other address is tried.
pub async fn connect_tls(
    address: &str,
    connector: &TlsConnector,
    timeout: Duration,
) -> io::Result<Connection> {
    connect_with(address, Some(connector), timeout).await
}

async fn connect_with(
    address: &str,
    connector: Option<&TlsConnector>,
    timeout: Duration,
) -> io::Result<Connection> {
    let start = Instant::now();
    let addresses: Vec<SocketAddr> = within(timeout, address.to_socket_addrs()).await?.collect();
    let mut first_error = None;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for peer in addresses {
        let share = timeout.saturating_sub(start.elapsed()) / left.max(1);
        left = left.saturating_sub(1);
        let tls = connector.map(|it| it.connect(address, Instant::now() + share));
        let tls = tls.transpose()?;
        let work = async {
            let stream = Async::<TcpStream>::connect(peer).await?;
            let connection = Connection::new(stream, tls, peer, MAX_SERVER_FRAME);
            connection.handshake().await.map_err(tls::explain)?;
            Ok(connection)
        };
        match within(share, work).await {
            Ok(connection) => return Ok(connection),
            // Somebody is there, and is not whom the name stands for.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
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
