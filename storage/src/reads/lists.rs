//! Users, groups, and lists of them in pages.

use std::collections::BTreeMap;

use parlor_core::id::Seq;
use parlor_core::id::{ConversationId, ConversationRef, GroupId, Pair, UserId};
use parlor_core::log::FriendState;
use parlor_core::protocol::ErrorCode;
use parlor_core::protocol::reply::{ConversationItem, Listing, MemberItem, UserItem};
use parlor_core::protocol::request::UserRef;
use parlor_core::rules::read::{self as rights, GroupFacts};
use parlor_core::store::{GroupRow, MemberRow, ReadDone, UserRow};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, Value};

use crate::context::Context;
use crate::convert::{self, FRIENDSHIPS, friend_state, name, number, role, sql, unsql};
use crate::entity::{friendship, group, invitation, member, user};
use crate::reads::ReadError;
use crate::reads::roster::{friend, state, state_columns};
use crate::sql::{Row, Sql, look_up};

/// Looks an account up, deleted ones too.
pub(super) async fn account(context: &Context, id: UserId) -> Result<Option<UserRow>, DbErr> {
    let model = user::Entity::find_by_id(sql(id.0))
        .one(&context.reader)
        .await?;
    model.map(convert::user).transpose()
}

/// Looks an account up by either way to name one.
pub(crate) async fn find(
    context: &Context,
    who: &UserRef,
) -> Result<Option<(UserId, UserRow)>, DbErr> {
    let model = match who {
        UserRef::Id(id) => user::Entity::find_by_id(sql(id.0)),
        UserRef::Name(name) => {
            let key = name.key().as_str().as_bytes().to_vec();
            user::Entity::find().filter(user::Column::NameKey.eq(key))
        }
    };
    let Some(model) = model.one(&context.reader).await? else {
        return Ok(None);
    };
    Ok(Some((UserId(unsql(model.id)), convert::user(model)?)))
}

/// Looks up the conversation of two users.
pub(super) async fn direct(context: &Context, pair: Pair) -> Result<Option<ConversationId>, DbErr> {
    let text = "SELECT id FROM conversation WHERE low_id = ? AND high_id = ?";
    let row = Sql::new(context.dialect, text)
        .bind(sql(pair.low().0))
        .bind(sql(pair.high().0))
        .one(&context.reader)
        .await?;
    row.map(|row| number(&row, 0).map(ConversationId))
        .transpose()
}

