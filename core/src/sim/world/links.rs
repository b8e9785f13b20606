//! Connections between devices and nodes: frames on their way, credit, breaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::World;
use super::faults::Fault;
use super::queue::{Down, Life, LinkId, Step, Up};
use crate::client;
use crate::engine;
use crate::id::{ConnectionId, ConversationRef, RequestId, Seq, UserId};
use crate::protocol::client::encode_request;
use crate::protocol::{Request, decode, encode};
use crate::time::Timestamp;

/// A connection, with what is known of it on both sides.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) device: usize,
    pub(super) life: Life,
    /// Its number at the node, since it arrived there.
    pub(super) connection: Option<ConnectionId>,
    /// Whether the node has it.
    pub(super) at_node: bool,
    /// Whether the node has told it to close.
    pub(super) closing: bool,
    /// Whether the device still waits for it to be made.
    pub(super) connecting: bool,
    /// Whether the device has it, or waits for it.
    pub(super) at_device: bool,
    /// Whether the device closed it: it reads nothing any more.
    pub(super) hung_up: bool,
    /// Whether it is broken: nothing gets through.
    pub(super) cut: bool,
    /// Whether the device reads nothing for now.
    pub(super) stalled: bool,
    /// Whether the node reads nothing for now.
    pub(super) paused: bool,
    inbox: VecDeque<Up>,
    outbox: VecDeque<Down>,
    up_at: Timestamp,
    down_at: Timestamp,
    /// Requests that the node has not answered, in order.
    pub(super) asked: VecDeque<(RequestId, Request)>,
    /// Whose session is on it.
    pub(super) user: Option<UserId>,
    /// How far the session has been sent each conversation.
    pub(super) seen: BTreeMap<ConversationRef, Seq>,
}

