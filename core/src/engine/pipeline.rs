//! The requests of one connection: started in order, answered in order.

use std::collections::VecDeque;

use crate::id::RequestId;
use crate::protocol::{Reply, Request, RequestError};
use crate::time::Timestamp;

/// Requests of one connection, from their arrival to their answer.
///
/// They take effect in the order in which they arrived: one starts when the one before is answered.
/// Only consecutive `send`s overlap, so that a pipeline of them costs one commit and not many.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    items: VecDeque<Item>,
    /// The serial number of the first item.
    first: u64,
    /// How many leading items need not be looked at to find one to start.
    started: usize,
    /// How many are under way.
    running: usize,
    /// Whether what is under way lets nothing start beside it.
    exclusive: bool,
    /// Bytes of the requests that wait.
    bytes: usize,
}

#[derive(Debug)]
struct Item {
    id: Option<RequestId>,
    /// What was asked, where that could be read.
    op: Option<&'static str>,
    /// When it came.
    at: Timestamp,
    step: Step,
}

/// A request that was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) id: Option<RequestId>,
    pub(super) op: Option<&'static str>,
    pub(super) at: Timestamp,
    pub(super) result: Result<Reply, RequestError>,
}

#[derive(Debug)]
enum Step {
    Waiting(Request),
    Running,
    Answered(Result<Reply, RequestError>),
}

impl Pipeline {
    /// Adds a request that came just now, or what is wrong with one.
    pub(super) fn push(
        &mut self,
        id: Option<RequestId>,
        op: Option<&'static str>,
        request: Result<Request, RequestError>,
        at: Timestamp,
    ) {
        let step = match request {
            Ok(request) => {
                self.bytes = self.bytes.saturating_add(size(&request));
                Step::Waiting(request)
            }
            Err(error) => Step::Answered(Err(error)),
        };
        self.items.push_back(Item { id, op, at, step });
    }

    /// Takes the next request that may start, with the serial number to answer it by.
    pub(super) fn start_next(&mut self) -> Option<(u64, Request)> {
        while let Some(item) = self.items.get_mut(self.started) {
            let Step::Waiting(request) = &item.step else {
                self.started += 1;
                continue;
            };
            let overlaps = matches!(request, Request::Send { .. });
            if self.running > 0 && (self.exclusive || !overlaps) {
                return None;
            }
            let Step::Waiting(request) = std::mem::replace(&mut item.step, Step::Running) else {
                return None;
            };
            self.bytes = self.bytes.saturating_sub(size(&request));
            self.exclusive = !overlaps;
            self.running += 1;
            let serial = self.first.saturating_add(self.started as u64);
            return Some((serial, request));
        }
        None
    }

    /// Returns when a request came that is not answered yet.
    pub(super) fn asked(&self, serial: u64) -> Option<Timestamp> {
        let index = usize::try_from(serial.checked_sub(self.first)?).ok()?;
        self.items.get(index).map(|item| item.at)
    }

    /// Answers a request that is under way.
    pub(super) fn answer(&mut self, serial: u64, result: Result<Reply, RequestError>) {
        let index = serial
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        let Some(item) = index.and_then(|index| self.items.get_mut(index)) else {
            return;
        };
        if matches!(item.step, Step::Running) {
            item.step = Step::Answered(result);
            self.running = self.running.saturating_sub(1);
        }
    }

    /// Takes the first request if it is answered.
    pub(super) fn pop(&mut self) -> Option<Answered> {
        if !matches!(self.items.front()?.step, Step::Answered(_)) {
            return None;
        }
        let Item {
            id,
            op,
            at,
            step: Step::Answered(result),
        } = self.items.pop_front()?
        else {
            return None;
        };
        self.first = self.first.saturating_add(1);
        self.started = self.started.saturating_sub(1);
        if self.items.is_empty() {
            // An idle connection keeps no buffer.
            self.items = VecDeque::new();
        }
        Some(Answered { id, op, at, result })
    }

    /// Returns how many requests are not answered yet.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Tells whether every request is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns about how many bytes the waiting requests hold.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(request: &Request) -> usize {
    let own = match request {
        Request::Send { text, meta, .. } => text.len() + meta.as_ref().map_or(0, |meta| meta.len()),
        Request::Edit { text, .. } => text.len(),
        Request::GroupCreate { description, .. } => description.len(),
        Request::Login { start, .. } | Request::Resume { start, .. } => {
            size_of_val(start.have.as_slice())
        }
        Request::LoginJwt { jwt, start, .. } => {
            jwt.expose().len() + size_of_val(start.have.as_slice())
        }
        _ => 0,
    };
    own + size_of::<Item>()
}

#[cfg(test)]
mod tests {
    use super::{Item, Pipeline};
    use crate::id::{ConversationRef, RequestId, Seq, UserId};
    use crate::log::JoinPolicy;
    use crate::name::{Key, Name};
    use crate::protocol::request::Start;
    use crate::protocol::{ErrorCode, Reply, Request, RequestError};
    use crate::secret::Secret;
    use crate::time::Timestamp;

    fn send(key: &str) -> Request {
        Request::Send {
            to: ConversationRef::User(UserId(2)),
            key: Key::new(key).unwrap(),
            text: "x".into(),
            reply_to: None,
            meta: None,
        }
    }

