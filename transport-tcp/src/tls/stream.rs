//! One connection's TLS, between the socket and the frames.

use std::io::{self, BufRead as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_io::Async;
use async_std::future;
use rustls::Connection;

use crate::connection::is_passing;

/// Most bytes that are encrypted before they are sent: a record's (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;

/// The state of a connection's TLS. Both halves drive it; the lock is held for no wait.
#[derive(Debug)]
pub(crate) struct Tls {
    state: Mutex<State>,
    /// When the handshake must be done.
    deadline: Instant,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// How many bytes of the present write have been encrypted and not all been sent.
    unsent: usize,
}

impl Tls {
    pub(super) fn new(connection: Connection, deadline: Instant) -> Self {
        let state = State {
            connection,
            unsent: 0,
        };
        Self {
            state: Mutex::new(state),
            deadline,
        }
    }

    /// Waits until there may be something to receive.
    ///
    /// # Errors
    /// The socket's, or `TimedOut` when the handshake has taken too long.
    pub(crate) async fn ready(&self, stream: &Async<TcpStream>) -> io::Result<()> {
        let (handshaking, writes) = {
            let mut state = self.lock();
            if !state.connection.is_handshaking() && has_plaintext(&mut state.connection) {
                return Ok(());
            }
            let connection = &state.connection;
            (connection.is_handshaking(), connection.wants_write())
        };
        if !handshaking {
            return stream.readable().await;
        }
        let moves = async {
            match writes {
                true => stream.writable().await,
                false => stream.readable().await,
            }
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        match future::timeout(left, moves).await {
            Ok(moved) => moved,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the TLS handshake takes too long",
            )),
        }
    }

    /// Reads the socket once, and hands over what that makes known; false at the end, whether the
    /// peer has announced it or not: an unfinished frame does not count anyway.
    ///
    /// # Errors
    /// The socket's, `WouldBlock` among them; `InvalidData` where the peer breaks the rules of TLS.
    pub(crate) fn receive(
        &self,
        socket: &TcpStream,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        let mut state = self.lock();
        let connection = &mut state.connection;
        let mut goes_on = drain(connection, &mut take)?;
        let advanced = advance(connection, socket);
        // What came before a broken record is good.
        goes_on &= drain(connection, &mut take)?;
        Ok(advanced? && goes_on)
    }

    /// Does the handshake, if it is not done.
    ///
    /// # Errors
    /// As for [`Tls::ready`] and [`Tls::receive`]; `UnexpectedEof` where the peer ends it.
    pub(crate) async fn handshake(&self, stream: &Async<TcpStream>) -> io::Result<()> {
        loop {
            {
                let mut state = self.lock();
                let connection = &mut state.connection;
                if !connection.is_handshaking() {
                    return Ok(());
                }
                match advance(connection, stream.get_ref()) {
                    Ok(true) => continue,
                    Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            self.ready(stream).await?;
        }
    }

    /// Encrypts a piece of `bytes` and sends it; returns its length once all of it is sent. After
    /// an error that passes (`WouldBlock`), the next call must begin with the same bytes.
    ///
    /// # Errors
    /// The socket's, `WouldBlock` among them, which it is during the handshake too.
    pub(crate) fn send(&self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.connection.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if state.unsent == 0 {
            let piece = bytes.get(..RECORD).unwrap_or(bytes);
            state.unsent = state.connection.writer().write(piece)?;
        }
        flush(&mut state.connection, socket)?;
        Ok(std::mem::take(&mut state.unsent).min(bytes.len()))
    }

    /// Announces the end, so that the peer knows that nothing was cut off.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) async fn close(&self, stream: &Async<TcpStream>) -> io::Result<()> {
        self.lock().connection.send_close_notify();
        loop {
            let flushed = flush(&mut self.lock().connection, stream.get_ref());
            match flushed {
                Err(error) if is_passing(&error) => {
                    stream.writable().await?;
                }
                other => return other,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic under the lock, rustls refuses to go on by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what waits, reads the socket once, and sends what that calls for; false at the end.
fn advance(connection: &mut Connection, mut socket: &TcpStream) -> io::Result<bool> {
    if connection.is_handshaking() {
        flush(connection, socket)?;
    }
    let read = connection.read_tls(&mut socket)?;
    let processed = connection.process_new_packets();
    // An answer of the handshake, or word of what was wrong. What cannot be sent now is with the
    // next write; the handshake waits for it.
    let flushed = flush(connection, socket);
    match processed {
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        Ok(state) if read == 0 || state.peer_has_closed() => Ok(false),
        Ok(_) => match flushed {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(true),
        },
    }
}

/// Sends all that is encrypted.
fn flush(connection: &mut Connection, mut socket: &TcpStream) -> io::Result<()> {
    while connection.wants_write() {
        if connection.write_tls(&mut socket)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Hands over all that is decrypted; false at the end.
fn drain(connection: &mut Connection, take: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    let mut reader = connection.reader();
    loop {
        let length = match reader.fill_buf() {
            Ok(bytes) => {
                take(bytes);
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        if length == 0 {
            return Ok(false);
        }
        reader.consume(length);
    }
}

/// Tells whether there is something decrypted that nobody has taken: the writer may have done the
/// handshake and read on.
fn has_plaintext(connection: &mut Connection) -> bool {
    matches!(connection.reader().fill_buf(), Ok([_, ..]))
}
