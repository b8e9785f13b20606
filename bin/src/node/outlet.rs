//! The way out: what mailboxes hold becomes bytes and goes to the clients.
//!
//! A connection at rest has no task that writes: its sink lies in its [`Mailbox`]. After each of its
//! turns, the engine's task has [`deliver`] write to the connections that got something: to few it
//! does so on the spot, many are divided among tasks, so that one switch of tasks is for many. Only a
//! connection that takes less than there is for it gets a task of its own, until it has taken all.
//! Whoever writes has borrowed the sink, so there is one at a time.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use async_std::task;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};
use parlor_core::id::ConnectionId;
use parlor_core::protocol::encode;
use tracing::debug;

use super::frames::{FrameSink, Frames};
use super::inbox::Door;
use super::mailbox::{Mailbox, Outgoing};

/// To how many connections the engine's task writes by itself. A write takes some 5 µs.
const FEW: usize = 16;

/// To how many connections a task writes.
const SHARE: usize = 64;

/// About how many bytes are encoded before they are written.
const BURST: usize = 64 * 1024;

/// A connection's sink, whatever its transport.
pub(crate) trait Outlet: Send {
    /// See [`FrameSink::try_write`].
    fn try_write(&mut self, frames: &Frames, position: usize) -> io::Result<usize>;

    /// See [`FrameSink::write`].
    fn write<'a>(
        &'a mut self,
        frames: &'a Frames,
        position: usize,
    ) -> BoxFuture<'a, io::Result<usize>>;

    /// See [`FrameSink::close`].
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;

    /// See [`FrameSink::abort`].
    fn abort(self: Box<Self>);
}

impl<W: FrameSink> Outlet for W {
    fn try_write(&mut self, frames: &Frames, position: usize) -> io::Result<usize> {
        FrameSink::try_write(self, frames, position)
    }

    fn write<'a>(
        &'a mut self,
        frames: &'a Frames,
        position: usize,
    ) -> BoxFuture<'a, io::Result<usize>> {
        FrameSink::write(self, frames, position).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        FrameSink::close(*self).boxed()
    }

    fn abort(self: Box<Self>) {
        FrameSink::abort(*self);
    }
}

/// Somebody with a mailbox.
pub(crate) type Recipient = (ConnectionId, Arc<Mailbox>);

/// Has everything written that is queued for some connections, or that others be told who take it
/// themselves.
pub(crate) fn deliver(recipients: &mut Vec<Recipient>, door: &Door) {
    while recipients.len() > FEW {
        let share = recipients.split_off(recipients.len().saturating_sub(SHARE));
        let door = door.clone();
        task::spawn(async move { share.into_iter().for_each(|to| bring(to, &door)) });
    }
    for to in recipients.drain(..) {
        bring(to, door);
    }
}

/// Writes what goes at once, and leaves the rest to a task.
fn bring((connection, mailbox): Recipient, door: &Door) {
    let Some((outlet, queue)) = mailbox.borrow() else {
        return;
    };
    let mut delivery = Delivery::new(outlet, queue);
    if delivery.load() {
        match delivery.outlet.try_write(&delivery.burst.frames, 0) {
            Ok(reached) => delivery.reached(reached, door, connection, &mailbox),
            Err(error) => return delivery.fail(&error, connection, &mailbox),
        }
    }
    let left = match delivery.load() {
        true => Some(delivery),
        false => delivery.end(&mailbox),
    };
    if let Some(delivery) = left {
        task::spawn(carry(delivery, door.clone(), connection, mailbox));
    }
}

/// Writes until nothing is left.
async fn carry(
    mut delivery: Delivery,
    door: Door,
    connection: ConnectionId,
    mailbox: Arc<Mailbox>,
) {
    loop {
        if let Err(error) = delivery.write(&door, connection, &mailbox).await {
            return delivery.fail(&error, connection, &mailbox);
        }
        match delivery.end(&mailbox) {
            Some(next) => delivery = next,
            None => return,
        }
    }
}

/// Writes what a closing connection is still to get, and ends it.
pub(crate) async fn finish(door: &Door, connection: ConnectionId, mailbox: &Mailbox) {
    let Some((outlet, queue)) = mailbox.retire().await else {
        return;
    };
    let mut delivery = Delivery::new(outlet, queue);
    match delivery.write(door, connection, mailbox).await {
        Ok(()) => delivery.outlet.close().await,
        Err(error) => delivery.fail(&error, connection, mailbox),
    }
}

/// A queue that is being written.
struct Delivery {
    outlet: Box<dyn Outlet>,
    queue: std::vec::IntoIter<Outgoing>,
    burst: Burst,
    /// How much of the burst is written.
    position: usize,
}

