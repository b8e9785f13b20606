//! Reads replies, once it is known what was asked.

use std::fmt;

use crate::id::{ConversationRef, Seq, SessionId};
use crate::log::{FriendState, JoinPolicy, Role};
use crate::protocol::client::{Malformed, event, within};
use crate::protocol::json::object::{FieldError, Slot, read_object, slots};
use crate::protocol::json::value::{self, Problem};
use crate::protocol::lists::SessionList;
use crate::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, GroupReply, InviteItem, JoinState, Keep, Listing,
    MemberItem, OnlineFriend, Reply, SessionReply, UserItem,
};
use crate::protocol::request::ReplyKind;
use crate::protocol::{MAX_SERVER_FRAME, MAX_TOKEN_BYTES};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The `ok` of a reply, not yet read: only who asked knows what it says.
///
/// `Debug` shows its length alone, since it may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct RawReply(Box<str>);

impl RawReply {
    /// Keeps the value of `ok`.
    pub(super) fn new(raw: &str) -> Self {
        Self(raw.into())
    }

    /// Reads the reply to a request of that kind.
    ///
    /// # Errors
    /// Says what is wrong with a reply that is none to such a request.
    pub fn parse(&self, kind: ReplyKind) -> Result<Reply, Malformed> {
        let fields = self.fields()?;
        Ok(build(&fields, kind)?)
    }

    /// Returns which lists of a reply to `login` or `resume` were cut, so that their rest is asked
    /// for; of another reply, none.
    ///
    /// # Errors
    /// Says what is wrong with the reply.
    pub fn cut_lists(&self) -> Result<Vec<SessionList>, Malformed> {
        let fields = self.fields()?;
        let names = fields.more.read(|raw| {
            if !raw.starts_with('[') {
                return Ok(Vec::new());
            }
            value::list(raw, MAX_SERVER_FRAME, |raw| {
                value::string(raw, |name| Ok(SessionList::from_name(name)))
            })
        })?;
        Ok(names.unwrap_or_default().into_iter().flatten().collect())
    }

    fn fields(&self) -> Result<Fields<'_>, Malformed> {
        let mut fields = Fields::default();
        read_object(&self.0, &mut fields)?;
        Ok(fields)
    }
}

impl fmt::Debug for RawReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RawReply({} bytes)", self.0.len())
    }
}

slots!(
    /// Every field that some reply, or an item of its lists, has.
    Fields {
        user = "user",
        name = "name",
        session = "session",
        token = "token",
        idle_ms = "idle_ms",
        friends = "friends",
        requests = "requests",
        groups = "groups",
        invites = "invites",
        conversations = "conversations",
        more = "more",
        at = "at",
        state = "state",
        online = "online",
        group = "group",
        by = "by",
        role = "role",
        description = "description",
        join = "join",
        members = "members",
        last = "last",
        seq = "seq",
        messages = "messages",
        place = "in",
        delivered = "delivered",
        read = "read",
        peer_delivered = "peer_delivered",
        peer_read = "peer_read",
    }
);

fn build(fields: &Fields<'_>, kind: ReplyKind) -> Result<Reply, FieldError> {
    Ok(match kind {
        ReplyKind::Done => Reply::Done,
        ReplyKind::Registered => Reply::Registered {
            user: fields.user.need(value::user)?,
        },
        ReplyKind::Session => Reply::Session(Box::new(session(fields)?)),
        ReplyKind::Token => Reply::Token {
            token: fields.token.need(token)?,
        },
        ReplyKind::Pong => Reply::Pong { at: at(fields)? },
        ReplyKind::User => Reply::User {
            user: fields.user.need(value::user)?,
            name: fields.name.need(value::name)?,
            state: fields.state.need(friend_state)?,
            online: fields.online.read(value::boolean)?,
        },
        ReplyKind::FriendRequested => Reply::FriendRequested {
            user: fields.user.need(value::user)?,
            state: fields.state.need(friend_state)?,
        },
        ReplyKind::FriendState => Reply::FriendState {
            state: fields.state.need(friend_state)?,
        },
        ReplyKind::Friends => Reply::Friends(listing(fields, &fields.friends, friend)?),
        ReplyKind::GroupCreated => Reply::GroupCreated {
            group: fields.group.need(value::group)?,
        },
        ReplyKind::GroupJoined => Reply::GroupJoined {
            state: fields.state.need(join_state)?,
        },
        ReplyKind::Group => Reply::Group(Box::new(group(fields)?)),
        ReplyKind::Members => Reply::Members(listing(fields, &fields.members, member)?),
        ReplyKind::Requests => Reply::Requests(listing(fields, &fields.requests, user_item)?),
        ReplyKind::Groups => Reply::Groups(listing(fields, &fields.groups, group_item)?),
        ReplyKind::Conversations => {
            Reply::Conversations(listing(fields, &fields.conversations, conversation)?)
        }
        ReplyKind::Appended => Reply::Appended {
            seq: fields.seq.need(value::seq)?,
            at: at(fields)?,
        },
        ReplyKind::History(keep) => history(fields, keep)?,
    })
}

fn session(fields: &Fields<'_>) -> Result<SessionReply, FieldError> {
    Ok(SessionReply {
        user: fields.user.need(value::user)?,
        name: fields.name.need(value::name)?,
        session: SessionId(fields.session.need(value::integer)?),
        token: fields.token.need(token)?,
        idle_ms: fields.idle_ms.need(value::integer)?,
        friends: items(&fields.friends, online_friend)?,
        requests: items(&fields.requests, user_item)?,
        groups: items(&fields.groups, group_item)?,
        invites: items(&fields.invites, invite)?,
        conversations: items(&fields.conversations, conversation)?,
    })
}

