//! Nodes: an engine each, with a clock of its own, carried out against the rest of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::World;
use super::queue::{Down, Life, LinkId, Step};
use crate::engine::{Effect, Engine, Input, Repairs};
use crate::id::{ConnectionId, Place, Seq, StoreToken, UserId};
use crate::relay::Channel;
use crate::time::Timestamp;

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// Absent while the node is down.
    pub(super) engine: Option<Engine>,
    /// Counts its lives.
    pub(super) epoch: u64,
    /// How far its clock is ahead of the world's.
    pub(super) ahead: Duration,
    pub(super) last_connection: u64,
    pub(super) open: BTreeMap<ConnectionId, LinkId>,
    pub(super) draining: bool,
    /// Since when it has had no connection, by the world's clock: a jump of its own gives it no time
    /// to repeat a read.
    pub(super) alone_since: Option<Timestamp>,
    /// Reads for those who lag that are under way.
    pub(super) fetching: BTreeSet<StoreToken>,
    /// The newest roster of each user that it was told of.
    pub(super) told: BTreeMap<UserId, u64>,
    /// The messages that it knows to have been recalled.
    pub(super) recalled: BTreeSet<(Place, Seq)>,
    wake_at: Option<Timestamp>,
    /// What its earlier lives repaired.
    repaired: Repairs,
    pub(super) relay: Line,
}

/// A node's connection to the relay.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Counts the connections: what was on its way on an earlier one is lost.
    pub(super) number: u64,
    pub(super) up: bool,
    /// What the node wants to hear.
    pub(super) wanted: BTreeSet<Channel>,
    /// What the relay has subscribed it to.
    pub(super) subscribed: BTreeSet<Channel>,
    /// When the last command arrives at the relay.
    pub(super) command_at: Timestamp,
    /// When the last message or confirmation arrives at the node.
    pub(super) message_at: Timestamp,
}

impl Node {
    pub(super) fn new(ahead: Duration) -> Self {
        Self {
            engine: None,
            epoch: 0,
            ahead,
            last_connection: 0,
            open: BTreeMap::new(),
            draining: false,
            alone_since: None,
            fetching: BTreeSet::new(),
            told: BTreeMap::new(),
            recalled: BTreeSet::new(),
            wake_at: None,
            repaired: Repairs::default(),
            relay: Line::default(),
        }
    }

    /// Tells whether connections may be made to it.
    pub(super) const fn takes(&self) -> bool {
        self.engine.is_some() && !self.draining
    }

    /// What it repaired in all its lives.
    pub(super) fn repairs(&self) -> Repairs {
        let mut repairs = self.repaired;
        if let Some(engine) = &self.engine {
            repairs += engine.repairs();
        }
        repairs
    }
}

