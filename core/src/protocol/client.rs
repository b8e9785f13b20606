//! Makes frames of requests, and replies and events of servers' frames: a client's side.
//!
//! A client outlives the server that it was built for. Fields that it does not know are ignored,
//! and so is the rest of what it cannot know:
//! - an event of an unknown name, or with an unknown word in it, is [`ServerFrame::Unknown`];
//! - an entry of an unknown kind is missing in a history;
//! - an unknown error code becomes [`ErrorCode::Busy`] when the server says when to repeat, else
//!   [`ErrorCode::BadRequest`], which is not repeated; the message stays;
//! - an unknown notice code becomes [`NoticeCode::Draining`] when the server says when to connect
//!   again, else [`ServerFrame::Unknown`].
//!
//! What a hostile server sends never panics, and takes memory in proportion to the frame.

mod event;
mod reply;
mod request;

use std::borrow::Cow;
use std::str;

use thiserror::Error;

use crate::id::RequestId;
pub use crate::protocol::client::reply::RawReply;
pub use crate::protocol::client::request::encode_request;
use crate::protocol::error::{ErrorCode, RequestError};
use crate::protocol::event::Event;
#[cfg(doc)]
use crate::protocol::event::NoticeCode;
use crate::protocol::json::object::{FieldError, ObjectError, Slot, read_object, slots};
use crate::protocol::json::value::{self, Problem};
pub use crate::protocol::lists::SessionList;
pub use crate::protocol::request::ReplyKind;

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// The answer to a request.
    Reply {
        /// The request's; absent when the server could not read it.
        id: Option<RequestId>,
        /// What came of it.
        result: Result<RawReply, RequestError>,
    },
    /// An event.
    Event(Event),
    /// Something that this version does not know; to be ignored.
    Unknown,
}

/// A server's frame that does not keep the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the server's frame is malformed: {what}")]
pub struct Malformed {
    what: Cow<'static, str>,
}

/// Reads a frame from a server: one JSON object in UTF-8, without its line ending.
///
/// # Errors
/// Says what is wrong with a frame that no version of the protocol allows.
pub fn decode(frame: &[u8]) -> Result<ServerFrame, Malformed> {
    let Ok(text) = str::from_utf8(frame) else {
        return Err(Malformed::new("it is not UTF-8"));
    };
    let mut top = Top::default();
    read_object(text, &mut top)?;
    if top.event.is_present() {
        return Ok(event::read(text)?.map_or(ServerFrame::Unknown, ServerFrame::Event));
    }
    if !top.ok.is_present() && !top.error.is_present() {
        return Ok(ServerFrame::Unknown);
    }
    let id = top.id.read(value::integer)?.map(RequestId);
    if top.error.is_present() {
        let result = Err(top.error.need(error)?);
        return Ok(ServerFrame::Reply { id, result });
    }
    Ok(ServerFrame::Reply {
        id,
        result: Ok(top.ok.need(|raw| Ok(RawReply::new(raw)))?),
    })
}

impl Malformed {
    fn new(what: &'static str) -> Self {
        Self {
            what: Cow::Borrowed(what),
        }
    }
}

impl From<ObjectError> for Malformed {
    fn from(error: ObjectError) -> Self {
        Self::new(match error {
            ObjectError::Syntax => "it is not a JSON object",
            ObjectError::TooDeep => "it nests too deep",
            ObjectError::Duplicate(_) => "it has a field twice",
        })
    }
}

impl From<FieldError> for Malformed {
    fn from(FieldError { field, problem }: FieldError) -> Self {
        let rule = match problem {
            Problem::Unreadable => Cow::Borrowed("is not Unicode text"),
            Problem::Bad(rule) | Problem::TooLarge(rule) => rule,
        };
        Self {
            what: Cow::Owned(format!("`{field}` {rule}")),
        }
    }
}

slots!(
    /// What tells the kinds of frames apart.
    Top {
        event = "event",
        id = "id",
        ok = "ok",
        error = "error",
    }
);

slots!(
    /// The fields of an error.
    Failure {
        code = "code",
        message = "message",
        retry_ms = "retry_ms",
    }
);

fn error(raw: &str) -> Result<RequestError, Problem> {
    let mut fields = Failure::default();
    value::object(raw, &mut fields)?;
    let read = || -> Result<RequestError, FieldError> {
        let known = fields
            .code
            .need(|raw| value::string(raw, |code| Ok(ErrorCode::from_name(code))))?;
        let message = fields.message.read(owned)?;
        let retry_ms = fields.retry_ms.read(value::integer)?;
        let code = known.unwrap_or(match retry_ms {
            Some(_) => ErrorCode::Busy,
            None => ErrorCode::BadRequest,
        });
        Ok(RequestError {
            code,
            message: message.map_or(Cow::Borrowed(code.sentence()), Cow::Owned),
            retry_ms,
        })
    };
    read().map_err(within)
}

/// Reads a string to keep.
fn owned(raw: &str) -> Result<String, Problem> {
    value::string(raw, |text| Ok(text.to_owned()))
}

/// Reads a word; `None` for one that this version does not know.
fn word<T>(
    slot: &Slot<'_>,
    from_name: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, FieldError> {
    slot.need(|raw| value::string(raw, |text| Ok(from_name(text))))
}

/// Says what is wrong with a field of a field.
fn within(FieldError { field, problem }: FieldError) -> Problem {
    match problem {
        Problem::Unreadable => Problem::Unreadable,
        Problem::Bad(rule) | Problem::TooLarge(rule) => {
            Problem::Bad(Cow::Owned(format!("has a `{field}` that {rule}")))
        }
    }
}

#[cfg(test)]
mod tests;