fn group(fields: &Fields<'_>) -> Result<GroupReply, FieldError> {
    Ok(GroupReply {
        group: fields.group.need(value::group)?,
        name: fields.name.need(value::name)?,
        description: fields.description.need(value::shared)?,
        join: fields.join.need(join_policy)?,
        role: fields.role.read(role)?,
        members: fields.members.need(value::integer)?,
        last: fields.last.read(value::seq)?,
    })
}

fn history(fields: &Fields<'_>, keep: Keep) -> Result<Reply, FieldError> {
    let messages = fields
        .messages
        .need(|raw| value::list(raw, MAX_SERVER_FRAME, event::item))?;
    Ok(Reply::History {
        messages: messages.into_iter().flatten().collect(),
        more: more(fields)?,
        keep,
    })
}

fn listing<T>(
    fields: &Fields<'_>,
    slot: &Slot<'_>,
    item: impl Fn(&Fields<'_>) -> Result<T, FieldError>,
) -> Result<Listing<T>, FieldError> {
    Ok(Listing {
        items: items(slot, item)?,
        more: more(fields)?,
    })
}

/// Reads a list of objects; the frame bounds it.
fn items<T>(
    slot: &Slot<'_>,
    item: impl Fn(&Fields<'_>) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    slot.need(|raw| {
        value::list(raw, MAX_SERVER_FRAME, |raw| {
            let mut fields = Fields::default();
            value::object(raw, &mut fields)?;
            item(&fields).map_err(within)
        })
    })
}

fn online_friend(fields: &Fields<'_>) -> Result<OnlineFriend, FieldError> {
    Ok(OnlineFriend {
        user: fields.user.need(value::user)?,
        name: fields.name.need(value::name)?,
        online: fields.online.need(value::boolean)?,
    })
}

fn user_item(fields: &Fields<'_>) -> Result<UserItem, FieldError> {
    Ok(UserItem {
        user: fields.user.need(value::user)?,
        name: fields.name.need(value::name)?,
    })
}

fn group_item(fields: &Fields<'_>) -> Result<GroupItem, FieldError> {
    Ok(GroupItem {
        group: fields.group.need(value::group)?,
        name: fields.name.need(value::name)?,
        role: fields.role.need(role)?,
    })
}

fn invite(fields: &Fields<'_>) -> Result<InviteItem, FieldError> {
    Ok(InviteItem {
        group: fields.group.need(value::group)?,
        name: fields.name.need(value::name)?,
        by: fields.by.need(value::user)?,
    })
}

fn conversation(fields: &Fields<'_>) -> Result<ConversationItem, FieldError> {
    let place: ConversationRef = fields.place.need(value::conversation)?;
    let peer: (Option<Seq>, Option<Seq>) = (
        fields.peer_delivered.read(value::seq)?,
        fields.peer_read.read(value::seq)?,
    );
    Ok(ConversationItem {
        conversation: place,
        last: fields.last.need(value::seq)?,
        delivered: fields.delivered.need(value::seq)?,
        read: fields.read.need(value::seq)?,
        peer: peer.0.zip(peer.1),
    })
}

fn friend(fields: &Fields<'_>) -> Result<FriendItem, FieldError> {
    Ok(FriendItem {
        user: fields.user.need(value::user)?,
        name: fields.name.need(value::name)?,
        state: fields.state.need(friend_state)?,
        online: fields.online.read(value::boolean)?,
    })
}

fn member(fields: &Fields<'_>) -> Result<MemberItem, FieldError> {
    Ok(MemberItem {
        user: fields.user.need(value::user)?,
        name: fields.name.need(value::name)?,
        role: fields.role.need(role)?,
        online: fields.online.read(value::boolean)?,
    })
}

fn more(fields: &Fields<'_>) -> Result<bool, FieldError> {
    Ok(fields.more.read(value::boolean)?.unwrap_or(false))
}

fn at(fields: &Fields<'_>) -> Result<Timestamp, FieldError> {
    fields.at.need(value::integer).map(Timestamp)
}

/// Reads a token; one that is too long would not fit into the frame of a `resume`.
fn token(raw: &str) -> Result<Secret, Problem> {
    value::string(raw, |text| {
        if text.len() <= MAX_TOKEN_BYTES {
            return Ok(Secret::new(text));
        }
        Err(Problem::Bad("is too long".into()))
    })
}

fn friend_state(raw: &str) -> Result<FriendState, Problem> {
    known(raw, FriendState::from_name)
}

fn role(raw: &str) -> Result<Role, Problem> {
    known(raw, Role::from_name)
}

fn join_policy(raw: &str) -> Result<JoinPolicy, Problem> {
    known(raw, JoinPolicy::from_name)
}

fn join_state(raw: &str) -> Result<JoinState, Problem> {
    known(raw, |text| match text {
        "member" => Some(JoinState::Member),
        "requested" => Some(JoinState::Requested),
        _ => None,
    })
}

fn known<T>(raw: &str, from_name: impl FnOnce(&str) -> Option<T>) -> Result<T, Problem> {
    value::word(raw, from_name, "is a word of another version")
}
