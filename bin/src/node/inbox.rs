//! The ways into the engine's task.
//!
//! There are two channels. What connections bring goes through a bounded one, and whoever sends
//! waits while it is full: that is how an engine with too much to do slows its clients down. What
//! the engine has asked for (answers of the store and of the relay), what connections have written
//! and the few words of the operator go through one without a bound in its type: the engine limits how many questions are
//! under way (`Config::store_requests`, `Config::fetches`, `Config::presence_questions`,
//! `Config::presence_lists`), each has one answer, and an answer must never wait behind the requests
//! that wait for it.

use std::net::IpAddr;
use std::sync::{self, Arc};

use async_channel::{Receiver, Sender, TrySendError};
use futures::channel::oneshot;
use futures::future::{Either, FutureExt as _, TryFutureExt as _, ready};
use futures::lock::Mutex;
use parlor_core::engine::{Counts, Input, Order, OrderDone, Repairs, Tally};
use parlor_core::id::{ConnectionId, RequestId, StoreToken, SubscriptionToken, UserId};
use parlor_core::protocol::{Request, RequestError};
use parlor_core::relay::RelayMessage;
use parlor_core::store::StoreResult;

use super::mailbox::{Credit, Mailbox};

/// How many things from connections wait for the engine at most.
const CAPACITY: usize = 4096;

/// A request, or what is wrong with it, and the number that its reply will carry.
pub(crate) type Asked = (Option<RequestId>, Result<Request, RequestError>);

/// Something for the engine's task.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A connection begins.
    Connected {
        connection: ConnectionId,
        address: Option<IpAddr>,
        mailbox: Arc<Mailbox>,
    },
    /// Requests that came together.
    Requests {
        connection: ConnectionId,
        batch: Vec<Asked>,
    },
    /// Completions of store requests.
    Stored(Vec<(StoreToken, StoreResult)>),
    /// Anything that the engine takes as it is.
    Input(Input),
    /// Someone wants to know how the engine is.
    Inspect(oneshot::Sender<Snapshot>),
    /// An operator wants something.
    Order(Order, oneshot::Sender<Result<OrderDone, RequestError>>),
    /// The node is to end at once.
    Stop,
}

/// How a node's engine was at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it holds.
    pub counts: Counts,
    /// What it has done.
    pub tally: Tally,
    /// What it has repaired.
    pub repairs: Repairs,
    /// Whether the relay is there; true without one.
    pub relay_is_up: bool,
    /// Whether it drains.
    pub draining: bool,
}

/// The node has ended, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has ended")]
pub struct Ended;

/// Where connections come in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    mail: Sender<Mail>,
    answers: Sender<Mail>,
    /// The last number given out; held until the connection is announced, since the engine wants
    /// the numbers in order.
    last: Arc<Mutex<u64>>,
    written: Written,
}

/// The connections that something was written to of which the engine learns in its next turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    connections: Arc<sync::Mutex<Vec<ConnectionId>>>,
}

impl Written {
    /// Takes all.
    pub(crate) fn take(&self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> sync::MutexGuard<'_, Vec<ConnectionId>> {
        // Nothing in here panics while it holds the lock.
        let lock = self.connections.lock();
        lock.unwrap_or_else(sync::PoisonError::into_inner)
    }
}

/// Where answers come in.
///
/// A store and a relay get a clone of it before they are opened. It never blocks, so it may be used
/// from any thread, async or not.
#[derive(Clone, Debug)]
pub struct Sink {
    door: Door,
}

/// The ends that the engine's task reads.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) mail: Receiver<Mail>,
    pub(crate) answers: Receiver<Mail>,
    pub(crate) written: Written,
}

/// Makes the channels of one node.
pub(crate) fn open() -> (Door, Sink, Inbox) {
    let (mail_in, mail) = async_channel::bounded(CAPACITY);
    let (answers_in, answers) = async_channel::unbounded();
    let door = Door {
        mail: mail_in,
        answers: answers_in,
        last: Arc::new(Mutex::new(0)),
        written: Written::default(),
    };
    let sink = Sink { door: door.clone() };
    let inbox = Inbox {
        mail,
        answers,
        written: door.written.clone(),
    };
    (door, sink, inbox)
}

impl Inbox {
    /// Takes nothing more, and lets connections go that nobody has heard of yet.
    pub(crate) fn close(&self) {
        self.mail.close();
        self.answers.close();
        while let Ok(mail) = self.mail.try_recv() {
            if let Mail::Connected { mailbox, .. } = mail {
                mailbox.shut();
            }
        }
    }
}

