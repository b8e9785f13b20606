//! Pairs of users, one of which sends to the other.

use std::collections::VecDeque;

use parlor_core::protocol::RequestError;

use super::errands::{Person, retry_at};
use super::hub::{Hub, Player};
use super::ledger::Sequence;
use super::message::{Mark, now, read_text, write_number, write_text};
use super::order::Order;
use super::play::{Play, Tally};
use super::scan::{Line, scan};

/// When a pair's next message is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// When fewer than so many are under way.
    Window(u64),
    /// So many a second, by all pairs of this worker together, whatever comes back.
    Rate(f64),
}

/// The pairs of a worker: user 0 sends to user 1, 2 to 3, and so on.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    order: &'a Order,
    pace: Pace,
    /// How many messages each pair sends, where that is limited.
    most: u64,
    lanes: Vec<Lane>,
    sending: bool,
    /// When to send what once more: the moment, the pair and the message's number.
    again: Vec<(u64, usize, u64)>,
    /// When an open loop began.
    began: u64,
    /// How many messages an open loop has sent.
    paced: u64,
    tally: Tally,
}

#[derive(Debug)]
struct Lane {
    /// What stands in each of its requests between the number and the key's last digits.
    request: Vec<u8>,
    sent: u64,
    acknowledged: u64,
    /// The requests that are not answered, by the numbers of their messages, in order.
    asked: VecDeque<u64>,
    /// The messages behind those that have come everywhere.
    flights: VecDeque<Flight>,
    /// How many those are.
    complete: u64,
    /// Whether any was refused: then later ones may stand before it in the log.
    refused: bool,
    /// The log as the sender is told it, and as the receiver is.
    echoed: Sequence,
    received: Sequence,
}

/// A message on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    due: u64,
    /// The number of its entry, once someone has told it.
    seq: Option<u64>,
    /// Who has told it: the reply, the sender's event, the receiver's.
    told: u8,
}

/// How many tell a message's entry.
const TELLERS: u8 = 3;

impl<'a> Pairs<'a> {
    /// Makes the pairs of these users; each sends `most` messages at most.
    pub(super) fn new(order: &'a Order, people: &[Person], pace: Pace, most: Option<u64>) -> Self {
        let lane = |pair: &[Person]| {
            let receiver = pair.last().map_or(0, |person| person.id);
            let head = format!(
                ",\"op\":\"send\",\"to\":{{\"user\":{receiver}}},\"key\":\"{}-",
                order.run
            );
            Lane {
                request: head.into_bytes(),
                sent: 0,
                acknowledged: 0,
                asked: VecDeque::new(),
                flights: VecDeque::new(),
                complete: 0,
                refused: false,
                echoed: Sequence::default(),
                received: Sequence::default(),
            }
        };
        Self {
            order,
            pace,
            most: most.unwrap_or(u64::MAX),
            lanes: people.chunks(2).map(lane).collect(),
            sending: false,
            again: Vec::new(),
            began: 0,
            paced: 0,
            tally: Tally::new(),
        }
    }

    /// Tells whether every pair has sent all that it may, and all of it has arrived.
    pub(super) fn is_complete(&self) -> bool {
        let complete = |lane: &Lane| lane.sent == self.most && self.is_settled(lane);
        self.lanes.iter().all(complete)
    }

    /// Sends the next message of a pair.
    fn send(&mut self, hub: &mut Hub, pair: usize, due: u64) {
        let Some(lane) = self.lanes.get_mut(pair) else {
            return;
        };
        lane.sent += 1;
        self.tally.sent += 1;
        let number = lane.sent;
        if !self.order.raw {
            lane.flights.push_back(Flight {
                due,
                seq: None,
                told: 0,
            });
        }
        self.write(hub, pair, number, due);
    }

