//! Between rows of the database and rows of the rules.

use std::sync::Arc;

use parlor_core::id::{ConversationId, GroupId, Pair, Place, Seq, UserId};
use parlor_core::identity::Identity;
use parlor_core::log::{Body, Entry, FriendState, GroupChange, JoinPolicy, Role, Text};
use parlor_core::name::{Key, Name};
use parlor_core::secret::Secret;
use parlor_core::store::{Digest, GroupRow, Kind, MemberRow, MessageRow, SessionRow, UserRow};
use parlor_core::time::Timestamp;
use sea_orm::{DbErr, QueryResult, TryGetable, Value};

use crate::entity::{group, member, session, user};
use crate::sql::Lookup;

/// Turns a number into SQL's. Parlor's stay far below the bound at which this saturates.
pub(crate) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Turns SQL's number back.
pub(crate) fn unsql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Reads one column.
pub(crate) fn column<T: TryGetable>(row: &QueryResult, index: usize) -> Result<T, DbErr> {
    row.try_get_by_index(index)
}

/// Reads one column of numbers.
pub(crate) fn number(row: &QueryResult, index: usize) -> Result<u64, DbErr> {
    column::<i64>(row, index).map(unsql)
}

/// Reads one column of numbers that may be absent.
pub(crate) fn optional(row: &QueryResult, index: usize) -> Result<Option<u64>, DbErr> {
    Ok(column::<Option<i64>>(row, index)?.map(unsql))
}

/// Says that a column holds what Parlor never wrote.
fn strange(column: &str) -> DbErr {
    DbErr::Type(format!("the column {column} holds what was never written"))
}

pub(crate) fn role(text: &str) -> Result<Role, DbErr> {
    Role::from_name(text).ok_or_else(|| strange("role"))
}

pub(crate) fn friend_state(text: &str) -> Result<FriendState, DbErr> {
    FriendState::from_name(text).ok_or_else(|| strange("state"))
}

pub(crate) fn join_policy(text: &str) -> Result<JoinPolicy, DbErr> {
    JoinPolicy::from_name(text).ok_or_else(|| strange("join_policy"))
}

pub(crate) fn name(text: &str) -> Result<Name, DbErr> {
    Name::new(text).map_err(|_| strange("name"))
}

pub(crate) fn key(bytes: &[u8]) -> Result<Key, DbErr> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(Key::new)
        .ok_or_else(|| strange("message_key"))
}

/// Reads what SQL's `HEX` made of bytes.
pub(crate) fn unhex(hex: &str) -> Result<Vec<u8>, DbErr> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    let bytes = hex.as_bytes().chunks(2).map(byte);
    bytes.collect::<Option<_>>().ok_or_else(|| strange("HEX"))
}