impl Door {
    /// Announces a connection with its mailbox.
    pub(crate) async fn connect(
        &self,
        address: Option<IpAddr>,
        mailbox: Mailbox,
    ) -> Result<(ConnectionId, Arc<Mailbox>), Ended> {
        let mut last = self.last.lock().await;
        *last += 1;
        let connection = ConnectionId(*last);
        let mailbox = Arc::new(mailbox);
        self.send(Mail::Connected {
            connection,
            address,
            mailbox: Arc::clone(&mailbox),
        })
        .await?;
        Ok((connection, mailbox))
    }

    /// Hands something over: at once where there is room, and where there is none when the future has
    /// waited for it.
    pub(crate) fn send(&self, mail: Mail) -> impl Future<Output = Result<(), Ended>> + Send {
        match self.mail.try_send(mail) {
            Ok(()) => Either::Left(ready(Ok(()))),
            Err(TrySendError::Closed(_)) => Either::Left(ready(Err(Ended))),
            // Boxed, so that those who need not wait, which are almost all, have no room for it.
            Err(TrySendError::Full(mail)) => {
                Either::Right(self.mail.send(mail).map_err(|_| Ended).boxed())
            }
        }
    }

    /// Hands an input over, as [`Door::send`] does.
    pub(crate) fn input(&self, input: Input) -> impl Future<Output = Result<(), Ended>> + Send {
        self.send(Mail::Input(input))
    }

    /// Gives back credit for what was written, of which there is never more than the engine has
    /// given out.
    pub(crate) fn written(&self, connection: ConnectionId, mailbox: &Mailbox, weight: u32) {
        match mailbox.written(weight) {
            Credit::Now(weight) => {
                self.answer(Mail::Input(Input::Written { connection, weight }));
            }
            Credit::NextTurn => self.written.lock().push(connection),
            Credit::Waiting => {}
        }
    }

    /// Hands over, without waiting, something of which the engine bounds the number.
    pub(crate) fn answer(&self, mail: Mail) {
        // Fails when the node has ended, and then nobody waits for it.
        let _ended = self.answers.try_send(mail);
    }
}

impl Sink {
    /// Answers store requests; exactly one answer for each.
    pub fn stored(&self, answers: Vec<(StoreToken, StoreResult)>) {
        self.door.answer(Mail::Stored(answers));
    }

    /// Confirms every channel of a subscription.
    pub fn subscribed(&self, token: SubscriptionToken) {
        self.door.answer(Mail::Input(Input::Subscribed { token }));
    }

    /// Answers who is online; exactly one answer for each question.
    pub fn presence(&self, token: StoreToken, online: Option<Vec<UserId>>) {
        self.door
            .answer(Mail::Input(Input::Presence { token, online }));
    }

    /// Says that the relay is back, and every channel is subscribed again.
    pub fn relay_up(&self) {
        self.door.answer(Mail::Input(Input::RelayUp));
    }

    /// Says that the relay is away.
    pub fn relay_lost(&self) {
        self.door.answer(Mail::Input(Input::RelayLost));
    }

    /// Hands over what another node told, and waits while the engine has too much to do. A relay
    /// that would rather not wait may drop the future: its messages are hints.
    pub async fn relayed(&self, message: RelayMessage) {
        // The node has ended where this fails: nobody is left to be told.
        let _ended = self.door.input(Input::Relayed { message }).await;
    }

    /// Asks how the engine is.
    pub(crate) async fn inspect(&self) -> Result<Snapshot, Ended> {
        let (asks, told) = oneshot::channel();
        self.door.answer(Mail::Inspect(asks));
        told.await.map_err(|_| Ended)
    }

    /// Has the engine carry out an operator's order.
    pub(crate) async fn order(
        &self,
        order: Order,
    ) -> Result<Result<OrderDone, RequestError>, Ended> {
        let (tells, told) = oneshot::channel();
        self.door.answer(Mail::Order(order, tells));
        told.await.map_err(|_| Ended)
    }

    /// Asks the engine to drain.
    pub(crate) fn drain(&self) {
        self.door.answer(Mail::Input(Input::Drain));
    }

    /// Ends the engine's task.
    pub(crate) fn stop(&self) {
        self.door.answer(Mail::Stop);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use parlor_core::engine::Input;
    use parlor_core::id::ConnectionId;

    use super::{CAPACITY, open};

    #[test]
    fn who_brings_more_than_the_engine_has_room_for_waits() {
        let (door, _sink, inbox) = open();
        let input = || {
            door.input(Input::EndOfInput {
                connection: ConnectionId(1),
            })
        };
        for _ in 0..CAPACITY {
            assert_eq!(input().now_or_never(), Some(Ok(())));
        }
        let mut waiting = Box::pin(input());
        assert_eq!(waiting.as_mut().now_or_never(), None);
        assert!(inbox.mail.try_recv().is_ok());
        assert_eq!(waiting.now_or_never(), Some(Ok(())));
    }
}