impl World<'_> {
    /// Starts a node that is down, with nothing in memory.
    pub(super) fn start_node(&mut self, index: usize) {
        let now = self.now;
        let connected =
            !self.random.chance(100) || self.faults.stopped || !self.plan.config.clustered;
        let seed = self.random.next();
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if node.engine.is_some() {
            return;
        }
        let mut config = self.plan.config.clone();
        config.seed = seed;
        node.engine = Some(Engine::new(config, now + node.ahead));
        node.last_connection = 0;
        node.draining = false;
        node.alone_since = Some(now);
        node.fetching.clear();
        node.told.clear();
        node.recalled.clear();
        node.wake_at = None;
        let line = node.relay.number;
        node.relay = Line {
            number: line + 1,
            up: connected,
            ..Line::default()
        };
        let life = Life {
            node: index,
            epoch: node.epoch,
        };
        self.say(|_| format!("node {index} starts"));
        if connected {
            self.attend(life);
        } else {
            self.feed(life, Input::RelayLost);
            let at = self.now + self.random.millis(100, 5000);
            let line = line + 1;
            self.queue.push(at, Step::RelayReturns { life, line });
        }
    }

    /// Ends a node's life, whatever is under way.
    pub(super) fn stop_node(&mut self, index: usize, down_for: Duration) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(engine) = node.engine.take() else {
            return;
        };
        node.repaired += engine.repairs();
        node.epoch += 1;
        node.open.clear();
        node.relay.up = false;
        let subscribed = std::mem::take(&mut node.relay.subscribed);
        self.leave_subscriptions(subscribed);
        self.queue.push(self.now + down_for, Step::Restart(index));
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.life.node == index && link.at_node)
            .map(|(id, _)| *id)
            .collect();
        for id in links {
            if let Some(link) = self.links.get_mut(&id) {
                link.at_node = false;
            }
            // The machine may be gone with the node: then nobody tells the devices.
            let told = self.random.chance(900);
            self.cut(id, told, false);
        }
    }

    /// What a node's clock shows.
    pub(super) fn clock(&self, node: usize) -> Timestamp {
        let ahead = self.nodes.get(node).map(|node| node.ahead);
        self.now + ahead.unwrap_or_default()
    }

    pub(super) fn wake_node(&mut self, life: Life) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(life.node) else {
            return;
        };
        if node.epoch != life.epoch || node.wake_at.is_none_or(|at| at > now) {
            return;
        }
        node.wake_at = None;
        let due = node.engine.as_ref().and_then(Engine::poll_timeout);
        if due.is_some_and(|due| due <= now + node.ahead) {
            self.feed(life, Input::Timeout);
        } else {
            self.attend(life);
        }
    }

    /// Gives a node an input, if it still lives, and carries out what follows.
    pub(super) fn feed(&mut self, life: Life, input: Input) {
        let now = self.now;
        let node = self.nodes.get_mut(life.node);
        let Some(node) = node.filter(|node| node.epoch == life.epoch) else {
            return;
        };
        let time = now + node.ahead;
        let Some(engine) = node.engine.as_mut() else {
            return;
        };
        if let Err(misuse) = engine.handle(input, time) {
            self.fail(format!("node {}: misuse: {misuse}", life.node));
            return;
        }
        while let Some(effect) = self.next_effect(life) {
            self.carry_out(life, effect);
        }
        self.check_counts(life);
        self.attend(life);
        self.note_alone(life);
    }

    /// Notes since when a node has had no connection.
    fn note_alone(&mut self, life: Life) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(life.node) else {
            return;
        };
        if !node.open.is_empty() {
            node.alone_since = None;
        } else if node.alone_since.is_none() {
            node.alone_since = Some(now);
        }
    }

    fn next_effect(&mut self, life: Life) -> Option<Effect> {
        let node = self.nodes.get_mut(life.node)?;
        (node.epoch == life.epoch).then_some(())?;
        node.engine.as_mut()?.poll_effect()
    }

    /// Sees to it that the node is woken when it wants to be.
    fn attend(&mut self, life: Life) {
        let Some(node) = self.nodes.get_mut(life.node) else {
            return;
        };
        let due = node.engine.as_ref().and_then(Engine::poll_timeout);
        let Some(due) = due else { return };
        let at = (due - node.ahead).max(self.now);
        if node.wake_at.is_none_or(|wake| at < wake) {
            node.wake_at = Some(at);
            self.queue.push(at, Step::WakeNode(life));
        }
    }

    fn link_of(&self, life: Life, connection: ConnectionId) -> Option<LinkId> {
        let node = self.nodes.get(life.node)?;
        node.open.get(&connection).copied()
    }

    fn carry_out(&mut self, life: Life, effect: Effect) {
        match effect {
            Effect::Reply {
                connection,
                id,
                result,
                weight,
            } => {
                if let Some(link) = self.link_to_write(life, connection) {
                    self.say_sent(life, link, &format_args!("{result:?}"));
                    self.charge(link, weight);
                    self.check_reply(link, id, &result);
                    self.send_down(link, Down::Reply(id, Box::new(result), weight));
                }
            }
            Effect::Push {
                connections,
                event,
                weight,
            } => {
                let event = Arc::new(event);
                for connection in connections {
                    if let Some(link) = self.link_to_write(life, connection) {
                        self.say_sent(life, link, &format_args!("{event:?}"));
                        self.check_credit(link, &event);
                        self.charge(link, weight);
                        self.check_event(link, &event);
                        self.send_down(link, Down::Event(event.clone(), weight));
                    }
                }
            }
            Effect::Close { connection } => self.close_link(life, connection),
            Effect::PauseReads { connection } => {
                if let Some(id) = self.link_of(life, connection)
                    && let Some(link) = self.links.get_mut(&id)
                {
                    link.paused = true;
                }
            }
            Effect::ResumeReads { connection } => {
                if let Some(id) = self.link_of(life, connection) {
                    self.resume_reads(id);
                }
            }
            Effect::Store { token, request } => self.submit(life, token, request),
            Effect::Publish { channel, message } => self.publish(life, channel, message),
            Effect::Subscribe { token, channels } => self.subscribe(life, token, channels),
            Effect::Unsubscribe { channels } => self.unsubscribe(life, channels),
            Effect::AskPresence { token, users } => self.ask_presence(life, token, users),
            // Nobody asks.
            Effect::Told { .. } => {}
            Effect::Drained => self.drained(life),
        }
    }

    fn say_sent(&mut self, life: Life, link: LinkId, what: &std::fmt::Arguments<'_>) {
        self.say(|world| {
            let device = world.links.get(&link).map_or(0, |link| link.device);
            let name = world.device_name(device);
            format!("node {} -> {name} ({}): {what}", life.node, link.0)
        });
    }

    /// Finds the connection that something is written to; nothing may follow its close.
    fn link_to_write(&mut self, life: Life, connection: ConnectionId) -> Option<LinkId> {
        let Some(id) = self.link_of(life, connection) else {
            let node = life.node;
            self.fail(format!(
                "node {node} writes to {connection:?}, which is gone"
            ));
            return None;
        };
        if self.links.get(&id).is_some_and(|link| link.closing) {
            let node = life.node;
            self.fail(format!(
                "node {node} writes to {connection:?} after its close"
            ));
        }
        Some(id)
    }

    fn close_link(&mut self, life: Life, connection: ConnectionId) {
        let Some(id) = self.link_to_write(life, connection) else {
            return;
        };
        if let Some(link) = self.links.get_mut(&id) {
            link.closing = true;
            link.user = None;
        }
        self.send_down(id, Down::Closed);
        let at = self.now + self.random.millis(0, 500);
        self.queue.push(at, Step::NodeLoses(id));
    }

    fn drained(&mut self, life: Life) {
        let node = life.node;
        self.say(|_| format!("node {node} is drained"));
        if self
            .links
            .values()
            .any(|link| link.life == life && link.at_node)
        {
            self.fail(format!("node {node} is drained and has connections"));
        }
        let down_for = self.random.millis(100, 3000);
        self.stop_node(node, down_for);
    }

    /// A drain is over within 30 s, whatever clients do.
    pub(super) fn check_drained(&mut self, life: Life) {
        let node = self.nodes.get(life.node);
        if node.is_some_and(|node| node.epoch == life.epoch && node.engine.is_some()) {
            self.fail(format!("node {} drains for more than 30 s", life.node));
        }
    }
}
