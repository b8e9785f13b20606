//! Which fields each message has.

use std::sync::Arc;

use parlor_core::id::{ConversationId, GroupId, Pair, Place, Seq, SessionId, UserId};
use parlor_core::log::{Body, Entry, GroupChange, JoinPolicy, Role, Text};
use parlor_core::name::{Key, MAX_KEY_BYTES, MAX_NAME_CHARS, Name};
use parlor_core::protocol::{MAX_DESCRIPTION_BYTES, MAX_META_BYTES, MAX_TEXT_BYTES};
use parlor_core::relay::RelayMessage;

use super::fields::{Fields, Writer};

/// The most bytes of a name.
const NAME: usize = 4 * MAX_NAME_CHARS;

/// The most bytes of the spelling of a role or a way to join.
const SPELLING: usize = 16;

/// The kinds of messages.
mod kind {
    pub(super) const ENTRY: u8 = 1;
    pub(super) const CHANGED: u8 = 2;
    pub(super) const RECEIPT: u8 = 3;
    pub(super) const TYPING_DIRECT: u8 = 4;
    pub(super) const TYPING_GROUP: u8 = 5;
    pub(super) const REQUESTED: u8 = 6;
    pub(super) const ASK_ABOUT: u8 = 7;
    pub(super) const RESUMED: u8 = 8;
    pub(super) const HEARTBEAT: u8 = 9;
    pub(super) const LEAVING: u8 = 10;
}

/// The kinds of entries: the values of [`entry::KIND`].
mod body {
    pub(super) const TEXT: u64 = 1;
    pub(super) const EDIT: u64 = 2;
    pub(super) const RECALL: u64 = 3;
    pub(super) const JOINED: u64 = 4;
    pub(super) const LEFT: u64 = 5;
    pub(super) const REMOVED: u64 = 6;
    pub(super) const ROLE: u64 = 7;
    pub(super) const UPDATED: u64 = 8;
    pub(super) const DISBANDED: u64 = 9;
}

/// The fields of an entry. Those behind `KIND` belong to some kinds.
mod entry {
    pub(super) const CONVERSATION: u8 = 0;
    /// The two users of a direct conversation, or the group.
    pub(super) const LOW: u8 = 1;
    pub(super) const HIGH: u8 = 2;
    pub(super) const GROUP: u8 = 3;
    pub(super) const SEQ: u8 = 4;
    pub(super) const FROM: u8 = 5;
    pub(super) const AT: u8 = 6;
    pub(super) const KIND: u8 = 7;
    pub(super) const KEY: u8 = 8;
    pub(super) const TEXT: u8 = 9;
    pub(super) const REPLY_TO: u8 = 10;
    pub(super) const META: u8 = 11;
    pub(super) const EDITED: u8 = 12;
    pub(super) const RECALLED: u8 = 13;
    pub(super) const TARGET: u8 = 14;
    pub(super) const USER: u8 = 15;
    pub(super) const ROLE: u8 = 16;
    pub(super) const NAME: u8 = 17;
    pub(super) const DESCRIPTION: u8 = 18;
    pub(super) const JOIN: u8 = 19;
}

/// The fields of the other messages; what a number means is the same in all of them.
mod field {
    pub(super) const USER: u8 = 0;
    pub(super) const ORIGIN: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const CONVERSATION: u8 = 3;
    pub(super) const LOW: u8 = 4;
    pub(super) const HIGH: u8 = 5;
    pub(super) const TO: u8 = 6;
    pub(super) const DELIVERED: u8 = 7;
    pub(super) const READ: u8 = 8;
    pub(super) const GROUP: u8 = 9;
    pub(super) const NAME: u8 = 10;
    pub(super) const SESSION: u8 = 11;
    pub(super) const AT: u8 = 12;
    pub(super) const LINE: u8 = 13;
}

