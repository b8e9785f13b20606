//! Requests under way: each is counted, and answered exactly once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use parlor_core::id::StoreToken;
use parlor_core::store::{StoreError, StoreResult};

use crate::options::Sink;

/// Counts requests of one kind from their submission to their answer, and bounds them.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: AtomicBool,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    most_requests: usize,
    most_bytes: usize,
}

impl Gate {
    /// Makes a gate that lets in so much at a time.
    pub(crate) const fn new(most_requests: usize, most_bytes: usize) -> Self {
        Self {
            closed: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            most_requests,
            most_bytes,
        }
    }

    /// Lets one request in, or says why not.
    fn enter(&self, bytes: usize) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable);
        }
        let requests = self.requests.fetch_add(1, Ordering::AcqRel);
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if requests >= self.most_requests || before >= self.most_bytes {
            self.leave(bytes);
            return Err(StoreError::Busy);
        }
        Ok(())
    }

    fn leave(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.requests.fetch_sub(1, Ordering::AcqRel);
    }

    /// Lets nothing in any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Returns how many requests that were let in have not been answered.
    pub(crate) fn len(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// Tells whether every request that was let in has been answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Target {
    /// Whoever has the sink, by a token.
    Token(StoreToken),
    /// A caller in this process.
    Waiter(oneshot::Sender<StoreResult>),
}

/// The duty to answer one request. One that is dropped unanswered is answered `Unknown`.
pub(crate) struct Reply {
    target: Option<Target>,
    gate: Arc<Gate>,
    bytes: usize,
    sink: Sink,
    /// When the request has taken too long.
    deadline: Instant,
}

impl Reply {
    /// Counts a request in.
    ///
    /// # Errors
    /// Gives the target back, with why the request is not taken.
    pub(crate) fn new(
        target: Target,
        gate: &Arc<Gate>,
        bytes: usize,
        sink: &Sink,
        deadline: Instant,
    ) -> Result<Self, (Target, StoreError)> {
        match gate.enter(bytes) {
            Ok(()) => Ok(Self {
                target: Some(target),
                gate: Arc::clone(gate),
                bytes,
                sink: Arc::clone(sink),
                deadline,
            }),
            Err(error) => Err((target, error)),
        }
    }

    /// Tells whether work that lasts so long would end before the request has taken too long.
    pub(crate) fn has_time(&self, work: Duration) -> bool {
        Instant::now() + work <= self.deadline
    }

    /// Answers.
    pub(crate) fn send(self, result: StoreResult) {
        let sink = Arc::clone(&self.sink);
        deliver(&sink, vec![(self, result)]);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(target) = self.target.take() {
            answer(&self.sink, vec![(target, Err(StoreError::Unknown.into()))]);
        }
        self.gate.leave(self.bytes);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Reply").field(&self.target).finish()
    }
}

/// Answers many requests, with one call of the sink.
pub(crate) fn deliver(sink: &Sink, answers: Vec<(Reply, StoreResult)>) {
    let mut targets = Vec::with_capacity(answers.len());
    for (mut reply, result) in answers {
        if let Some(target) = reply.target.take() {
            targets.push((target, result));
        }
    }
    answer(sink, targets);
}

/// Answers those who wait.
pub(crate) fn answer(sink: &Sink, answers: Vec<(Target, StoreResult)>) {
    let mut tokens = Vec::with_capacity(answers.len());
    for (target, result) in answers {
        match target {
            Target::Token(token) => tokens.push((token, result)),
            Target::Waiter(waiter) => {
                // A caller that has gone away needs no answer.
                let _ = waiter.send(result);
            }
        }
    }
    if !tokens.is_empty() {
        sink(tokens);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Answers = Arc<Mutex<Vec<(StoreToken, StoreResult)>>>;

    fn sink() -> (Sink, Answers) {
        let seen = Answers::default();
        let also = Arc::clone(&seen);
        (
            Arc::new(move |batch| also.lock().unwrap().extend(batch)),
            seen,
        )
    }

    #[test]
    fn what_is_dropped_is_answered_unknown() {
        let (sink, seen) = sink();
        let gate = Arc::new(Gate::new(1, 100));
        let target = Target::Token(StoreToken(7));
        let reply = Reply::new(target, &gate, 10, &sink, Instant::now()).unwrap();
        assert!(!gate.is_empty());
        drop(reply);
        assert!(gate.is_empty());
        let unknown = Err(StoreError::Unknown.into());
        assert_eq!(*seen.lock().unwrap(), [(StoreToken(7), unknown)]);
    }

    #[test]
    fn a_request_has_time_until_its_deadline() {
        let (sink, _) = sink();
        let gate = Arc::new(Gate::new(1, 1));
        let deadline = Instant::now() + Duration::from_secs(3600);
        let reply = Reply::new(Target::Token(StoreToken(1)), &gate, 0, &sink, deadline).unwrap();
        assert!(reply.has_time(Duration::from_secs(1800)));
        assert!(!reply.has_time(Duration::from_secs(3601)));
    }

    #[test]
    fn a_full_gate_is_busy_and_a_closed_one_unavailable() {
        let (sink, _) = sink();
        let gate = Arc::new(Gate::new(2, 100));
        let enter = |bytes| {
            let target = Target::Token(StoreToken(1));
            Reply::new(target, &gate, bytes, &sink, Instant::now()).map_err(|(_, error)| error)
        };
        let first = enter(100).unwrap();
        assert_eq!(enter(1).unwrap_err(), StoreError::Busy, "too many bytes");
        drop(first);
        let (_one, _two) = (enter(1).unwrap(), enter(1).unwrap());
        assert_eq!(enter(1).unwrap_err(), StoreError::Busy, "too many requests");
        gate.close();
        assert_eq!(enter(1).unwrap_err(), StoreError::Unavailable);
    }
}