    /// Writes a message of a pair.
    fn write(&mut self, hub: &mut Hub, pair: usize, number: u64, due: u64) {
        let lane_number = self.order.index(pair * 2) / 2;
        let (Some(lane), Some(out)) = (self.lanes.get_mut(pair), hub.out(pair * 2)) else {
            return;
        };
        let mark = Mark {
            lane: lane_number,
            number,
            due,
        };
        let Order { run, size, raw, .. } = self.order;
        if *raw {
            write_text(run, mark, *size, out);
            out.push(b'\n');
            return;
        }
        lane.asked.push_back(number);
        out.extend_from_slice(b"{\"id\":");
        write_number(number, out);
        out.extend_from_slice(&lane.request);
        write_number(number, out);
        out.extend_from_slice(b"\",\"text\":\"");
        write_text(run, mark, *size, out);
        out.extend_from_slice(b"\"}\n");
    }

    /// Sends once more what was refused for a while.
    fn repeat(&mut self, hub: &mut Hub) {
        if self.again.is_empty() {
            return;
        }
        let now = now();
        let (due, later) = self.again.iter().partition(|(at, ..)| *at <= now);
        self.again = later;
        let due: Vec<(u64, usize, u64)> = due;
        for (_, pair, number) in due {
            let flight = self.lanes.get_mut(pair).and_then(|it| it.flight(number));
            if let Some(Flight { due, .. }) = flight.copied() {
                self.write(hub, pair, number, due);
            }
        }
    }

    /// Sends what a pair may have under way.
    fn refill(&mut self, hub: &mut Hub, pair: usize) {
        let Pace::Window(window) = self.pace else {
            return;
        };
        while self.sending
            && let Some(lane) = self.lanes.get(pair)
            && lane.sent < self.most
            && lane.sent - self.arrived(lane) < window
        {
            self.send(hub, pair, now());
        }
    }

    /// Returns how many messages are acknowledged and received.
    fn arrived(&self, lane: &Lane) -> u64 {
        match self.order.raw {
            true => lane.received.last(),
            false => lane.received.last().min(lane.acknowledged),
        }
    }

    fn is_settled(&self, lane: &Lane) -> bool {
        self.arrived(lane) == lane.sent && (self.order.raw || lane.echoed.last() == lane.sent)
    }

    /// Takes a text that someone got.
    fn take(&mut self, user: usize, seq: u64, text: &[u8], at: u64) {
        let pair = user / 2;
        let number = self.order.index(user);
        let (Some(lane), faults) = (self.lanes.get_mut(pair), &mut self.tally.faults) else {
            return;
        };
        let (log, whose) = match user.is_multiple_of(2) {
            true => (&mut lane.echoed, "sender"),
            false => (&mut lane.received, "receiver"),
        };
        if !log.take(seq, faults, || format!("{whose} {number}")) {
            return;
        }
        let mark = read_text(&self.order.run, text);
        let mark = mark.filter(|mark| {
            // Whether entries stand in the order of their sending is for the replies to tell: a
            // refusal that explains another order may be read after what the receiver gets.
            mark.lane == number / 2
                && (self.order.raw || lane.told(mark.number, seq, Some(mark.due)))
        });
        let Some(mark) = mark else {
            return faults.add(|| {
                let text = String::from_utf8_lossy(text).into_owned();
                format!("user {number} got as entry {seq} what was not sent as such: {text:?}")
            });
        };
        if !user.is_multiple_of(2) {
            self.tally.arrived(mark.due, at);
        }
    }

    /// Takes the reply to a message.
    fn acknowledge(&mut self, pair: usize, id: u64, seq: u64) {
        let number = self.order.index(pair * 2);
        let (Some(lane), faults) = (self.lanes.get_mut(pair), &mut self.tally.faults) else {
            return;
        };
        let asked = lane.asked.pop_front();
        if asked != Some(id) || !(lane.refused || id == seq) || !lane.told(id, seq, None) {
            return faults.add(|| {
                format!("sender {number}: message {id} became entry {seq}, when {asked:?} was next")
            });
        }
        lane.acknowledged += 1;
        self.tally.acknowledged += 1;
    }

