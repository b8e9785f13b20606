//! One connection: frames in, bytes out.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_io::Async;
use async_std::future;
use socket2::SockRef;

use crate::framing::{Deframer, TooLarge};
use crate::proxy::looks_like_header;
use crate::tls::Tls;

/// How long [`FrameWriter::close`] waits for the peer to take the last bytes.
pub const LINGER: Duration = Duration::from_secs(2);

/// Most bytes taken in one read.
const READ_SIZE: usize = 64 * 1024;

thread_local! {
    /// Where a read puts its bytes. It is in use only between two points at which a task may wait,
    /// so one for each thread serves all connections.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An open TCP connection with `TCP_NODELAY` set.
#[derive(Debug)]
pub struct Connection {
    /// The other side's address.
    pub peer: SocketAddr,
    /// Where the connection comes from: the client's address as a trusted proxy told it, otherwise
    /// the same as `peer`.
    pub origin: SocketAddr,
    shared: Arc<Shared>,
    limit: usize,
}

/// The half of a connection that frames come from.
#[derive(Debug)]
pub struct FrameReader {
    shared: Arc<Shared>,
    deframer: Deframer,
    start: Start,
    /// [`FrameReader::ready`] has been waited for, and nothing has been read since.
    ready: bool,
}

/// What is known of a connection's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// It has not come.
    Awaited,
    /// It was a frame.
    Frame,
    /// It was a header of the PROXY protocol, where none is trusted.
    Header,
}

/// The half of a connection that bytes are written to.
#[derive(Debug)]
pub struct FrameWriter {
    shared: Arc<Shared>,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Bytes came, with the frames that they completed: perhaps none.
    Frames,
    /// A frame is over the limit. Those before it were handed over; nothing will follow.
    TooLarge,
    /// The peer sends no more, or this side is closing. An unfinished line is dropped.
    End,
}

#[derive(Debug)]
struct Shared {
    stream: Async<TcpStream>,
    closing: AtomicBool,
    /// Boxed, so that a plain connection costs no more for it.
    tls: Option<Box<Tls>>,
}

impl Connection {
    /// Makes one of a socket; with `tls`, the handshake is still to come: reading and writing do it.
    pub(crate) fn new(
        stream: Async<TcpStream>,
        tls: Option<Tls>,
        peer: SocketAddr,
        limit: usize,
    ) -> Self {
        // Fails only for a connection that is gone, which the first read will tell.
        let _gone = stream.get_ref().set_nodelay(true);
        let closing = AtomicBool::new(false);
        let tls = tls.map(Box::new);
        let shared = Arc::new(Shared {
            stream,
            closing,
            tls,
        });
        Self {
            peer,
            origin: peer,
            shared,
            limit,
        }
    }

    /// Returns the socket, for what comes before frames and TLS.
    pub(crate) fn socket(&self) -> &Async<TcpStream> {
        &self.shared.stream
    }

    /// Does the handshake of TLS, if there is one to do.
    pub(crate) async fn handshake(&self) -> io::Result<()> {
        match &self.shared.tls {
            Some(tls) => tls.handshake(&self.shared.stream).await,
            None => Ok(()),
        }
    }

    /// Splits the connection into its two halves, which two tasks may use at once.
    ///
    /// The socket is closed when both are dropped.
    #[must_use]
    pub fn split(self) -> (FrameReader, FrameWriter) {
        let reader = FrameReader {
            shared: Arc::clone(&self.shared),
            deframer: Deframer::new(self.limit),
            start: Start::Awaited,
            ready: false,
        };
        let writer = FrameWriter {
            shared: self.shared,
        };
        (reader, writer)
    }
}

impl FrameReader {
    /// Waits until there may be something to read, for which [`FrameReader::read`] does not wait then.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`FrameReader::read`].
    pub async fn ready(&mut self) -> io::Result<()> {
        if !self.ready && !self.deframer.is_too_large() {
            self.shared.ready().await?;
            self.ready = true;
        }
        Ok(())
    }

