//! Faults stop: everyone gets everything. All leave: nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::devices::Device;
use super::{AGREES_WITHIN, LEAVES_WITHIN, SETTLES_WITHIN, World};
use crate::client::{Offline, Status};
use crate::engine::Counts;
use crate::id::{ConversationRef, Seq, UserId};
use crate::log::FriendState;
use crate::relay::Channel;
use crate::store::Roster;

/// How often it is looked whether the end has come.
const LOOK: Duration = Duration::from_secs(2);

impl World<'_> {
    pub(super) fn finish(&mut self) {
        if self.report.failure.is_some() {
            return;
        }
        self.say(|_| "FAULTS STOP".to_owned());
        self.heal();
        self.send_some_away();
        let began = self.now;
        self.run_until_ok(SETTLES_WITHIN, Self::settled);
        self.report.settled_after = self.now.since(began);
        if self.report.failure.is_some() {
            return;
        }
        // Receipts go to those whom a node knows to be friends: by then each has read what it missed,
        // of users too whose connections are dead.
        self.run_until(self.now + 2 * self.plan.config.reconcile);
        self.say(|_| "ALL SPEAK".to_owned());
        self.have_everyone_speak();
        self.run_until_ok(AGREES_WITHIN, Self::errands_done);
        self.say(|_| "ALL READ".to_owned());
        self.have_everyone_read();
        self.run_until_ok(AGREES_WITHIN, Self::receipts_agree);
        self.check_logs();
        self.say(|_| "ALL LEAVE".to_owned());
        self.ledger.leaving = true;
        self.run_until_ok(LEAVES_WITHIN, Self::empty);
    }

    /// Some people leave with all their devices: the others must see them as offline.
    fn send_some_away(&mut self) {
        for person in 0..self.people.len() {
            let away = self.random.chance(250);
            for device in &mut self.devices {
                device.away |= away && device.person == person;
            }
        }
    }

    /// Lets time pass until a check holds; it must within `limit`.
    fn run_until_ok(&mut self, limit: Duration, check: fn(&Self) -> Result<(), String>) {
        let until = self.now + limit;
        while self.report.failure.is_none() {
            self.run_until(self.now + LOOK);
            match check(self) {
                Ok(()) => return,
                Err(problem) if self.now >= until => {
                    self.fail(format!("after {limit:?}: {problem}"));
                }
                Err(_) => {}
            }
        }
    }

    /// Everyone has everything, and every request is answered.
    pub(super) fn settled(&self) -> Result<(), String> {
        if self.unsettled_commits > 0 {
            let late = self.unsettled_commits;
            return Err(format!("the store has {late} changes to make"));
        }
        for (index, device) in self.devices.iter().enumerate() {
            let name = self.device_name(index);
            match &device.status {
                Status::Offline(_) if device.away => continue,
                Status::Online if !device.away => {}
                Status::Offline(Offline::Ended(_)) => continue,
                status => return Err(format!("{name} is {status:?}")),
            }
            if !device.session.is_settled() {
                let asked: Vec<_> = device.asked.values().collect();
                return Err(format!("{name} is not settled: {asked:?}"));
            }
            let Some(user) = device.view.user else {
                return Err(format!("{name} is online and nobody's"));
            };
            let Some(roster) = self.store.roster(user, self.now) else {
                return Err(format!("{name} is online, and user {user} is gone"));
            };
            self.has_everything(index, &roster)
                .map_err(|problem| format!("{name} of user {user}: {problem}"))?;
        }
        for link in self.links.values() {
            if link.at_node && link.at_device && !link.cut && !link.asked.is_empty() {
                let name = self.device_name(link.device);
                return Err(format!("{name} waits for {:?}", link.asked));
            }
        }
        Ok(())
    }

    fn has_everything(&self, index: usize, roster: &Roster) -> Result<(), String> {
        let Some(device) = self.devices.get(index) else {
            return Ok(());
        };
        let view = &device.view;
        let filled = |seq: &Seq| seq.0 > 0;
        let expected: BTreeMap<ConversationRef, Seq> = roster
            .conversations
            .iter()
            .map(|state| (state.conversation, state.last))
            .filter(|(_, last)| filled(last))
            .collect();
        let seen: BTreeMap<ConversationRef, Seq> = view
            .seen
            .iter()
            .map(|(conversation, seq)| (*conversation, *seq))
            .filter(|(_, seq)| filled(seq))
            .collect();
        if seen != expected {
            return Err(format!("saw {seen:?} of {expected:?}"));
        }
        // A node that crashes loses the last acknowledgements that it took. Each device repeats them.
        for state in &roster.conversations {
            let acknowledged = state.delivered == state.last || !view.replayed;
            if !acknowledged || state.read > state.delivered {
                return Err(format!("has everything and the store has {state:?}"));
            }
        }
        let shown = |state| matches!(state, FriendState::Friends | FriendState::RequestedBy);
        let friends: BTreeMap<UserId, FriendState> = roster
            .friends
            .iter()
            .filter(|item| shown(item.state))
            .map(|item| (item.user, item.state))
            .collect();
        if view.friends != friends {
            let known = &view.friends;
            return Err(format!("knows friends {known:?} of {friends:?}"));
        }
        let groups: BTreeSet<_> = roster.groups.iter().map(|item| item.group).collect();
        let invites: BTreeSet<_> = roster.invites.iter().map(|item| item.group).collect();
        // Who asked to join is not told that an invitation ended.
        let waits = |group| roster.waiting.iter().any(|(waiting, _)| *waiting == group);
        let unsure = view.invites.iter().copied().filter(|group| waits(*group));
        let invites: BTreeSet<_> = invites.into_iter().chain(unsure).collect();
        let invited = view.invites.clone();
        if view.groups != groups || invited != invites {
            let known = &view.groups;
            return Err(format!(
                "knows groups {known:?} of {groups:?}, invitations {invited:?} of {invites:?}"
            ));
        }
        self.knows_presence(index)?;
        self.session_stands(index, roster)
    }

    /// Tells whether a user has a session.
    pub(super) fn is_online(&self, user: UserId) -> bool {
        let here = |device: &Device| device.view.user == Some(user) && device.session.is_online();
        self.devices.iter().any(here)
    }

    /// A device shows of each friend whether that one is online.
    fn knows_presence(&self, index: usize) -> Result<(), String> {
        let Some(device) = self.devices.get(index) else {
            return Ok(());
        };
        for (friend, shown) in &device.view.online {
            let online = self.is_online(*friend);
            if online != *shown {
                return Err(format!("shows user {friend} online: {shown}, is {online}"));
            }
        }
        Ok(())
    }

    /// A session that is online stands in the store.
    fn session_stands(&self, index: usize, roster: &Roster) -> Result<(), String> {
        let session = self
            .devices
            .get(index)
            .and_then(|device| device.view.session);
        if session.is_none_or(|session| !roster.sessions.contains(&session)) {
            let standing = &roster.sessions;
            return Err(format!("is online with {session:?}, {standing:?} stand"));
        }
        Ok(())
    }

    /// Every log is in the store as it was committed, without a hole.
    fn check_logs(&mut self) {
        let lengths: Vec<_> = self.ledger.lengths().collect();
        for (place, length) in lengths {
            let log = self.store.log(place);
            let gapless = (1..=length).eq(log.iter().map(|entry| entry.seq.0));
            if !gapless {
                self.fail(format!("the log of {place:?} is not 1 to {length}"));
            }
        }
    }

    /// Nobody is there, and no node holds anything.
    fn empty(&self) -> Result<(), String> {
        for (index, device) in self.devices.iter().enumerate() {
            if !matches!(device.status, Status::Offline(_)) {
                let name = self.device_name(index);
                return Err(format!("{name} has not left: {:?}", device.status));
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(engine) = &node.engine else {
                return Err(format!("node {index} is down"));
            };
            let counts = Counts {
                // A read of changes may be under way at any moment.
                store_requests: 0,
                // The others live.
                nodes: 0,
                // What was tried is remembered.
                guarded: 0,
                // It lives by them.
                alarms: 0,
                ..engine.counts()
            };
            if counts != Counts::default() || engine.counts().store_requests > 1 {
                return Err(format!("node {index} holds {:?}", engine.counts()));
            }
            if node.relay.wanted.iter().any(|it| *it != Channel::Nodes) {
                return Err(format!("node {index} listens to {:?}", node.relay.wanted));
            }
        }
        Ok(())
    }
}
