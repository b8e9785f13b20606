//! One group, some of whose members send to all others.

use std::collections::VecDeque;

use super::errands::Person;
use super::hub::{Hub, Player};
use super::ledger::Sequence;
use super::message::{Mark, now, read_text, write_number, write_text};
use super::order::Order;
use super::play::{Play, Tally};
use super::scan::{Line, scan};

/// The members in this worker. The first users of all are the senders.
#[derive(Debug)]
pub(super) struct Group<'a> {
    order: &'a Order,
    window: u64,
    request: Vec<u8>,
    /// Those of the senders that are here.
    senders: Vec<Sender>,
    members: Vec<Member>,
    sending: bool,
    tally: Tally,
}

#[derive(Debug)]
struct Sender {
    sent: u64,
    acknowledged: Sequence,
    /// The highest number that one of its messages has in the log.
    last: u64,
    /// Messages that every member here has got.
    complete: u64,
    /// Of each message behind those, how many members here have yet to get it.
    missing: VecDeque<usize>,
}

#[derive(Debug)]
struct Member {
    log: Sequence,
    /// How far it is with each of all senders.
    lanes: Vec<Sequence>,
}

impl<'a> Group<'a> {
    /// Makes the members in this worker of a group with so many senders.
    pub(super) fn new(
        order: &'a Order,
        people: &[Person],
        group: u64,
        senders: u32,
        window: u64,
    ) -> Self {
        let request = format!(
            ",\"op\":\"send\",\"to\":{{\"group\":{group}}},\"key\":\"{}-",
            order.run
        );
        let here = senders.saturating_sub(order.first).min(order.users);
        let sender = |_| Sender {
            sent: 0,
            acknowledged: Sequence::default(),
            last: 0,
            complete: 0,
            missing: VecDeque::new(),
        };
        let lanes = vec![Sequence::default(); usize::try_from(senders).unwrap_or(0)];
        let member = |person: &Person| Member {
            log: person.log,
            lanes: lanes.clone(),
        };
        Self {
            order,
            window,
            request: request.into_bytes(),
            senders: (0..here).map(sender).collect(),
            members: people.iter().map(member).collect(),
            sending: false,
            tally: Tally::new(),
        }
    }

    fn refill(&mut self, hub: &mut Hub, user: usize) {
        while self.sending
            && let Some(sender) = self.senders.get_mut(user)
            && let arrived = match self.order.raw {
                true => sender.complete,
                false => sender.complete.min(sender.acknowledged.last()),
            }
            && sender.sent - arrived < self.window
            && let Some(out) = hub.out(user)
        {
            sender.sent += 1;
            // The sender's own copy is no delivery.
            sender
                .missing
                .push_back(self.members.len().saturating_sub(1));
            self.tally.sent += 1;
            let mark = Mark {
                lane: self.order.index(user),
                number: sender.sent,
                due: now(),
            };
            let Order { run, size, raw, .. } = self.order;
            if *raw {
                write_text(run, mark, *size, out);
                out.push(b'\n');
                continue;
            }
            out.extend_from_slice(b"{\"id\":");
            write_number(sender.sent, out);
            out.extend_from_slice(&self.request);
            write_number(sender.sent, out);
            out.extend_from_slice(b"\",\"text\":\"");
            write_text(run, mark, *size, out);
            out.extend_from_slice(b"\"}\n");
        }
    }

    /// Takes the number of an entry that a member got.
    fn enter(&mut self, user: usize, seq: u64) {
        let number = self.order.index(user);
        if let Some(Member { log, .. }) = self.members.get_mut(user) {
            // Who joins begins at its own entry.
            if log.last() == 0 {
                log.begin_at(seq);
            }
            log.take(seq, &mut self.tally.faults, || format!("member {number}"));
        }
    }

    /// Takes a text that a member got.
    fn take(&mut self, hub: &mut Hub, user: usize, text: &[u8], at: u64) {
        let number = self.order.index(user);
        let faults = &mut self.tally.faults;
        let (Some(member), Some(mark)) =
            (self.members.get_mut(user), read_text(&self.order.run, text))
        else {
            return faults.add(|| {
                let text = String::from_utf8_lossy(text).into_owned();
                format!("member {number} got what nobody sent: {text:?}")
            });
        };
        let lane = usize::try_from(mark.lane).unwrap_or(usize::MAX);
        let Some(got) = member.lanes.get_mut(lane) else {
            return faults.add(|| format!("member {number} got a text of no sender {lane}"));
        };
        let whose = || format!("member {number} of sender {lane}");
        if !got.take(mark.number, faults, whose) || mark.lane == number {
            return;
        }
        self.tally.arrived(mark.due, at);
        let sender = mark.lane.checked_sub(self.order.index(0));
        let Some(sender) = sender.and_then(|it| usize::try_from(it).ok()) else {
            return;
        };
        if self
            .senders
            .get_mut(sender)
            .is_some_and(|it| it.is_complete(mark.number))
        {
            self.refill(hub, sender);
        }
    }
}