fn identity(bytes: &[u8]) -> Result<Identity, DbErr> {
    Identity::from_bytes(bytes).ok_or_else(|| strange("identity"))
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, DbErr> {
    bytes.try_into().map(Digest).map_err(|_| strange("digest"))
}

/// Reads which conversation a row of `conversation` is.
pub(crate) fn place(id: u64, low: Option<u64>, high: Option<u64>) -> Result<Place, DbErr> {
    match (low, high) {
        (Some(low), Some(high)) => Pair::new(UserId(low), UserId(high))
            .map(Place::Direct)
            .ok_or_else(|| strange("low_id")),
        _ => Ok(Place::Group(GroupId(id))),
    }
}

/// Friendships, by both users: what the other is to the one.
pub(crate) const FRIENDSHIPS: Lookup<2> = Lookup {
    columns: "user_id, other_id, state",
    table: "friendship",
    by: ["user_id", "other_id"],
};

/// The columns `id, low_id, high_id, last_seq` of `conversation`.
pub(crate) type ConversationColumns = (i64, Option<i64>, Option<i64>, i64);

/// Reads a conversation.
pub(crate) fn conversation(
    (id, low, high, last): ConversationColumns,
) -> Result<(ConversationId, Place, Seq), DbErr> {
    let id = unsql(id);
    let place = place(id, low.map(unsql), high.map(unsql))?;
    Ok((ConversationId(id), place, Seq(unsql(last))))
}

/// Reads the columns `role, joined_seq, delivered_seq, read_seq` of `member`.
pub(crate) fn member(
    (called, joined, delivered, read): (String, i64, i64, i64),
) -> Result<MemberRow, DbErr> {
    Ok(MemberRow {
        role: role(&called)?,
        joined: Seq(unsql(joined)),
        delivered: Seq(unsql(delivered)),
        read: Seq(unsql(read)),
    })
}

pub(crate) fn member_model(model: member::Model) -> Result<MemberRow, DbErr> {
    member((
        model.role,
        model.joined_seq,
        model.delivered_seq,
        model.read_seq,
    ))
}

pub(crate) fn user(model: user::Model) -> Result<UserRow, DbErr> {
    Ok(UserRow {
        name: model.name.as_deref().map(name).transpose()?,
        hash: Secret::new(model.hash),
        identity: model.identity.as_deref().map(identity).transpose()?,
        version: unsql(model.version),
        locked: model.locked,
    })
}

pub(crate) fn session(model: session::Model) -> SessionRow {
    SessionRow {
        user: UserId(unsql(model.user_id)),
        device: model.device.map(Into::into),
        created: Timestamp(unsql(model.created_at)),
        expires: Timestamp(unsql(model.expires_at)),
    }
}

pub(crate) fn group(model: group::Model) -> Result<GroupRow, DbErr> {
    Ok(GroupRow {
        name: name(&model.name)?,
        description: model.description.into(),
        join: join_policy(&model.join_policy)?,
        owner: UserId(unsql(model.owner_id)),
        disbanded: model.disbanded,
        creator: UserId(unsql(model.creator_id)),
        key: model.group_key.as_deref().map(key).transpose()?,
        digest: digest(&model.digest)?,
    })
}

/// The columns of `message` that [`message`] reads and [`message_values`] writes, in their order.
macro_rules! message_columns {
    () => {
        "conversation_id, seq, sender_id, kind, message_key, digest, body, meta, reply_to, target, \
         subject_id, role, name, join_policy, edited, recalled, change_seq, change_at, created_at"
    };
}
pub(crate) use message_columns;

/// Entries, by their numbers.
pub(crate) const MESSAGES: Lookup<2> = Lookup {
    columns: message_columns!(),
    table: "message",
    by: ["conversation_id", "seq"],
};

/// How many columns [`message_columns`] names.
pub(crate) const MESSAGE_COLUMNS: usize = 19;

/// Reads an entry.
pub(crate) fn message(row: &QueryResult) -> Result<((ConversationId, Seq), MessageRow), DbErr> {
    let at = (ConversationId(number(row, 0)?), Seq(number(row, 1)?));
    let kind: String = column(row, 3)?;
    let change = optional(row, 16)?.zip(optional(row, 17)?);
    let entry = MessageRow {
        from: UserId(number(row, 2)?),
        at: Timestamp(number(row, 18)?),
        kind: message_kind(row, &kind)?,
        change: change.map(|(seq, at)| (Seq(seq), Timestamp(at))),
    };
    Ok((at, entry))
}

fn message_kind(row: &QueryResult, kind: &str) -> Result<Kind, DbErr> {
    let needed = |index: usize, column: &str| -> Result<u64, DbErr> {
        optional(row, index)?.ok_or_else(|| strange(column))
    };
    let target = || needed(9, "target").map(Seq);
    let subject = || needed(10, "subject_id").map(UserId);
    Ok(match kind {
        "text" => text(row)?,
        "edit" => Kind::Edit { target: target()? },
        "recall" => Kind::Recall { target: target()? },
        "joined" => Kind::Joined { user: subject()? },
        "left" => Kind::Left { user: subject()? },
        "removed" => Kind::Removed { user: subject()? },
        "role" => Kind::Role {
            user: subject()?,
            role: role(&column::<String>(row, 11)?)?,
        },
        "updated" => Kind::Updated(GroupChange {
            name: column::<Option<String>>(row, 12)?
                .as_deref()
                .map(name)
                .transpose()?,
            description: column::<Option<String>>(row, 6)?.map(Arc::from),
            join: column::<Option<String>>(row, 13)?
                .as_deref()
                .map(join_policy)
                .transpose()?,
        }),
        "disbanded" => Kind::Disbanded,
        _ => return Err(strange("kind")),
    })
}

/// The columns of `message` that [`short`] reads. Only an entry that is a plain text, with nothing
/// but its words, shows its key.
macro_rules! short_columns {
    () => {
        "seq, sender_id, CASE WHEN kind = 'text' AND meta IS NULL AND reply_to IS NULL \
         AND NOT edited AND NOT recalled THEN HEX(message_key) END, body, created_at"
    };
}
pub(crate) use short_columns;

/// What [`short_columns`] names.
pub(crate) type ShortColumns = (i64, i64, Option<String>, Option<String>, i64);

/// Reads the number of an entry, and the entry if it is a plain text.
pub(crate) fn short(
    (seq, from, hex, body, at): ShortColumns,
    conversation: ConversationId,
    place: Place,
) -> Result<(Seq, Option<Entry>), DbErr> {
    let seq = Seq(unsql(seq));
    let Some(hex) = hex else {
        return Ok((seq, None));
    };
    let text = Text {
        key: key(&unhex(&hex)?)?,
        text: body.unwrap_or_default().into(),
        reply_to: None,
        meta: None,
        edited: false,
        recalled: false,
    };
    let entry = Entry {
        conversation,
        place,
        seq,
        from: UserId(unsql(from)),
        at: Timestamp(unsql(at)),
        body: Body::Text(text),
    };
    Ok((seq, Some(entry)))
}

fn text(row: &QueryResult) -> Result<Kind, DbErr> {
    Ok(Kind::Text {
        key: key(&column::<Vec<u8>>(row, 4)?)?,
        digest: digest(&column::<Vec<u8>>(row, 5)?)?,
        text: column::<Option<String>>(row, 6)?.unwrap_or_default().into(),
        reply_to: optional(row, 8)?.map(Seq),
        meta: column::<Option<String>>(row, 7)?.map(Arc::from),
        edited: column(row, 14)?,
        recalled: column(row, 15)?,
    })
}

/// What of a kind fills columns; absent values are null.
#[derive(Debug, Default)]
struct Columns<'a> {
    key: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
    body: Option<&'a str>,
    meta: Option<&'a str>,
    reply_to: Option<i64>,
    target: Option<i64>,
    subject: Option<i64>,
    role: Option<&'a str>,
    name: Option<&'a str>,
    join: Option<&'a str>,
    edited: bool,
    recalled: bool,
}