    /// Takes a refusal: some pass.
    fn refused(&mut self, pair: usize, id: Option<u64>, error: &RequestError) {
        let number = self.order.index(pair * 2);
        let (Some(lane), tally) = (self.lanes.get_mut(pair), &mut self.tally) else {
            return;
        };
        let asked = lane.asked.pop_front();
        if let (Some(asked), Some(at)) = (asked.filter(|it| id == Some(*it)), retry_at(error)) {
            lane.refused = true;
            tally.refusals += 1;
            return self.again.push((at, pair, asked));
        }
        tally.faults.add(|| {
            let code = error.code.as_str();
            format!("sender {number} was refused: {code}: {}", error.message)
        });
    }

    fn raw(&mut self, user: usize, line: &[u8], at: u64) {
        let seq = read_text(&self.order.run, line).map_or(0, |mark| mark.number);
        self.take(user, seq, line, at);
    }
}

impl Lane {
    /// Returns a message that is on its way.
    fn flight(&mut self, number: u64) -> Option<&mut Flight> {
        let place = number.checked_sub(self.complete + 1)?;
        self.flights.get_mut(usize::try_from(place).ok()?)
    }

    /// Notes what someone tells of a message's entry; whether it fits what was sent, and what others
    /// have told.
    fn told(&mut self, number: u64, seq: u64, due: Option<u64>) -> bool {
        let Some(flight) = self.flight(number) else {
            return false;
        };
        let fits = *flight.seq.get_or_insert(seq) == seq && due.is_none_or(|due| due == flight.due);
        flight.told += 1;
        while self.flights.front().is_some_and(|it| it.told == TELLERS) {
            self.flights.pop_front();
            self.complete += 1;
        }
        fits
    }
}

impl Player for Pairs<'_> {
    fn line(&mut self, hub: &mut Hub, user: usize, line: &[u8], at: u64) {
        let pair = user / 2;
        if self.order.raw {
            self.raw(user, line, at);
            return self.refill(hub, pair);
        }
        let number = self.order.index(user);
        match scan(line) {
            Line::Text { seq, text, .. } => self.take(user, seq, &text, at),
            Line::Sent { id, seq } => self.acknowledge(pair, id, seq),
            Line::Refused { id, error } => self.refused(pair, id, &error),
            Line::Notice { code } => {
                let what = || format!("the server closes user {number}'s connection: {code}");
                self.tally.faults.add(what);
            }
            Line::Malformed | Line::Entry { .. } => self.tally.faults.add(|| {
                let line = String::from_utf8_lossy(line).into_owned();
                format!("user {number} got what nobody caused: {line:?}")
            }),
            Line::Done { .. } | Line::Other => return,
        }
        self.refill(hub, pair);
    }

    fn closed(&mut self, _hub: &mut Hub, user: usize, why: &str) {
        let number = self.order.index(user);
        self.tally.faults.add(|| format!("user {number}: {why}"));
    }
}

