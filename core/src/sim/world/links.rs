//! Connections between devices and nodes: frames on their way, credit, breaks.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::World;
use super::faults::Fault;
use super::queue::{Down, Life, LinkId, Step, Up};
use crate::client;
use crate::engine;
use crate::id::{ConnectionId, ConversationRef, GroupId, RequestId, Seq, UserId};
use crate::protocol::client::encode_request;
use crate::protocol::{Request, RequestError, decode, encode};
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
    /// Whether it broke within a frame: what got through of that arrives before the end.
    pub(super) torn: bool,
    /// Whether the device reads nothing for now.
    pub(super) stalled: bool,
    /// Whether the node has been told that nothing follows.
    pub(super) input_ended: bool,
    /// Whether the node reads nothing for now.
    pub(super) paused: bool,
    inbox: VecDeque<Up>,
    outbox: VecDeque<Down>,
    up_at: Timestamp,
    down_at: Timestamp,
    /// Requests that the node has not answered, in order; without what could not be read.
    pub(super) asked: VecDeque<(Option<RequestId>, Option<Request>)>,
    /// Weight that the node has sent and that was not written yet.
    pub(super) unwritten: u32,
    /// When the node was last heard of a write, or began one, by its clock.
    pub(super) accepted_at: Timestamp,
    /// When the node last heard something, by its clock.
    pub(super) heard_at: Timestamp,
    /// Whose session is on it.
    pub(super) user: Option<UserId>,
    /// How far the session has been sent each conversation.
    pub(super) seen: BTreeMap<ConversationRef, Seq>,
    /// The groups whose end, for its user, the session has been sent, and which entries those are.
    pub(super) ended: BTreeMap<GroupId, Seq>,
}

impl Link {
    /// Tells whether a node has a session of a user on it.
    pub(super) fn has_session(&self, node: usize, user: UserId) -> bool {
        self.at_node && self.life.node == node && self.user == Some(user)
    }

