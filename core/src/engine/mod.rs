//! The state machine that carries out the chat: everything that Parlor decides, and nothing that it
//! does.
//!
//! ```text
//!        the driver (sockets, database, relay, clock)     |        the engine
//!                                                          |
//!   a connection is accepted, a frame is decoded  -- Input -->  handle(input, now)
//!   the store or the relay answers, time passes            |        |
//!                                                          |        v
//!   replies and events are encoded and written   <-- Effect --  poll_effect() until None
//!   store requests and publishes are carried out           |
//!   the driver sleeps until                      <-------------  poll_timeout()
//! ```
//!
//! A run of the engine is a list of `(Timestamp, Input)`: it can be logged and replayed, and gives
//! the same effects each time.

mod complete;
pub mod config;
mod connection;
mod connections;
pub mod contract;
mod delivery;
mod fetch;
mod guard;
mod marks;
mod nodes;
pub mod operator;
mod pending;
mod pipeline;
mod presence;
mod rate;
mod recalls;
mod recent;
mod refresh;
mod relayed;
pub mod repairs;
mod requests;
mod roster;
mod session;
mod sessions;
mod stopping;
mod table;
pub mod tally;
mod timers;
mod token;
pub mod trail;
mod user;
mod weight;
mod work;

use std::collections::{BTreeMap, VecDeque};

pub use config::{Allowance, Config, LoginGuard, Rate, Rates, Registration};
pub use contract::{Effect, Input, Misuse};
pub use operator::{Order, OrderDone, SessionHere};
pub use repairs::Repairs;
pub use tally::{Tally, Waits};
pub use token::Token;
pub use trail::{Step, StepKind};

use crate::engine::connection::Connection;
use crate::engine::fetch::Fetches;
use crate::engine::guard::{Guard, Network};
use crate::engine::marks::Marks;
use crate::engine::nodes::Nodes;
use crate::engine::pending::Pending;
use crate::engine::presence::Presence;
use crate::engine::recalls::Recalls;
use crate::engine::refresh::Refresh;
use crate::engine::stopping::Stopping;
use crate::engine::table::Table;
use crate::engine::timers::{Alarm, Timers};
use crate::engine::trail::Trail;
use crate::engine::user::{LocalGroup, LocalUser};
use crate::id::{ConnectionId, GroupId, StoreToken, SubscriptionToken, UserId};
use crate::random::Random;
use crate::store::StoreRequest;
use crate::time::Timestamp;

/// The chat's state machine for one node.
///
/// **In**: [`handle`](Self::handle) takes one [`Input`] and the present time, which never falls.
/// **Out**: after every `handle`, or after several, call [`poll_effect`](Self::poll_effect) until it
/// returns `None`, and carry the effects out in that order. **Time**: when
/// [`poll_timeout`](Self::poll_timeout) has come, call `handle` with [`Input::Timeout`].
///
/// The engine never panics, whatever clients send; a panic is a bug, and what it left behind must not
/// be used any more. An `Err` of `handle` is a bug of the driver; the input was ignored.
///
/// Every [`Effect::Store`] is answered by exactly one [`Input::Stored`], every
/// [`Effect::Subscribe`] by one [`Input::Subscribed`] unless the relay is lost meanwhile, every
/// [`Effect::AskPresence`] by exactly one [`Input::Presence`], and every connection ends with exactly
/// one [`Input::Disconnected`]. Every [`Input::Operator`] is answered by one [`Effect::Told`], unless
/// the engine has drained before.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    now: Timestamp,
    effects: VecDeque<Effect>,
    // Boxed, since a table has up to twice as many places as it has rows.
    connections: Table<ConnectionId, Box<Connection>>,
    last_connection: Option<ConnectionId>,
    /// How many connections come from where.
    addresses: BTreeMap<Network, usize>,
    guard: Guard,
    users: Table<UserId, Box<LocalUser>>,
    groups: Table<GroupId, LocalGroup>,
    pending: Table<StoreToken, Pending>,
    last_token: u64,
    /// Subscriptions that were not confirmed apart, at most one for each user, and for whom they were
    /// made.
    subscriptions: BTreeMap<SubscriptionToken, UserId>,
    last_subscription: u64,
    fetches: Fetches,
    recalls: Recalls,
    refresh: Refresh,
    presence: Presence,
    nodes: Nodes,
    marks: Marks,
    timers: Timers,
    stopping: Stopping,
    repairs: Repairs,
    tally: Tally,
    trail: Trail,
    random: Random,
    /// Tells this engine's messages to other nodes from theirs.
    origin: u64,
}

/// How many entries of each kind an engine holds: for tests of leaks, and for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections, with and without a session.
    pub connections: usize,
    /// Users with a session here, or with one a moment ago.
    pub users: usize,
    /// Groups with such a member.
    pub groups: usize,
    /// Store requests under way.
    pub store_requests: usize,
    /// Conversations that are being fetched for those who lag.
    pub fetches: usize,
    /// Raised cursors that are not written yet.
    pub marks: usize,
    /// Raised cursors that were written while a login was under way, whose answer may be older.
    pub marks_written: usize,
    /// Recalls that are remembered.
    pub recalls: usize,
    /// Users and conversations that wait to be read again.
    pub refresh: usize,
    /// Subscriptions that are not confirmed yet.
    pub subscriptions: usize,
    /// Friends of users here, whose presence elsewhere is followed.
    pub watched: usize,
    /// Questions to the relay under way.
    pub questions: usize,
    /// Other nodes that were heard of lately.
    pub nodes: usize,
    /// Addresses with connections.
    pub addresses: usize,
    /// Tries of passwords under way.
    pub tries: usize,
    /// The size of the largest table of the guard of logins.
    pub guarded: usize,
    /// Moments at which something is looked at again.
    pub alarms: usize,
}

