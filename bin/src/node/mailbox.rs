//! What the engine has for one connection, how it goes out, and how the connection's task waits for
//! the engine.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::poll_fn;
use parlor_core::id::RequestId;
use parlor_core::protocol::{Event, Reply, RequestError};

use super::outlet::Outlet;

/// How long a closing connection may take to accept what is queued for it.
pub(crate) const FLUSH: Duration = Duration::from_secs(2);

/// How much the engine may take to be unwritten, of a connection, without being told at once what
/// was written: its next turn is soon enough. Below the least [`Config::outgoing`] that can be
/// configured, since a connection of so little is neither paused nor starved.
///
/// [`Config::outgoing`]: parlor_core::engine::Config::outgoing
const LITTLE: u32 = 1000;

/// Something that a connection is to be sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// The answer to a request.
    Reply {
        id: Option<RequestId>,
        result: Result<Reply, RequestError>,
        weight: u32,
    },
    /// An event.
    Event { event: Arc<Shared>, weight: u32 },
}

/// An event for any number of connections, encoded at most once.
#[derive(Debug)]
pub(crate) struct Shared {
    event: Event,
    json: OnceLock<Box<[u8]>>,
}

impl Outgoing {
    /// Returns what it costs until it is written.
    pub(crate) const fn weight(&self) -> u32 {
        match self {
            Self::Reply { weight, .. } | Self::Event { weight, .. } => *weight,
        }
    }
}

/// How the engine learns of what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// It is told at once of so much.
    Now(u32),
    /// It has to look at this mailbox in its next turn.
    NextTurn,
    /// It will look at this mailbox in its next turn.
    Waiting,
}

impl Shared {
    /// Wraps an event that nobody has encoded yet.
    pub(crate) fn new(event: Event) -> Self {
        Self {
            event,
            json: OnceLock::new(),
        }
    }

    /// Returns the event, for a connection that takes no JSON.
    pub(crate) fn typed(this: Arc<Self>) -> Event {
        Arc::try_unwrap(this).map_or_else(|this| this.event.clone(), |this| this.event)
    }

    /// Returns the event's JSON; whoever asks first encodes it.
    pub(crate) fn json(&self) -> &[u8] {
        self.json.get_or_init(|| {
            let mut out = Vec::new();
            parlor_core::protocol::encode::event(&self.event, &mut out);
            out.into_boxed_slice()
        })
    }
}

/// The queue of one connection.
///
/// It is bounded by the engine: events cost credit, and a connection whose replies pile up is not
/// read. Nothing is allocated while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Outgoing>,
    phase: Phase,
    way: Way,
    /// What the engine takes to be unwritten.
    outstanding: u32,
    /// What of that is written.
    credit: u32,
    /// The engine wants no more requests for now.
    paused: bool,
    /// A batch of requests is with the engine.
    handling: bool,
    /// What is queued will be delivered after the engine's turn.
    touched: bool,
    /// The reader waits for the engine, and not only for the end.
    wants_batch: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    guard: Option<Waker>,
}

/// How what is queued goes out.
#[derive(Default)]
enum Way {
    /// A front-end in this process takes it.
    #[default]
    Taken,
    /// By this, which nobody is using.
    Outlet(Box<dyn Outlet>),
    /// By an outlet that somebody has borrowed.
    Borrowed,
    /// No more.
    Retired,
}

impl fmt::Debug for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Taken => "Taken",
            Self::Outlet(_) => "Outlet",
            Self::Borrowed => "Borrowed",
            Self::Retired => "Retired",
        })
    }
}

/// An outlet and what is to go out by it.
pub(crate) type Departure = (Box<dyn Outlet>, Vec<Outgoing>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What is queued may still be written, until then.
    Closing(Instant),
    /// Nothing is written any more.
    Closed,
}

impl State {
    fn take_credit(&mut self) -> u32 {
        let credit = std::mem::take(&mut self.credit);
        self.outstanding = self.outstanding.saturating_sub(credit);
        credit
    }