impl Play for Pairs<'_> {
    fn go(&mut self, hub: &mut Hub) {
        self.sending = true;
        self.began = now();
        for pair in 0..self.lanes.len() {
            self.refill(hub, pair);
        }
    }

    fn step(&mut self, hub: &mut Hub) {
        self.repeat(hub);
        let (Pace::Rate(rate), true) = (self.pace, self.sending && !self.lanes.is_empty()) else {
            return;
        };
        let at = now();
        loop {
            let due = self.began + due(self.paced, rate);
            if due > at {
                return;
            }
            let pairs = u64::try_from(self.lanes.len()).unwrap_or(u64::MAX);
            let pair = usize::try_from(self.paced % pairs).unwrap_or(0);
            self.paced += 1;
            self.tally.is_late(due, at);
            self.send(hub, pair, due);
        }
    }

    fn end(&mut self) {
        self.sending = false;
        self.tally.end();
    }

    fn is_stopped(&self) -> bool {
        let answered = |lane: &Lane| lane.acknowledged == lane.sent;
        self.order.raw || self.lanes.iter().all(answered)
    }

    fn is_drained(&self, _last: u64) -> bool {
        self.lanes.iter().all(|lane| self.is_settled(lane))
    }

    fn settle(&mut self, _last: u64) {
        for (pair, lane) in self.lanes.iter().enumerate() {
            if self.is_settled(lane) {
                continue;
            }
            let sender = self.order.index(pair * 2);
            self.tally.faults.add(|| {
                let (acknowledged, echoed) = (lane.acknowledged, lane.echoed.last());
                let (sent, received) = (lane.sent, lane.received.last());
                format!(
                    "sender {sender} sent {sent}, of which {acknowledged} were acknowledged, \
                     {echoed} came back, and receiver {} got {received}",
                    sender + 1
                )
            });
        }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

/// Returns when a message is due, in microseconds after the first.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "exact to the microsecond for a century"
)]
fn due(number: u64, rate: f64) -> u64 {
    (number as f64 * 1e6 / rate) as u64
}

#[cfg(test)]
mod tests {
    use parlor_core::protocol::Request;
    use parlor_core::protocol::decode::request as decode;

    use super::{Hub, Order, Pace, Pairs, Person, Play, Player, due};
    use crate::bench::order::Work;

    fn order() -> Order {
        Order {
            run: "0badcafe".to_owned(),
            work: Work::Pairs {
                pairs: 3,
                window: 2,
            },
            first: 2,
            users: 2,
            addresses: Vec::new(),
            size: 100,
            raw: false,
            patience_ms: 0,
        }
    }

    fn people() -> [Person; 2] {
        [11, 22].map(|id| Person {
            id,
            ..Person::default()
        })
    }

    /// Takes the texts of what a user has asked to send.
    fn texts(hub: &mut Hub, user: usize) -> Vec<String> {
        let out = std::mem::take(hub.out(user).unwrap());
        let lines = out.split_inclusive(|byte| *byte == b'\n');
        lines
            .map(
                |line| match decode(line.trim_ascii_end()).unwrap().request {
                    Request::Send { text, .. } => text.to_string(),
                    other => panic!("{other:?}"),
                },
            )
            .collect()
    }

    fn reply(number: u64) -> String {
        placed(number, number)
    }

    fn placed(number: u64, seq: u64) -> String {
        format!("{{\"id\":{number},\"ok\":{{\"seq\":{seq},\"at\":1}}}}")
    }

    fn event(seq: usize, text: &str) -> String {
        format!(
            "{{\"event\":\"message\",\"in\":{{\"user\":1}},\"seq\":{seq},\"from\":11,\"at\":1,\
             \"kind\":\"text\",\"key\":\"k\",\"text\":\"{text}\"}}"
        )
    }

    #[test]
    fn a_message_follows_when_one_was_acknowledged_and_has_arrived() {
        let (order, mut hub) = (order(), Hub::new(2, false).unwrap());
        let mut pairs = Pairs::new(&order, &people(), Pace::Window(2), None);
        pairs.go(&mut hub);
        let first = texts(&mut hub, 0);
        assert_eq!(first.len(), 2);
        pairs.line(&mut hub, 1, event(1, &first[0]).as_bytes(), 0);
        pairs.line(&mut hub, 0, event(1, &first[0]).as_bytes(), 0);
        assert_eq!(texts(&mut hub, 0), [""; 0], "it is not acknowledged");
        pairs.line(&mut hub, 0, reply(1).as_bytes(), 0);
        let third = texts(&mut hub, 0);
        assert_eq!(third.len(), 1);
        pairs.end();
        assert!(!pairs.is_stopped() && !pairs.is_drained(0));
        for (seq, text) in [(2, &first[1]), (3, &third[0])] {
            pairs.line(
                &mut hub,
                0,
                reply(u64::try_from(seq).unwrap()).as_bytes(),
                0,
            );
            pairs.line(&mut hub, 1, event(seq, text).as_bytes(), 0);
            assert!(!pairs.is_drained(0), "the sender's copy is missing");
            pairs.line(&mut hub, 0, event(seq, text).as_bytes(), 0);
        }
        assert!(pairs.is_stopped() && pairs.is_drained(0));
        assert!(
            pairs.lanes[0].flights.is_empty(),
            "what has come is forgotten"
        );
        pairs.settle(0);
        let outcome = pairs.tally().outcome();
        assert_eq!(outcome.faults.told, [""; 0]);
        assert_eq!(
            (outcome.sent, outcome.acknowledged, outcome.deliveries),
            (3, 3, 3)
        );
    }

