//! Connections of frames: what a transport has to offer, and the two tasks that serve each.
//!
//! An idle connection holds its [`Mailbox`] (some 150 bytes), its place in the
//! engine's table, and two parked tasks, neither of which has a buffer: frames are read into one
//! that is given back before the next wait, and encoded into one that lives as long as a burst of
//! output.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use async_std::task;
use futures::future::{Either, select};
use parlor_core::engine::Input;
use parlor_core::id::ConnectionId;
use parlor_core::protocol::{ErrorCode, decode, encode};
use tracing::debug;

use super::inbox::{Asked, Door, Mail};
use super::mailbox::{Mailbox, Outgoing};

/// How many requests of one connection the engine gets at once. It may pause a connection between
/// two such batches.
const BATCH: usize = 64;

/// About how many bytes are encoded before they are written.
const BURST: usize = 64 * 1024;

/// Something that yields connections of frames.
pub trait Transport: Send + 'static {
    /// The half of a connection that frames come from.
    type Source: FrameSource;
    /// The half of a connection that frames go to.
    type Sink: FrameSink;

    /// Waits for the next connection. Deals with failures by itself. The future may be dropped.
    fn accept(&mut self) -> impl Future<Output = Link<Self::Source, Self::Sink>> + Send;
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Link<R, W> {
    /// The client's address, where there is one.
    pub address: Option<IpAddr>,
    /// Where frames come from.
    pub source: R,
    /// Where frames go.
    pub sink: W,
}

/// The half of a connection that frames come from.
pub trait FrameSource: Send + 'static {
    /// Waits until something arrives, and appends the frames that it completes, at most some 64 KiB
    /// of them. The future may be dropped; nothing is lost by it. Not calling it holds the client up.
    ///
    /// # Errors
    /// The connection is broken.
    fn read(&mut self, frames: &mut Frames) -> impl Future<Output = io::Result<Arrival>> + Send;
}

/// The half of a connection that frames go to.
pub trait FrameSink: Send + 'static {
    /// Writes on from `position` in [`Frames::as_bytes`], as much as the client takes without
    /// waiting but at least something; returns the position that was reached. A transport that
    /// sends frames whole goes from one [`Frames::end_of_frame`] to the next. The future may be
    /// dropped when the connection is given up.
    ///
    /// # Errors
    /// The connection is broken.
    fn write(
        &mut self,
        frames: &Frames,
        position: usize,
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// Ends the connection so that the client gets everything that was written, in a time of its
    /// own choice but not more than some seconds.
    fn close(self) -> impl Future<Output = ()> + Send;

    /// Ends the connection at once.
    fn abort(self);
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Bytes came, with the frames that they completed: perhaps none.
    Frames,
    /// A frame is over the limit; nothing more will come.
    TooLarge,
    /// The client sends no more.
    End,
}

/// Frames in one piece of memory, each followed by a line feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Frames {
    /// Appends a frame, which holds no line feed.
    pub fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.end();
    }

    /// Iterates over the frames, without their line feeds.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .filter_map(|(start, end)| self.bytes.get(start..end - 1))
    }

    /// Returns all frames as lines.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns where the frame that holds a position ends, its line feed included; `None` behind
    /// the last frame.
    #[must_use]
    pub fn end_of_frame(&self, position: usize) -> Option<usize> {
        let index = self.ends.partition_point(|end| *end <= position);
        self.ends.get(index).copied()
    }

    /// Tells whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn end(&mut self) {
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }
}

/// Serves what a transport accepts until `closed` is done.
pub(crate) async fn accept<T: Transport>(
    mut transport: T,
    door: Door,
    closed: async_channel::Receiver<()>,
) {
    loop {
        let next = std::pin::pin!(transport.accept());
        let Either::Left((link, _)) = select(next, std::pin::pin!(closed.recv())).await else {
            return;
        };
        // Waiting here holds further connections up while the engine has too much to do.
        let Ok((connection, mailbox)) = door.connect(link.address).await else {
            return;
        };
        task::spawn(serve(link, door.clone(), connection, mailbox));
    }
}

/// Serves one connection to its end.
fn serve<R: FrameSource, W: FrameSink>(
    link: Link<R, W>,
    door: Door,
    connection: ConnectionId,
    mailbox: Arc<Mailbox>,
) -> impl Future<Output = ()> + Send {
    let Link {
        address,
        mut source,
        sink,
    } = link;
    let from = address.map(tracing::field::display);
    debug!(connection = connection.0, from, "connected");
    let writer = task::spawn(write(sink, door.clone(), connection, Arc::clone(&mailbox)));
    async move {
        read(&mut source, &door, connection, &mailbox).await;
        writer.await;
        // The source stays here until the writer is through: a socket is closed when both halves are
        // gone.
        drop(source);
        debug!(connection = connection.0, "disconnected");
        // The node has ended where this fails.
        let _ended = door.input(Input::Disconnected { connection }).await;
    }
}

