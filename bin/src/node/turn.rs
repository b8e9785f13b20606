//! The task that owns the engine.
//!
//! It works in turns: take what has come in, let the engine handle it, carry out what the engine
//! wants. What a turn wants of the store goes to it in one piece, and so does what it wants of the
//! relay; what there is for the connections goes out at the turn's end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_std::task;
use futures::channel::oneshot;
use futures::future::{BoxFuture, FutureExt as _};
use parlor_core::engine::{Config, Effect, Engine, Input, Misuse, OrderDone};
use parlor_core::id::{ConnectionId, OrderTicket, StoreToken};
use parlor_core::protocol::RequestError;
use parlor_core::relay::{Channel, Relay, RelayMessage};
use parlor_core::store::{Store, StoreRequest};
use parlor_core::time::Timestamp;
use tracing::{debug, error};

use super::clock::Clock;
use super::inbox::{Door, Inbox, Mail, Snapshot};
use super::journal;
use super::mailbox::{Mailbox, Outgoing, Shared};
use super::outlet::{Recipient, deliver};

/// How many pieces of mail one turn takes of each channel.
const TURN: usize = 256;

/// The longest the task sleeps: it wakes up in vain rather than compute with absurd times.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Who waits for what comes of an operator's order.
type Waiter = oneshot::Sender<Result<OrderDone, RequestError>>;

/// The engine and everything that it reaches.
pub(crate) struct Turns {
    engine: Engine,
    clock: Clock,
    store: Box<dyn Store>,
    relay: Option<Box<dyn Relay>>,
    door: Door,
    connections: HashMap<ConnectionId, Arc<Mailbox>>,
    /// What this turn collects.
    asked: Vec<(StoreToken, StoreRequest)>,
    published: Vec<(Channel, RelayMessage)>,
    touched: Vec<Recipient>,
    batches: Vec<Arc<Mailbox>>,
    /// Who waits for an operator's order.
    ordered: HashMap<OrderTicket, Waiter>,
    last_order: u64,
    /// What a node without a relay answers itself.
    answered: Vec<Input>,
    end: Option<End>,
}

/// How the task came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The engine has drained.
    Drained,
    /// The node was told to stop.
    Stopped,
}

impl Turns {
    /// Makes the engine.
    pub(crate) fn new(
        config: Config,
        store: Box<dyn Store>,
        relay: Option<Box<dyn Relay>>,
        door: Door,
    ) -> Self {
        let clock = Clock::start();
        Self {
            engine: Engine::new(config, clock.now()),
            clock,
            store,
            relay,
            door,
            connections: HashMap::new(),
            asked: Vec::new(),
            published: Vec::new(),
            touched: Vec::new(),
            batches: Vec::new(),
            ordered: HashMap::new(),
            last_order: 0,
            answered: Vec::new(),
            end: None,
        }
    }

    /// Works until the engine has drained or the node is told to stop.
    pub(crate) async fn run(&mut self, inbox: &Inbox) -> End {
        let mut alarm = Alarm::default();
        self.dispatch();
        loop {
            if let Some(end) = self.end {
                return end;
            }
            let deadline = self.engine.poll_timeout();
            let mail = self.wait(inbox, &mut alarm, deadline).await;
            self.turn(mail, inbox);
        }
    }

    /// Waits for mail or for the engine's next moment.
    async fn wait(
        &self,
        inbox: &Inbox,
        alarm: &mut Alarm,
        deadline: Option<Timestamp>,
    ) -> Option<Mail> {
        // Most turns find mail waiting and need no timer.
        if let Ok(mail) = inbox.answers.try_recv() {
            return Some(mail);
        }
        if let Ok(mail) = inbox.mail.try_recv() {
            return Some(mail);
        }
        futures::select_biased! {
            mail = inbox.answers.recv().fuse() => Some(mail.unwrap_or(Mail::Stop)),
            mail = inbox.mail.recv().fuse() => Some(mail.unwrap_or(Mail::Stop)),
            () = alarm.until(self.clock.now(), deadline).fuse() => None,
        }
    }