impl Delivery {
    fn new(outlet: Box<dyn Outlet>, queue: Vec<Outgoing>) -> Self {
        Self {
            outlet,
            queue: queue.into_iter(),
            burst: Burst::default(),
            position: 0,
        }
    }

    /// Sees to it that there is something to write; false when all is written.
    fn load(&mut self) -> bool {
        if self.position < self.burst.frames.as_bytes().len() {
            return true;
        }
        std::mem::take(&mut self.burst).recycle();
        self.position = 0;
        let more = self.queue.len() > 0;
        if more {
            self.burst = Burst::encode(&mut self.queue);
        }
        more
    }

    /// Notes how far the writing has come.
    fn reached(
        &mut self,
        position: usize,
        door: &Door,
        connection: ConnectionId,
        mailbox: &Mailbox,
    ) {
        let weight = self.burst.weight(self.position, position);
        self.position = position;
        if weight > 0 {
            door.written(connection, mailbox, weight);
        }
    }

    /// Writes all.
    async fn write(
        &mut self,
        door: &Door,
        connection: ConnectionId,
        mailbox: &Mailbox,
    ) -> io::Result<()> {
        while self.load() {
            let reached = self.write_some(mailbox).await?;
            self.reached(reached, door, connection, mailbox);
        }
        Ok(())
    }

