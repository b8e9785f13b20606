//! What the tasks of a relay share.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_channel::{Receiver, Sender};
use parlor_core::id::{StoreToken, SubscriptionToken, UserId};
use parlor_core::log::Body;
use parlor_core::relay::{Channel, RelayMessage};

use crate::client::channel::Names;
use crate::client::counters::{Counters, add};
use crate::client::endpoint::Endpoint;
use crate::client::options::Options;
use crate::client::queue::Queue;
use crate::client::report::{Reports, Status};
use crate::payload::Codec;

/// The most channels of one command.
const CHUNK: usize = 512;

/// What a message costs besides its texts.
const MESSAGE: usize = 128;

/// What the tasks of a relay share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: Options,
    pub(crate) codec: Codec,
    pub(crate) names: Names,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reports: Arc<dyn Reports>,
    pub(crate) status: Status,
    /// What is to be published.
    pub(crate) outgoing: Queue<(Channel, RelayMessage)>,
    /// What was received: channel and payload.
    pub(crate) incoming: Queue<(Vec<u8>, Vec<u8>)>,
    board: Mutex<Board>,
    /// Rings when there is something on the board.
    pub(crate) bell: (Sender<()>, Receiver<()>),
}

/// What is to be subscribed, and what is to be written for it.
#[derive(Debug, Default)]
struct Board {
    /// Every channel that the engine wants.
    wanted: BTreeSet<Channel>,
    /// Whether a connection carries out the steps; without one, it begins with what is wanted.
    live: bool,
    steps: VecDeque<Step>,
}

/// Something for the connection that subscribes, in order.
#[derive(Debug)]
pub(crate) enum Step {
    /// Subscribe, and report it where there is a token.
    Subscribe(Option<SubscriptionToken>, Vec<Channel>),
    /// End subscriptions.
    Unsubscribe(Vec<Channel>),
    /// Ask who is online.
    Ask(Question, Vec<UserId>),
    /// Everything that was wanted when the connection was made is subscribed.
    Complete,
}

impl Shared {
    /// Takes messages over, or drops them.
    pub(crate) fn publish(&self, messages: Vec<(Channel, RelayMessage)>) {
        if !self.status.publishing() {
            return add(&self.counters.dropped, messages.len());
        }
        for (channel, message) in messages {
            let bytes = bytes(&message);
            if !self.outgoing.push((channel, message), bytes) {
                add(&self.counters.dropped, 1);
            }
        }
    }

    /// Notes what is wanted, and has it written.
    pub(crate) fn subscribe(&self, token: SubscriptionToken, channels: Vec<Channel>) {
        let mut board = self.board();
        board.wanted.extend(channels.iter().copied());
        self.add_step(board, Step::Subscribe(Some(token), channels));
    }

    /// Notes what is wanted no more, and has it written.
    pub(crate) fn unsubscribe(&self, channels: Vec<Channel>) {
        let mut board = self.board();
        for channel in &channels {
            board.wanted.remove(channel);
        }
        self.add_step(board, Step::Unsubscribe(channels));
    }

    /// Has a question asked, behind all that is to be written; answers it where there is no
    /// connection.
    pub(crate) fn ask(&self, token: StoreToken, users: Vec<UserId>) {
        let question = Question {
            token: Some(token),
            reports: Arc::clone(&self.reports),
        };
        self.add_step(self.board(), Step::Ask(question, users));
    }

    /// A connection is there: from now on, steps are kept for it. The first are those that
    /// subscribe to everything that is wanted.
    pub(crate) fn begin(&self) {
        let mut board = self.board();
        let wanted: Vec<Channel> = board.wanted.iter().copied().collect();
        let chunks = wanted.chunks(CHUNK);
        board.steps = chunks
            .map(|chunk| Step::Subscribe(None, chunk.to_vec()))
            .collect();
        board.steps.push_back(Step::Complete);
        board.live = true;
    }

    /// The connection is gone, and with it the steps; questions among them are answered.
    pub(crate) fn end(&self) {
        let mut board = self.board();
        board.live = false;
        let steps = std::mem::take(&mut board.steps);
        // Answers are given without the lock.
        drop(board);
        drop(steps);
    }

    /// The relay ends: it takes nothing more over, and what waits is dropped and counted.
    pub(crate) fn stop(&self) {
        self.status.set_publishing(false);
        self.drop_waiting();
        self.end();
    }

    /// Drops and counts what waits to be published.
    pub(crate) fn drop_waiting(&self) {
        while let Some((_, message)) = self.outgoing.try_pop() {
            self.outgoing.give_back(1, bytes(&message));
            add(&self.counters.dropped, 1);
        }
    }

    /// Returns the next step.
    ///
    /// # Errors
    /// There were too many: the connection must begin anew.
    pub(crate) fn next_step(&self) -> Result<Option<Step>, TooMany> {
        let mut board = self.board();
        if board.live {
            Ok(board.steps.pop_front())
        } else {
            Err(TooMany)
        }
    }

    fn add_step(&self, mut board: MutexGuard<'_, Board>, step: Step) {
        let mut gone = VecDeque::new();
        if !board.live {
            // Wanted channels are subscribed by the next connection; a question that is dropped is
            // answered.
            gone.push_back(step);
        } else if board.steps.len() < self.options.changes {
            board.steps.push_back(step);
        } else {
            board.live = false;
            gone = std::mem::take(&mut board.steps);
            gone.push_back(step);
        }
        drop(board);
        drop(gone);
        // Fails when it rings already.
        let _ = self.bell.0.try_send(());
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Too many steps waited for the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooMany;

/// The duty to answer who is online. One that is dropped unanswered is answered with `None`.
pub(crate) struct Question {
    token: Option<StoreToken>,
    reports: Arc<dyn Reports>,
}

impl Question {
    /// Answers.
    pub(crate) fn answer(mut self, online: Vec<UserId>) {
        if let Some(token) = self.token.take() {
            self.reports.presence(token, Some(online));
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.reports.presence(token, None);
        }
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Question")
            .field(&self.token)
            .finish()
    }
}

/// What a relay is made of.
pub(crate) struct Parts {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: Options,
    pub(crate) codec: Codec,
    pub(crate) names: Names,
    pub(crate) reports: Arc<dyn Reports>,
}

impl From<Parts> for Shared {
    fn from(parts: Parts) -> Self {
        let Parts {
            endpoint,
            options,
            codec,
            names,
            reports,
        } = parts;
        Self {
            endpoint,
            codec,
            names,
            counters: Arc::default(),
            status: Status::new(Arc::clone(&reports)),
            reports,
            outgoing: Queue::new(options.publish_queue, options.publish_bytes),
            incoming: Queue::new(options.receive_queue, options.receive_bytes),
            options,
            board: Mutex::default(),
            bell: async_channel::bounded(1),
        }
    }
}

/// Returns about how many bytes a message holds.
pub(crate) fn bytes(message: &RelayMessage) -> usize {
    let RelayMessage::Entry(entry) = message else {
        return MESSAGE;
    };
    let text = match &entry.body {
        Body::Text(text) => text.text.len() + text.meta.as_ref().map_or(0, |meta| meta.len()),
        Body::Edit { text, .. } => text.as_ref().map_or(0, |text| text.len()),
        Body::Updated(change) => change.description.as_ref().map_or(0, |text| text.len()),
        _ => 0,
    };
    MESSAGE + text
}