/// Looks up a user's place in a conversation.
pub(super) async fn member(
    context: &Context,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<MemberRow>, DbErr> {
    let model = member::Entity::find_by_id((sql(conversation.0), sql(user.0)))
        .one(&context.reader)
        .await?;
    model.map(convert::member_model).transpose()
}

/// Looks a group up, disbanded ones too.
pub(super) async fn group_row(context: &Context, id: GroupId) -> Result<Option<GroupRow>, DbErr> {
    let model = group::Entity::find_by_id(sql(id.0))
        .one(&context.reader)
        .await?;
    model.map(convert::group).transpose()
}

/// Looks up what `to` is to `of`.
async fn friendship(context: &Context, of: UserId, to: UserId) -> Result<FriendState, DbErr> {
    let model = friendship::Entity::find_by_id((sql(of.0), sql(to.0)))
        .one(&context.reader)
        .await?;
    model.map_or(Ok(FriendState::None), |model| friend_state(&model.state))
}

pub(super) async fn user(
    context: &Context,
    reader: UserId,
    who: &UserRef,
) -> Result<ReadDone, ReadError> {
    let (id, row) = find(context, who).await?.ok_or(ErrorCode::NoSuchUser)?;
    let state = friendship(context, reader, id).await?;
    Ok(rights::user(id, Some(&row), state)?)
}

pub(super) async fn friends(
    context: &Context,
    reader: UserId,
    after: Option<UserId>,
    limit: u32,
) -> Result<ReadDone, ReadError> {
    let text = "SELECT f.other_id, u.name, f.state FROM friendship f \
         JOIN `user` u ON u.id = f.other_id WHERE u.name IS NOT NULL \
         AND f.user_id = ? AND f.other_id > ? ORDER BY f.other_id";
    let after = after.map_or(0, |user| user.0);
    let rows = page(context, text, reader.0, after, limit).await?;
    let items = rows.into_iter().map(friend);
    let items = items.collect::<Result<Vec<_>, _>>()?;
    Ok(ReadDone::Friends(cut(items, limit)))
}

pub(super) async fn groups(
    context: &Context,
    reader: UserId,
    after: Option<GroupId>,
    limit: u32,
) -> Result<ReadDone, ReadError> {
    let text = concat!(
        state_columns!(),
        " = ? AND c.low_id IS NULL AND c.id > ? ORDER BY c.id"
    );
    let after = after.map_or(0, |group| group.0);
    let mut items = Vec::new();
    for row in page(context, text, reader.0, after, limit).await? {
        items.extend(state(row)?.and_then(|(_, group)| group));
    }
    Ok(ReadDone::Groups(cut(items, limit)))
}

pub(super) async fn conversations(
    context: &Context,
    reader: UserId,
    after: Option<ConversationRef>,
    limit: u32,
) -> Result<ReadDone, ReadError> {
    let direct = concat!(
        state_columns!(),
        " = ? AND c.low_id + c.high_id - m.user_id > ? \
         ORDER BY c.low_id + c.high_id - m.user_id"
    );
    let group = concat!(
        state_columns!(),
        " = ? AND c.low_id IS NULL AND c.id > ? ORDER BY c.id"
    );
    let (user, group_after) = match after {
        None => (Some(0), 0),
        Some(ConversationRef::User(user)) => (Some(user.0), 0),
        Some(ConversationRef::Group(group)) => (None, group.0),
    };
    let mut rows = Vec::new();
    if let Some(user) = user {
        rows.extend(page(context, direct, reader.0, user, limit).await?);
    }
    if rows.len() <= usize::try_from(limit).unwrap_or(usize::MAX) {
        rows.extend(page(context, group, reader.0, group_after, limit).await?);
    }
    let mut items = Vec::new();
    for row in rows {
        items.extend(state(row)?.map(|(state, _)| ConversationItem {
            conversation: state.conversation,
            last: state.last,
            delivered: state.delivered,
            read: state.read,
            peer: state.peer,
        }));
    }
    Ok(ReadDone::Conversations(cut(items, limit)))
}

pub(super) async fn group(
    context: &Context,
    reader: UserId,
    id: GroupId,
) -> Result<ReadDone, ReadError> {
    let row = group_row(context, id).await?;
    let key = (sql(id.0), sql(reader.0));
    let invitation = invitation::Entity::find_by_id(key);
    let invited = invitation.one(&context.reader).await?.is_some();
    let place = member(context, id.conversation(), reader).await?;
    let text = "SELECT last_seq, (SELECT COUNT(*) FROM member WHERE conversation_id = c.id) \
         FROM conversation c WHERE c.id = ?";
    let counts = Sql::new(context.dialect, text)
        .bind(sql(id.0))
        .one(&context.reader)
        .await?;
    let (last, members) = match counts {
        Some(row) => (number(&row, 0)?, number(&row, 1)?),
        None => (0, 0),
    };
    let facts = GroupFacts {
        member: place.as_ref(),
        invited,
        members,
        last: Seq(last),
    };
    let reply = rights::group(id, row.as_ref(), facts)?;
    Ok(ReadDone::Group(Box::new(reply)))
}

pub(super) async fn members(
    context: &Context,
    reader: UserId,
    id: GroupId,
    after: Option<UserId>,
    limit: u32,
) -> Result<ReadDone, ReadError> {
    let row = group_row(context, id).await?;
    let place = member(context, id.conversation(), reader).await?;
    rights::members(row.as_ref(), place.as_ref())?;
    let text = "SELECT m.user_id, u.name, m.role FROM member m JOIN `user` u ON u.id = m.user_id \
         WHERE u.name IS NOT NULL AND m.conversation_id = ? AND m.user_id > ? \
         ORDER BY m.user_id";
    let after = after.map_or(0, |user| user.0);
    let rows: Vec<(i64, String, String)> = page(context, text, id.0, after, limit).await?;
    let mut items = Vec::with_capacity(rows.len());
    for (user, called, known_role) in rows {
        items.push(MemberItem {
            user: UserId(unsql(user)),
            name: name(&called)?,
            role: role(&known_role)?,
            online: None,
        });
    }
    let between = between(context, reader, &items).await?;
    let state = |of, to| between.get(&(of, to)).copied().unwrap_or_default();
    for item in &mut items {
        item.online = rights::member_online(state(reader, item.user), state(item.user, reader));
    }
    Ok(ReadDone::Members(cut(items, limit)))
}

/// Reads what a reader and members are to each other.
async fn between(
    context: &Context,
    reader: UserId,
    members: &[MemberItem],
) -> Result<BTreeMap<(UserId, UserId), FriendState>, DbErr> {
    let tuples: Vec<[Value; 2]> = members
        .iter()
        .flat_map(|item| [(reader, item.user), (item.user, reader)])
        .map(|(of, to)| [sql(of.0).into(), sql(to.0).into()])
        .collect();
    let mut states = BTreeMap::new();
    let rows: Vec<(i64, i64, String)> =
        look_up(&context.reader, context.dialect, FRIENDSHIPS, tuples).await?;
    for (of, to, state) in rows {
        let key = (UserId(unsql(of)), UserId(unsql(to)));
        states.insert(key, friend_state(&state)?);
    }
    Ok(states)
}

pub(super) async fn requests(
    context: &Context,
    reader: UserId,
    id: GroupId,
    after: Option<UserId>,
    limit: u32,
) -> Result<ReadDone, ReadError> {
    let row = group_row(context, id).await?;
    let place = member(context, id.conversation(), reader).await?;
    rights::requests(row.as_ref(), place.as_ref())?;
    let text = "SELECT j.user_id, u.name FROM join_request j JOIN `user` u ON u.id = j.user_id \
         WHERE u.name IS NOT NULL AND j.group_id = ? AND j.user_id > ? \
         ORDER BY j.user_id";
    let after = after.map_or(0, |user| user.0);
    let mut items = Vec::new();
    let rows: Vec<(i64, String)> = page(context, text, id.0, after, limit).await?;
    for (user, called) in rows {
        items.push(UserItem {
            user: UserId(unsql(user)),
            name: name(&called)?,
        });
    }
    Ok(ReadDone::Requests(cut(items, limit)))
}

/// Reads a page and one row more. The text has two `?`: whose, and after which.
async fn page<R: Row>(
    context: &Context,
    text: &'static str,
    of: u64,
    after: u64,
    limit: u32,
) -> Result<Vec<R>, DbErr> {
    Sql::new(context.dialect, text)
        .bind(sql(of))
        .bind(sql(after))
        .limit(i64::from(limit) + 1)
        .rows(&context.reader)
        .await
}

/// Cuts a page off, and says whether more follow.
fn cut<T>(mut items: Vec<T>, limit: u32) -> Listing<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    Listing { items, more }
}