/// Adds a message's kind and fields.
pub(super) fn write(message: &RelayMessage, out: &mut Vec<u8>) {
    match message {
        RelayMessage::Entry(entry) => write_entry(entry, Writer::new(kind::ENTRY, out)),
        RelayMessage::Changed { user, version } => {
            let mut fields = about(kind::CHANGED, *user, None, out);
            fields.number(field::VERSION, *version);
        }
        RelayMessage::Receipt {
            conversation,
            pair,
            to,
            user,
            delivered,
            read,
            origin,
        } => {
            let mut fields = about(kind::RECEIPT, *user, Some(*origin), out);
            fields.number(field::CONVERSATION, conversation.0);
            if let Some(pair) = pair {
                write_pair(&mut fields, field::LOW, field::HIGH, *pair);
            }
            fields.number(field::TO, to.0);
            fields.number(field::DELIVERED, delivered.0);
            fields.number(field::READ, read.0);
        }
        RelayMessage::TypingDirect { pair, user, origin } => {
            let mut fields = about(kind::TYPING_DIRECT, *user, Some(*origin), out);
            write_pair(&mut fields, field::LOW, field::HIGH, *pair);
        }
        RelayMessage::TypingGroup {
            group,
            user,
            origin,
        } => {
            let mut fields = about(kind::TYPING_GROUP, *user, Some(*origin), out);
            fields.number(field::GROUP, group.0);
        }
        RelayMessage::Requested {
            group,
            name,
            user,
            origin,
        } => {
            let mut fields = about(kind::REQUESTED, *user, Some(*origin), out);
            fields.number(field::GROUP, group.0);
            fields.text(field::NAME, name.as_str());
        }
        RelayMessage::AskAbout { user } => {
            about(kind::ASK_ABOUT, *user, None, out);
        }
        RelayMessage::Resumed { user, session, at } => {
            let mut fields = about(kind::RESUMED, *user, None, out);
            fields.number(field::SESSION, session.0);
            fields.number(field::AT, at.0);
        }
        RelayMessage::Heartbeat { origin, line } => {
            let mut fields = Writer::new(kind::HEARTBEAT, out);
            fields.number(field::ORIGIN, *origin);
            fields.number(field::LINE, *line);
        }
        RelayMessage::Leaving { origin } => {
            Writer::new(kind::LEAVING, out).number(field::ORIGIN, *origin);
        }
    }
}

/// Reads a message; `None` where it is none that this version knows.
pub(super) fn read(body: &[u8]) -> Option<RelayMessage> {
    let (kind, rest) = body.split_first()?;
    let fields = Fields::read(rest)?;
    if *kind == kind::ENTRY {
        return Some(RelayMessage::Entry(Arc::new(read_entry(&fields)?)));
    }
    let user = || fields.id(field::USER, UserId);
    let origin = || fields.any(field::ORIGIN);
    let group = || fields.id(field::GROUP, GroupId);
    Some(match *kind {
        kind::CHANGED => RelayMessage::Changed {
            user: user()?,
            version: fields.any(field::VERSION)?,
        },
        kind::RECEIPT => RelayMessage::Receipt {
            conversation: fields.id(field::CONVERSATION, ConversationId)?,
            pair: match fields.has(field::LOW) || fields.has(field::HIGH) {
                true => Some(read_pair(&fields, field::LOW, field::HIGH)?),
                false => None,
            },
            to: fields.id(field::TO, UserId)?,
            user: user()?,
            delivered: fields.id(field::DELIVERED, Seq)?,
            read: fields.id(field::READ, Seq)?,
            origin: origin()?,
        },
        kind::TYPING_DIRECT => RelayMessage::TypingDirect {
            pair: read_pair(&fields, field::LOW, field::HIGH)?,
            user: user()?,
            origin: origin()?,
        },
        kind::TYPING_GROUP => RelayMessage::TypingGroup {
            group: group()?,
            user: user()?,
            origin: origin()?,
        },
        kind::REQUESTED => RelayMessage::Requested {
            group: group()?,
            name: Name::new(fields.text(field::NAME, NAME)?).ok()?,
            user: user()?,
            origin: origin()?,
        },
        kind::ASK_ABOUT => RelayMessage::AskAbout { user: user()? },
        kind::RESUMED => RelayMessage::Resumed {
            user: user()?,
            session: fields.id(field::SESSION, SessionId)?,
            at: fields.time(field::AT)?,
        },
        kind::HEARTBEAT => RelayMessage::Heartbeat {
            origin: origin()?,
            line: fields.any(field::LINE)?,
        },
        kind::LEAVING => RelayMessage::Leaving { origin: origin()? },
        _ => return None,
    })
}

/// Begins a message about a user.
fn about(kind: u8, user: UserId, origin: Option<u64>, out: &mut Vec<u8>) -> Writer<'_> {
    let mut fields = Writer::new(kind, out);
    fields.number(field::USER, user.0);
    if let Some(origin) = origin {
        fields.number(field::ORIGIN, origin);
    }
    fields
}

fn write_pair(fields: &mut Writer<'_>, low: u8, high: u8, pair: Pair) {
    fields.number(low, pair.low().0);
    fields.number(high, pair.high().0);
}

fn read_pair(fields: &Fields<'_>, low: u8, high: u8) -> Option<Pair> {
    let (low, high) = (fields.id(low, UserId)?, fields.id(high, UserId)?);
    Pair::new(low, high).filter(|pair| pair.low() == low)
}

