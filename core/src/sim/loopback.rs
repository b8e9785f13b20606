//! An engine and a store in memory, driven to rest after every input.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::{Config, Effect, Engine, Input, Misuse, OrderDone};
use crate::id::{ConnectionId, OrderTicket, RequestId, StoreToken, SubscriptionToken, UserId};
use crate::protocol::{Event, Reply, Request, RequestError};
use crate::relay::{Channel, RelayMessage};
use crate::sim::MemoryStore;
use crate::store::{Limits, StoreRequest, StoreResult};
use crate::time::Timestamp;

/// What a connection was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The answer to a request.
    Reply(Option<RequestId>, Result<Reply, RequestError>),
    /// An event.
    Event(Event),
    /// The connection was closed.
    Closed,
}

/// One node without a network: typed requests in, typed replies and events out.
///
/// Everything is carried out at once, unless it is held back: connections that
/// [`stall`](Self::stall) accept nothing, and a store that is [held](Self::hold_store) answers
/// later.
#[derive(Debug)]
pub struct Loopback {
    /// The engine.
    pub engine: Engine,
    /// The store; its clock is the engine's.
    pub store: MemoryStore,
    /// What was published for other nodes.
    pub published: Vec<(Channel, RelayMessage)>,
    /// Who is online on other nodes, as the relay says.
    pub elsewhere: BTreeSet<UserId>,
    /// The channels that the node is subscribed to.
    pub subscribed: BTreeSet<Channel>,
    /// What operators were told.
    pub told: Vec<(OrderTicket, Result<OrderDone, RequestError>)>,
    /// Whether the drain is over.
    pub drained: bool,
    now: Timestamp,
    last_connection: u64,
    sent: BTreeMap<ConnectionId, Vec<Sent>>,
    stalled: BTreeMap<ConnectionId, u32>,
    paused: BTreeSet<ConnectionId>,
    held: Option<Vec<(StoreToken, StoreRequest)>>,
    unconfirmed: Option<Vec<SubscriptionToken>>,
    questions: Option<Vec<(StoreToken, Vec<UserId>)>>,
}

impl Loopback {
    /// Makes a node with an empty store.
    #[must_use]
    pub fn new(config: Config, limits: Limits) -> Self {
        let now = Timestamp(1_700_000_000_000);
        Self {
            engine: Engine::new(config, now),
            store: MemoryStore::new(limits),
            published: Vec::new(),
            elsewhere: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            told: Vec::new(),
            drained: false,
            now,
            last_connection: 0,
            sent: BTreeMap::new(),
            stalled: BTreeMap::new(),
            paused: BTreeSet::new(),
            held: None,
            unconfirmed: None,
            questions: None,
        }
    }

    /// Returns the present time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Of this and the other inputs: the driver's mistakes, as the engine names them.
    pub fn connect(&mut self) -> Result<ConnectionId, Misuse> {
        self.connect_from(None)
    }

    /// Opens a connection from an address.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn connect_from(&mut self, address: Option<IpAddr>) -> Result<ConnectionId, Misuse> {
        self.last_connection += 1;
        let connection = ConnectionId(self.last_connection);
        self.sent.insert(connection, Vec::new());
        self.input(Input::Connected {
            connection,
            address,
        })?;
        Ok(connection)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn request(
        &mut self,
        connection: ConnectionId,
        id: u64,
        request: Request,
    ) -> Result<(), Misuse> {
        self.input(Input::Request {
            connection,
            id: Some(RequestId(id)),
            request: Ok(request),
        })
    }