/// Hands the connection's requests to the engine until the connection is closing.
async fn read<R: FrameSource>(
    source: &mut R,
    door: &Door,
    connection: ConnectionId,
    mailbox: &Mailbox,
) {
    while mailbox.ready_for_batch().await {
        let mut frames = Frames::default();
        let arrived = {
            let next = std::pin::pin!(source.read(&mut frames));
            match select(next, std::pin::pin!(mailbox.ended())).await {
                Either::Left((arrived, _)) => arrived,
                Either::Right(_) => break,
            }
        };
        if !hand_over(&frames, door, connection, mailbox).await {
            break;
        }
        drop(frames);
        let last = match arrived {
            Ok(Arrival::Frames) => continue,
            Ok(Arrival::TooLarge) => Some(Input::Request {
                connection,
                id: None,
                request: Err(ErrorCode::FrameTooLarge.into()),
            }),
            Ok(Arrival::End) => Some(Input::EndOfInput { connection }),
            Err(error) => {
                debug!(connection = connection.0, %error, "cannot read");
                None
            }
        };
        let told = match last {
            Some(input) => door.input(input).await.is_ok(),
            None => false,
        };
        if told {
            mailbox.ended().await;
        } else {
            mailbox.shut();
        }
        break;
    }
}

/// Hands frames to the engine, as many at a time as it is ready for; false when the connection is
/// closing.
async fn hand_over(
    frames: &Frames,
    door: &Door,
    connection: ConnectionId,
    mailbox: &Mailbox,
) -> bool {
    let mut rest = frames.iter().peekable();
    while rest.peek().is_some() {
        if !mailbox.ready_for_batch().await {
            return false;
        }
        let batch: Vec<Asked> = rest.by_ref().take(BATCH).map(request).collect();
        mailbox.begin_batch();
        if door
            .send(Mail::Requests { connection, batch })
            .await
            .is_err()
        {
            mailbox.shut();
            return false;
        }
    }
    true
}

/// Reads a frame.
fn request(frame: &[u8]) -> Asked {
    match decode::request(frame) {
        Ok(frame) => (Some(frame.id), Ok(frame.request)),
        Err(error) => (error.id, Err(error.error)),
    }
}

/// Writes what the engine has for the connection, and ends it.
async fn write<W: FrameSink>(
    mut sink: W,
    door: Door,
    connection: ConnectionId,
    mailbox: Arc<Mailbox>,
) {
    while let Some(queue) = mailbox.take().await {
        if !write_all(&mut sink, queue, &door, connection, &mailbox).await {
            mailbox.shut();
            return sink.abort();
        }
    }
    // Boxed, so that there is no room for it while the connection lives.
    Box::pin(sink.close()).await;
}

/// Writes a queue; false when the connection is broken or out of time.
async fn write_all<W: FrameSink>(
    sink: &mut W,
    queue: Vec<Outgoing>,
    door: &Door,
    connection: ConnectionId,
    mailbox: &Mailbox,
) -> bool {
    let mut queue = queue.into_iter();
    while queue.len() > 0 {
        let burst = Burst::encode(&mut queue);
        let mut position = 0;
        while position < burst.frames.as_bytes().len() {
            let before = position;
            match write_some(sink, &burst.frames, position, mailbox).await {
                Ok(reached) => position = reached,
                Err(error) => {
                    debug!(connection = connection.0, %error, "cannot write");
                    return false;
                }
            }
            let weight = burst.weight(before, position);
            if weight > 0 {
                door.written(connection, mailbox, weight);
            }
        }
        burst.recycle();
    }
    true
}

