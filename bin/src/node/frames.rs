//! Connections of frames: what a transport has to offer, and the task that serves each.
//!
//! An idle connection holds its [`Mailbox`] with the sink, its place in the engine's table, and one
//! parked task without a buffer: frames are read into one that is given back before the next wait.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use async_std::task;
use futures::future::{Either, FutureExt as _, select};
use parlor_core::engine::Input;
use parlor_core::id::ConnectionId;
use parlor_core::protocol::{ErrorCode, decode};
use tracing::debug;

use super::inbox::{Asked, Door, Mail};
use super::mailbox::Mailbox;
use super::outlet::finish;

/// How many requests of one connection the engine gets at once. It may pause a connection between
/// two such batches.
const BATCH: usize = 64;

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
    /// Waits until [`FrameSource::read`] need not wait; nothing is read while the engine has not dealt
    /// with what was read before. May return too early, which only means that the engine's word is
    /// waited for first and then the client's. The future may be dropped; nothing is lost by it.
    ///
    /// # Errors
    /// The connection is broken.
    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

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

    /// Writes on as [`FrameSink::write`] does, without waiting: returns `position` where it would have
    /// to wait, which is always right, and costs a task for each time that something is written.
    ///
    /// # Errors
    /// The connection is broken.
    fn try_write(&mut self, frames: &Frames, position: usize) -> io::Result<usize> {
        let _never_at_once = frames;
        Ok(position)
    }

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
    pub(super) bytes: Vec<u8>,
    /// Where each frame ends, its line feed included.
    pub(super) ends: Vec<usize>,
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

    /// Ends the frame that has been appended to `bytes`.
    pub(super) fn end(&mut self) {
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
        let next = pin!(transport.accept());
        let Either::Left((link, _)) = select(next, pin!(closed.recv())).await else {
            return;
        };
        let Link {
            address,
            source,
            sink,
        } = link;
        // Waiting here holds further connections up while the engine has too much to do.
        let mailbox = Mailbox::new(Box::new(sink));
        let Ok((connection, mailbox)) = door.connect(address, mailbox).await else {
            return;
        };
        let from = address.map(tracing::field::display);
        debug!(connection = connection.0, from, "connected");
        task::spawn(serve(source, door.clone(), connection, mailbox));
    }
}

/// Serves one connection to its end.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function has room for its arguments twice, and this one is for each connection"
)]
fn serve<R: FrameSource>(
    mut source: R,
    door: Door,
    connection: ConnectionId,
    mailbox: Arc<Mailbox>,
) -> impl Future<Output = ()> + Send {
    async move {
        read(&mut source, &door, connection, &mailbox).await;
        // Boxed, so that there is no room for it while the connection lives.
        Box::pin(finish(&door, connection, &mailbox)).await;
        // The source stays here until all is written: a socket is closed when both halves are gone.
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
    loop {
        // For the client first: its next request seldom comes before the engine has dealt with the
        // one before, so the task wakes once for each.
        let Some(ready) = unless_ended(pin!(source.ready()), mailbox).await else {
            return;
        };
        if !mailbox.ready_for_batch().await {
            return;
        }
        let mut frames = Frames::default();
        let arrived = match ready {
            Ok(()) => unless_ended(pin!(source.read(&mut frames)), mailbox).await,
            Err(error) => Some(Err(error)),
        };
        let Some(arrived) = arrived else {
            return;
        };
        if !hand_over(&frames, door, connection, mailbox).await {
            return;
        }
        drop(frames);
        if matches!(arrived, Ok(Arrival::Frames)) {
            continue;
        }
        // Boxed, so that there is no room for it while the connection lives.
        return Box::pin(tell_end(arrived, door, connection, mailbox)).await;
    }
}

/// Tells the engine that the client sends no more, and waits until it has had its answers.
async fn tell_end(
    end: io::Result<Arrival>,
    door: &Door,
    connection: ConnectionId,
    mailbox: &Mailbox,
) {
    let last = match end {
        Ok(Arrival::TooLarge) => Input::Request {
            connection,
            id: None,
            request: Err(ErrorCode::FrameTooLarge.into()),
        },
        Ok(_) => Input::EndOfInput { connection },
        Err(error) => {
            debug!(connection = connection.0, %error, "cannot read");
            return mailbox.shut();
        }
    };
    match door.input(last).await {
        Ok(()) => mailbox.ended().await,
        Err(_) => mailbox.shut(),
    }
}

/// Waits for something unless the connection is closing before.
fn unless_ended<T>(
    something: Pin<&mut impl Future<Output = T>>,
    mailbox: &Mailbox,
) -> impl Future<Output = Option<T>> {
    select(something, mailbox.ended()).map(|first| match first {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    })
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

#[cfg(test)]
mod tests {
    use super::Frames;

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
}

#[cfg(test)]
mod sizes {
    use std::future::Future;

    use parlor_transport_tcp::FrameReader;

    use super::{Mailbox, serve};

    /// What a connection's task and its mailbox may take, in bytes: a tenth more than they do.
    const SERVE: usize = 500;
    const MAILBOX: usize = 150;

    /// Returns the size of the future that a function of four arguments returns.
    fn of<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// The future of a connection over TCP. With TLS it is the same: what TLS keeps is behind a pointer
    /// that both halves share.
    #[test]
    fn an_idle_connection_holds_little() {
        let serve = of(serve::<FrameReader>);
        let mailbox = size_of::<Mailbox>();
        let sizes = format!("the task has {serve} bytes, the mailbox {mailbox}");
        assert!(serve <= SERVE && mailbox <= MAILBOX, "{sizes}");
    }
}
