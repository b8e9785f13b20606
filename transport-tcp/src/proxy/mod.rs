//! The PROXY protocol: how a proxy in front tells the client's address.
//!
//! The specification is HAProxy's, "The PROXY protocol, versions 1 & 2"
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

mod header;
mod network;

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};

use async_io::Async;

pub(crate) use header::looks_like_header;
pub use header::{BadHeader, Header, HeaderReader, MAX_HEADER};
pub use network::{BadNetwork, Network};

use crate::connection::{is_passing, with_scratch};

/// Why a connection from a proxy is given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHeader {
    /// It ended before anything came: a proxy that only looks whether somebody listens.
    #[error("the connection ended at once")]
    Nothing,
    /// It ended within the header.
    #[error("the connection ended within its PROXY header")]
    Partial,
    /// It begins with something else.
    #[error(transparent)]
    Bad(#[from] BadHeader),
    /// It broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Reads the header that begins a connection and nothing behind it; returns the client's address, if
/// the header tells it.
pub(crate) async fn receive(stream: &Async<TcpStream>) -> Result<Option<SocketAddr>, NoHeader> {
    let mut reader = HeaderReader::default();
    loop {
        stream.readable().await?;
        let header = with_scratch(|scratch| {
            let scratch = scratch.get_mut(..MAX_HEADER).unwrap_or_default();
            // Looked at first and taken afterwards: what follows the header is the first frame's.
            let length = match stream.get_ref().peek(scratch) {
                Err(error) if is_passing(&error) => return Ok(None),
                length => length?,
            };
            let bytes = scratch.get(..length).unwrap_or_default();
            if bytes.is_empty() {
                return Err(match reader.is_empty() {
                    true => NoHeader::Nothing,
                    false => NoHeader::Partial,
                });
            }
            let header = reader.feed(bytes)?;
            let used = header.map_or(length, |header| header.used);
            let taken = scratch.get_mut(..used).unwrap_or_default();
            stream.get_ref().read_exact(taken)?;
            Ok(header)
        })?;
        if let Some(header) = header {
            return Ok(header.client);
        }
    }
}
