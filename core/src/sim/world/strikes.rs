//! What goes wrong once in a while, whatever is under way.

use std::time::Duration;

use super::World;
use super::faults::Fault;
use super::queue::{Life, Step};
use crate::client;
use crate::engine::Input;

impl World<'_> {
    pub(super) fn strike_later(&mut self) {
        let at = self.now + self.random.millis(100, self.plan.strikes);
        self.queue.push(at, Step::Strike);
    }

    pub(super) fn strike(&mut self) {
        if self.faults.stopped {
            return;
        }
        let strikes = self.faults.strikes();
        if let Some(fault) = self.random.pick(&strikes) {
            self.strike_with(fault);
        }
        self.strike_later();
    }

    fn strike_with(&mut self, fault: Fault) {
        let node = self.random.index(self.nodes.len());
        match fault {
            Fault::ClientStops => return self.stall_some_link(),
            Fault::RelayLost if !self.lose_relay(node) => return,
            Fault::RelayLost => {}
            Fault::RelayLostByAll => {
                let nodes = 0..self.nodes.len();
                let lost = nodes.filter(|node| self.lose_relay(*node)).count();
                if lost < self.nodes.len() {
                    return;
                }
            }
            Fault::RelayHang => {
                self.relay_hangs_until = self.now + self.random.millis(500, 8000);
                self.say(|_| "relay   hangs".to_owned());
            }
            Fault::StoreStall => {
                self.store_stalled_until = self.now + self.random.millis(200, 6000);
                self.say(|_| "store   stalls".to_owned());
            }
            Fault::Break | Fault::HalfOpen => {
                let open = self.open_links();
                let Some(link) = self.random.pick(&open) else {
                    return;
                };
                let (device, node) = match fault {
                    Fault::Break => (true, true),
                    _ => self
                        .random
                        .pick(&[(true, false), (false, true), (false, false)])
                        .unwrap_or_default(),
                };
                self.say(|world| {
                    let name = world
                        .links
                        .get(&link)
                        .map(|link| world.device_name(link.device))
                        .unwrap_or_default();
                    format!("{name}'s connection breaks; device learns: {device}, node: {node}")
                });
                self.cut(link, device, node);
            }
            Fault::Crash => {
                if self
                    .nodes
                    .get(node)
                    .is_none_or(|node| node.engine.is_none())
                {
                    return;
                }
                self.say(|_| format!("node {node} crashes"));
                let down_for = self.random.millis(10, 8000);
                self.stop_node(node, down_for);
            }
            Fault::Drain if !self.drain_node(node) => return,
            Fault::Drain => {}
            Fault::ClockJump => {
                let jump = self.random.millis(100, 100_000);
                if let Some(node) = self.nodes.get_mut(node) {
                    node.ahead += jump;
                }
                self.say(|_| format!("node {node}'s clock jumps by {jump:?}"));
                self.wake_early(node);
            }
            Fault::LoginsAtOnce if self.plan.devices_each < 2 => return,
            Fault::LoginsAtOnce => self.logins_at_once(),
            _ => return,
        }
        self.faults.count(fault);
    }

    /// Stops a node in good order, unless it is down or stops already.
    fn drain_node(&mut self, index: usize) -> bool {
        let Some(node) = self.nodes.get_mut(index) else {
            return false;
        };
        if !node.takes() {
            return false;
        }
        node.draining = true;
        let life = Life {
            node: index,
            epoch: node.epoch,
        };
        self.say(|_| format!("node {index} drains"));
        let at = self.now + Duration::from_secs(30);
        self.queue.push(at, Step::Kill(life));
        self.feed(life, Input::Drain);
        true
    }

    /// A clock that jumped makes alarms due at once.
    fn wake_early(&mut self, index: usize) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let life = Life {
            node: index,
            epoch: node.epoch,
        };
        self.feed(life, Input::Timeout);
    }

    /// All devices of one person log in at the same moment, wherever they get to.
    fn logins_at_once(&mut self) {
        let person = self.random.index(self.people.len());
        self.say(|_| format!("person {person} logs in everywhere"));
        for device in 0..self.devices.len() {
            let Some(found) = self.devices.get_mut(device) else {
                continue;
            };
            if found.person != person {
                continue;
            }
            found.eager = true;
            if found.session.is_online() {
                self.ask(device, crate::protocol::Request::Logout);
            } else if matches!(found.status, client::Status::Offline(_)) {
                self.feed_device(device, client::Input::Connect);
            } else {
                self.log_in_if_anonymous(device);
            }
        }
    }

    /// Everything works again.
    pub(super) fn heal(&mut self) {
        self.faults.stopped = true;
        self.store_stalled_until = self.now;
        self.relay_hangs_until = self.now;
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            let life = Life {
                node: index,
                epoch: node.epoch,
            };
            let (line, down) = (node.relay.number, node.engine.is_none());
            let at = self.now + self.random.millis(0, 1000);
            self.queue.push(at, Step::RelayReturns { life, line });
            if down {
                self.queue.push(at, Step::Restart(index));
            }
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.queue.push(self.now, Step::ReadAgain(link));
        }
    }
}