impl Engine {
    /// Makes an engine that knows nobody yet.
    #[must_use]
    pub fn new(config: Config, now: Timestamp) -> Self {
        let random = Random::new(config.seed);
        let mut engine = Self {
            config,
            now,
            effects: VecDeque::new(),
            connections: Table::default(),
            last_connection: None,
            addresses: BTreeMap::new(),
            guard: Guard::default(),
            users: Table::default(),
            groups: Table::default(),
            pending: Table::default(),
            last_token: 0,
            subscriptions: BTreeMap::new(),
            last_subscription: 0,
            fetches: Fetches::default(),
            recalls: Recalls::default(),
            refresh: Refresh::default(),
            presence: Presence::default(),
            nodes: Nodes::default(),
            marks: Marks::default(),
            timers: Timers::default(),
            stopping: Stopping::default(),
            repairs: Repairs::default(),
            tally: Tally::default(),
            trail: Trail::default(),
            random,
            origin: 0,
        };
        engine.origin = engine.jitter(u64::MAX);
        engine.start_reconciling();
        engine.join_nodes();
        engine
    }

    /// Takes one input.
    ///
    /// # Errors
    /// Names the driver's mistake; the input was ignored.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<(), Misuse> {
        if now < self.now {
            return Err(Misuse::TimeWentBack);
        }
        self.now = now;
        match input {
            Input::Connected {
                connection,
                address,
            } => self.connected(connection, address)?,
            Input::Request {
                connection,
                id,
                request,
            } => {
                self.requested(connection, id, request)?;
            }
            Input::EndOfInput { connection } => self.input_ended(connection)?,
            Input::Disconnected { connection } => self.disconnected(connection)?,
            Input::Written { connection, weight } => self.written(connection, weight)?,
            Input::Stored { token, result } => self.stored(token, result)?,
            Input::Subscribed { token } => self.subscribed(token),
            Input::Relayed { message } => self.relayed(message),
            Input::RelayUp => self.relay_up(),
            Input::RelayLost => self.relay_lost(),
            Input::Presence { token, online } => self.presence_told(token, online)?,
            Input::Operator { ticket, order } => self.ordered(ticket, order),
            Input::Timeout => self.ring(),
            Input::Drain => self.drain(),
        }
        self.pump_fetches();
        self.pump_refresh();
        self.pump_presence();
        self.check_drained();
        Ok(())
    }

    /// Takes the next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front()?;
        self.tally.leaves(&effect);
        Some(effect)
    }

    /// Returns when to call [`handle`](Self::handle) with [`Input::Timeout`], if nothing happens
    /// before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Counts what the engine holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.connections.len(),
            users: self.users.len(),
            groups: self.groups.len(),
            store_requests: self.pending.len(),
            fetches: self.fetches.len(),
            marks: self.marks.len(),
            marks_written: self.marks.written(),
            recalls: self.recalls.len(),
            refresh: self.refresh.len(),
            subscriptions: self.subscriptions.len(),
            watched: self.presence.watched(),
            questions: self.presence.questions(),
            nodes: self.nodes.len(),
            addresses: self.addresses.len(),
            tries: self.guard.under_way(),
            guarded: self.guard.largest(),
            alarms: self.timers.len(),
        }
    }

    /// Counts what was repaired since the engine began.
    #[must_use]
    pub const fn repairs(&self) -> Repairs {
        self.repairs
    }

    /// Counts what was done since the engine began.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Tells whether the relay is there, as far as the engine was told.
    #[must_use]
    pub const fn relay_is_up(&self) -> bool {
        !self.refresh.relay_down
    }

    /// Tells whether the engine drains, or has drained.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stopping.draining()
    }

    /// Asks the store; the completion, which comes with the token returned, will be for `pending`.
    fn ask_store(&mut self, request: StoreRequest, pending: Pending) -> StoreToken {
        let token = self.next_token();
        if pending.reads_positions() {
            self.marks.login_asked(token);
        }
        self.pending.insert(token, pending);
        self.effects.push_back(Effect::Store { token, request });
        token
    }

    fn next_token(&mut self) -> StoreToken {
        self.last_token += 1;
        StoreToken(self.last_token)
    }

    /// Acts on every alarm that is due.
    fn ring(&mut self) {
        while let Some(alarm) = self.timers.pop(self.now) {
            match alarm {
                Alarm::Connection(connection) => self.check_connection(connection),
                Alarm::Offline(user) => self.check_offline(user),
                Alarm::Marks => self.flush_marks(),
                Alarm::Retry => self.retry(),
                Alarm::Reconcile => self.reconcile(),
                Alarm::Verify => self.verify(),
                Alarm::Drain => self.drain_overdue(),
                Alarm::Heartbeat => self.heartbeat(),
                Alarm::AskAboutAll => self.ask_about_all(),
                Alarm::Recheck => self.recheck_presence(),
                Alarm::Ask(user) => self.ask_about(user),
                Alarm::Members(token) => self.members_overdue(token),
            }
        }
    }

    /// Returns a number below `bound`, for what need not be secret.
    const fn jitter(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }
}