fn write_entry(entry: &Entry, mut fields: Writer<'_>) {
    fields.number(entry::CONVERSATION, entry.conversation.0);
    match entry.place {
        Place::Direct(pair) => write_pair(&mut fields, entry::LOW, entry::HIGH, pair),
        Place::Group(group) => fields.number(entry::GROUP, group.0),
    }
    fields.number(entry::SEQ, entry.seq.0);
    fields.number(entry::FROM, entry.from.0);
    fields.number(entry::AT, entry.at.0);
    let mut about = |kind, user: &UserId| {
        fields.number(entry::KIND, kind);
        fields.number(entry::USER, user.0);
    };
    match &entry.body {
        Body::Text(text) => write_text(text, &mut fields),
        Body::Edit { target, text } => {
            fields.number(entry::KIND, body::EDIT);
            fields.optional_text(entry::TEXT, text.as_deref());
            fields.number(entry::TARGET, target.0);
        }
        Body::Recall { target } => {
            fields.number(entry::KIND, body::RECALL);
            fields.number(entry::TARGET, target.0);
        }
        Body::Joined { user } => about(body::JOINED, user),
        Body::Left { user } => about(body::LEFT, user),
        Body::Removed { user } => about(body::REMOVED, user),
        Body::Role { user, role } => {
            about(body::ROLE, user);
            fields.text(entry::ROLE, role.as_str());
        }
        Body::Updated(change) => {
            fields.number(entry::KIND, body::UPDATED);
            fields.optional_text(entry::NAME, change.name.as_ref().map(Name::as_str));
            fields.optional_text(entry::DESCRIPTION, change.description.as_deref());
            fields.optional_text(entry::JOIN, change.join.map(JoinPolicy::as_str));
        }
        Body::Disbanded => fields.number(entry::KIND, body::DISBANDED),
    }
}

fn write_text(text: &Text, fields: &mut Writer<'_>) {
    fields.number(entry::KIND, body::TEXT);
    fields.text(entry::KEY, text.key.as_str());
    fields.text(entry::TEXT, &text.text);
    if let Some(reply_to) = text.reply_to {
        fields.number(entry::REPLY_TO, reply_to.0);
    }
    fields.optional_text(entry::META, text.meta.as_deref());
    fields.flag(entry::EDITED, text.edited);
    fields.flag(entry::RECALLED, text.recalled);
}

fn read_entry(fields: &Fields<'_>) -> Option<Entry> {
    let place = match fields.optional_id(entry::GROUP, GroupId)? {
        Some(group) => Place::Group(group),
        None => Place::Direct(read_pair(fields, entry::LOW, entry::HIGH)?),
    };
    Some(Entry {
        conversation: fields.id(entry::CONVERSATION, ConversationId)?,
        place,
        seq: fields.id(entry::SEQ, Seq)?,
        from: fields.id(entry::FROM, UserId)?,
        at: fields.time(entry::AT)?,
        body: read_body(fields)?,
    })
}

fn read_body(fields: &Fields<'_>) -> Option<Body> {
    let user = || fields.id(entry::USER, UserId);
    let target = || fields.id(entry::TARGET, Seq);
    Some(match fields.any(entry::KIND)? {
        body::TEXT => Body::Text(Text {
            key: Key::new(fields.text(entry::KEY, MAX_KEY_BYTES)?)?,
            text: fields.text(entry::TEXT, MAX_TEXT_BYTES)?.into(),
            reply_to: fields.optional_id(entry::REPLY_TO, Seq)?,
            meta: shared(fields.optional_text(entry::META, MAX_META_BYTES)?),
            edited: fields.flag(entry::EDITED)?,
            recalled: fields.flag(entry::RECALLED)?,
        }),
        body::EDIT => Body::Edit {
            target: target()?,
            text: shared(fields.optional_text(entry::TEXT, MAX_TEXT_BYTES)?),
        },
        body::RECALL => Body::Recall { target: target()? },
        body::JOINED => Body::Joined { user: user()? },
        body::LEFT => Body::Left { user: user()? },
        body::REMOVED => Body::Removed { user: user()? },
        body::ROLE => Body::Role {
            user: user()?,
            role: Role::from_name(fields.text(entry::ROLE, SPELLING)?)?,
        },
        body::UPDATED => Body::Updated(GroupChange {
            name: match fields.optional_text(entry::NAME, NAME)? {
                Some(name) => Some(Name::new(name).ok()?),
                None => None,
            },
            description: shared(fields.optional_text(entry::DESCRIPTION, MAX_DESCRIPTION_BYTES)?),
            join: match fields.optional_text(entry::JOIN, SPELLING)? {
                Some(join) => Some(JoinPolicy::from_name(join)?),
                None => None,
            },
        }),
        body::DISBANDED => Body::Disbanded,
        _ => return None,
    })
}

fn shared(text: Option<&str>) -> Option<Arc<str>> {
    text.map(Arc::from)
}
