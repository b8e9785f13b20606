//! A front-end in the same process: typed requests in, typed replies and events out, no JSON.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_std::task;
use parlor_core::engine::Input;
use parlor_core::id::{ConnectionId, RequestId};
use parlor_core::protocol::{Event, Reply, Request, RequestError};
use thiserror::Error;

use super::inbox::{Door, Ended, Mail};
use super::mailbox::{Mailbox, Outgoing, Shared};

/// How many events may wait to be read before [`LocalConnection::ask`] asks for nothing more.
const UNREAD: usize = 1024;

/// A connection to the node from within its process.
///
/// To the engine it is a connection like any other: it logs in, it is bound by the rates, it is
/// told `notice` and closed. What it has not [`received`](Self::receive) counts as not written, so
/// that one who never looks is closed as slow. Dropping it ends the connection.
///
/// - For a front-end that translates: [`send`](Self::send) and [`receive`](Self::receive).
/// - For a program that talks: [`ask`](Self::ask) and [`event`](Self::event).
#[derive(Debug)]
pub struct LocalConnection {
    door: Door,
    connection: ConnectionId,
    mailbox: Arc<Mailbox>,
    /// Taken out of the mailbox, not yet received.
    taken: VecDeque<Outgoing>,
    /// Events that came while `ask` waited for its reply.
    unread: VecDeque<Event>,
    next_id: u64,
}

/// Something that the engine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The answer to a request. They come in the order of the requests.
    Reply {
        /// The number that was given with the request.
        id: Option<RequestId>,
        /// The answer.
        result: Result<Reply, RequestError>,
    },
    /// Something that nobody asked for.
    Event(Event),
}

/// Why [`LocalConnection::ask`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// The engine refused the request.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// Too many events wait to be read; nothing was asked.
    #[error("read the events first")]
    Unread,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

impl LocalConnection {
    pub(crate) async fn open(door: Door) -> Result<Self, Ended> {
        let (connection, mailbox) = door.connect(None, Mailbox::default()).await?;
        task::spawn(guard(door.clone(), connection, Arc::clone(&mailbox)));
        Ok(Self {
            door,
            connection,
            mailbox,
            taken: VecDeque::new(),
            unread: VecDeque::new(),
            next_id: 1,
        })
    }

    /// Sends a request. Waits while the engine takes none from this connection, which may be until
    /// something is received. The future may be dropped while it waits; nothing was sent then.
    ///
    /// The request's values must be within the protocol's limits: whoever builds it from outside
    /// input checks them.
    ///
    /// # Errors
    /// The connection is closing.
    pub async fn send(&mut self, id: RequestId, request: Request) -> Result<(), Ended> {
        if !self.mailbox.ready_for_batch().await {
            return Err(Ended);
        }
        self.hand_over(id, request).await
    }

    /// Waits for what the engine says next; `None` once the connection is closed. The future may be
    /// dropped; nothing is lost by it.
    pub async fn receive(&mut self) -> Option<Received> {
        if let Some(event) = self.unread.pop_front() {
            return Some(Received::Event(event));
        }
        self.next().await
    }

    /// Sends a request and waits for its answer. Events that come meanwhile wait for
    /// [`Self::event`]. Do not mix with [`Self::send`]: the answers to its requests are lost here.
    ///
    /// # Errors
    /// The engine refused, or could not be asked.
    pub async fn ask(&mut self, request: Request) -> Result<Reply, AskError> {
        if self.unread.len() >= UNREAD {
            return Err(AskError::Unread);
        }
        while !self.may_send().await? {
            self.set_aside().await.ok_or(AskError::Closed)?;
        }
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.hand_over(id, request)
            .await
            .map_err(|_| AskError::Closed)?;
        loop {
            match self.set_aside().await.ok_or(AskError::Closed)? {
                Some((answered, result)) if answered == Some(id) => return Ok(result?),
                _ => {}
            }
        }
    }

    /// Waits for the next event; `None` once the connection is closed. The future may be dropped;
    /// nothing is lost by it.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            if let Received::Event(event) = self.receive().await? {
                return Some(event);
            }
        }
    }

    async fn hand_over(&mut self, id: RequestId, request: Request) -> Result<(), Ended> {
        let mail = Mail::Requests {
            connection: self.connection,
            batch: vec![(Some(id), Ok(request))],
        };
        self.mailbox.begin_batch();
        let mut unsent = Unsent(Some(&self.mailbox));
        self.door.send(mail).await?;
        unsent.0 = None;
        Ok(())
    }

    /// Waits until a request may be sent (true) or there is something to receive (false).
    async fn may_send(&self) -> Result<bool, AskError> {
        poll_fn(|context| match self.mailbox.poll_ready(context) {
            Poll::Ready(true) => Poll::Ready(Ok(true)),
            Poll::Ready(false) => Poll::Ready(Err(AskError::Closed)),
            Poll::Pending if !self.taken.is_empty() => Poll::Ready(Ok(false)),
            Poll::Pending => self.mailbox.poll_filled(context).map(|()| Ok(false)),
        })
        .await
    }

    /// Receives one thing: keeps an event for later, returns a reply.
    async fn set_aside(
        &mut self,
    ) -> Option<Option<(Option<RequestId>, Result<Reply, RequestError>)>> {
        Some(match self.next().await? {
            Received::Reply { id, result } => Some((id, result)),
            Received::Event(event) => {
                self.unread.push_back(event);
                None
            }
        })
    }

    async fn next(&mut self) -> Option<Received> {
        if self.taken.is_empty() {
            self.taken = self.mailbox.take().await?.into();
        }
        let outgoing = self.taken.pop_front()?;
        let weight = outgoing.weight();
        let received = match outgoing {
            Outgoing::Reply { id, result, .. } => Received::Reply { id, result },
            Outgoing::Event { event, .. } => Received::Event(Shared::typed(event)),
        };
        self.door.written(self.connection, &self.mailbox, weight);
        Some(received)
    }
}

impl Drop for LocalConnection {
    fn drop(&mut self) {
        self.mailbox.shut();
    }
}

/// Says that the connection is gone, once it was dropped or has had its time to close.
async fn guard(door: Door, connection: ConnectionId, mailbox: Arc<Mailbox>) {
    mailbox.expired().await;
    mailbox.shut();
    // The node has ended where this fails.
    let _ended = door.input(Input::Disconnected { connection }).await;
}

/// Takes a batch back that was not sent after all.
struct Unsent<'a>(Option<&'a Mailbox>);

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.0 {
            mailbox.end_batch();
        }
    }
}
