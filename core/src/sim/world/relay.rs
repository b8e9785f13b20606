//! The relay: as lossy as a publish-subscribe server can be.

use super::World;
use super::faults::Fault;
use super::nodes::Line;
use super::queue::{Life, Step};
use crate::engine::Input;
use crate::id::SubscriptionToken;
use crate::relay::{Channel, RelayMessage};

impl World<'_> {
    /// Returns a node's connection to the relay, if that node still lives.
    fn line(&mut self, life: Life) -> Option<&mut Line> {
        let node = self.nodes.get_mut(life.node)?;
        (node.epoch == life.epoch).then_some(&mut node.relay)
    }

    /// The same, if it is that connection still.
    fn same_line(&mut self, life: Life, line: u64) -> Option<&mut Line> {
        self.line(life)
            .filter(|found| found.number == line && found.up)
    }

    pub(super) fn publish(&mut self, life: Life, channel: Channel, message: RelayMessage) {
        let delay = self.random.millis(0, 2);
        let now = self.now;
        let Some(line) = self.line(life).filter(|line| line.up) else {
            return;
        };
        line.command_at = line.command_at.max(now + delay);
        let at = line.command_at;
        let from = life.node;
        self.queue.push(
            at,
            Step::Published {
                from,
                channel,
                message,
            },
        );
    }

    /// The relay hands a message to every node that has subscribed, the publisher included.
    pub(super) fn published(&mut self, from: usize, channel: Channel, message: &RelayMessage) {
        if self.relay_hangs_until > self.now {
            return;
        }
        for node in 0..self.nodes.len() {
            let Some(target) = self.nodes.get(node) else {
                continue;
            };
            let life = Life {
                node,
                epoch: target.epoch,
            };
            let line = target.relay.number;
            if !target.relay.up || !target.relay.subscribed.contains(&channel) {
                continue;
            }
            if self.faults.hits(Fault::RelayDrop, &mut self.random) {
                self.say(|_| format!("relay   LOST from node {from} to node {node}: {message:?}"));
                continue;
            }
            let times = 1 + usize::from(self.faults.hits(Fault::RelayRepeat, &mut self.random));
            for _ in 0..times {
                self.hand_on(life, line, message.clone());
            }
        }
    }

    fn hand_on(&mut self, life: Life, line: u64, message: RelayMessage) {
        let reordered = self.faults.hits(Fault::RelayReorder, &mut self.random);
        let late = reordered || self.faults.hits(Fault::RelayDelay, &mut self.random);
        let delay = if late {
            self.random.millis(5, 2000)
        } else {
            self.random.millis(0, 2)
        };
        let mut at = self.now + delay;
        if !reordered && let Some(line) = self.same_line(life, line) {
            at = at.max(line.message_at);
            line.message_at = at;
        }
        self.queue.push(
            at,
            Step::Relayed {
                life,
                line,
                message,
            },
        );
    }

    pub(super) fn relayed(&mut self, life: Life, line: u64, message: RelayMessage) {
        if self.same_line(life, line).is_some() {
            if let RelayMessage::Entry(entry) = &message {
                self.note_recall(life, entry);
            }
            self.feed(life, Input::Relayed { message });
        }
    }

    pub(super) fn subscribe(
        &mut self,
        life: Life,
        token: SubscriptionToken,
        channels: Vec<Channel>,
    ) {
        let late = self.faults.hits(Fault::ConfirmLate, &mut self.random);
        let delay = self.random.millis(0, if late { 3000 } else { 3 });
        let now = self.now;
        let Some(line) = self.line(life) else { return };
        line.wanted.extend(channels.iter().copied());
        if !line.up {
            return;
        }
        line.command_at = line.command_at.max(now + delay);
        let (at, line) = (line.command_at, line.number);
        self.queue.push(
            at,
            Step::Subscribe {
                life,
                line,
                token,
                channels,
            },
        );
    }

    pub(super) fn unsubscribe(&mut self, life: Life, channels: Vec<Channel>) {
        let now = self.now;
        let Some(line) = self.line(life) else { return };
        for channel in &channels {
            line.wanted.remove(channel);
        }
        if !line.up {
            return;
        }
        line.command_at = line.command_at.max(now);
        let (at, line) = (line.command_at, line.number);
        self.queue.push(
            at,
            Step::Unsubscribe {
                life,
                line,
                channels,
            },
        );
    }

    pub(super) fn relay_subscribes(
        &mut self,
        life: Life,
        line: u64,
        token: SubscriptionToken,
        channels: Vec<Channel>,
    ) {
        let late = self.faults.hits(Fault::ConfirmLate, &mut self.random);
        let delay = self.random.millis(0, if late { 3000 } else { 3 });
        let now = self.now;
        let Some(found) = self.same_line(life, line) else {
            return;
        };
        found.subscribed.extend(channels);
        found.message_at = found.message_at.max(now + delay);
        let at = found.message_at;
        self.queue.push(at, Step::Confirmed { life, line, token });
    }

    pub(super) fn relay_unsubscribes(&mut self, life: Life, line: u64, channels: &[Channel]) {
        if let Some(line) = self.same_line(life, line) {
            for channel in channels {
                line.subscribed.remove(channel);
            }
        }
    }

    pub(super) fn confirmed(&mut self, life: Life, line: u64, token: SubscriptionToken) {
        if self.same_line(life, line).is_some() {
            self.feed(life, Input::Subscribed { token });
        }
    }

    /// Breaks a node's connection to the relay, if it has one; it comes back after a while.
    pub(super) fn lose_relay(&mut self, node: usize) -> bool {
        let clustered = self.plan.config.clustered;
        let Some(found) = self.nodes.get_mut(node) else {
            return false;
        };
        if !found.relay.up || found.engine.is_none() || !clustered {
            return false;
        }
        found.relay.up = false;
        found.relay.number += 1;
        let subscribed = std::mem::take(&mut found.relay.subscribed);
        let line = found.relay.number;
        let life = Life {
            node,
            epoch: found.epoch,
        };
        let noticed = self.now + self.random.millis(0, 1500);
        let back = noticed + self.random.millis(50, 10_000);
        self.say(|_| format!("relay   node {node} loses it"));
        self.queue.push(noticed, Step::RelayLost(life));
        self.queue.push(back, Step::RelayReturns { life, line });
        self.leave_subscriptions(subscribed);
        true
    }

    /// A node learns that the relay is away, unless it is back already.
    pub(super) fn relay_lost(&mut self, life: Life) {
        if self.line(life).is_some_and(|line| !line.up) {
            self.feed(life, Input::RelayLost);
        }
    }

    /// The connection is there again, and everything is subscribed to before the node is told.
    pub(super) fn relay_returns(&mut self, life: Life, number: u64) {
        let now = self.now;
        let delay = self.random.millis(0, 500);
        let Some(line) = self.line(life) else { return };
        if line.number != number || line.up {
            return;
        }
        line.up = true;
        line.subscribed.clone_from(&line.wanted);
        line.command_at = now;
        line.message_at = now + delay;
        let (at, line) = (line.message_at, number);
        self.queue.push(at, Step::RelayUp { life, line });
    }

    pub(super) fn relay_up(&mut self, life: Life, line: u64) {
        if self.same_line(life, line).is_some() {
            self.say(|_| format!("relay   node {} has it back", life.node));
            self.feed(life, Input::RelayUp);
        }
    }
}
