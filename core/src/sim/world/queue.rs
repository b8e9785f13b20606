//! What is to happen, by time, then by the order in which it was put in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{RequestId, StoreToken, SubscriptionToken, UserId};
use crate::protocol::{Event, Reply, Request, RequestError};
use crate::relay::{Channel, RelayMessage};
use crate::store::{Standing, StoreRequest, StoreResult};
use crate::time::Timestamp;

/// A node, by its place, and which of its lives is meant: what was for an earlier one is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) epoch: u64,
}

/// Names a connection from a device to a node, for both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// Something that is to happen.
#[derive(Debug)]
pub(super) enum Step {
    /// A node's alarm.
    WakeNode(Life),
    /// A device's alarm.
    WakeDevice(usize),
    /// A device's user does something.
    Act(usize),
    /// Something goes wrong.
    Strike,
    /// It is looked whether something is overdue.
    Watch,
    /// A connection arrives at its node.
    Arrive(LinkId),
    /// The next thing arrives at the node.
    Up(LinkId),
    /// The next thing arrives at the device.
    Down(LinkId),
    /// The device learns that the connection is gone.
    DeviceLoses(LinkId),
    /// The node learns that the connection is gone.
    NodeLoses(LinkId),
    /// The device reads again.
    ReadAgain(LinkId),
    /// The store carries a request out, and answers so much later, where it says what happened.
    Execute { job: Arc<Job>, answer: Answer },
    /// The store reads the roster of a session, and answers.
    ReadRoster {
        life: Life,
        token: StoreToken,
        standing: Box<Standing>,
    },
    /// The store's answer arrives.
    Answered {
        life: Life,
        token: StoreToken,
        result: Box<StoreResult>,
    },
    /// The relay gets a message.
    Published {
        from: usize,
        channel: Channel,
        message: RelayMessage,
    },
    /// A node gets a message, over the relay connection of that number.
    Relayed {
        life: Life,
        line: u64,
        message: RelayMessage,
    },
    /// The relay gets a node's subscription.
    Subscribe {
        life: Life,
        line: u64,
        token: SubscriptionToken,
        channels: Vec<Channel>,
    },
    /// The relay gets the end of a node's subscription.
    Unsubscribe {
        life: Life,
        line: u64,
        channels: Vec<Channel>,
    },
    /// A node gets a confirmation.
    Confirmed {
        life: Life,
        line: u64,
        token: SubscriptionToken,
    },
    /// The relay is asked who is online.
    AskPresence {
        life: Life,
        line: u64,
        token: StoreToken,
        users: Vec<UserId>,
    },
    /// A node learns who is online, or that the relay cannot tell.
    Presence {
        life: Life,
        token: StoreToken,
        online: Option<Vec<UserId>>,
    },
    /// A node learns that the relay is away.
    RelayLost(Life),
    /// A node's connection to the relay is made again.
    RelayReturns { life: Life, line: u64 },
    /// The node learns of that.
    RelayUp { life: Life, line: u64 },
    /// A node comes back.
    Restart(usize),
    /// A node that drains is given up.
    Kill(Life),
}

/// What a device sends.
#[derive(Clone, Debug)]
pub(super) enum Up {
    /// A request.
    Request(RequestId, Box<Request>),
    /// That nothing follows.
    End,
}

/// What a node sends.
#[derive(Clone, Debug)]
pub(super) enum Down {
    /// That the connection is there.
    Established,
    /// A reply.
    Reply(Option<RequestId>, Box<Result<Reply, RequestError>>, u32),
    /// An event.
    Event(Arc<Event>, u32),
    /// That nothing follows.
    Closed,
}

/// A request to the store.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) life: Life,
    pub(super) token: StoreToken,
    pub(super) request: StoreRequest,
}

/// What the store says of a request that it carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What came of it.
    Told,
    /// That it does not know.
    Unknown,
    /// Nothing any more.
    Silent,
}

/// The queue of steps.
#[derive(Debug, Default)]
pub(super) struct Queue {
    steps: BTreeMap<(Timestamp, u64), Step>,
    ties: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Timestamp, step: Step) {
        self.ties += 1;
        self.steps.insert((at, self.ties), step);
    }

    /// Takes the first step, if it is not after that moment.
    pub(super) fn pop(&mut self, until: Timestamp) -> Option<(Timestamp, Step)> {
        let entry = self.steps.first_entry()?;
        if entry.key().0 > until {
            return None;
        }
        let ((at, _), step) = entry.remove_entry();
        Some((at, step))
    }
}