    fn turn(&mut self, first: Option<Mail>, inbox: &Inbox) {
        let now = self.clock.now();
        // Before the time, so that nobody counts as slow for what was written.
        self.written(inbox, now);
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.handle(Input::Timeout, now);
        }
        // Answers first: they free what the requests may wait for.
        let answers = std::iter::from_fn(|| inbox.answers.try_recv().ok());
        for mail in answers.take(TURN) {
            self.take(mail, now);
        }
        if let Some(mail) = first {
            self.take(mail, now);
        }
        let rest = std::iter::from_fn(|| inbox.mail.try_recv().ok());
        for mail in rest.take(TURN) {
            self.take(mail, now);
        }
        self.dispatch();
    }

    /// Tells the engine what was written since the turn before.
    fn written(&mut self, inbox: &Inbox, now: Timestamp) {
        for connection in inbox.written.take() {
            let credit = self
                .connections
                .get(&connection)
                .map(|mailbox| mailbox.take_credit());
            if let Some(weight) = credit.filter(|weight| *weight > 0) {
                self.handle(Input::Written { connection, weight }, now);
            }
        }
    }

    fn take(&mut self, mail: Mail, now: Timestamp) {
        match mail {
            Mail::Connected {
                connection,
                address,
                mailbox,
            } => {
                self.connections.insert(connection, mailbox);
                self.handle(
                    Input::Connected {
                        connection,
                        address,
                    },
                    now,
                );
            }
            Mail::Requests { connection, batch } => {
                for (id, request) in batch {
                    journal::asked(connection, id, &request);
                    self.handle(
                        Input::Request {
                            connection,
                            id,
                            request,
                        },
                        now,
                    );
                }
                if let Some(mailbox) = self.connections.get(&connection) {
                    self.batches.push(Arc::clone(mailbox));
                }
            }
            Mail::Stored(answers) => {
                for (token, result) in answers {
                    self.handle(Input::Stored { token, result }, now);
                }
            }
            // What a connection gives back goes the other way than the word that it is gone, and may
            // come after it.
            Mail::Input(Input::Written { connection, .. })
                if !self.connections.contains_key(&connection) => {}
            Mail::Input(input) => {
                match &input {
                    Input::Disconnected { connection } => {
                        self.connections.remove(connection);
                    }
                    Input::Relayed { message, .. } => journal::relayed(message),
                    _ => {}
                }
                self.handle(input, now);
            }
            Mail::Inspect(told) => {
                // Who asked may be gone.
                let _gone = told.send(self.snapshot());
            }
            Mail::Order(order, waiter) => {
                self.last_order += 1;
                let ticket = OrderTicket(self.last_order);
                self.ordered.insert(ticket, waiter);
                self.handle(Input::Operator { ticket, order }, now);
            }
            Mail::Stop => self.end = Some(End::Stopped),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            counts: self.engine.counts(),
            tally: self.engine.tally().clone(),
            repairs: self.engine.repairs(),
            relay_is_up: self.engine.relay_is_up(),
            draining: self.engine.is_draining(),
        }
    }

    fn handle(&mut self, input: Input, now: Timestamp) {
        if let Err(misuse) = self.engine.handle(input, now) {
            report(misuse);
        }
    }

    /// Carries out what the engine wants, and what follows from it at once.
    fn dispatch(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                self.carry_out(effect);
            }
            if self.answered.is_empty() {
                break;
            }
            let now = self.clock.now();
            for input in std::mem::take(&mut self.answered) {
                self.handle(input, now);
            }
        }
        if !self.asked.is_empty() {
            self.store.submit(std::mem::take(&mut self.asked));
        }
        if let Some(relay) = &self.relay
            && !self.published.is_empty()
        {
            relay.publish(std::mem::take(&mut self.published));
        }
        deliver(&mut self.touched, &self.door);
        // Only now, so that a pause that a batch has led to stands before the next one is sent.
        for mailbox in self.batches.drain(..) {
            mailbox.end_batch();
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply {
                connection,
                id,
                result,
                weight,
            } => {
                journal::answered(connection, id, &result);
                self.queue(connection, Outgoing::Reply { id, result, weight });
            }
            Effect::Push {
                connections,
                event,
                weight,
            } => {
                journal::pushed(&connections, &event);
                let event = Arc::new(Shared::new(event));
                for connection in connections {
                    let event = Arc::clone(&event);
                    self.queue(connection, Outgoing::Event { event, weight });
                }
            }
            Effect::Close { connection } => {
                debug!(connection = connection.0, "closing");
                self.with(connection, Mailbox::close);
            }
            Effect::PauseReads { connection } => self.with(connection, |it| it.pause(true)),
            Effect::ResumeReads { connection } => self.with(connection, |it| it.pause(false)),
            Effect::Store { token, request } => self.asked.push((token, request)),
            Effect::Told { ticket, result } => {
                if let Some(waiter) = self.ordered.remove(&ticket) {
                    // Who asked may have lost patience.
                    let _gone = waiter.send(result);
                }
            }
            Effect::Drained => self.end = Some(End::Drained),
            Effect::Publish { .. }
            | Effect::Subscribe { .. }
            | Effect::Unsubscribe { .. }
            | Effect::AskPresence { .. } => self.relay(effect),
        }
    }

    /// Carries out what concerns other nodes.
    ///
    /// A node without a relay has no others: what it says to them is lost, it hears what there is
    /// to hear from the start, and nobody is online elsewhere.
    fn relay(&mut self, effect: Effect) {
        match (effect, &self.relay) {
            (Effect::Publish { channel, message }, Some(_)) => {
                journal::published(&message);
                self.published.push((channel, message));
            }
            (Effect::Subscribe { token, channels }, Some(relay)) => {
                relay.subscribe(token, channels);
            }
            (Effect::Unsubscribe { channels }, Some(relay)) => relay.unsubscribe(channels),
            (Effect::AskPresence { token, users }, Some(relay)) => relay.ask_presence(token, users),
            (Effect::Subscribe { token, .. }, None) => {
                self.answered.push(Input::Subscribed { token });
            }
            (Effect::AskPresence { token, .. }, None) => self.answered.push(Input::Presence {
                token,
                online: Some(Vec::new()),
            }),
            _ => {}
        }
    }

    fn queue(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        if let Some(mailbox) = self.connections.get(&connection)
            && mailbox.push(outgoing)
        {
            self.touched.push((connection, Arc::clone(mailbox)));
        }
    }

    fn with(&self, connection: ConnectionId, run: impl FnOnce(&Mailbox)) {
        if let Some(mailbox) = self.connections.get(&connection) {
            run(mailbox);
        }
    }
}

