//! What everyone does once all works again: speak in every conversation, then read it, so that what
//! each device is told of receipts rises once more and must agree with the store.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use crate::client::{Outcome, Status};
use crate::id::{ConversationRef, Seq, UserId};
use crate::log::{FriendState, Role};
use crate::name::Key;
use crate::protocol::Request;
use crate::store::Roster;

impl World<'_> {
    /// Has somebody speak in each conversation in which somebody may.
    pub(super) fn have_everyone_speak(&mut self) {
        let mut spoken = BTreeSet::new();
        for (index, user, roster) in self.present() {
            let may_write = |conversation| match conversation {
                ConversationRef::User(other) => {
                    let friends = &mut roster.friends.iter();
                    friends.any(|item| item.user == other && item.state == FriendState::Friends)
                }
                ConversationRef::Group(group) => {
                    let groups = &mut roster.groups.iter();
                    groups.any(|item| item.group == group && item.role != Role::Muted)
                }
            };
            for state in &roster.conversations {
                let to = state.conversation;
                let Some(place) = to.place(user) else {
                    continue;
                };
                let Some(key) = Key::new(&format!("last {:x}", self.random.next())) else {
                    continue;
                };
                if !may_write(to) || !spoken.insert(place) {
                    continue;
                }
                self.give_errand(
                    index,
                    Request::Send {
                        to,
                        key,
                        text: "the last word".into(),
                        reply_to: None,
                        meta: None,
                    },
                );
            }
        }
        self.ledger.spoken = spoken;
    }

    /// Has everyone read what was spoken.
    pub(super) fn have_everyone_read(&mut self) {
        self.ledger.reading = true;
        for (index, user, roster) in self.present() {
            for state in &roster.conversations {
                let conversation = state.conversation;
                let place = conversation.place(user);
                if place.is_some_and(|place| self.ledger.spoken.contains(&place)) {
                    let read = Some(state.last);
                    let request = Request::Ack {
                        conversation,
                        delivered: None,
                        read,
                    };
                    self.give_errand(index, request);
                }
            }
        }
    }

    /// One device that is online for each user who has one.
    fn present(&self) -> Vec<(usize, UserId, Roster)> {
        let mut present = BTreeMap::new();
        for (index, device) in self.devices.iter().enumerate() {
            if let (Status::Online, Some(user)) = (&device.status, device.view.user) {
                present.entry(user).or_insert(index);
            }
        }
        let with_roster = |(user, index)| Some((index, user, self.store.roster(user, self.now)?));
        present.into_iter().filter_map(with_roster).collect()
    }

    fn give_errand(&mut self, index: usize, request: Request) {
        if let Some(device) = self.devices.get_mut(index) {
            device.errands.push_back(request);
        }
    }

    /// An errand that did not succeed is done again, but a send, which the session repeats itself.
    pub(super) fn errand_failed(&mut self, index: usize, request: Request, outcome: &Outcome) {
        match request {
            Request::Ack { .. } if self.ledger.reading => self.give_errand(index, request),
            Request::Send { key, .. } if key.as_str().starts_with("last ") => {
                self.fail(format!("the last word is refused: {outcome:?}"));
            }
            _ => {}
        }
    }

    /// Everyone has done what they were given to do, and has everything.
    pub(super) fn errands_done(&self) -> Result<(), String> {
        for (index, device) in self.devices.iter().enumerate() {
            if let Some(errand) = device.errands.front() {
                let name = self.device_name(index);
                return Err(format!("{name} has yet to do {errand:?}"));
            }
        }
        self.settled()
    }

    /// The same, and what each device was told of receipts is what the store has.
    pub(super) fn receipts_agree(&self) -> Result<(), String> {
        self.errands_done()?;
        for (index, device) in self.devices.iter().enumerate() {
            let (Status::Online, Some(user)) = (&device.status, device.view.user) else {
                continue;
            };
            let Some(roster) = self.store.roster(user, self.now) else {
                continue;
            };
            self.knows_receipts(index, user, &roster)
                .map_err(|problem| {
                    format!("{} of user {user}: {problem}", self.device_name(index))
                })?;
        }
        Ok(())
    }

    fn knows_receipts(&self, index: usize, user: UserId, roster: &Roster) -> Result<(), String> {
        let Some(device) = self.devices.get(index) else {
            return Ok(());
        };
        let view = &device.view;
        for state in &roster.conversations {
            let conversation = state.conversation;
            let place = conversation.place(user);
            if place.is_none_or(|place| !self.ledger.spoken.contains(&place)) {
                continue;
            }
            let stored = (state.delivered, state.read);
            if stored != (state.last, state.last) {
                return Err(format!("read everything and the store has {state:?}"));
            }
            let told = view.own.get(&conversation).copied().unwrap_or_default();
            let told = (told.0.min(state.last), told.1.min(state.last));
            if told != stored {
                return Err(format!("knows of itself {told:?} of {state:?}"));
            }
            // Receipts are hints: what was lost of one who is away comes with the next login.
            if let (ConversationRef::User(other), Some(peer)) = (conversation, state.peer)
                && self.is_online(other)
            {
                let told = view.peers.get(&other).copied();
                let told: (Seq, Seq) = told.unwrap_or_default();
                if told != peer {
                    return Err(format!("knows of user {other} {told:?} of {state:?}"));
                }
            }
        }
        Ok(())
    }
}
