//! The server's side: accepting connections.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_io::Async;
use async_std::net::ToSocketAddrs;
use async_std::{future, task};
use parlor_core::protocol::MAX_CLIENT_FRAME;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tracing::warn;

use crate::client::no_address;
use crate::connection::{Connection, discard};
use crate::framing::append_frame;

/// How long a refused connection may take to read why, during which no other is refused.
const REFUSAL_LINGER: Duration = Duration::from_millis(50);

/// How long to wait before trying again what failed for want of resources.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How often a failure to accept is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// How a [`Listener`] works.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// How many connections the kernel queues until they are accepted.
    pub backlog: i32,
    /// Most bytes in a frame of a client, line end not counted.
    pub frame_limit: usize,
    /// The frame, without its line end, that is sent to a connection for which there is no file
    /// descriptor; if empty, it is closed without a word.
    pub refusal: Vec<u8>,
}

impl Default for ListenerOptions {
    /// A backlog of 1,024, the protocol's limit for frames ([`MAX_CLIENT_FRAME`]), no refusal.
    fn default() -> Self {
        Self {
            backlog: 1024,
            frame_limit: MAX_CLIENT_FRAME,
            refusal: Vec::new(),
        }
    }
}

/// A listening TCP socket.
///
/// It keeps one file descriptor in reserve: when the process or the system has no other left, that
/// one serves to accept a connection, tell it so, and close it, so that clients get an answer rather
/// than silence.
#[derive(Debug)]
pub struct Listener {
    listener: Async<TcpListener>,
    local: SocketAddr,
    frame_limit: usize,
    refusal: Vec<u8>,
    spare: Mutex<Option<Socket>>,
    complaints: Mutex<Complaints>,
}

/// Keeps a repeated failure from flooding the log.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
    silenced: u64,
}

impl Listener {
    /// Listens on the first of the addresses (`host:port`) that can be had.
    ///
    /// Port 0 lets the system choose one; [`Listener::local_addr`] tells which.
    ///
    /// # Errors
    ///
    /// The first address's error when none can be had, such as `AddrInUse`; `NotFound` when the name
    /// stands for no address.
    pub async fn bind(addresses: &str, options: ListenerOptions) -> io::Result<Self> {
        let mut first_error = None;
        for address in addresses.to_socket_addrs().await? {
            match listen(address, options.backlog) {
                Ok(listener) => return Self::new(listener, &options),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| no_address(addresses)))
    }

    /// Returns the address that the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the next connection.
    ///
    /// Never fails: one connection's failure is its own, and a want of file descriptors passes.
    /// Failures are logged, at most once a second. Dropping the future loses no connection but one
    /// that is being refused. Several tasks may call it at once.
    pub async fn accept(&self) -> Connection {
        loop {
            match self.try_accept().await {
                Ok((stream, peer)) => return Connection::new(stream, peer, self.frame_limit),
                Err(error) => self.recover(&error).await,
            }
        }
    }

    fn new(listener: TcpListener, options: &ListenerOptions) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self {
            listener: Async::new_nonblocking(listener)?,
            local,
            frame_limit: options.frame_limit,
            refusal: line(&options.refusal),
            spare: Mutex::new(Some(spare_descriptor()?)),
            complaints: Mutex::default(),
        })
    }

    async fn try_accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        // Without a descriptor left, accepting fails even when nobody is there: so wait first.
        self.listener.readable().await?;
        let (stream, peer) = self.listener.get_ref().accept()?;
        Ok((Async::new(stream)?, peer))
    }

    /// Does what a failure to accept calls for, before the next attempt.
    async fn recover(&self, error: &io::Error) {
        match error.kind() {
            // Another task was faster, or the peer was gone before it was accepted.
            io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset => {}
            _ if is_out_of_descriptors(error) => {
                self.complain(error);
                self.refuse_one().await;
            }
            _ => {
                self.complain(error);
                task::sleep(BACK_OFF).await;
            }
        }
    }

    /// Accepts one connection with the spare descriptor, tells it that there is no room, closes it,
    /// and takes the descriptor back.
    async fn refuse_one(&self) {
        let accepted = self.accept_with_spare();
        match accepted {
            Some(stream) => refuse(stream, &self.refusal).await,
            None => task::sleep(BACK_OFF).await,
        }
        let mut spare = lock(&self.spare);
        if spare.is_none() {
            // Fails while somebody else has taken the descriptor; the next refusal tries again.
            *spare = spare_descriptor().ok();
        }
    }

    fn accept_with_spare(&self) -> Option<TcpStream> {
        // Closes the spare one.
        drop(lock(&self.spare).take()?);
        let (stream, _) = self.listener.get_ref().accept().ok()?;
        Some(stream)
    }

    fn complain(&self, error: &io::Error) {
        let mut complaints = lock(&self.complaints);
        if complaints
            .last
            .is_some_and(|last| last.elapsed() < LOG_INTERVAL)
        {
            complaints.silenced += 1;
            return;
        }
        let silenced = std::mem::take(&mut complaints.silenced);
        complaints.last = Some(Instant::now());
        drop(complaints);
        warn!(%error, silenced, "cannot accept a connection");
    }
}

/// Opens, binds and starts a listening socket.
fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Lets a restarted server have its port while old connections fade. On Windows the option means
    // something else: it would let two servers share a port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Opens something that holds one file descriptor.
fn spare_descriptor() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM, None)
}

/// Tells a connection that it is not wanted, and closes it.
async fn refuse(stream: TcpStream, refusal: &[u8]) {
    // Whatever fails here, the connection is dropped and nobody else is concerned.
    let Ok(stream) = Async::new(stream) else {
        return;
    };
    // One attempt: a fresh socket's buffer takes a line.
    let _written = stream.get_ref().write(refusal);
    if stream.get_ref().shutdown(Shutdown::Write).is_ok() {
        // What the peer has sent is read, or the close would be a reset that could cost it the line.
        let _timed_out = future::timeout(REFUSAL_LINGER, discard(&stream)).await;
    }
}

fn line(frame: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    if !frame.is_empty() {
        append_frame(&mut line, frame);
    }
    line
}

/// Whether the process or the system has no file descriptor left.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave them half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
