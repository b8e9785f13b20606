//! The other nodes of the cluster, by their heartbeats: when one falls silent, what it told of its
//! users may be true no more.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::contract::Effect;
use crate::engine::timers::Alarm;
use crate::relay::{Channel, RelayMessage};
use crate::time::Timestamp;

/// How often everyone is asked about again after a node fell silent, each time after as long as it
/// had been silent.
const LOOKS: u32 = 4;

/// The nodes that were heard of, this one left out.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: BTreeMap<u64, Heard>,
    /// Counts this node's connections to the relay.
    line: u64,
}

/// What was heard of a node.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Timestamp,
    line: u64,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Engine {
    /// Begins to hear of other nodes and to be heard of.
    pub(super) fn join_nodes(&mut self) {
        if !self.config.clustered {
            return;
        }
        self.subscribe(vec![Channel::Nodes]);
        self.heartbeat();
        self.recheck_presence();
    }

    /// Says that this node lives, and asks about everyone when another has not said so for long.
    pub(super) fn heartbeat(&mut self) {
        self.timers
            .set(self.now + self.config.heartbeat, Alarm::Heartbeat);
        if self.refresh.relay_down {
            return;
        }
        self.say_alive();
        let before = self.nodes.known.len();
        let (now, silence) = (self.now, self.config.node_silence);
        self.nodes.known.retain(|_, heard| heard.at + silence > now);
        if self.nodes.known.len() < before {
            self.ask_about_all();
            // A relay may take a while to see that a machine is gone, and counts its node till then.
            for again in 1..=LOOKS {
                let wait = self.config.node_silence.saturating_mul(again);
                self.timers.set(now + wait, Alarm::AskAboutAll);
            }
        }
    }

    fn say_alive(&mut self) {
        let (origin, line) = (self.origin, self.nodes.line);
        self.publish(Channel::Nodes, RelayMessage::Heartbeat { origin, line });
    }

    /// A node lives. One that is new, or has a new connection to the relay, may have users that
    /// nobody was told of.
    pub(super) fn heard(&mut self, origin: u64, line: u64) {
        if origin == self.origin {
            return;
        }
        let at = self.now;
        let room = self.nodes.known.len() < self.config.nodes;
        match self.nodes.known.get_mut(&origin) {
            Some(heard) => {
                let news = heard.line < line;
                *heard = Heard {
                    at,
                    line: heard.line.max(line),
                };
                if news {
                    self.ask_about_all();
                }
            }
            None if room => {
                self.nodes.known.insert(origin, Heard { at, line });
                // It has to know this one as well, to notice its silence: should this node die
                // before its next heartbeat, nothing else would tell.
                if !self.refresh.relay_down {
                    self.say_alive();
                }
                self.ask_about_all();
            }
            None => {}
        }
    }

    /// A node ends: where its users went is known in a moment.
    pub(super) fn left(&mut self, origin: u64) {
        if origin != self.origin {
            self.nodes.known.remove(&origin);
            self.timers
                .set(self.now + self.config.offline_after, Alarm::AskAboutAll);
        }
    }

    /// Has the others told of everyone who came while the relay was away, asks about everyone, and
    /// gives the other nodes the time to come back as well.
    pub(super) fn nodes_relay_up(&mut self) {
        let now = self.now;
        self.nodes.line += 1;
        for heard in self.nodes.known.values_mut() {
            heard.at = now;
        }
        self.presence.grace_until = now + self.config.node_silence;
        self.say_alive();
        self.ask_about_all();
    }

    /// Says that this node ends, and that none of its users is here any more.
    pub(super) fn leave_nodes(&mut self) {
        if !self.config.clustered {
            return;
        }
        let mut channels: Vec<Channel> = self.users.keys().into_iter().map(Channel::User).collect();
        channels.push(Channel::Nodes);
        self.effects.push_back(Effect::Unsubscribe { channels });
        let origin = self.origin;
        self.publish(Channel::Nodes, RelayMessage::Leaving { origin });
    }
}
