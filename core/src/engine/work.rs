//! What the requests of a session ask of the store.

use crate::id::{ConversationRef, UserId};
use crate::protocol::{ErrorCode, Request, RequestError};
use crate::store::{Command, Read};

/// Bytes of text in one page of history: what surely fits a frame in most languages. The encoder
/// cuts what does not.
const HISTORY_BYTES: u32 = 200 * 1024;

/// What a request asks of the store.
pub(super) enum Work {
    Read(Read),
    Change(Command),
}

/// Turns a request of a session into what it asks of the store.
pub(super) fn work_of(user: UserId, request: Request) -> Result<Work, RequestError> {
    let place_of = |conversation: ConversationRef| {
        conversation
            .place(user)
            .ok_or_else(|| RequestError::from(ErrorCode::NotFriends))
    };
    Ok(match request {
        Request::Send {
            to,
            key,
            text,
            reply_to,
            meta,
        } => {
            let place = place_of(to)?;
            Work::Change(Command::Send {
                user,
                place,
                key,
                text,
                reply_to,
                meta,
            })
        }
        Request::Edit {
            conversation,
            seq,
            text,
        } => Work::Change(Command::Edit {
            user,
            place: place_of(conversation)?,
            seq,
            text,
        }),
        Request::Recall { conversation, seq } => Work::Change(Command::Recall {
            user,
            place: place_of(conversation)?,
            seq,
        }),
        Request::History {
            conversation,
            anchor,
            limit,
        } => {
            let place = place_of(conversation)?;
            Work::Read(Read::History {
                reader: user,
                place,
                anchor,
                limit,
                bytes: HISTORY_BYTES,
            })
        }
        Request::Friend {
            action,
            user: other,
        } => Work::Change(Command::Friend {
            user,
            action,
            other,
        }),
        other => return list_of(user, other),
    })
}

/// The same for lists and look-ups.
fn list_of(reader: UserId, request: Request) -> Result<Work, RequestError> {
    Ok(Work::Read(match request {
        Request::User { who } => Read::User { reader, who },
        Request::Friends { after, limit } => Read::Friends {
            reader,
            after,
            limit,
        },
        Request::Groups { after, limit } => Read::Groups {
            reader,
            after,
            limit,
        },
        Request::Conversations { after, limit } => Read::Conversations {
            reader,
            after,
            limit,
        },
        Request::Group { group } => Read::Group { reader, group },
        Request::GroupMembers {
            group,
            after,
            limit,
        } => Read::Members {
            reader,
            group,
            after,
            limit,
        },
        Request::GroupRequests {
            group,
            after,
            limit,
        } => Read::Requests {
            reader,
            group,
            after,
            limit,
        },
        other => return group_change_of(reader, other),
    }))
}

/// The same for changes of groups.
fn group_change_of(user: UserId, request: Request) -> Result<Work, RequestError> {
    Ok(Work::Change(match request {
        Request::GroupCreate {
            name,
            description,
            join,
            key,
        } => Command::GroupCreate {
            user,
            name,
            description,
            join,
            key,
        },
        Request::GroupSelf { action, group } => Command::GroupSelf {
            user,
            action,
            group,
        },
        Request::GroupOther {
            action,
            group,
            user: other,
        } => Command::GroupOther {
            user,
            action,
            group,
            other,
        },
        Request::GroupRole {
            group,
            user: other,
            role,
        } => Command::GroupRole {
            user,
            group,
            other,
            role,
        },
        Request::GroupUpdate { group, change } => Command::GroupUpdate {
            user,
            group,
            change,
        },
        // Everything else was started before it came here.
        _ => return Err(ErrorCode::UnknownOp.into()),
    }))
}
