//! The server's side: accepting connections.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_io::Async;
use async_lock::{Semaphore, SemaphoreGuardArc};
use async_std::net::ToSocketAddrs;
use async_std::{future, task};
use futures::future::{Either, select};
use parlor_core::protocol::MAX_CLIENT_FRAME;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tracing::{debug, warn};

use crate::client::no_address;
use crate::connection::{Connection, discard};
use crate::framing::append_frame;
use crate::proxy::{self, Network, NoHeader};
use crate::tls::TlsAcceptor;

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
    /// descriptor; if empty, or with TLS, it is closed without a word.
    pub refusal: Vec<u8>,
    /// Which connections come from proxies.
    pub proxies: ProxyOptions,
    /// What to speak TLS with; without it, frames come in the clear. The handshake is part of a
    /// connection's first read or write, and holds up nobody else.
    pub tls: Option<TlsAcceptor>,
}

/// Which connections come from proxies that tell the client's address.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Where the trusted proxies are. A connection from there must begin with a header of the PROXY
    /// protocol; on any other, such a header ends the connection.
    pub from: Vec<Network>,
    /// How long the header may take. The specification asks for 3 seconds at least.
    pub timeout: Duration,
    /// How many connections may be waiting for their headers; while so many do, the kernel queues
    /// further ones. At least 1.
    pub pending: usize,
}

impl Default for ListenerOptions {
    /// A backlog of 1,024, the protocol's limit for frames ([`MAX_CLIENT_FRAME`]), no refusal, no
    /// proxies, no TLS.
    fn default() -> Self {
        Self {
            backlog: 1024,
            frame_limit: MAX_CLIENT_FRAME,
            refusal: Vec::new(),
            proxies: ProxyOptions::default(),
            tls: None,
        }
    }
}

impl Default for ProxyOptions {
    /// No proxies; 5 seconds and 1,024 connections, should some be named.
    fn default() -> Self {
        Self {
            from: Vec::new(),
            timeout: Duration::from_secs(5),
            pending: 1024,
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
    tls: Option<TlsAcceptor>,
    refusal: Vec<u8>,
    spare: Mutex<Option<Socket>>,
    complaints: Complaints,
    proxies: Proxies,
}

/// The connections from proxies.
#[derive(Debug)]
struct Proxies {
    from: Vec<Network>,
    timeout: Duration,
    /// Places for those that wait for their headers.
    places: Arc<Semaphore>,
    /// Those whose headers have come.
    welcome: Sender<Connection>,
    ready: Receiver<Connection>,
    complaints: Arc<Complaints>,
}

/// Keeps a repeated failure from flooding the log.
#[derive(Debug, Default)]
struct Complaints(Mutex<Spoken>);

#[derive(Debug, Default)]
struct Spoken {
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

    /// Waits for the next connection; where it comes from a trusted proxy, for its header too, which
    /// holds up nobody else.
    ///
    /// Never fails: one connection's failure is its own, and a want of file descriptors passes.
    /// Failures are logged, at most once a second. Dropping the future loses no connection but one
    /// that is being refused. Several tasks may call it at once.
    pub async fn accept(&self) -> Connection {
        let ready = std::pin::pin!(self.proxies.ready.recv());
        let direct = std::pin::pin!(self.accept_direct());
        match select(ready, direct).await {
            Either::Left((Ok(connection), _)) | Either::Right((connection, _)) => connection,
            // Not while this listener holds the sending end.
            Either::Left((Err(_), direct)) => direct.await,
        }
    }

    fn new(listener: TcpListener, options: &ListenerOptions) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self {
            listener: Async::new_nonblocking(listener)?,
            local,
            frame_limit: options.frame_limit,
            tls: options.tls.clone(),
            refusal: match options.tls {
                None => line(&options.refusal),
                Some(_) => Vec::new(),
            },
            spare: Mutex::new(Some(spare_descriptor()?)),
            complaints: Complaints::default(),
            proxies: Proxies::new(&options.proxies),
        })
    }

    /// Waits for the next connection that has no header.
    async fn accept_direct(&self) -> Connection {
        loop {
            // Taken first: from accepting on, nothing may be waited for.
            let place = self.proxies.places.acquire_arc().await;
            match self.try_accept().await {
                Ok(connection) if self.proxies.trusted(connection.peer) => {
                    self.proxies.receive(connection, place);
                }
                Ok(connection) => return connection,
                Err(error) => self.recover(&error).await,
            }
        }
    }

    async fn try_accept(&self) -> io::Result<Connection> {
        // Without a descriptor left, accepting fails even when nobody is there: so wait first.
        self.listener.readable().await?;
        let (stream, peer) = self.listener.get_ref().accept()?;
        let tls = self.tls.as_ref().map(TlsAcceptor::accept).transpose()?;
        let stream = Async::new(stream)?;
        Ok(Connection::new(stream, tls, peer, self.frame_limit))
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
        if let Some(silenced) = self.complaints.turn() {
            warn!(%error, silenced, "cannot accept a connection");
        }
    }
}

impl Proxies {
    fn new(options: &ProxyOptions) -> Self {
        let (welcome, ready) = async_channel::bounded(1);
        Self {
            from: options.from.clone(),
            timeout: options.timeout,
            places: Arc::new(Semaphore::new(options.pending.max(1))),
            welcome,
            ready,
            complaints: Arc::default(),
        }
    }

    fn trusted(&self, peer: SocketAddr) -> bool {
        self.from.iter().any(|network| network.contains(peer.ip()))
    }

    /// Reads a connection's header in a task of its own, for as long as there is a listener. The
    /// connection has its place until somebody takes it.
    fn receive(&self, mut connection: Connection, place: SemaphoreGuardArc) {
        let peer = connection.peer;
        let welcome = self.welcome.clone();
        let complaints = Arc::clone(&self.complaints);
        let timeout = self.timeout;
        task::spawn(async move {
            let received = {
                let header = proxy::receive(connection.socket());
                let receive = std::pin::pin!(future::timeout(timeout, header));
                match select(receive, std::pin::pin!(welcome.closed())).await {
                    Either::Left((received, _)) => received,
                    Either::Right(_) => return,
                }
            };
            let error = match received {
                Ok(Ok(client)) => {
                    connection.origin = client.unwrap_or(peer);
                    // Fails when the listener is gone, and the connection with it.
                    let _gone = welcome.send(connection).await;
                    drop(place);
                    return;
                }
                Ok(Err(NoHeader::Nothing)) => {
                    debug!(%peer, "a proxy looked whether somebody listens");
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no whole PROXY header came within {timeout:?}"),
            };
            if let Some(silenced) = complaints.turn() {
                warn!(%peer, error, silenced, "gave up a connection from a trusted proxy");
            }
        });
    }
}

impl Complaints {
    /// Tells whether it is time to say something, and how often that was not so before.
    fn turn(&self) -> Option<u64> {
        let mut spoken = lock(&self.0);
        if spoken
            .last
            .is_some_and(|last| last.elapsed() < LOG_INTERVAL)
        {
            spoken.silenced += 1;
            return None;
        }
        spoken.last = Some(Instant::now());
        Some(std::mem::take(&mut spoken.silenced))
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