    /// Waits until something arrives, reads once, at most 64 KiB, and hands every frame that this
    /// completes to `on_frame`, in order, before returning.
    ///
    /// While it waits it holds no buffer. Dropping the future loses nothing. Not calling it pauses
    /// the peer, by TCP's flow control.
    ///
    /// # Errors
    ///
    /// What the operating system reports of the socket, such as a reset by the peer; `InvalidData`
    /// where the first frame is a header of the PROXY protocol, by which somebody who is no trusted
    /// proxy would tell an address. The connection is then of no more use.
    pub async fn read(&mut self, mut on_frame: impl FnMut(&[u8])) -> io::Result<Arrival> {
        loop {
            if self.deframer.is_too_large() {
                return Ok(Arrival::TooLarge);
            }
            // Waiting first costs less than reading in vain first: a client's next request is seldom
            // there already.
            self.ready().await?;
            self.ready = false;
            if self.shared.closing.load(Ordering::Acquire) {
                return Ok(Arrival::End);
            }
            let (deframer, start) = (&mut self.deframer, &mut self.start);
            let mut length = 0;
            let mut too_large = false;
            let goes_on = self.shared.receive(|bytes| {
                length += bytes.len();
                let on_frame = |frame: &[u8]| start.pass(frame, &mut on_frame);
                too_large |= deframer.feed(bytes, on_frame) == Err(TooLarge);
            });
            return match goes_on {
                _ if self.start == Start::Header => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a PROXY header came from an address that is no trusted proxy's",
                )),
                _ if too_large => Ok(Arrival::TooLarge),
                Err(error) if is_passing(&error) => continue,
                Err(error) => Err(error),
                Ok(false) => Ok(Arrival::End),
                // Such as a step of the handshake.
                Ok(true) if length == 0 => continue,
                Ok(true) => Ok(Arrival::Frames),
            };
        }
    }
}

impl Start {
    /// Hands a frame over, unless a header came first.
    fn pass(&mut self, frame: &[u8], on_frame: &mut impl FnMut(&[u8])) {
        if *self == Self::Awaited {
            *self = match looks_like_header(frame) {
                true => Self::Header,
                false => Self::Frame,
            };
        }
        if *self == Self::Frame {
            on_frame(frame);
        }
    }
}

impl FrameWriter {
    /// Writes as much of `bytes` as the socket takes at once, and returns how much that was; waits
    /// while it takes nothing.
    ///
    /// The result is at least 1, unless `bytes` is empty. Dropping the future loses nothing: bytes
    /// count as written only when it returns their number. With TLS some may be on their way by then:
    /// the next call must begin with the same ones.
    ///
    /// # Errors
    ///
    /// What the operating system reports of the socket, such as a reset by the peer; the connection
    /// is then of no more use.
    pub async fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if let Some(tls) = &self.shared.tls {
            // Boxed, so that a plain connection has no room for it.
            Box::pin(tls.handshake(&self.shared.stream)).await?;
        }
        loop {
            // Unlike a read, a write is seldom in vain.
            match self.try_write(bytes)? {
                0 => self.shared.stream.writable().await?,
                written => return Ok(written),
            }
        }
    }

    /// Writes as much of `bytes` as the socket takes at once, and returns how much that was: perhaps
    /// nothing, as before the end of the handshake. With TLS some may be on their way nevertheless:
    /// the next call must begin with the same ones.
    ///
    /// # Errors
    ///
    /// As [`FrameWriter::write_some`].
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            return match self.shared.send(bytes) {
                Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                other => other,
            };
        }
    }

    /// Ends the connection so that the peer gets everything written before.
    ///
    /// Tells the peer that nothing more comes, and discards what it still sends until it ends its
    /// side too, or for [`LINGER`]: closing a socket with unread bytes in it would reset the
    /// connection and could cost the peer the last frames. Meanwhile and afterwards the reader
    /// reports [`Arrival::End`].
    pub async fn close(self) {
        self.close_within(LINGER).await;
    }

    /// Ends the connection at once and drops what the peer has not taken, for a peer that takes
    /// nothing.
    ///
    /// Both halves see the end of the connection; the peer sees a reset once both are dropped.
    pub fn abort(&self) {
        let shared = &self.shared;
        shared.closing.store(true, Ordering::Release);
        // An error of either means that the connection is gone already.
        let _gone = SockRef::from(shared.stream.get_ref()).set_linger(Some(Duration::ZERO));
        let _gone = shared.stream.get_ref().shutdown(Shutdown::Both);
    }

    async fn close_within(self, linger: Duration) {
        let shared = &self.shared;
        shared.closing.store(true, Ordering::Release);
        let say_goodbye = async {
            if let Some(tls) = &shared.tls {
                tls.close(&shared.stream).await?;
            }
            shared.stream.get_ref().shutdown(Shutdown::Write)?;
            discard(&shared.stream).await;
            Ok::<_, io::Error>(())
        };
        // An error means that the connection is gone already; there is no one to be polite to.
        let _gone = future::timeout(linger, say_goodbye).await;
        // Wakes a reader that still waits.
        let _gone = shared.stream.get_ref().shutdown(Shutdown::Both);
    }
}