    fn push(
        pipeline: &mut Pipeline,
        id: Option<RequestId>,
        request: Result<Request, RequestError>,
    ) {
        let op = request.as_ref().ok().map(Request::op);
        pipeline.push(id, op, request, Timestamp(7));
    }

    fn pop(pipeline: &mut Pipeline) -> Option<(Option<RequestId>, Result<Reply, RequestError>)> {
        let answered = pipeline.pop()?;
        assert_eq!(answered.at, Timestamp(7));
        Some((answered.id, answered.result))
    }

    #[test]
    fn sends_overlap_and_others_wait() {
        let mut pipeline = Pipeline::default();
        push(&mut pipeline, Some(RequestId(1)), Ok(send("a")));
        push(&mut pipeline, Some(RequestId(2)), Ok(send("b")));
        push(&mut pipeline, Some(RequestId(3)), Ok(Request::Ping));
        push(&mut pipeline, Some(RequestId(4)), Ok(send("c")));
        let (first, _) = pipeline.start_next().unwrap();
        let (second, _) = pipeline.start_next().unwrap();
        assert_eq!(pipeline.start_next(), None);
        pipeline.answer(second, Ok(Reply::Done));
        assert_eq!(pop(&mut pipeline), None);
        assert_eq!(pipeline.start_next(), None);
        pipeline.answer(first, Err(ErrorCode::Busy.into()));
        assert_eq!(
            pop(&mut pipeline),
            Some((Some(RequestId(1)), Err(ErrorCode::Busy.into())))
        );
        assert_eq!(
            pop(&mut pipeline),
            Some((Some(RequestId(2)), Ok(Reply::Done)))
        );
        let (ping, request) = pipeline.start_next().unwrap();
        assert_eq!(request, Request::Ping);
        assert_eq!(
            pipeline.start_next(),
            None,
            "a send waits for what is no send"
        );
        pipeline.answer(ping, Ok(Reply::Done));
        assert_eq!(
            pop(&mut pipeline),
            Some((Some(RequestId(3)), Ok(Reply::Done)))
        );
        assert!(pipeline.start_next().is_some());
        assert_eq!(pipeline.len(), 1);
    }

    #[test]
    fn bytes_are_those_of_the_texts_and_lists_that_wait() {
        let start = Start {
            replay: true,
            have: vec![(ConversationRef::User(UserId(2)), Seq(1)); 10],
        };
        let token = Secret::new("token");
        let requests = [
            (Request::Ping, 0),
            (send("a"), 1),
            (
                Request::Send {
                    to: ConversationRef::User(UserId(2)),
                    key: Key::new("b").unwrap(),
                    text: "four".into(),
                    reply_to: None,
                    meta: Some("{}".into()),
                },
                6,
            ),
            (
                Request::Edit {
                    conversation: ConversationRef::User(UserId(2)),
                    seq: Seq(1),
                    text: "three".into(),
                },
                5,
            ),
            (
                Request::GroupCreate {
                    name: Name::new("g").unwrap(),
                    description: "seven77".into(),
                    join: JoinPolicy::Open,
                    key: None,
                },
                7,
            ),
            (
                Request::LoginJwt {
                    jwt: Secret::new("a.b.c"),
                    device: None,
                    start: start.clone(),
                },
                245,
            ),
            (Request::Resume { token, start }, 240),
        ];
        for (request, bytes) in requests {
            let mut pipeline = Pipeline::default();
            push(&mut pipeline, Some(RequestId(1)), Ok(request));
            assert_eq!(pipeline.bytes(), bytes + size_of::<Item>());
            assert_eq!(pipeline.len(), 1);
            pipeline.start_next().unwrap();
            assert_eq!(pipeline.bytes(), 0);
        }
        assert_eq!(Pipeline::default().len(), 0);
    }

    #[test]
    fn what_is_answered_before_its_turn_starts_nothing() {
        let mut pipeline = Pipeline::default();
        push(&mut pipeline, Some(RequestId(1)), Ok(send("a")));
        push(&mut pipeline, None, Err(ErrorCode::BadFrame.into()));
        push(&mut pipeline, Some(RequestId(2)), Ok(send("b")));
        assert_eq!(pipeline.start_next().map(|(serial, _)| serial), Some(0));
        assert_eq!(pipeline.start_next().map(|(serial, _)| serial), Some(2));
        assert_eq!(pipeline.start_next(), None);
    }

    #[test]
    fn errors_keep_their_place() {
        let mut pipeline = Pipeline::default();
        push(&mut pipeline, Some(RequestId(1)), Ok(Request::Ping));
        push(&mut pipeline, None, Err(ErrorCode::BadFrame.into()));
        assert_eq!(pop(&mut pipeline), None);
        let (ping, _) = pipeline.start_next().unwrap();
        pipeline.answer(ping, Ok(Reply::Done));
        assert_eq!(
            pop(&mut pipeline),
            Some((Some(RequestId(1)), Ok(Reply::Done)))
        );
        assert_eq!(
            pop(&mut pipeline),
            Some((None, Err(ErrorCode::BadFrame.into())))
        );
        assert!(pipeline.is_empty());
        assert_eq!(pipeline.bytes(), 0);
    }
}
