//! The reply that begins a session.

use crate::protocol::encode::list::{fill, size};
use crate::protocol::json::write::{self, Object};
use crate::protocol::lists::SessionList;
use crate::protocol::reply::SessionReply;
use crate::protocol::{MAX_SERVER_FRAME, VERSION};

/// What the frame takes behind the items when every list is cut: its end, and the names of the
/// lists with their brackets.
const TAIL: usize = concat!(
    r#","friends":[],"requests":[],"groups":[],"invites":[],"conversations":[]"#,
    r#","more":["friends","requests","groups","invites","conversations"]}}"#
)
.len();

/// Writes what stands behind `ok` in a frame that began at `start`.
pub(super) fn write(reply: &SessionReply, start: usize, out: &mut Vec<u8>) {
    let begin = out.len();
    let end = start.saturating_add(MAX_SERVER_FRAME).saturating_sub(TAIL);
    let mut object = head(reply, out);
    let mut cut = lists(reply, &mut object, |_, _| end);
    if !cut.is_empty() {
        // Rare: an account with thousands of rows. Each list gets its share of the room.
        out.truncate(begin);
        object = head(reply, out);
        let room = end.saturating_sub(object.length());
        let shares = divide(
            SessionList::ALL.map(|list| (list, measure(reply, list))),
            room,
        );
        cut = lists(reply, &mut object, |list, from| {
            let share = shares.iter().find(|(of, _)| *of == list);
            from.saturating_add(share.map_or(0, |(_, share)| *share))
        });
    }
    let more = object.open_list("more");
    for (index, list) in cut.iter().enumerate() {
        if index > 0 {
            more.push(b',');
        }
        write::string(more, list.as_str());
    }
    object.close_list();
    object.end();
}

fn head<'a>(reply: &SessionReply, out: &'a mut Vec<u8>) -> Object<'a> {
    let mut object = Object::begin(out);
    object
        .integer("version", VERSION)
        .integer("user", reply.user.0)
        .string("name", reply.name.as_str())
        .integer("session", reply.session.0)
        .string("token", reply.token.expose())
        .integer("idle_ms", reply.idle_ms);
    object
}

/// Writes the lists, each up to the buffer's length that `end` gives for it and the length where it
/// begins; returns those that were cut.
fn lists(
    reply: &SessionReply,
    object: &mut Object<'_>,
    end: impl Fn(SessionList, usize) -> usize,
) -> Vec<SessionList> {
    let mut cut = Vec::new();
    for list in SessionList::ALL {
        let out = object.open_list(list.as_str());
        let end = end(list, out.len());
        let whole = match list {
            SessionList::Friends => fill(&reply.friends, end, out) == reply.friends.len(),
            SessionList::Requests => fill(&reply.requests, end, out) == reply.requests.len(),
            SessionList::Groups => fill(&reply.groups, end, out) == reply.groups.len(),
            SessionList::Invites => fill(&reply.invites, end, out) == reply.invites.len(),
            SessionList::Conversations => {
                fill(&reply.conversations, end, out) == reply.conversations.len()
            }
        };
        object.close_list();
        if !whole {
            cut.push(list);
        }
    }
    cut
}

fn measure(reply: &SessionReply, list: SessionList) -> usize {
    match list {
        SessionList::Friends => size(&reply.friends),
        SessionList::Requests => size(&reply.requests),
        SessionList::Groups => size(&reply.groups),
        SessionList::Invites => size(&reply.invites),
        SessionList::Conversations => size(&reply.conversations),
    }
}

/// Divides the room: each list gets what it needs up to an even share, and what the short ones
/// leave goes to the long ones.
fn divide(
    mut sizes: [(SessionList, usize); SessionList::ALL.len()],
    room: usize,
) -> [(SessionList, usize); SessionList::ALL.len()] {
    sizes.sort_by_key(|(_, size)| *size);
    let mut left = room;
    let mut lists = sizes.len();
    for (_, size) in &mut sizes {
        *size = (*size).min(left / lists.max(1));
        left = left.saturating_sub(*size);
        lists = lists.saturating_sub(1);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::{SessionList, divide};

    #[test]
    fn the_long_lists_share_what_the_short_ones_leave() {
        let [friends, requests, groups, invites, conversations] = SessionList::ALL;
        assert_eq!(
            divide(
                [
                    (friends, 1000),
                    (requests, 0),
                    (groups, 10),
                    (invites, 5),
                    (conversations, 2000),
                ],
                115,
            ),
            [
                (requests, 0),
                (invites, 5),
                (groups, 10),
                (friends, 50),
                (conversations, 50),
            ]
        );
    }
}
