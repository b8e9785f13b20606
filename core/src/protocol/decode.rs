//! Makes requests of clients' frames: a server's side.
//!
//! One pass over the frame finds the fields, as slices; no tree is built, and strings are borrowed
//! until they become the request's own. Then the fields that the `op` uses are read. A field that
//! the `op` does not use is looked at for JSON's grammar, its depth and its being there once, not
//! for its type.

mod ops;

use std::str;

use crate::id::RequestId;
use crate::protocol::error::{ErrorCode, RequestError};
use crate::protocol::json::object::{FieldError, ObjectError, read_object, slots};
use crate::protocol::json::value::{self, Problem};
use crate::protocol::request::Frame;

/// Why a frame is no request, and which request's reply says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The frame's `id`, where it could be read.
    pub id: Option<RequestId>,
    /// What the client is told.
    pub error: RequestError,
}

/// Reads a frame: one JSON object in UTF-8, without its line ending.
///
/// Frames are as long as the caller lets them be ([`MAX_CLIENT_FRAME`]); the memory used is a
/// small multiple of the frame.
///
/// # Errors
/// `bad_frame` when the frame is no JSON object, holds a string that is no Unicode text or nests
/// deeper than a hundred levels; `bad_request` when a field is missing, there twice, of the wrong
/// type or against a rule, which the message names; `unknown_op`; `too_large` for `text` and `meta`.
///
/// [`MAX_CLIENT_FRAME`]: crate::protocol::MAX_CLIENT_FRAME
pub fn request(frame: &[u8]) -> Result<Frame, DecodeError> {
    let mut fields = Fields::default();
    let found = match str::from_utf8(frame) {
        Ok(text) => read_object(text, &mut fields),
        Err(error) => {
            // What stands before the broken byte may hold the id.
            let sound = frame.get(..error.valid_up_to()).unwrap_or_default();
            // It is no whole object, or is followed by something that is no text.
            read_object(str::from_utf8(sound).unwrap_or_default(), &mut fields)
                .and(Err(ObjectError::Syntax))
        }
    };
    let id = match found {
        // Of two ids none is the request's.
        Err(ObjectError::Duplicate(Some("id"))) => Ok(None),
        _ => fields.id.read(value::integer),
    };
    let fail = |error| DecodeError {
        id: id.clone().ok().flatten().map(RequestId),
        error,
    };
    found.map_err(|error| fail(error.into()))?;
    match &id {
        Ok(Some(id)) => Ok(Frame {
            id: RequestId(*id),
            request: ops::build(&fields).map_err(fail)?,
        }),
        Ok(None) => Err(fail(fields.id.error(Problem::bad("is missing")).into())),
        Err(error) => Err(fail(error.clone().into())),
    }
}

slots!(
    /// Every field that some request has.
    Fields {
        id = "id",
        op = "op",
        name = "name",
        user = "user",
        password = "password",
        invite = "invite",
        device = "device",
        replay = "replay",
        have = "have",
        token = "token",
        jwt = "jwt",
        old = "old",
        new = "new",
        after = "after",
        before = "before",
        limit = "limit",
        description = "description",
        join = "join",
        key = "key",
        group = "group",
        role = "role",
        to = "to",
        text = "text",
        reply_to = "reply_to",
        meta = "meta",
        place = "in",
        seq = "seq",
        delivered = "delivered",
        read = "read",
    }
);

impl From<FieldError> for RequestError {
    fn from(FieldError { field, problem }: FieldError) -> Self {
        match problem {
            Problem::Unreadable => Self::new(
                ErrorCode::BadFrame,
                format!(
                    "`{field}` has what JSON readers refuse: broken Unicode, huge numbers or deep nesting"
                ),
            ),
            Problem::Bad(rule) => Self::bad_request(format!("`{field}` {rule}")),
            Problem::TooLarge(rule) => Self::new(ErrorCode::TooLarge, format!("`{field}` {rule}")),
        }
    }
}

impl From<ObjectError> for RequestError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Syntax => ErrorCode::BadFrame.into(),
            ObjectError::TooDeep => Self::new(ErrorCode::BadFrame, "the frame nests too deep"),
            ObjectError::Duplicate(Some(field)) => {
                Self::bad_request(format!("`{field}` is there twice"))
            }
            ObjectError::Duplicate(None) => Self::bad_request("a field is there twice"),
        }
    }
}

#[cfg(test)]
mod tests;
