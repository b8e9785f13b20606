//! About how many bytes something takes on the wire: the unit of credit.

use crate::log::Body;
use crate::protocol::{Event, NoticeCode, Reply, RequestError};

const FRAME: usize = 160;
const ITEM: usize = 96;

pub(super) fn of_reply(result: &Result<Reply, RequestError>) -> u32 {
    let bytes = match result {
        Err(_) => FRAME,
        Ok(reply) => match reply {
            Reply::Session(session) => {
                let items = session.friends.len()
                    + session.requests.len()
                    + session.groups.len()
                    + session.invites.len()
                    + session.conversations.len();
                4 * FRAME + items * ITEM
            }
            Reply::Friends(list) => list.items.len() * ITEM,
            Reply::Members(list) => list.items.len() * ITEM,
            Reply::Requests(list) => list.items.len() * ITEM,
            Reply::Groups(list) => list.items.len() * ITEM,
            Reply::Conversations(list) => list.items.len() * ITEM,
            Reply::Group(group) => FRAME + group.description.len(),
            Reply::History { messages, .. } => messages
                .iter()
                .map(|message| FRAME + text_bytes(&message.body))
                .sum(),
            _ => FRAME,
        },
    };
    saturate(bytes.max(FRAME))
}

pub(super) fn of_event(event: &Event) -> u32 {
    match event {
        Event::Message(message) => of_entry(&message.body),
        // The only one whose sentence is not the engine's own.
        Event::Notice {
            code: NoticeCode::Announcement,
            message,
            ..
        } => saturate(FRAME + message.len()),
        _ => saturate(FRAME),
    }
}

fn of_entry(body: &Body) -> u32 {
    saturate(FRAME + text_bytes(body))
}

fn text_bytes(body: &Body) -> usize {
    match body {
        Body::Text(text) => text.text.len() + text.meta.as_ref().map_or(0, |meta| meta.len()),
        Body::Edit { text, .. } => text.as_ref().map_or(0, |text| text.len()),
        Body::Updated(change) => change.description.as_ref().map_or(0, |text| text.len()),
        _ => 0,
    }
}

fn saturate(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{FRAME, ITEM, of_event, of_reply};
    use crate::id::{ConversationRef, GroupId, Seq, SessionId, UserId};
    use crate::log::{Body, FriendState, GroupChange, JoinPolicy, Role, Text};
    use crate::name::{Key, Name};
    use crate::protocol::reply::{
        ConversationItem, FriendItem, GroupItem, GroupReply, InviteItem, Keep, Listing, MemberItem,
        OnlineFriend, SessionReply, UserItem,
    };
    use crate::protocol::{ErrorCode, Event, Message, Reply};
    use crate::secret::Secret;
    use crate::time::Timestamp;

    const USER: UserId = UserId(2);

    fn name() -> Name {
        Name::new("name").unwrap()
    }

    #[track_caller]
    fn check(reply: Reply, expected: usize) {
        assert_eq!(of_reply(&Ok(reply)), u32::try_from(expected).unwrap());
    }

    /// A page of five, in which each item counts.
    fn page<T: Clone>(item: T) -> Listing<T> {
        Listing {
            items: vec![item; 5],
            more: false,
        }
    }

    fn text(text: &str, meta: Option<&str>) -> Body {
        Body::Text(Text {
            key: Key::new("k").unwrap(),
            text: text.into(),
            reply_to: None,
            meta: meta.map(Into::into),
            edited: false,
            recalled: false,
        })
    }

    fn message(body: Body) -> Message {
        Message {
            conversation: ConversationRef::User(USER),
            seq: Seq(1),
            from: USER,
            at: Timestamp(1),
            body,
        }
    }

    fn items() -> (
        FriendItem,
        MemberItem,
        UserItem,
        GroupItem,
        ConversationItem,
    ) {
        let (user, name) = (USER, name());
        let group = GroupId(7);
        (
            FriendItem {
                user,
                name: name.clone(),
                state: FriendState::Friends,
                online: None,
            },
            MemberItem {
                user,
                name: name.clone(),
                role: Role::Member,
                online: None,
            },
            UserItem {
                user,
                name: name.clone(),
            },
            GroupItem {
                group,
                name,
                role: Role::Member,
            },
            ConversationItem {
                conversation: ConversationRef::Group(group),
                last: Seq(1),
                delivered: Seq(1),
                read: Seq(1),
                peer: None,
            },
        )
    }

    #[test]
    fn short_replies_weigh_a_frame() {
        assert_eq!(of_reply(&Err(ErrorCode::Busy.into())), 160);
        check(Reply::Done, FRAME);
        let (friend, ..) = items();
        let one = Listing {
            items: vec![friend],
            more: false,
        };
        check(Reply::Friends(one), FRAME);
    }

    #[test]
    fn lists_weigh_as_much_as_their_items() {
        let (friend, member, user, group, conversation) = items();
        check(Reply::Friends(page(friend)), 5 * ITEM);
        check(Reply::Members(page(member)), 5 * ITEM);
        check(Reply::Requests(page(user)), 5 * ITEM);
        check(Reply::Groups(page(group)), 5 * ITEM);
        check(Reply::Conversations(page(conversation)), 5 * ITEM);
    }

    #[test]
    fn a_session_weighs_as_much_as_all_its_lists() {
        let (_, _, user, group, conversation) = items();
        let session = SessionReply {
            user: USER,
            name: name(),
            session: SessionId(1),
            token: Secret::new("token"),
            idle_ms: 1,
            friends: vec![
                OnlineFriend {
                    user: USER,
                    name: name(),
                    online: true,
                };
                2
            ],
            requests: vec![user; 3],
            groups: vec![group; 5],
            invites: vec![
                InviteItem {
                    group: GroupId(7),
                    name: name(),
                    by: USER,
                };
                7
            ],
            conversations: vec![conversation; 11],
        };
        check(Reply::Session(Box::new(session)), 4 * FRAME + 28 * ITEM);
    }

    #[test]
    fn texts_weigh_their_bytes() {
        let group = GroupReply {
            group: GroupId(7),
            name: name(),
            description: "a description".into(),
            join: JoinPolicy::Open,
            members: 1,
            role: None,
            last: None,
        };
        check(Reply::Group(Box::new(group)), FRAME + 13);
        let messages = vec![
            message(text("four", None)),
            message(text("two", Some("{}"))),
            message(Body::Disbanded),
        ];
        let history = Reply::History {
            messages,
            more: false,
            keep: Keep::First,
        };
        check(history, 3 * FRAME + 4 + 3 + 2);
    }

    #[test]
    fn entries_weigh_a_frame_and_their_text() {
        let updated = |description: Option<&str>| {
            Body::Updated(GroupChange {
                description: description.map(Into::into),
                ..GroupChange::default()
            })
        };
        let target = Seq(1);
        let edit = |text: Option<&str>| Body::Edit {
            target,
            text: text.map(Into::into),
        };
        for (body, bytes) in [
            (text("four", Some("{}")), 6),
            (edit(Some("seven77")), 7),
            (edit(None), 0),
            (updated(Some("12345")), 5),
            (updated(None), 0),
            (Body::Recall { target }, 0),
        ] {
            assert_eq!(of_event(&Event::Message(message(body))), 160 + bytes);
        }
        let online = true;
        assert_eq!(of_event(&Event::Presence { user: USER, online }), 160);
    }
}