impl World<'_> {
    /// A device wants a connection.
    pub(super) fn connect(&mut self, device: usize) {
        let mut alive: Vec<usize> = (0..self.nodes.len()).collect();
        if !self.random.chance(100) {
            alive.retain(|node| self.nodes.get(*node).is_some_and(super::Node::takes));
        }
        let node = self.random.pick(&alive).unwrap_or(0);
        let epoch = self.nodes.get(node).map_or(0, |node| node.epoch);
        self.last_link += 1;
        let id = LinkId(self.last_link);
        let link = Link {
            device,
            life: Life { node, epoch },
            connection: None,
            at_node: false,
            closing: false,
            connecting: true,
            at_device: true,
            hung_up: false,
            cut: false,
            stalled: false,
            paused: false,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            up_at: self.now,
            down_at: self.now,
            asked: VecDeque::new(),
            user: None,
            seen: BTreeMap::new(),
        };
        self.links.insert(id, link);
        if let Some(device) = self.devices.get_mut(device) {
            device.link = Some(id);
        }
        let at = self.now + self.random.millis(1, 20);
        self.queue.push(at, Step::Arrive(id));
    }

    pub(super) fn arrive(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let life = link.life;
        let node = self.nodes.get_mut(life.node);
        let Some(node) = node.filter(|node| node.epoch == life.epoch && node.takes()) else {
            self.cut(id, true, true);
            return;
        };
        if link.cut {
            return;
        }
        node.last_connection += 1;
        let connection = ConnectionId(node.last_connection);
        node.open.insert(connection, id);
        link.connection = Some(connection);
        link.at_node = true;
        link.down_at = now;
        self.send_down(id, Down::Established);
        let input = engine::Input::Connected {
            connection,
            address: None,
        };
        self.feed(life, input);
    }

    /// Something leaves the device.
    pub(super) fn send_up(&mut self, id: LinkId, up: Up) {
        let delay = self.random.millis(0, 20);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.up_at = link.up_at.max(self.now + delay);
        self.queue.push(link.up_at, Step::Up(id, up));
    }

    /// Something arrives at the node.
    pub(super) fn up(&mut self, id: LinkId, up: Up) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.cut || !link.at_node || link.closing {
            return;
        }
        if link.paused {
            link.inbox.push_back(up);
            return;
        }
        let (life, Some(connection)) = (link.life, link.connection) else {
            return;
        };
        match up {
            Up::Request(request_id, request) => {
                link.asked.push_back((request_id, (*request).clone()));
                let request = if self.plan.json {
                    self.through_json(request_id, &request)
                } else {
                    *request
                };
                let input = engine::Input::Request {
                    connection,
                    id: Some(request_id),
                    request: Ok(request),
                };
                self.feed(life, input);
            }
            Up::End => {
                let at = self.now + self.random.millis(0, 2000);
                self.queue.push(at, Step::NodeLoses(id));
                if self.random.chance(500) {
                    self.feed(life, engine::Input::EndOfInput { connection });
                }
            }
        }
    }

    /// The node reads again what it left lying.
    pub(super) fn resume_reads(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.paused = false;
        let waiting = std::mem::take(&mut link.inbox);
        for up in waiting {
            self.queue.push(self.now, Step::Up(id, up));
        }
    }

    /// Something leaves the node.
    pub(super) fn send_down(&mut self, id: LinkId, down: Down) {
        let delay = self.random.millis(0, 20);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.outbox.push_back(down);
        link.down_at = link.down_at.max(self.now + delay);
        self.queue.push(link.down_at, Step::Down(id));
    }

    /// The next thing arrives at the device, unless that does not read.
    pub(super) fn down(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.cut || link.stalled || link.hung_up {
            return;
        }
        let Some(down) = link.outbox.pop_front() else {
            return;
        };
        let (device, life) = (link.device, link.life);
        let written = match &down {
            Down::Reply(_, _, weight) | Down::Event(_, weight) => Some(*weight),
            Down::Established | Down::Closed => None,
        };
        if let (Some(weight), true, Some(connection)) = (written, link.at_node, link.connection) {
            self.feed(life, engine::Input::Written { connection, weight });
        }
        match down {
            Down::Established => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.connecting = false;
                }
                self.feed_device(device, client::Input::Connected);
            }
            Down::Reply(request, result, _) => {
                let input = if self.plan.json {
                    let mut frame = Vec::new();
                    encode::reply(request, &result, &mut frame);
                    client::Input::Frame(frame)
                } else {
                    let (id, result) = (request, *result);
                    client::Input::Reply { id, result }
                };
                self.feed_device(device, input);
            }
            Down::Event(event, _) => {
                let input = if self.plan.json {
                    let mut frame = Vec::new();
                    encode::event(&event, &mut frame);
                    client::Input::Frame(frame)
                } else {
                    client::Input::Event(Arc::unwrap_or_clone(event))
                };
                self.feed_device(device, input);
            }
            Down::Closed => self.device_loses(id),
        }
    }

    /// The device reads again.
    pub(super) fn read_again(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !std::mem::take(&mut link.stalled) {
            return;
        }
        for _ in 0..link.outbox.len() {
            self.queue.push(self.now, Step::Down(id));
        }
    }

    /// Breaks a connection; each side learns of it or does not.
    pub(super) fn cut(&mut self, id: LinkId, device_learns: bool, node_learns: bool) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.cut = true;
        let (device, node) = (self.random.millis(0, 300), self.random.millis(0, 3000));
        // Who waits for a connection to be made gives up in the end.
        if device_learns || link.connecting {
            self.queue.push(self.now + device, Step::DeviceLoses(id));
        }
        if node_learns {
            self.queue.push(self.now + node, Step::NodeLoses(id));
        }
    }

    /// The device closes its side.
    pub(super) fn hang_up(&mut self, id: LinkId) {
        self.send_up(id, Up::End);
        let at = self.now + self.random.millis(0, 20);
        if let Some(link) = self.links.get_mut(&id) {
            link.hung_up = true;
            self.queue.push(at, Step::DeviceLoses(id));
        }
    }

    pub(super) fn device_loses(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut link.at_device, false) {
            return;
        }
        let (device, connecting) = (link.device, link.connecting);
        if let Some(device) = self.devices.get_mut(device) {
            device.link = None;
        }
        let input = if connecting {
            client::Input::ConnectFailed
        } else {
            client::Input::Disconnected
        };
        self.forget_if_gone(id);
        self.feed_device(device, input);
    }

    pub(super) fn node_loses(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut link.at_node, false) {
            return;
        }
        let (life, connection) = (link.life, link.connection);
        self.forget_if_gone(id);
        let node = self.nodes.get_mut(life.node);
        if let (Some(connection), Some(node)) = (connection, node)
            && node.epoch == life.epoch
        {
            node.open.remove(&connection);
            self.feed(life, engine::Input::Disconnected { connection });
        }
    }

    fn forget_if_gone(&mut self, id: LinkId) {
        if let Some(link) = self.links.get(&id)
            && !link.at_node
            && !link.at_device
        {
            self.links.remove(&id);
        }
    }

    /// Stops a device from reading for a while.
    pub(super) fn stall_some_link(&mut self) {
        let open: Vec<LinkId> = self.open_links();
        if let Some(id) = self.random.pick(&open)
            && let Some(link) = self.links.get_mut(&id)
        {
            link.stalled = true;
            let device = link.device;
            self.faults.count(Fault::ClientStops);
            self.say(|world| format!("{} stops reading", world.device_name(device)));
            let at = self.now + self.random.millis(200, 40_000);
            self.queue.push(at, Step::ReadAgain(id));
        }
    }

    /// Connections that both sides have and that work.
    pub(super) fn open_links(&self) -> Vec<LinkId> {
        let open = |link: &Link| link.at_node && link.at_device && !link.cut;
        self.links
            .iter()
            .filter(|(_, link)| open(link))
            .map(|(id, _)| *id)
            .collect()
    }

    /// What a node makes of a request's frame.
    fn through_json(&mut self, id: RequestId, request: &Request) -> Request {
        let mut frame = Vec::new();
        encode_request(id, request, &mut frame);
        match decode::request(&frame) {
            Ok(decoded) => decoded.request,
            Err(error) => {
                self.fail(format!("a request's frame cannot be read: {error:?}"));
                request.clone()
            }
        }
    }
}