impl Shared {
    /// Waits until there may be something to receive.
    async fn ready(&self) -> io::Result<()> {
        match &self.tls {
            // Boxed, so that a plain connection has no room for it.
            Some(tls) => Box::pin(tls.ready(&self.stream)).await,
            None => self.stream.readable().await,
        }
    }

    /// Reads once and hands over what came; false at the end.
    fn receive(&self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let socket = self.stream.get_ref();
        if let Some(tls) = &self.tls {
            return tls.receive(socket, take);
        }
        with_scratch(|scratch| {
            let mut socket = socket;
            let length = socket.read(scratch)?;
            take(scratch.get(..length).unwrap_or_default());
            Ok(length > 0)
        })
    }

    /// Writes as much as goes at once.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self.stream.get_ref();
        match &self.tls {
            Some(tls) => tls.send(socket, bytes),
            None => socket.write(bytes),
        }
    }
}

/// Reads and forgets until the peer ends its side or the connection fails.
pub(crate) async fn discard(stream: &Async<TcpStream>) {
    while stream.readable().await.is_ok() {
        match with_scratch(|scratch| stream.get_ref().read(scratch)) {
            Ok(1..) => {}
            Err(error) if is_passing(&error) => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// Lends this thread's buffer.
pub(crate) fn with_scratch<T>(run: impl FnOnce(&mut [u8]) -> T) -> T {
    // Taken out rather than borrowed: should `run` read from another connection, it gets a buffer of
    // its own.
    let mut scratch = SCRATCH.take();
    scratch.resize(READ_SIZE, 0);
    let result = run(&mut scratch);
    SCRATCH.set(scratch);
    result
}

/// Whether an error means only that there is nothing to read yet.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use async_std::io::{ReadExt, WriteExt};
    use async_std::net::TcpStream;
    use async_std::task;

    use super::{Arrival, Duration, Shutdown, future};
    use crate::{Listener, ListenerOptions};

    const FOREVER: Duration = Duration::from_secs(60);

    #[async_std::test]
    async fn who_sends_too_much_reads_why_and_is_not_cut_off() {
        let listener = Listener::bind("127.0.0.1:0", ListenerOptions::default()).await;
        let listener = listener.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr()).await.unwrap();
        let (mut reader, mut writer) = listener.accept().await.split();
        let client = task::spawn(async move {
            peer.write_all(b"ok\n").await.unwrap();
            peer.write_all(&vec![b'x'; 200_000]).await.unwrap();
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"too large\n");
            // The other side takes what it no longer wants, until it is told that there is no more.
            for _ in 0..100 {
                peer.write_all(b"more\n").await.unwrap();
            }
            peer.shutdown(Shutdown::Write).unwrap();
        });

        let mut frames = 0;
        while reader.read(|_| frames += 1).await.unwrap() != Arrival::TooLarge {}
        assert_eq!(frames, 1);
        drop(reader);
        assert_eq!(writer.write_some(b"too large\n").await.unwrap(), 10);
        writer.close_within(FOREVER).await;
        future::timeout(FOREVER, client).await.unwrap();
    }
}

#[cfg(test)]
mod sizes {
    use super::{FrameReader, FrameWriter, Shared};
    use crate::tls::Tls;

    /// What a connection's halves, what they share, and TLS may take, in bytes: a tenth more than
    /// they do.
    const HALVES: usize = 72;
    const SHARED: usize = 40;
    const TLS: usize = 1_320;

    /// Without what rustls, the reactor and the kernel keep.
    #[test]
    fn an_idle_connection_holds_little() {
        let halves = size_of::<FrameReader>() + size_of::<FrameWriter>();
        let (shared, tls) = (size_of::<Shared>(), size_of::<Tls>());
        let sizes = format!(
            "the halves have {halves} bytes, what they share {shared}, TLS {tls} more in a box"
        );
        assert!(
            halves <= HALVES && shared <= SHARED && tls <= TLS,
            "{sizes}"
        );
    }
}