    /// How many replies of the node's were not written yet.
    pub(super) fn replies_unwritten(&self) -> usize {
        let reply = |down: &&Down| matches!(down, Down::Reply(..));
        self.outbox.iter().filter(reply).count()
    }
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
            torn: false,
            stalled: false,
            input_ended: false,
            paused: false,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            up_at: self.now,
            down_at: self.now,
            asked: VecDeque::new(),
            unwritten: 0,
            accepted_at: self.now,
            heard_at: self.now,
            user: None,
            seen: BTreeMap::new(),
            ended: BTreeMap::new(),
        };
        self.links.insert(id, link);
        if let Some(device) = self.devices.get_mut(device) {
            device.link = Some(id);
            device.note_connecting();
        }
        let at = self.now + self.random.millis(1, 20);
        self.queue.push(at, Step::Arrive(id));
    }

    pub(super) fn arrive(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let (life, device) = (link.life, link.device);
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
        link.heard_at = now + node.ahead;
        link.connection = Some(connection);
        link.at_node = true;
        link.down_at = now;
        self.send_down(id, Down::Established);
        let input = engine::Input::Connected {
            connection,
            address: Some(self.address(device)),
        };
        self.feed(life, input);
    }

    /// The devices of one person are in one place.
    fn address(&self, device: usize) -> IpAddr {
        let person = self.devices.get(device).map_or(0, |device| device.person);
        let last = u8::try_from(person).unwrap_or(u8::MAX);
        IpAddr::from([192, 0, 2, last])
    }

    /// Something leaves the device.
    pub(super) fn send_up(&mut self, id: LinkId, up: Up) {
        let delay = self.random.millis(0, 20);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.inbox.push_back(up);
        link.up_at = link.up_at.max(self.now + delay);
        self.queue.push(link.up_at, Step::Up(id));
    }

    /// The next thing arrives at the node, unless that does not read.
    pub(super) fn up(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.cut || !link.at_node || link.closing || link.paused {
            return;
        }
        let (life, Some(connection)) = (link.life, link.connection) else {
            return;
        };
        match link.inbox.pop_front() {
            None => {}
            Some(Up::Request(request_id, request)) => {
                let request = if self.plan.json {
                    self.through_json(request_id, &request)
                } else {
                    *request
                };
                self.request_arrives(id, Some(request_id), Ok(request));
            }
            Some(Up::End) => {
                let at = self.now + self.random.millis(0, 2000);
                self.queue.push(at, Step::NodeLoses(id));
                if self.random.chance(500) {
                    link.input_ended = true;
                    self.feed(life, engine::Input::EndOfInput { connection });
                }
            }
        }
    }

    /// A node reads a request, or what is none.
    fn request_arrives(
        &mut self,
        id: LinkId,
        request_id: Option<RequestId>,
        request: Result<Request, RequestError>,
    ) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (life, Some(connection), user) = (link.life, link.connection, link.user) else {
            return;
        };
        let heard_at = self.clock(life.node);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.asked
            .push_back((request_id, request.as_ref().ok().cloned()));
        link.heard_at = heard_at;
        if let (
            Ok(Request::Ack {
                conversation,
                delivered,
                read,
            }),
            Some(user),
        ) = (&request, user)
        {
            self.ledger
                .acknowledged(user, *conversation, *delivered, *read);
        }
        let input = engine::Input::Request {
            connection,
            id: request_id,
            request,
        };
        self.feed(life, input);
        self.check_pipeline(id);
    }

    /// The node reads again what it left lying.
    pub(super) fn resume_reads(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let node = self.nodes.get(link.life.node).map(|node| node.ahead);
        // Who could not speak was not silent.
        link.heard_at = self.now + node.unwrap_or_default();
        link.paused = false;
        for _ in 0..link.inbox.len() {
            self.queue.push(self.now, Step::Up(id));
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
        let (device, life, now) = (link.device, link.life, self.now);
        let ahead = self.nodes.get(life.node).map(|node| node.ahead);
        let ahead = ahead.unwrap_or_default();
        let written = match &down {
            Down::Reply(_, _, weight) | Down::Event(_, weight) => Some(*weight),
            Down::Established | Down::Closed => None,
        };
        if let (Some(weight), true, Some(connection)) = (written, link.at_node, link.connection) {
            link.unwritten = link.unwritten.saturating_sub(weight);
            link.accepted_at = now + ahead;
            self.feed(life, engine::Input::Written { connection, weight });
        }
        if let (Down::Reply(id, result, _), Some(device)) = (&down, self.devices.get_mut(device)) {
            device.note_answered(*id, result.is_ok());
        }
        match down {
            Down::Established => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.connecting = false;
                }
                self.feed_device(device, client::Input::Connected);
            }
            down @ (Down::Reply(..) | Down::Event(..)) if self.plan.json => {
                let frame = down_frame(&down).unwrap_or_default();
                self.feed_device(device, client::Input::Frame(frame));
            }
            Down::Reply(id, result, _) => {
                let result = *result;
                self.feed_device(device, client::Input::Reply { id, result });
            }
            Down::Event(event, _) => {
                let event = Arc::unwrap_or_clone(event);
                self.feed_device(device, client::Input::Event(event));
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
        link.torn = self.plan.json && self.faults.rolls(Fault::TornFrame, &mut self.random);
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
        self.torn_down(id);
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
        self.torn_up(id);
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

    /// What a connection that broke within a frame still brought the device.
    fn torn_down(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !link.torn || !link.at_device || link.connecting || link.hung_up || link.stalled {
            return;
        }
        let device = link.device;
        if let Some(mut frame) = link.outbox.front().and_then(down_frame) {
            self.tear(&mut frame);
            self.feed_device(device, client::Input::Frame(frame));
        }
    }

    /// What a connection that broke within a frame still brought the node.
    fn torn_up(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !link.torn || !link.at_node || link.closing || link.paused {
            return;
        }
        if let Some(Up::Request(request_id, request)) = link.inbox.front() {
            let mut frame = Vec::new();
            encode_request(*request_id, request, &mut frame);
            self.tear(&mut frame);
            match decode::request(&frame) {
                Err(error) => self.request_arrives(id, error.id, Err(error.error)),
                Ok(request) => self.fail(format!("half a frame is a request: {request:?}")),
            }
        }
    }

    fn tear(&mut self, frame: &mut Vec<u8>) {
        self.faults.count(Fault::TornFrame);
        let most = (frame.len() as u64).saturating_sub(1);
        let kept = self.random.between(1, most.max(1));
        frame.truncate(usize::try_from(kept).unwrap_or(1));
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

/// What a node writes; `None` for what is no frame.
fn down_frame(down: &Down) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    match down {
        Down::Reply(id, result, _) => encode::reply(*id, result, &mut frame),
        Down::Event(event, _) => encode::event(event, &mut frame),
        Down::Established | Down::Closed => return None,
    }
    Some(frame)
}