impl Sender {
    /// Notes that one more member has got a message; whether that makes any complete.
    fn is_complete(&mut self, number: u64) -> bool {
        let place = number.checked_sub(self.complete + 1);
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(missing) = place.and_then(|place| self.missing.get_mut(place)) {
            *missing = missing.saturating_sub(1);
        }
        let before = self.complete;
        while self.missing.front() == Some(&0) {
            self.missing.pop_front();
            self.complete += 1;
        }
        self.complete > before
    }
}

impl Player for Group<'_> {
    fn line(&mut self, hub: &mut Hub, user: usize, line: &[u8], at: u64) {
        if self.order.raw {
            return self.take(hub, user, line, at);
        }
        let number = self.order.index(user);
        let faults = &mut self.tally.faults;
        match scan(line) {
            Line::Text { seq, text, .. } => {
                self.enter(user, seq);
                self.take(hub, user, &text, at);
            }
            // The last to join are told so when all are ready.
            Line::Entry { seq } => self.enter(user, seq),
            Line::Sent { id, seq } => {
                let Some(sender) = self.senders.get_mut(user) else {
                    return faults.add(|| format!("member {number} got a reply to nothing"));
                };
                let whose = || format!("replies to sender {number}");
                if sender.acknowledged.take(id, faults, whose) {
                    self.tally.acknowledged += 1;
                }
                sender.last = sender.last.max(seq);
                self.refill(hub, user);
            }
            Line::Refused { error, .. } => faults.add(|| {
                let code = error.code.as_str();
                format!("sender {number} was refused: {code}: {}", error.message)
            }),
            Line::Notice { code } => {
                faults.add(|| format!("the server closes member {number}'s connection: {code}"));
            }
            Line::Malformed => faults.add(|| {
                let line = String::from_utf8_lossy(line).into_owned();
                format!("member {number} got what is no frame: {line:?}")
            }),
            Line::Done { .. } | Line::Other => {}
        }
    }

    fn closed(&mut self, _hub: &mut Hub, user: usize, why: &str) {
        let number = self.order.index(user);
        self.tally.faults.add(|| format!("member {number}: {why}"));
    }
}

impl Play for Group<'_> {
    fn go(&mut self, hub: &mut Hub) {
        self.sending = true;
        for user in 0..self.senders.len() {
            self.refill(hub, user);
        }
    }

    fn end(&mut self) {
        self.sending = false;
        self.tally.end();
    }

    fn is_stopped(&self) -> bool {
        let answered = |sender: &Sender| match self.order.raw {
            true => sender.missing.is_empty(),
            false => sender.acknowledged.last() == sender.sent,
        };
        self.senders.iter().all(answered)
    }

    fn last(&self) -> u64 {
        let last = self.senders.iter().map(|sender| sender.last).max();
        last.unwrap_or(0)
    }

    fn is_drained(&self, last: u64) -> bool {
        self.members.iter().all(|member| member.log.last() >= last)
            && self.senders.iter().all(|sender| sender.missing.is_empty())
    }

    fn settle(&mut self, last: u64) {
        for (user, member) in self.members.iter().enumerate() {
            let got = member.log.last();
            if got < last {
                let number = self.order.index(user);
                let what = || format!("member {number} got {got} entries of {last}");
                self.tally.faults.add(what);
            }
        }
        for (user, sender) in self.senders.iter().enumerate() {
            let (sent, acknowledged) = (sender.sent, sender.acknowledged.last());
            if !sender.missing.is_empty() || (acknowledged < sent && !self.order.raw) {
                let (number, complete) = (self.order.index(user), sender.complete);
                self.tally.faults.add(|| {
                    format!(
                        "sender {number} sent {sent}, of which {acknowledged} were acknowledged, \
                         and {complete} arrived everywhere"
                    )
                });
            }
        }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::{Sender, Sequence};

    #[test]
    fn a_message_is_complete_once_everyone_has_it_and_those_before() {
        let mut sender = Sender {
            sent: 3,
            acknowledged: Sequence::default(),
            last: 0,
            complete: 0,
            missing: VecDeque::from([2, 2, 2]),
        };
        let complete: Vec<bool> = [1, 2, 2, 1, 3, 3]
            .into_iter()
            .map(|number| sender.is_complete(number))
            .collect();
        // The second one is had by all before the first one is.
        assert_eq!(complete, [false, false, false, true, false, true]);
        assert_eq!((sender.complete, sender.missing.len()), (3, 0));
        assert!(!sender.is_complete(1), "it was complete already");
        assert!(!sender.is_complete(9), "it was not sent");
    }
}