impl Drop for Turns {
    /// Lets every connection go, however the task ended.
    fn drop(&mut self) {
        for mailbox in self.connections.values() {
            mailbox.shut();
        }
    }
}

/// Says that this driver, the store or the relay broke the engine's contract. The engine has
/// ignored the input and goes on; a debug build stops, so that tests notice.
fn report(misuse: Misuse) {
    error!(%misuse, "an input does not fit the ones before");
    debug_assert!(false, "{misuse}");
}

/// A timer that is set anew only when it would ring too late: turns come far more often than
/// deadlines change.
#[derive(Default)]
struct Alarm {
    armed: Option<(Timestamp, BoxFuture<'static, ()>)>,
}

impl Alarm {
    /// Waits until `deadline`, or less; for ever without one.
    async fn until(&mut self, now: Timestamp, deadline: Option<Timestamp>) {
        let Some(deadline) = deadline else {
            return std::future::pending().await;
        };
        if self.armed.as_ref().is_none_or(|(at, _)| *at > deadline) {
            let wait = deadline.since(now).min(LONGEST_SLEEP);
            self.armed = Some((deadline, Box::pin(task::sleep(wait))));
        }
        if let Some((_, sleep)) = &mut self.armed {
            sleep.await;
        }
        self.armed = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parlor_core::engine::{Config, Input};
    use parlor_core::id::{ConnectionId, StoreToken};
    use parlor_core::secret::Secret;
    use parlor_core::store::{Store, StoreRequest};

    use super::super::inbox::{self, Mail};
    use super::super::mailbox::Mailbox;
    use super::Turns;

    struct Mute;

    impl Store for Mute {
        fn submit(&self, _: Vec<(StoreToken, StoreRequest)>) {}
    }

    #[test]
    fn what_a_gone_connection_gives_back_is_dropped() {
        let config = Config::new(Secret::new("a secret of at least 32 bytes ..."));
        let mut turns = Turns::new(config, Box::new(Mute), None, inbox::open().0);
        let connection = ConnectionId(1);
        let now = turns.clock.now();
        let mail = [
            Mail::Connected {
                connection,
                address: None,
                mailbox: Arc::new(Mailbox::default()),
            },
            Mail::Input(Input::Disconnected { connection }),
            // Of another channel than the two before: it may be the last to be taken.
            Mail::Input(Input::Written {
                connection,
                weight: 1,
            }),
        ];
        for mail in mail {
            // A misuse of the engine would panic.
            turns.take(mail, now);
        }
        assert!(turns.connections.is_empty());
    }
}