/// Writes something, within the time that a closing connection has left.
async fn write_some<W: FrameSink>(
    sink: &mut W,
    frames: &Frames,
    position: usize,
    mailbox: &Mailbox,
) -> io::Result<usize> {
    let out_of_time = async {
        let until = mailbox.closing().await;
        let left = until.saturating_duration_since(Instant::now());
        Box::pin(task::sleep(left)).await;
    };
    let write = std::pin::pin!(sink.write(frames, position));
    match select(write, std::pin::pin!(out_of_time)).await {
        Either::Left((written, _)) => written,
        Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

thread_local! {
    /// A burst that was written, for its memory: one for each thread serves all connections.
    static WRITTEN: Cell<Burst> = const { Cell::new(Burst::new()) };
}

/// Encoded frames and what each weighs.
#[derive(Debug, Default)]
struct Burst {
    frames: Frames,
    weights: Vec<u32>,
}

impl Burst {
    const fn new() -> Self {
        let frames = Frames {
            bytes: Vec::new(),
            ends: Vec::new(),
        };
        Self {
            frames,
            weights: Vec::new(),
        }
    }

    /// Keeps the memory for the next burst on this thread, unless it is more than most need.
    fn recycle(mut self) {
        if self.frames.bytes.capacity() <= 2 * BURST && self.weights.capacity() <= BURST {
            self.frames.bytes.clear();
            self.frames.ends.clear();
            self.weights.clear();
            WRITTEN.set(self);
        }
    }

    /// Encodes from the front of a queue, at least one frame.
    fn encode(queue: &mut impl Iterator<Item = Outgoing>) -> Self {
        let mut burst = WRITTEN.take();
        while burst.frames.bytes.len() < BURST
            && let Some(outgoing) = queue.next()
        {
            let weight = outgoing.weight();
            match outgoing {
                Outgoing::Reply { id, result, .. } => {
                    encode::reply(id, &result, &mut burst.frames.bytes);
                    burst.frames.end();
                }
                Outgoing::Event { event, .. } => burst.frames.push(event.json()),
            }
            burst.weights.push(weight);
        }
        burst
    }

    /// Sums the weights of the frames that end between two positions.
    fn weight(&self, before: usize, reached: usize) -> u32 {
        let ends = self.frames.ends.iter().zip(&self.weights);
        ends.filter(|(end, _)| (before + 1..=reached).contains(*end))
            .fold(0, |sum, (_, weight)| sum.saturating_add(*weight))
    }
}

#[cfg(test)]
mod tests {
    use parlor_core::id::RequestId;
    use parlor_core::protocol::Reply;

    use super::{Burst, Frames};
    use crate::node::mailbox::Outgoing;

    fn frames(all: &[&str]) -> Frames {
        let mut frames = Frames::default();
        for frame in all {
            frames.push(frame.as_bytes());
        }
        frames
    }

    #[test]
    fn frames_are_lines() {
        let frames = frames(&["ab", "", "c"]);
        assert_eq!(frames.as_bytes(), b"ab\n\nc\n");
        let each: Vec<&[u8]> = frames.iter().collect();
        assert_eq!(each, [b"ab".as_slice(), b"", b"c"]);
    }

    #[test]
    fn a_frame_ends_behind_its_line_feed() {
        let frames = frames(&["ab", "c"]);
        let ends: Vec<Option<usize>> = (0..6).map(|at| frames.end_of_frame(at)).collect();
        assert_eq!(ends, [Some(3), Some(3), Some(3), Some(5), Some(5), None]);
        assert!(Frames::default().is_empty());
        assert_eq!(Frames::default().end_of_frame(0), None);
    }

    #[test]
    fn only_whole_frames_weigh() {
        let burst = Burst {
            frames: frames(&["ab", "c"]),
            weights: vec![10, 1],
        };
        assert_eq!(burst.weight(0, 2), 0);
        assert_eq!(burst.weight(2, 3), 10);
        assert_eq!(burst.weight(3, 5), 1);
        assert_eq!(burst.weight(0, 5), 11);
    }

    #[test]
    fn a_burst_is_bounded_and_the_rest_stays() {
        let reply = |id| Outgoing::Reply {
            id: Some(RequestId(id)),
            result: Ok(Reply::Done),
            weight: 3,
        };
        let mut queue = (0..20_000).map(reply);
        let burst = Burst::encode(&mut queue);
        assert!(burst.frames.as_bytes().len() < super::BURST + 100);
        assert_eq!(
            burst.frames.iter().next(),
            Some(br#"{"id":0,"ok":{}}"#.as_slice())
        );
        assert_eq!(burst.frames.iter().count(), burst.weights.len());
        assert_eq!(queue.count(), 20_000 - burst.weights.len());
    }
}

#[cfg(test)]
mod sizes {
    use std::future::Future;

    use parlor_transport_tcp::{FrameReader, FrameWriter};

    use super::{Mailbox, serve, write};

    /// What a connection's two tasks and its mailbox may take, in bytes: a tenth more than they do.
    const SERVE: usize = 640;
    const WRITE: usize = 700;
    const MAILBOX: usize = 124;

    /// Returns the size of the future that a function of four arguments returns.
    fn of<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// The futures of a connection over TCP. With TLS they are the same: what TLS keeps is behind a
    /// pointer that both halves share.
    #[test]
    fn an_idle_connection_holds_little() {
        let serve = of(serve::<FrameReader, FrameWriter>);
        let write = of(write::<FrameWriter>);
        let mailbox = size_of::<Mailbox>();
        let sizes = format!(
            "the task that reads has {serve} bytes, the one that writes {write}, the mailbox {mailbox}"
        );
        assert!(
            serve <= SERVE && write <= WRITE && mailbox <= MAILBOX,
            "{sizes}"
        );
    }
}