/// Writes an entry, as values of [`message_columns`].
pub(crate) fn message_values(
    conversation: ConversationId,
    seq: Seq,
    row: &MessageRow,
) -> [Value; MESSAGE_COLUMNS] {
    let (kind, columns) = columns(&row.kind);
    [
        sql(conversation.0).into(),
        sql(seq.0).into(),
        sql(row.from.0).into(),
        kind.into(),
        columns.key.into(),
        columns.digest.into(),
        columns.body.map(str::to_owned).into(),
        columns.meta.map(str::to_owned).into(),
        columns.reply_to.into(),
        columns.target.into(),
        columns.subject.into(),
        columns.role.map(str::to_owned).into(),
        columns.name.map(str::to_owned).into(),
        columns.join.map(str::to_owned).into(),
        columns.edited.into(),
        columns.recalled.into(),
        row.change.map(|(seq, _)| sql(seq.0)).into(),
        row.change.map(|(_, at)| sql(at.0)).into(),
        sql(row.at.0).into(),
    ]
}

/// How many values [`PLAIN_ROW`] has.
pub(crate) const PLAIN_VALUES: usize = 7;

/// A row of [`plain_columns`].
pub(crate) const PLAIN_ROW: &str = "(?,?,?,'text',?,?,?,FALSE,FALSE,?)";

/// Those of [`message_columns`] that a new text has which neither replies nor carries anything.
macro_rules! plain_columns {
    () => {
        "conversation_id, seq, sender_id, kind, message_key, digest, body, edited, recalled, \
         created_at"
    };
}
pub(crate) use plain_columns;

/// Returns the values of [`PLAIN_ROW`] for a new text, if those say everything of it.
pub(crate) fn plain_values(
    conversation: ConversationId,
    seq: Seq,
    row: &MessageRow,
) -> Option<[Value; PLAIN_VALUES]> {
    let MessageRow {
        from,
        at,
        kind:
            Kind::Text {
                key,
                digest,
                text,
                reply_to: None,
                meta: None,
                edited: false,
                recalled: false,
            },
        change: None,
    } = row
    else {
        return None;
    };
    Some([
        sql(conversation.0).into(),
        sql(seq.0).into(),
        sql(from.0).into(),
        key.as_str().as_bytes().to_vec().into(),
        digest.0.to_vec().into(),
        (**text).to_owned().into(),
        sql(at.0).into(),
    ])
}

fn columns(kind: &Kind) -> (&'static str, Columns<'_>) {
    let mut columns = Columns::default();
    let name = match kind {
        Kind::Text {
            key,
            digest,
            text,
            reply_to,
            meta,
            edited,
            recalled,
        } => {
            columns.key = Some(key.as_str().into());
            columns.digest = Some(digest.0.to_vec());
            columns.body = Some(text);
            columns.meta = meta.as_deref();
            columns.reply_to = reply_to.map(|seq| sql(seq.0));
            columns.edited = *edited;
            columns.recalled = *recalled;
            "text"
        }
        Kind::Edit { target } => {
            columns.target = Some(sql(target.0));
            "edit"
        }
        Kind::Recall { target } => {
            columns.target = Some(sql(target.0));
            "recall"
        }
        Kind::Joined { user } => {
            columns.subject = Some(sql(user.0));
            "joined"
        }
        Kind::Left { user } => {
            columns.subject = Some(sql(user.0));
            "left"
        }
        Kind::Removed { user } => {
            columns.subject = Some(sql(user.0));
            "removed"
        }
        Kind::Role { user, role } => {
            columns.subject = Some(sql(user.0));
            columns.role = Some(role.as_str());
            "role"
        }
        Kind::Updated(change) => {
            columns.name = change.name.as_ref().map(Name::as_str);
            columns.body = change.description.as_deref();
            columns.join = change.join.map(JoinPolicy::as_str);
            "updated"
        }
        Kind::Disbanded => "disbanded",
    };
    (name, columns)
}
