//! The async node: an engine, a store, perhaps a relay, and any number of front-ends.
//!
//! ```text
//!   Transport ──▶ reader ──┐                                ┌──▶ Store::submit
//!   LocalConnection::send ─┼─▶ bounded channel ─▶ ┌────────┐├──▶ Relay
//!                          │                      │ Engine │┤
//!   Store, Relay ── Sink ──┴─▶ answers ─────────▶ └────────┘└──▶ mailboxes ─▶ outlet ──▶ Transport
//!                                                                         └─▶ LocalConnection::receive
//! ```
//!
//! One task owns the engine. Everything else is a queue towards it or away from it, and each queue
//! has its bound: see `inbox.rs` for the way in, `mailbox.rs` and `outlet.rs` for the way out.

mod clock;
mod frames;
mod inbox;
mod journal;
mod local;
mod mailbox;
mod outlet;
mod tcp;
mod turn;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use async_channel::{Receiver, Sender};
use async_std::task;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parlor_core::engine::{Config, Order, OrderDone};
use parlor_core::protocol::RequestError;
use parlor_core::relay::Relay;
use parlor_core::store::Store;
use thiserror::Error;
use tracing::error;

pub use frames::{Arrival, FrameSink, FrameSource, Frames, Link, Transport};
pub use inbox::{Ended, Sink, Snapshot};
pub use local::{AskError, LocalConnection, Received};

use inbox::{Door, Inbox};
use turn::{End, Turns};

/// A running node. Clones are handles to the same one; it runs on when all are dropped.
///
/// - To begin: [`Node::builder`].
/// - To talk to it from within the process: [`Node::connect`].
/// - To end: [`Node::drain`] or [`Node::stop`], then [`Node::wait`].
#[derive(Clone, Debug)]
pub struct Node {
    door: Door,
    sink: Sink,
    /// Closed for accepting to end.
    accepting: Sender<()>,
    /// Closed when the engine's task has ended.
    ended: Receiver<()>,
    outcome: Arc<OnceLock<Result<(), NodeError>>>,
}

/// Why a node ended otherwise than by [`Node::drain`] or [`Node::stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NodeError {
    /// The engine, the store or the relay panicked in the engine's task: a bug. What was
    /// acknowledged is in the store; start a new process.
    #[error("the engine panicked, which is a bug of parlor")]
    Panicked,
}

/// What a node is made of. Begin with [`Node::builder`].
pub struct Builder {
    door: Door,
    sink: Sink,
    inbox: Inbox,
    relay: Option<Box<dyn Relay>>,
    accepting: Sender<()>,
    closed: Receiver<()>,
    /// What serves each transport until `accepting` is closed.
    transports: Vec<BoxFuture<'static, ()>>,
}

impl Node {
    /// Begins to make a node.
    #[must_use]
    pub fn builder() -> Builder {
        let (door, sink, inbox) = inbox::open();
        let (accepting, closed) = async_channel::bounded(1);
        Builder {
            door,
            sink,
            inbox,
            accepting,
            closed,
            relay: None,
            transports: Vec::new(),
        }
    }

    /// Opens a connection from within the process.
    ///
    /// # Errors
    /// The node has ended.
    pub async fn connect(&self) -> Result<LocalConnection, Ended> {
        LocalConnection::open(self.door.clone()).await
    }

    /// Asks how the engine is. It answers between two turns of its work.
    ///
    /// # Errors
    /// The node has ended.
    pub async fn inspect(&self) -> Result<Snapshot, Ended> {
        self.sink.inspect().await
    }

    /// Carries an operator's order out. Nobody's right to it is looked at.
    ///
    /// # Errors
    /// The node has ended. Within, why the order was refused.
    pub async fn order(&self, order: Order) -> Result<Result<OrderDone, RequestError>, Ended> {
        self.sink.order(order).await
    }

    /// Stops accepting and lets the engine finish: requests under way are answered, clients are
    /// told, connections close, cursors are written. [`Node::wait`] says when it is done. A second
    /// call does nothing.
    pub fn drain(&self) {
        self.accepting.close();
        self.sink.drain();
    }

    /// Ends the node at once: connections break, and what the store has not committed is not
    /// acknowledged.
    pub fn stop(&self) {
        self.accepting.close();
        self.sink.stop();
    }

    /// Waits until the node has ended, and says how.
    ///
    /// # Errors
    /// It did not end because it was told to.
    pub async fn wait(&self) -> Result<(), NodeError> {
        // Nothing is ever sent: the channel closes.
        let _closed = self.ended.recv().await;
        self.outcome
            .get()
            .copied()
            .unwrap_or(Err(NodeError::Panicked))
    }
}

impl Builder {
    /// Returns where a store and a relay give their answers: clone it before opening them.
    #[must_use]
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Connects the node to others. Without it, the node is alone.
    #[must_use]
    pub fn relay(mut self, relay: impl Relay) -> Self {
        self.relay = Some(Box::new(relay));
        self
    }

    /// Adds a way for clients to connect. It is served from [`Builder::start`] on.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        let accept = frames::accept(transport, self.door.clone(), self.closed.clone());
        self.transports.push(Box::pin(accept));
        self
    }

    /// Starts the node over a store that was opened with [`Builder::sink`].
    ///
    /// It runs on async-std's executor, on which the caller need not be.
    #[must_use]
    pub fn start(self, config: Config, store: impl Store) -> Node {
        let (running, ended) = async_channel::bounded(1);
        let outcome = Arc::new(OnceLock::new());
        for transport in self.transports {
            task::spawn(transport);
        }
        let turns = Turns::new(config, Box::new(store), self.relay, self.door.clone());
        task::spawn(engine(
            turns,
            self.inbox,
            Arc::clone(&outcome),
            self.accepting.clone(),
            running,
        ));
        Node {
            door: self.door,
            sink: self.sink,
            accepting: self.accepting,
            ended,
            outcome,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("relay", &self.relay.is_some())
            .field("transports", &self.transports.len())
            .finish_non_exhaustive()
    }
}

/// Runs the engine and tells how it ended.
async fn engine(
    mut turns: Turns,
    inbox: Inbox,
    outcome: Arc<OnceLock<Result<(), NodeError>>>,
    accepting: Sender<()>,
    running: Sender<()>,
) {
    // After a panic the engine is never used again.
    let end = AssertUnwindSafe(turns.run(&inbox)).catch_unwind().await;
    accepting.close();
    inbox.close();
    drop(turns);
    let ended = match end {
        Ok(End::Drained | End::Stopped) => Ok(()),
        Err(_) => {
            error!("the engine panicked; the node ends");
            Err(NodeError::Panicked)
        }
    };
    // It is set here only.
    let _first = outcome.set(ended);
    drop(running);
}