    /// Writes something, within the time that a closing connection has left.
    async fn write_some(&mut self, mailbox: &Mailbox) -> io::Result<usize> {
        let out_of_time = async {
            let until = mailbox.closing().await;
            task::sleep(until.saturating_duration_since(Instant::now())).await;
        };
        let write = self.outlet.write(&self.burst.frames, self.position);
        match select(write, std::pin::pin!(out_of_time)).await {
            Either::Left((written, _)) => written,
            Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Gives the way out back, unless there is more to write.
    fn end(self, mailbox: &Mailbox) -> Option<Self> {
        let (outlet, queue) = mailbox.give_back(self.outlet)?;
        Some(Self::new(outlet, queue))
    }

    /// Gives the connection up.
    fn fail(self, error: &io::Error, connection: ConnectionId, mailbox: &Mailbox) {
        debug!(connection = connection.0, %error, "cannot write");
        self.outlet.abort();
        mailbox.break_off();
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
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use async_std::future::timeout;
    use async_std::task;
    use futures::FutureExt as _;
    use parlor_core::id::{ConnectionId, RequestId, UserId};
    use parlor_core::protocol::{Event, Reply};

    use super::{Burst, Frames, Recipient, deliver, finish};
    use crate::node::frames::FrameSink;
    use crate::node::inbox;
    use crate::node::mailbox::{Mailbox, Outgoing, Shared};

    /// A client's end, which takes as much as it has room for.
    #[derive(Clone, Debug, Default)]
    struct Pipe(Arc<Mutex<Piped>>);

    #[derive(Debug, Default)]
    struct Piped {
        room: usize,
        broken: bool,
        bytes: Vec<u8>,
        end: Option<&'static str>,
    }

    impl FrameSink for Pipe {
        async fn write(&mut self, frames: &Frames, position: usize) -> io::Result<usize> {
            loop {
                match FrameSink::try_write(self, frames, position)? {
                    reached if reached > position => return Ok(reached),
                    _ => task::sleep(Duration::from_millis(1)).await,
                }
            }
        }

        fn try_write(&mut self, frames: &Frames, position: usize) -> io::Result<usize> {
            let mut piped = self.0.lock().unwrap();
            if piped.broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let rest = &frames.as_bytes()[position..];
            let taken = rest.len().min(piped.room);
            piped.room -= taken;
            piped.bytes.extend_from_slice(&rest[..taken]);
            Ok(position + taken)
        }

        async fn close(self) {
            self.0.lock().unwrap().end = Some("closed");
        }

        fn abort(self) {
            self.0.lock().unwrap().end = Some("aborted");
        }
    }

    impl Pipe {
        fn with_room(room: usize) -> Self {
            let pipe = Self::default();
            pipe.0.lock().unwrap().room = room;
            pipe
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
        }

        fn end(&self) -> Option<&'static str> {
            self.0.lock().unwrap().end
        }

        fn recipient(&self, number: u64) -> Recipient {
            let mailbox = Mailbox::new(Box::new(self.clone()));
            (ConnectionId(number), Arc::new(mailbox))
        }
    }

    fn event(user: u64) -> Outgoing {
        let event = Event::Presence {
            user: UserId(user),
            online: true,
        };
        Outgoing::Event {
            event: Arc::new(Shared::new(event)),
            weight: 1,
        }
    }

    fn line(user: u64) -> String {
        format!("{{\"event\":\"presence\",\"user\":{user},\"online\":true}}\n")
    }

    /// After how long a test that waits has failed.
    const HANG: Duration = Duration::from_secs(60);

    async fn comes<T>(what: impl Future<Output = T>) -> T {
        timeout(HANG, what).await.expect("it does not come")
    }

    async fn until(condition: impl Fn() -> bool) {
        comes(async {
            while !condition() {
                task::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    #[test]
    fn what_goes_at_once_has_gone_when_the_turn_ends() {
        let (door, _sink, inbox) = inbox::open();
        let pipe = Pipe::with_room(1000);
        let (connection, mailbox) = pipe.recipient(7);
        for user in 1..=2 {
            assert!(mailbox.push(event(user)), "the turn before delivered all");
            assert!(!mailbox.push(event(user + 10)), "it is known in this turn");
            deliver(&mut vec![(connection, Arc::clone(&mailbox))], &door);
        }
        assert_eq!(pipe.text(), [1, 11, 2, 12].map(line).concat());
        assert_eq!(inbox.written.take(), [connection], "told once");
        assert_eq!(mailbox.take_credit(), 4);
        assert_eq!(pipe.end(), None);
    }

    #[async_std::test]
    async fn who_takes_little_gets_the_rest_in_order_when_it_can() {
        let (door, _sink, _inbox) = inbox::open();
        let pipe = Pipe::with_room(5);
        let (connection, mailbox) = pipe.recipient(7);
        for user in 1..=50 {
            mailbox.push(event(user));
            deliver(&mut vec![(connection, Arc::clone(&mailbox))], &door);
        }
        let all: String = (1..=50).map(line).collect();
        assert_eq!(pipe.text(), all[..5]);
        until(|| {
            pipe.0.lock().unwrap().room = 100;
            pipe.text().len() >= all.len()
        })
        .await;
        assert_eq!(pipe.text(), all);
        // The outlet is back, so the next goes at once.
        pipe.0.lock().unwrap().room = 1000;
        until(|| {
            mailbox.push(event(51));
            deliver(&mut vec![(connection, Arc::clone(&mailbox))], &door);
            pipe.text().ends_with(&line(51))
        })
        .await;
    }

    #[async_std::test]
    async fn many_are_written_to() {
        let (door, _sink, _inbox) = inbox::open();
        let pipes: Vec<Pipe> = (0..300).map(|_| Pipe::with_room(1000)).collect();
        let mut recipients: Vec<Recipient> = pipes.iter().map(|it| it.recipient(1)).collect();
        for (_, mailbox) in &recipients {
            mailbox.push(event(3));
        }
        deliver(&mut recipients, &door);
        assert!(recipients.is_empty());
        until(|| pipes.iter().all(|pipe| pipe.text() == line(3))).await;
    }

    #[async_std::test]
    async fn a_broken_connection_ends() {
        let (door, _sink, _inbox) = inbox::open();
        for at_once in [true, false] {
            let pipe = Pipe::default();
            let (connection, mailbox) = pipe.recipient(7);
            mailbox.push(event(1));
            pipe.0.lock().unwrap().broken = at_once;
            deliver(&mut vec![(connection, Arc::clone(&mailbox))], &door);
            pipe.0.lock().unwrap().broken = true;
            comes(mailbox.ended()).await;
            comes(finish(&door, connection, &mailbox)).await;
            assert_eq!(pipe.end(), Some("aborted"));
        }
    }

    #[async_std::test]
    async fn a_closing_connection_gets_what_is_queued() {
        let (door, _sink, _inbox) = inbox::open();
        let pipe = Pipe::with_room(1000);
        let (connection, mailbox) = pipe.recipient(7);
        mailbox.push(event(1));
        mailbox.close();
        comes(finish(&door, connection, &mailbox)).await;
        assert_eq!((pipe.text(), pipe.end()), (line(1), Some("closed")));
        // Its turn comes too late.
        deliver(&mut vec![(connection, Arc::clone(&mailbox))], &door);
        assert_eq!(pipe.text(), line(1));
    }

    #[async_std::test]
    async fn the_end_waits_for_who_writes() {
        let (door, _sink, _inbox) = inbox::open();
        let pipe = Pipe::with_room(5);
        let (connection, mailbox) = pipe.recipient(7);
        mailbox.push(event(1));
        deliver(&mut vec![(connection, Arc::clone(&mailbox))], &door);
        mailbox.push(event(2));
        mailbox.close();
        let mut end = Box::pin(finish(&door, connection, &mailbox));
        assert_eq!(end.as_mut().now_or_never(), None);
        pipe.0.lock().unwrap().room = 1000;
        comes(end).await;
        assert_eq!(pipe.text(), line(1) + &line(2));
        assert_eq!(pipe.end(), Some("closed"));
    }

    #[test]
    fn only_whole_frames_weigh() {
        let mut burst = Burst::default();
        for (frame, weight) in [("ab", 10), ("c", 1)] {
            burst.frames.push(frame.as_bytes());
            burst.weights.push(weight);
        }
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