    #[test]
    fn what_did_not_arrive_is_told_at_the_end() {
        let (order, mut hub) = (order(), Hub::new(2, false).unwrap());
        let mut pairs = Pairs::new(&order, &people(), Pace::Window(1), Some(1));
        pairs.go(&mut hub);
        let text = texts(&mut hub, 0).remove(0);
        pairs.line(&mut hub, 0, reply(1).as_bytes(), 0);
        pairs.line(&mut hub, 0, event(1, &text).as_bytes(), 0);
        assert!(!pairs.is_complete());
        pairs.settle(0);
        let told = pairs.tally().faults.told.clone();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("receiver 3 got 0"), "{told:?}");
    }

    #[test]
    fn a_text_of_another_pair_is_a_fault() {
        let (mut order, mut hub) = (order(), Hub::new(2, false).unwrap());
        let mut pairs = Pairs::new(&order, &people(), Pace::Window(1), None);
        pairs.go(&mut hub);
        let text = texts(&mut hub, 0).remove(0);
        order.first = 4;
        let mut others = Pairs::new(&order, &people(), Pace::Window(1), None);
        others.line(&mut hub, 1, event(1, &text).as_bytes(), 0);
        assert_eq!(others.tally().faults.count, 1);
        assert_eq!(others.tally().deliveries, 0);
    }

    #[test]
    fn a_refusal_may_be_read_after_what_it_explains() {
        let busy = "{\"id\":1,\"error\":{\"code\":\"busy\",\"message\":\"later\",\"retry_ms\":0}}";
        for is_refused in [true, false] {
            let (order, mut hub) = (order(), Hub::new(2, false).unwrap());
            let mut pairs = Pairs::new(&order, &people(), Pace::Window(2), Some(2));
            pairs.go(&mut hub);
            let sent = texts(&mut hub, 0);
            for (seq, text) in [(1, &sent[1]), (2, &sent[0])] {
                pairs.line(&mut hub, 1, event(seq, text).as_bytes(), 0);
            }
            if is_refused {
                pairs.line(&mut hub, 0, busy.as_bytes(), 0);
                pairs.line(&mut hub, 0, placed(2, 1).as_bytes(), 0);
                pairs.step(&mut hub);
                assert_eq!(texts(&mut hub, 0), [sent[0].as_str()]);
                pairs.line(&mut hub, 0, placed(1, 2).as_bytes(), 0);
            } else {
                pairs.line(&mut hub, 0, placed(1, 2).as_bytes(), 0);
                pairs.line(&mut hub, 0, placed(2, 1).as_bytes(), 0);
            }
            let faults = pairs.tally().faults.count;
            assert_eq!(faults, if is_refused { 0 } else { 2 });
        }
    }

    #[test]
    fn an_open_loop_does_not_drift() {
        assert_eq!(due(0, 3.0), 0);
        assert_eq!(due(1, 3.0), 333_333);
        assert_eq!(due(3_000_000_000, 3.0), 1_000_000_000_000_000);
    }
}
