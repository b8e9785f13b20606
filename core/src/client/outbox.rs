//! Sends that are not acknowledged: kept over breaks, repeated with the same key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::contract::{NotSent, Ticket};
use crate::id::ConversationRef;
use crate::protocol::Request;
use crate::time::Timestamp;

/// Every unacknowledged send, in order within its conversation.
#[derive(Debug)]
pub(super) struct Outbox {
    lanes: BTreeMap<ConversationRef, Lane>,
    /// The lanes that have something to send and may.
    ready: BTreeSet<ConversationRef>,
    count: usize,
    limit: usize,
    per_conversation: usize,
    /// Nothing is sent before this moment: the server asked for a pause.
    held_until: Option<Timestamp>,
}

/// The sends of one conversation.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Outgoing>,
    under_way: usize,
}

/// One send.
#[derive(Debug)]
struct Outgoing {
    ticket: Ticket,
    request: Request,
    under_way: bool,
}

impl Outbox {
    /// Makes an empty outbox.
    pub(super) const fn new(limit: usize, per_conversation: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            ready: BTreeSet::new(),
            count: 0,
            limit,
            per_conversation,
            held_until: None,
        }
    }

    /// Returns how many sends wait to be acknowledged.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Adds a send.
    pub(super) fn push(
        &mut self,
        to: ConversationRef,
        ticket: Ticket,
        request: Request,
    ) -> Result<(), NotSent> {
        if self.count >= self.limit {
            return Err(NotSent::OutboxFull);
        }
        self.count += 1;
        self.lanes.entry(to).or_default().queue.push_back(Outgoing {
            ticket,
            request,
            under_way: false,
        });
        self.note_ready(to);
        Ok(())
    }

    /// Takes the next send that may leave; it is under way from then on.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(ConversationRef, Ticket, Request)> {
        if self.held_until.is_some_and(|until| now < until) {
            return None;
        }
        self.held_until = None;
        let to = *self.ready.first()?;
        let lane = self.lanes.get_mut(&to)?;
        let found = lane.queue.iter_mut().find(|send| !send.under_way)?;
        found.under_way = true;
        lane.under_way += 1;
        let (ticket, request) = (found.ticket, found.request.clone());
        self.note_ready(to);
        Some((to, ticket, request))
    }

    /// Removes a send that came to its end.
    pub(super) fn finish(&mut self, to: ConversationRef, ticket: Ticket) {
        let Some(lane) = self.lanes.get_mut(&to) else {
            return;
        };
        let Some(index) = lane.queue.iter().position(|send| send.ticket == ticket) else {
            return;
        };
        if let Some(send) = lane.queue.remove(index) {
            self.count -= 1;
            lane.under_way -= usize::from(send.under_way);
        }
        if lane.queue.is_empty() {
            self.lanes.remove(&to);
        }
        self.note_ready(to);
    }

    /// Lets a send leave again, once nothing is held.
    pub(super) fn repeat(&mut self, to: ConversationRef, ticket: Ticket) {
        let Some(lane) = self.lanes.get_mut(&to) else {
            return;
        };
        let found = lane.queue.iter_mut().find(|send| send.ticket == ticket);
        if let Some(send) = found.filter(|send| send.under_way) {
            send.under_way = false;
            lane.under_way -= 1;
        }
        self.note_ready(to);
    }

    /// Sends nothing before a moment; of several the latest counts.
    pub(super) fn hold(&mut self, until: Timestamp) {
        self.held_until = self.held_until.max(Some(until));
    }

    /// Forgets what is under way: the connection broke. Everything leaves again.
    pub(super) fn broken(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.under_way = 0;
            for send in &mut lane.queue {
                send.under_way = false;
            }
        }
        self.ready = self.lanes.keys().copied().collect();
        self.held_until = None;
    }

    /// Empties the outbox; returns whose sends these were.
    pub(super) fn clear(&mut self) -> Vec<Ticket> {
        self.count = 0;
        self.held_until = None;
        self.ready.clear();
        std::mem::take(&mut self.lanes)
            .into_values()
            .flat_map(|lane| lane.queue)
            .map(|send| send.ticket)
            .collect()
    }

    /// Returns when what is held may leave.
    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.held_until.filter(|_| !self.ready.is_empty())
    }

    /// Keeps `ready` true for one lane.
    fn note_ready(&mut self, to: ConversationRef) {
        let ready = self.lanes.get(&to).is_some_and(|lane| {
            lane.under_way < self.per_conversation && lane.under_way < lane.queue.len()
        });
        if ready {
            self.ready.insert(to);
        } else {
            self.ready.remove(&to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::name::Key;

    const BOB: ConversationRef = ConversationRef::User(UserId(2));
    const EVE: ConversationRef = ConversationRef::User(UserId(3));

    fn send(to: ConversationRef, number: u64) -> Request {
        Request::Send {
            to,
            key: Key::new(&format!("k{number}")).unwrap(),
            text: "x".into(),
            reply_to: None,
            meta: None,
        }
    }

    fn filled(per_conversation: usize) -> Outbox {
        let mut outbox = Outbox::new(4, per_conversation);
        for (to, number) in [(EVE, 1), (BOB, 2), (EVE, 3), (BOB, 4)] {
            outbox.push(to, Ticket(number), send(to, number)).unwrap();
        }
        outbox
    }

    fn drained(outbox: &mut Outbox, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| outbox.next(Timestamp(now)))
            .map(|(_, ticket, _)| ticket.0)
            .collect()
    }

    #[test]
    fn one_send_of_each_conversation_is_under_way() {
        let mut outbox = filled(1);
        assert_eq!(drained(&mut outbox, 0), [2, 1]);
        outbox.finish(BOB, Ticket(2));
        assert_eq!(drained(&mut outbox, 0), [4]);
        assert_eq!(outbox.len(), 3);
    }

    #[test]
    fn more_may_be_under_way_where_configured() {
        assert_eq!(drained(&mut filled(2), 0), [2, 4, 1, 3]);
    }

    #[test]
    fn a_conversation_whose_sends_are_all_under_way_delays_no_other() {
        let mut outbox = Outbox::new(4, 2);
        for (to, number) in [(BOB, 1), (EVE, 2)] {
            outbox.push(to, Ticket(number), send(to, number)).unwrap();
        }
        assert_eq!(drained(&mut outbox, 0), [1, 2]);
    }

    #[test]
    fn a_full_outbox_refuses() {
        let refused = filled(1).push(BOB, Ticket(9), send(BOB, 9));
        assert_eq!(refused, Err(NotSent::OutboxFull));
    }

    #[test]
    fn a_repeated_send_leaves_before_those_behind_it_and_not_before_its_time() {
        let mut outbox = filled(1);
        drained(&mut outbox, 0);
        outbox.repeat(BOB, Ticket(2));
        outbox.hold(Timestamp(100));
        outbox.hold(Timestamp(50));
        assert_eq!(outbox.timeout(), Some(Timestamp(100)));
        assert_eq!(drained(&mut outbox, 99), [0; 0]);
        assert_eq!(drained(&mut outbox, 100), [2]);
        assert_eq!(outbox.timeout(), None);
    }

    #[test]
    fn a_break_lets_everything_leave_again_in_order() {
        let mut outbox = filled(1);
        drained(&mut outbox, 0);
        outbox.hold(Timestamp(100));
        outbox.broken();
        assert_eq!(drained(&mut outbox, 1), [2, 1]);
    }

    #[test]
    fn emptying_names_every_send() {
        let mut outbox = filled(1);
        assert_eq!(outbox.clear(), [2, 4, 1, 3].map(Ticket));
        assert_eq!(outbox.len(), 0);
        assert_eq!(drained(&mut outbox, 0), [0; 0]);
    }

    #[test]
    fn an_end_that_is_not_known_changes_nothing() {
        let mut outbox = filled(1);
        outbox.finish(BOB, Ticket(77));
        outbox.repeat(BOB, Ticket(77));
        outbox.repeat(BOB, Ticket(2));
        assert_eq!(outbox.len(), 4);
        assert_eq!(drained(&mut outbox, 0), [2, 1]);
    }
}