    fn lend(&mut self) -> Option<Departure> {
        if self.queue.is_empty() {
            return None;
        }
        match std::mem::replace(&mut self.way, Way::Borrowed) {
            Way::Outlet(outlet) => Some((outlet, std::mem::take(&mut self.queue))),
            other => {
                self.way = other;
                None
            }
        }
    }

    /// The reader, when the engine is ready for its next batch and it waits for that.
    fn reader_for_batch(&mut self) -> Option<Waker> {
        let ready = self.wants_batch && !self.paused && !self.handling;
        ready.then(|| self.reader.take()).flatten()
    }

    /// The reader, when the connection is closing.
    fn reader_that_ends(&mut self) -> Option<Waker> {
        let ends = self.phase != Phase::Open;
        ends.then(|| self.reader.take()).flatten()
    }
}

impl Mailbox {
    /// Makes one whose queue goes out by an outlet; the default is for a front-end that takes it.
    pub(crate) fn new(outlet: Box<dyn Outlet>) -> Self {
        let mailbox = Self::default();
        mailbox.lock().way = Way::Outlet(outlet);
        mailbox
    }

    /// Queues something; tells whether this is the first since the last [`Mailbox::borrow`].
    pub(crate) fn push(&self, outgoing: Outgoing) -> bool {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.outstanding = state.outstanding.saturating_add(outgoing.weight());
            state.queue.push(outgoing);
        }
        !std::mem::replace(&mut state.touched, true)
    }

    /// Notes that something was written; tells how the engine learns of it.
    pub(crate) fn written(&self, weight: u32) -> Credit {
        let mut state = self.lock();
        let first = state.credit == 0;
        state.credit += weight;
        if state.outstanding > LITTLE {
            Credit::Now(state.take_credit())
        } else if first {
            Credit::NextTurn
        } else {
            Credit::Waiting
        }
    }

    /// Takes what was written and the engine was not told of.
    pub(crate) fn take_credit(&self) -> u32 {
        self.lock().take_credit()
    }

    /// Lends the outlet with all that is queued, if there is something and nobody has borrowed it
    /// yet: who has will find it too. Wakes a front-end that takes what is queued.
    pub(crate) fn borrow(&self) -> Option<Departure> {
        let mut state = self.lock();
        state.touched = false;
        let departure = state.lend();
        let waker = match state.way {
            Way::Taken => state.writer.take(),
            _ => None,
        };
        drop(state);
        wake(waker);
        departure
    }

    /// Takes an outlet back, or lends it again at once with what was queued meanwhile.
    pub(crate) fn give_back(&self, outlet: Box<dyn Outlet>) -> Option<Departure> {
        let mut state = self.lock();
        state.way = Way::Outlet(outlet);
        let departure = state.lend();
        let waker = state.reader_that_ends();
        drop(state);
        wake(waker);
        departure
    }

    /// Ends a connection whose outlet is broken.
    pub(crate) fn break_off(&self) {
        self.lock().way = Way::Retired;
        self.shut();
        // Closed already, it may have waited for the outlet.
        let waker = self.lock().reader_that_ends();
        wake(waker);
    }

    /// Waits, as the reader of a connection that is closing, until nobody uses the outlet, and takes it
    /// for good with what is still to go out; `None` where it is broken.
    pub(crate) async fn retire(&self) -> Option<Departure> {
        poll_fn(|context| {
            let mut state = self.lock();
            match std::mem::replace(&mut state.way, Way::Retired) {
                Way::Outlet(outlet) => {
                    Poll::Ready(Some((outlet, std::mem::take(&mut state.queue))))
                }
                Way::Borrowed => {
                    state.way = Way::Borrowed;
                    remember(&mut state.reader, context);
                    Poll::Pending
                }
                Way::Taken | Way::Retired => Poll::Ready(None),
            }
        })
        .await
    }

    /// Stops or starts the taking of requests.
    pub(crate) fn pause(&self, paused: bool) {
        let mut state = self.lock();
        state.paused = paused;
        let waker = state.reader_for_batch();
        drop(state);
        wake(waker);
    }

    /// Says that a batch of requests goes to the engine.
    pub(crate) fn begin_batch(&self) {
        self.lock().handling = true;
    }

    /// Says that the engine is through with the batch, and what it made of it has been done.
    pub(crate) fn end_batch(&self) {
        let mut state = self.lock();
        state.handling = false;
        let waker = state.reader_for_batch();
        drop(state);
        wake(waker);
    }

    /// Lets what is queued go out within [`FLUSH`], and the reader stop.
    pub(crate) fn close(&self) {
        self.enter(Phase::Closing(Instant::now() + FLUSH));
    }

    /// Drops what is queued and stops both.
    pub(crate) fn shut(&self) {
        self.enter(Phase::Closed);
    }

    /// Waits until a batch of requests may be handed over; false when the connection is closing.
    pub(crate) async fn ready_for_batch(&self) -> bool {
        poll_fn(|context| self.poll_ready(context)).await
    }

    /// Polls what [`Mailbox::ready_for_batch`] awaits.
    pub(crate) fn poll_ready(&self, context: &Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Poll::Ready(false);
        }
        if !state.paused && !state.handling {
            return Poll::Ready(true);
        }
        state.wants_batch = true;
        remember(&mut state.reader, context);
        Poll::Pending
    }

    /// Polls, as the writer, whether there is something to take.
    pub(crate) fn poll_filled(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return Poll::Ready(());
        }
        remember(&mut state.writer, context);
        Poll::Pending
    }

    /// Waits, as the reader, until the connection is closing.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + Unpin {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.phase != Phase::Open {
                return Poll::Ready(());
            }
            state.wants_batch = false;
            remember(&mut state.reader, context);
            Poll::Pending
        })
    }

    /// Waits, as the writer, for something to write; `None` when there will be nothing more.
    pub(crate) async fn take(&self) -> Option<Vec<Outgoing>> {
        poll_fn(|context| self.poll_take(context)).await
    }

    /// Polls what [`Mailbox::take`] awaits.
    pub(crate) fn poll_take(&self, context: &Context<'_>) -> Poll<Option<Vec<Outgoing>>> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut state.queue)));
        }
        if state.phase != Phase::Open {
            return Poll::Ready(None);
        }
        remember(&mut state.writer, context);
        Poll::Pending
    }

    /// Waits, as the writer in the middle of a write, until the connection is closing; returns by
    /// when the write has to end.
    pub(crate) async fn closing(&self) -> Instant {
        poll_fn(|context| {
            let mut state = self.lock();
            match state.phase {
                Phase::Closing(until) => Poll::Ready(until),
                Phase::Closed => Poll::Ready(Instant::now()),
                Phase::Open => {
                    remember(&mut state.writer, context);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits, as the guard of a connection that has no tasks, until it is closed or has had its
    /// time to close.
    pub(crate) async fn expired(&self) {
        let until = poll_fn(|context| {
            let mut state = self.lock();
            match state.phase {
                Phase::Closing(until) => Poll::Ready(until),
                Phase::Closed => Poll::Ready(Instant::now()),
                Phase::Open => {
                    remember(&mut state.guard, context);
                    Poll::Pending
                }
            }
        })
        .await;
        let closed = poll_fn(|context| {
            let mut state = self.lock();
            if state.phase == Phase::Closed {
                return Poll::Ready(());
            }
            remember(&mut state.guard, context);
            Poll::Pending
        });
        let left = until.saturating_duration_since(Instant::now());
        // Out of time or closed: it is the same.
        let _either = async_std::future::timeout(left, closed).await;
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        match (state.phase, phase) {
            (Phase::Closed, _) | (Phase::Closing(_), Phase::Closing(_)) => return,
            _ => state.phase = phase,
        }
        if phase == Phase::Closed {
            state.queue = Vec::new();
        }
        let wakers = [state.reader.take(), state.writer.take(), state.guard.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember(slot: &mut Option<Waker>, context: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(context.waker()),
        None => *slot = Some(context.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use async_std::task;
    use futures::FutureExt as _;
    use parlor_core::id::UserId;
    use parlor_core::protocol::Event;

    use super::{Credit, Mailbox, Outgoing, Shared};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn event(user: u64) -> Event {
        Event::Presence {
            user: UserId(user),
            online: true,
        }
    }

    fn outgoing(user: u64) -> Outgoing {
        Outgoing::Event {
            event: Arc::new(Shared::new(event(user))),
            weight: 1,
        }
    }

    #[test]
    fn the_first_push_of_a_turn_is_told() {
        let mailbox = Mailbox::default();
        assert!(mailbox.push(outgoing(1)));
        assert!(!mailbox.push(outgoing(2)));
        assert!(mailbox.borrow().is_none());
        assert!(mailbox.push(outgoing(3)));
        let all = mailbox.take().now_or_never().unwrap().unwrap();
        assert_eq!(all.len(), 3);
        assert!(mailbox.take().now_or_never().is_none());
    }

    #[test]
    fn a_little_that_was_written_waits_for_the_next_turn() {
        let heavy = |weight| Outgoing::Event {
            event: Arc::new(Shared::new(event(1))),
            weight,
        };
        let mailbox = Mailbox::default();
        mailbox.push(heavy(300));
        mailbox.push(heavy(700));
        assert_eq!(mailbox.written(300), Credit::NextTurn);
        assert_eq!(mailbox.written(100), Credit::Waiting);
        assert_eq!(mailbox.take_credit(), 400);
        assert_eq!(mailbox.written(100), Credit::NextTurn);
        mailbox.push(heavy(401));
        assert_eq!(mailbox.written(100), Credit::Now(200), "above a little");
        assert_eq!(mailbox.written(801), Credit::NextTurn);
        assert_eq!(mailbox.take_credit(), 801);
        assert_eq!(mailbox.take_credit(), 0);
    }

    #[test]
    fn a_writer_that_waits_is_woken() {
        let mailbox = Arc::new(Mailbox::default());
        let writer = task::spawn({
            let mailbox = Arc::clone(&mailbox);
            async move { mailbox.take().await.map(|all| all.len()) }
        });
        mailbox.push(outgoing(1));
        assert!(mailbox.borrow().is_none());
        assert_eq!(task::block_on(writer), Some(1));
    }

    #[test]
    fn closing_lets_the_queue_out_and_takes_nothing_more() {
        let mailbox = Mailbox::default();
        mailbox.push(outgoing(1));
        mailbox.close();
        mailbox.push(outgoing(2));
        let left = mailbox.take().now_or_never().unwrap().unwrap();
        assert_eq!(left.len(), 1);
        assert!(mailbox.take().now_or_never().unwrap().is_none());
        assert!(!mailbox.ready_for_batch().now_or_never().unwrap());
    }

    #[test]
    fn shutting_drops_the_queue() {
        let mailbox = Mailbox::default();
        mailbox.push(outgoing(1));
        mailbox.shut();
        assert!(mailbox.take().now_or_never().unwrap().is_none());
    }

    #[test]
    fn a_batch_waits_for_the_one_before_and_for_the_end_of_a_pause() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.ready_for_batch().now_or_never(), Some(true));
        mailbox.begin_batch();
        assert_eq!(mailbox.ready_for_batch().now_or_never(), None);
        mailbox.pause(true);
        mailbox.end_batch();
        assert_eq!(mailbox.ready_for_batch().now_or_never(), None);
        mailbox.pause(false);
        assert_eq!(mailbox.ready_for_batch().now_or_never(), Some(true));
    }

    #[test]
    fn a_reader_that_waits_for_its_client_is_left_alone() {
        let mailbox = Mailbox::default();
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let mut context = Context::from_waker(&waker);
        mailbox.begin_batch();
        let mut ended = std::pin::pin!(mailbox.ended());
        assert!(ended.as_mut().poll(&mut context).is_pending());
        mailbox.end_batch();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        mailbox.begin_batch();
        assert!(mailbox.poll_ready(&context).is_pending());
        mailbox.end_batch();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(ended.as_mut().poll(&mut context).is_pending());
        mailbox.close();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_event_is_typed_or_encoded_once() {
        let shared = Arc::new(Shared::new(event(7)));
        let first = shared.json().as_ptr();
        assert_eq!(shared.json().as_ptr(), first);
        assert_eq!(Shared::typed(Arc::clone(&shared)), event(7));
        assert_eq!(Shared::typed(shared), event(7));
    }
}
