//! What devices do: connect, log in, ask for anything, leave.

use super::World;
use super::queue::Step;
use crate::client::{Input, Offline, Status};
use crate::protocol::Request;
use crate::protocol::request::{Start, UserRef};

impl World<'_> {
    /// A device's user does something, and something else later.
    pub(super) fn act(&mut self, index: usize) {
        let errands = self
            .devices
            .get(index)
            .is_some_and(|device| !device.errands.is_empty());
        let pace = match (self.faults.stopped, errands) {
            (false, _) => self.plan.pace,
            (true, true) => 400,
            (true, false) => 1000,
        };
        let at = self.now + self.random.millis(20, pace);
        self.queue.push(at, Step::Act(index));
        let Some(device) = self.devices.get(index) else {
            return;
        };
        let settling = self.faults.stopped;
        let leaving = self.ledger.leaving || (settling && device.away);
        match &device.status {
            Status::Offline(_) if leaving => {}
            _ if leaving => self.feed_device(index, Input::Disconnect),
            // Who was replaced stays away in the end: two that replace each other never settle.
            Status::Offline(Offline::Ended(_)) if settling => {}
            Status::Offline(_) => self.feed_device(index, Input::Connect),
            Status::Anonymous | Status::LoginNeeded(_) => self.log_in_if_anonymous(index),
            Status::Online if !settling => self.act_online(index),
            Status::Online => self.do_errand(index),
            _ => {}
        }
    }

    /// Logs in, or registers first, if there is a connection and no session.
    pub(super) fn log_in_if_anonymous(&mut self, index: usize) {
        let Some(device) = self.devices.get(index) else {
            return;
        };
        let (Status::Anonymous | Status::LoginNeeded(_)) = &device.status else {
            return;
        };
        let entering =
            |request: &Request| matches!(request, Request::Login { .. } | Request::Register { .. });
        let Some(person) = self.people.get(device.person) else {
            return;
        };
        if device.asked.values().any(entering) {
            return;
        }
        let (name, password) = (person.valid_name(), person.password());
        let request = if person.registered {
            let who = match person.user {
                Some(user) if self.random.chance(200) => UserRef::Id(user),
                _ => UserRef::Name(name),
            };
            Request::Login {
                who,
                password,
                device: None,
                start: Start {
                    replay: self.random.chance(800),
                    have: Vec::new(),
                },
            }
        } else {
            Request::Register {
                name,
                password,
                invite: None,
            }
        };
        self.ask(index, request);
    }

    fn act_online(&mut self, index: usize) {
        match self.random.below(1000) {
            0..10 => self.feed_device(index, Input::Disconnect),
            _ => {
                if let Some(request) = self.request_of(index) {
                    self.ask(index, request);
                }
            }
        }
    }

    fn do_errand(&mut self, index: usize) {
        let device = self.devices.get_mut(index);
        if let Some(errand) = device.and_then(|device| device.errands.pop_front()) {
            self.ask(index, errand);
        }
    }
}