    /// Breaks a connection.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn disconnect(&mut self, connection: ConnectionId) -> Result<(), Misuse> {
        if !self.sent.contains_key(&connection) || self.is_closed(connection) {
            return Ok(());
        }
        self.record(connection, Sent::Closed);
        self.stalled.remove(&connection);
        self.input(Input::Disconnected { connection })
    }

    /// Passes any input and carries out what follows.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn input(&mut self, input: Input) -> Result<(), Misuse> {
        self.engine.handle(input, self.now)?;
        self.settle()
    }

    /// Lets time pass, alarm by alarm.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn advance(&mut self, duration: Duration) -> Result<(), Misuse> {
        let until = self.now + duration;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Timeout)?;
        }
        self.now = until;
        Ok(())
    }

    /// Takes what a connection was sent since the last time.
    pub fn take(&mut self, connection: ConnectionId) -> Vec<Sent> {
        self.sent
            .get_mut(&connection)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Gives back what was taken, to be taken again.
    pub fn put_back(&mut self, connection: ConnectionId, sent: Sent) {
        self.record(connection, sent);
    }

    /// Has a connection accept nothing from now on.
    pub fn stall(&mut self, connection: ConnectionId) {
        self.stalled.entry(connection).or_default();
    }

    /// Has a connection accept everything again.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn unstall(&mut self, connection: ConnectionId) -> Result<(), Misuse> {
        match self.stalled.remove(&connection) {
            Some(weight) if weight > 0 => self.input(Input::Written { connection, weight }),
            _ => Ok(()),
        }
    }

    /// Tells whether the engine wants no more requests from a connection for now.
    #[must_use]
    pub fn is_paused(&self, connection: ConnectionId) -> bool {
        self.paused.contains(&connection)
    }

    /// Has the store keep requests until [`release_store`](Self::release_store).
    pub fn hold_store(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Has the store answer what it kept, and everything else at once again.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn release_store(&mut self) -> Result<(), Misuse> {
        for (token, request) in self.held.take().unwrap_or_default() {
            let result = self.store.execute(request, self.now);
            self.engine
                .handle(Input::Stored { token, result }, self.now)?;
        }
        self.settle()
    }

    /// Takes the requests that the store keeps, to answer them by hand.
    pub fn take_held(&mut self) -> Vec<(StoreToken, StoreRequest)> {
        self.held.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Answers a request that was taken by [`take_held`](Self::take_held).
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn complete(&mut self, token: StoreToken, result: StoreResult) -> Result<(), Misuse> {
        self.input(Input::Stored { token, result })
    }

    /// Has the relay confirm no subscription until [`release_relay`](Self::release_relay).
    pub fn hold_relay(&mut self) {
        self.unconfirmed.get_or_insert_default();
    }

    /// Has the relay confirm what it kept, and everything else at once again.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    pub fn release_relay(&mut self) -> Result<(), Misuse> {
        for token in self.unconfirmed.take().unwrap_or_default() {
            self.input(Input::Subscribed { token })?;
        }
        Ok(())
    }

    /// Has the relay keep the questions who is online elsewhere from now on, to be
    /// [taken](Self::take_questions) and answered by hand.
    pub fn hold_presence(&mut self) {
        self.questions.get_or_insert_default();
    }

    /// Takes the questions that the relay keeps.
    pub fn take_questions(&mut self) -> Vec<(StoreToken, Vec<UserId>)> {
        self.questions
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    fn settle(&mut self) -> Result<(), Misuse> {
        while let Some(effect) = self.engine.poll_effect() {
            if let Some(input) = self.carry_out(effect) {
                self.engine.handle(input, self.now)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Reply {
                connection,
                id,
                result,
                weight,
            } => {
                self.record(connection, Sent::Reply(id, result));
                return self.write(connection, weight);
            }
            Effect::Push {
                connections,
                event,
                weight,
            } => {
                // One effect may be for several connections, and gives an input for each.
                for connection in &connections {
                    self.record(*connection, Sent::Event(event.clone()));
                }
                for connection in connections {
                    if let Some(input) = self.write(connection, weight) {
                        // Only a connection that the engine does not know makes this fail.
                        let _ = self.engine.handle(input, self.now);
                    }
                }
            }
            Effect::Close { connection } => {
                self.record(connection, Sent::Closed);
                self.stalled.remove(&connection);
                self.paused.remove(&connection);
                return Some(Input::Disconnected { connection });
            }
            Effect::PauseReads { connection } => {
                self.paused.insert(connection);
            }
            Effect::ResumeReads { connection } => {
                self.paused.remove(&connection);
            }
            Effect::Store { token, request } => match &mut self.held {
                Some(held) => held.push((token, request)),
                None => {
                    let result = self.store.execute(request, self.now);
                    return Some(Input::Stored { token, result });
                }
            },
            Effect::Publish { channel, message } => self.published.push((channel, message)),
            Effect::Subscribe { token, channels } => {
                self.subscribed.extend(channels);
                match &mut self.unconfirmed {
                    Some(unconfirmed) => unconfirmed.push(token),
                    None => return Some(Input::Subscribed { token }),
                }
            }
            Effect::AskPresence { token, mut users } => match &mut self.questions {
                Some(questions) => questions.push((token, users)),
                None => {
                    users.retain(|user| self.elsewhere.contains(user));
                    let online = Some(users);
                    return Some(Input::Presence { token, online });
                }
            },
            Effect::Unsubscribe { channels } => {
                for channel in channels {
                    self.subscribed.remove(&channel);
                }
            }
            Effect::Told { ticket, result } => self.told.push((ticket, result)),
            Effect::Drained => self.drained = true,
        }
        None
    }

    fn write(&mut self, connection: ConnectionId, weight: u32) -> Option<Input> {
        match self.stalled.get_mut(&connection) {
            Some(unwritten) => {
                *unwritten = unwritten.saturating_add(weight);
                None
            }
            None => Some(Input::Written { connection, weight }),
        }
    }

    fn record(&mut self, connection: ConnectionId, sent: Sent) {
        self.sent.entry(connection).or_default().push(sent);
    }

    fn is_closed(&self, connection: ConnectionId) -> bool {
        self.sent
            .get(&connection)
            .is_some_and(|sent| sent.contains(&Sent::Closed))
    }
}
