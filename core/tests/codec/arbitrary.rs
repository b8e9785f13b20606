//! Any value of the protocol's types, within the protocol's limits.

use std::sync::Arc;

use parlor_core::id::{ConversationRef, GroupId, MAX_INTEGER, RequestId, Seq, SessionId, UserId};
use parlor_core::log::{Body, FriendState, GroupChange, JoinPolicy, Role, Text};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::event::{Event, GroupState, Message, NoticeCode};
use parlor_core::protocol::meta;
use parlor_core::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, GroupReply, InviteItem, JoinState, Keep, Listing,
    MemberItem, OnlineFriend, Reply, SessionReply, UserItem,
};
use parlor_core::protocol::request::{
    Anchor, FriendAction, GroupOtherAction, GroupSelfAction, ReplyKind, Request, Start, UserRef,
};
use parlor_core::protocol::{ErrorCode, RequestError};
use parlor_core::secret::Secret;
use parlor_core::time::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;

/// Integers, the small and the largest ones often.
fn integer() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![0..20_u64, 0..=MAX_INTEGER, Just(MAX_INTEGER)]
}

pub(crate) fn request_id() -> impl Strategy<Value = RequestId> {
    integer().prop_map(RequestId)
}

fn user() -> impl Strategy<Value = UserId> {
    integer().prop_map(UserId)
}

fn group() -> impl Strategy<Value = GroupId> {
    integer().prop_map(GroupId)
}

fn seq() -> impl Strategy<Value = Seq> {
    integer().prop_map(Seq)
}

fn entry() -> impl Strategy<Value = Seq> {
    (1..=MAX_INTEGER).prop_map(Seq)
}

fn at() -> impl Strategy<Value = Timestamp> {
    integer().prop_map(Timestamp)
}

fn conversation() -> impl Strategy<Value = ConversationRef> {
    prop_oneof![
        user().prop_map(ConversationRef::User),
        group().prop_map(ConversationRef::Group),
    ]
}

/// Any text of so many characters, those that need escapes often.
fn characters(length: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        any::<char>(),
        proptest::char::range('\0', '\x7f'),
        select(vec!['"', '\\', '\n', '\u{2028}', '😀']),
    ];
    vec(character, length).prop_map(String::from_iter)
}

fn text() -> impl Strategy<Value = Arc<str>> {
    characters(1..=60).prop_map(Arc::from)
}

fn description() -> impl Strategy<Value = Arc<str>> {
    characters(0..=20).prop_map(Arc::from)
}

fn name() -> impl Strategy<Value = Name> {
    characters(1..=32).prop_filter_map("a name's rules", |text| {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        Name::new(text.trim()).ok()
    })
}

fn key() -> impl Strategy<Value = Key> {
    characters(1..=16).prop_filter_map("a key's length", |text| Key::new(&text))
}

fn secret() -> impl Strategy<Value = Secret> {
    characters(8..=60).prop_map(Secret::new)
}

fn meta() -> impl Strategy<Value = Arc<str>> {
    vec((characters(0..=8), characters(0..=8), integer()), 0..4).prop_map(|fields| {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, text, number)| {
                let (name, text) = (quoted(name), quoted(text));
                format!("{name} :[{text}, {{\"n\": -{number}.5e+1}}]")
            })
            .collect();
        let object = format!(" {{{}}}", fields.join(" ,\n"));
        meta::compact(&object).expect("an object")
    })
}

fn join() -> impl Strategy<Value = JoinPolicy> {
    select(JoinPolicy::ALL)
}

fn role() -> impl Strategy<Value = Role> {
    select(Role::ALL)
}

fn friend_state() -> impl Strategy<Value = FriendState> {
    select(FriendState::ALL)
}

fn change() -> impl Strategy<Value = GroupChange> {
    (
        option::of(name()),
        option::of(description()),
        option::of(join()),
    )
        .prop_map(|(name, description, join)| GroupChange {
            name,
            description,
            join,
        })
}

fn who() -> impl Strategy<Value = UserRef> {
    prop_oneof![user().prop_map(UserRef::Id), name().prop_map(UserRef::Name)]
}

fn start() -> impl Strategy<Value = Start> {
    (any::<bool>(), vec((conversation(), seq()), 0..6))
        .prop_map(|(replay, have)| Start { replay, have })
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        account(),
        friendship(),
        group_request(),
        listing_request(),
        chat()
    ]
}

fn account() -> BoxedStrategy<Request> {
    let device = option::of(name().prop_map(|name| name.as_str()[..].into()))
        .prop_filter("a device's length", |device: &Option<smol_str::SmolStr>| {
            device.as_ref().is_none_or(|device| device.len() <= 64)
        })
        .boxed();
    prop_oneof![
        (name(), secret(), option::of(secret())).prop_map(|(name, password, invite)| {
            Request::Register {
                name,
                password,
                invite,
            }
        }),
        (who(), secret(), device.clone(), start()).prop_map(|(who, password, device, start)| {
            Request::Login {
                who,
                password,
                device,
                start,
            }
        }),
        ("[!-~]{1,40}", device, start()).prop_map(|(jwt, device, start)| Request::LoginJwt {
            jwt: Secret::new(jwt),
            device,
            start,
        }),
        (secret(), start()).prop_map(|(token, start)| Request::Resume { token, start }),
        Just(Request::Logout),
        (secret(), secret()).prop_map(|(old, new)| Request::Password { old, new }),
        secret().prop_map(|password| Request::DeleteAccount { password }),
        Just(Request::Ping),
    ]
    .boxed()
}

fn friendship() -> BoxedStrategy<Request> {
    let action = select(vec![
        FriendAction::Accept,
        FriendAction::Reject,
        FriendAction::Remove,
        FriendAction::Block,
        FriendAction::Unblock,
    ]);
    prop_oneof![
        who().prop_map(|who| Request::User { who }),
        who().prop_map(|who| Request::FriendRequest { who }),
        (action, user()).prop_map(|(action, user)| Request::Friend { action, user }),
    ]
    .boxed()
}

fn group_request() -> BoxedStrategy<Request> {
    let own = select(vec![
        GroupSelfAction::Join,
        GroupSelfAction::Leave,
        GroupSelfAction::Disband,
    ]);
    let other = select(vec![
        GroupOtherAction::Invite,
        GroupOtherAction::Approve,
        GroupOtherAction::Reject,
        GroupOtherAction::Remove,
    ]);
    prop_oneof![
        (name(), description(), join(), option::of(key())).prop_map(
            |(name, description, join, key)| Request::GroupCreate {
                name,
                description,
                join,
                key,
            }
        ),
        (own, group()).prop_map(|(action, group)| Request::GroupSelf { action, group }),
        (other, group(), user()).prop_map(|(action, group, user)| Request::GroupOther {
            action,
            group,
            user,
        }),
        (group(), user(), role()).prop_map(|(group, user, role)| Request::GroupRole {
            group,
            user,
            role
        }),
        (group(), change()).prop_map(|(group, change)| Request::GroupUpdate { group, change }),
        group().prop_map(|group| Request::Group { group }),
    ]
    .boxed()
}

fn listing_request() -> BoxedStrategy<Request> {
    let limit = || prop_oneof![Just(50), 1..=200_u32];
    let user = || option::of(user());
    prop_oneof![
        (user(), limit()).prop_map(|(after, limit)| Request::Friends { after, limit }),
        (group(), user(), limit()).prop_map(|(group, after, limit)| Request::GroupMembers {
            group,
            after,
            limit,
        }),
        (group(), user(), limit()).prop_map(|(group, after, limit)| Request::GroupRequests {
            group,
            after,
            limit,
        }),
        (option::of(group()), limit()).prop_map(|(after, limit)| Request::Groups { after, limit }),
        (option::of(conversation()), limit())
            .prop_map(|(after, limit)| Request::Conversations { after, limit }),
        (conversation(), anchor(), limit()).prop_map(|(conversation, anchor, limit)| {
            Request::History {
                conversation,
                anchor,
                limit,
            }
        }),
    ]
    .boxed()
}

fn anchor() -> impl Strategy<Value = Anchor> {
    prop_oneof![
        Just(Anchor::Newest),
        seq().prop_map(Anchor::After),
        seq().prop_map(Anchor::Before),
    ]
}

fn chat() -> BoxedStrategy<Request> {
    let marks = prop_oneof![
        (seq(), option::of(seq())).prop_map(|(delivered, read)| (Some(delivered), read)),
        seq().prop_map(|read| (None, Some(read))),
    ];
    prop_oneof![
        (
            conversation(),
            key(),
            text(),
            option::of(seq()),
            option::of(meta())
        )
            .prop_map(|(to, key, text, reply_to, meta)| Request::Send {
                to,
                key,
                text,
                reply_to,
                meta,
            }),
        (conversation(), entry(), text()).prop_map(|(conversation, seq, text)| Request::Edit {
            conversation,
            seq,
            text,
        }),
        (conversation(), entry())
            .prop_map(|(conversation, seq)| Request::Recall { conversation, seq }),
        (conversation(), marks).prop_map(|(conversation, (delivered, read))| Request::Ack {
            conversation,
            delivered,
            read,
        }),
        conversation().prop_map(|to| Request::Typing { to }),
    ]
    .boxed()
}

pub(crate) fn error() -> impl Strategy<Value = RequestError> {
    (
        select(ErrorCode::ALL),
        characters(0..=40),
        option::of(integer()),
    )
        .prop_map(|(code, message, retry_ms)| RequestError {
            code,
            message: message.into(),
            retry_ms,
        })
}

/// Replies, each with the kind of request that it answers.
pub(crate) fn reply() -> impl Strategy<Value = (ReplyKind, Reply)> {
    prop_oneof![short_reply(), page(), session(), history()]
}

fn short_reply() -> BoxedStrategy<(ReplyKind, Reply)> {
    prop_oneof![
        Just((ReplyKind::Done, Reply::Done)),
        user().prop_map(|user| (ReplyKind::Registered, Reply::Registered { user })),
        secret().prop_map(|token| (ReplyKind::Token, Reply::Token { token })),
        at().prop_map(|at| (ReplyKind::Pong, Reply::Pong { at })),
        friend().prop_map(|item| {
            let FriendItem {
                user,
                name,
                state,
                online,
            } = item;
            let reply = Reply::User {
                user,
                name,
                state,
                online,
            };
            (ReplyKind::User, reply)
        }),
        (user(), friend_state()).prop_map(|(user, state)| {
            (
                ReplyKind::FriendRequested,
                Reply::FriendRequested { user, state },
            )
        }),
        friend_state().prop_map(|state| (ReplyKind::FriendState, Reply::FriendState { state })),
        group().prop_map(|group| (ReplyKind::GroupCreated, Reply::GroupCreated { group })),
        select(vec![JoinState::Member, JoinState::Requested])
            .prop_map(|state| (ReplyKind::GroupJoined, Reply::GroupJoined { state })),
        group_reply().prop_map(|group| (ReplyKind::Group, Reply::Group(Box::new(group)))),
        (seq(), at()).prop_map(|(seq, at)| (ReplyKind::Appended, Reply::Appended { seq, at })),
    ]
    .boxed()
}

fn group_reply() -> impl Strategy<Value = GroupReply> {
    let inside = option::of((role(), seq()));
    (group(), name(), description(), join(), inside, integer()).prop_map(
        |(group, name, description, join, inside, members)| GroupReply {
            group,
            name,
            description,
            join,
            role: inside.map(|(role, _)| role),
            members,
            last: inside.map(|(_, last)| last),
        },
    )
}

fn page() -> BoxedStrategy<(ReplyKind, Reply)> {
    prop_oneof![
        listing(friend()).prop_map(|page| (ReplyKind::Friends, Reply::Friends(page))),
        listing(member()).prop_map(|page| (ReplyKind::Members, Reply::Members(page))),
        listing(user_item()).prop_map(|page| (ReplyKind::Requests, Reply::Requests(page))),
        listing(group_item()).prop_map(|page| (ReplyKind::Groups, Reply::Groups(page))),
        listing(position()).prop_map(|page| (ReplyKind::Conversations, Reply::Conversations(page))),
    ]
    .boxed()
}

fn listing<T: std::fmt::Debug>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = Listing<T>> {
    (vec(item, 0..5), any::<bool>()).prop_map(|(items, more)| Listing { items, more })
}

fn friend() -> impl Strategy<Value = FriendItem> {
    (user(), name(), friend_state(), any::<Option<bool>>()).prop_map(
        |(user, name, state, online)| FriendItem {
            user,
            name,
            state,
            online,
        },
    )
}

fn member() -> impl Strategy<Value = MemberItem> {
    (user(), name(), role(), any::<Option<bool>>()).prop_map(|(user, name, role, online)| {
        MemberItem {
            user,
            name,
            role,
            online,
        }
    })
}

fn user_item() -> impl Strategy<Value = UserItem> {
    (user(), name()).prop_map(|(user, name)| UserItem { user, name })
}

fn group_item() -> impl Strategy<Value = GroupItem> {
    (group(), name(), role()).prop_map(|(group, name, role)| GroupItem { group, name, role })
}

fn position() -> impl Strategy<Value = ConversationItem> {
    let peer = option::of((seq(), seq()));
    (conversation(), seq(), seq(), seq(), peer).prop_map(
        |(conversation, last, delivered, read, peer)| ConversationItem {
            conversation,
            last,
            delivered,
            read,
            peer,
        },
    )
}

fn session() -> BoxedStrategy<(ReplyKind, Reply)> {
    let friend = (user(), name(), any::<bool>()).prop_map(|(user, name, online)| OnlineFriend {
        user,
        name,
        online,
    });
    let invite =
        (group(), name(), user()).prop_map(|(group, name, by)| InviteItem { group, name, by });
    let head = (user(), name(), integer(), secret(), integer());
    let lists = (
        vec(friend, 0..4),
        vec(user_item(), 0..4),
        vec(group_item(), 0..4),
        vec(invite, 0..4),
        vec(position(), 0..4),
    );
    (head, lists)
        .prop_map(|((user, name, session, token, idle_ms), lists)| {
            let (friends, requests, groups, invites, conversations) = lists;
            let reply = SessionReply {
                user,
                name,
                session: SessionId(session),
                token,
                idle_ms,
                friends,
                requests,
                groups,
                invites,
                conversations,
            };
            (ReplyKind::Session, Reply::Session(Box::new(reply)))
        })
        .boxed()
}

fn history() -> BoxedStrategy<(ReplyKind, Reply)> {
    let keep = select(vec![Keep::First, Keep::Last]);
    (vec(message(), 0..5), any::<bool>(), keep)
        .prop_map(|(messages, more, keep)| {
            let reply = Reply::History {
                messages,
                more,
                keep,
            };
            (ReplyKind::History(keep), reply)
        })
        .boxed()
}

fn message() -> impl Strategy<Value = Message> {
    (conversation(), seq(), user(), at(), body()).prop_map(|(conversation, seq, from, at, body)| {
        Message {
            conversation,
            seq,
            from,
            at,
            body,
        }
    })
}

fn body() -> BoxedStrategy<Body> {
    let content = (key(), description(), option::of(seq()), option::of(meta()));
    let text = (content, any::<bool>(), any::<bool>()).prop_map(
        |((key, text, reply_to, meta), edited, recalled)| {
            Body::Text(Text {
                key,
                text,
                reply_to,
                meta,
                edited,
                recalled,
            })
        },
    );
    prop_oneof![
        4 => text,
        1 => (seq(), option::of(description()))
            .prop_map(|(target, text)| Body::Edit { target, text }),
        1 => seq().prop_map(|target| Body::Recall { target }),
        1 => user().prop_map(|user| Body::Joined { user }),
        1 => user().prop_map(|user| Body::Left { user }),
        1 => user().prop_map(|user| Body::Removed { user }),
        1 => (user(), role()).prop_map(|(user, role)| Body::Role { user, role }),
        1 => change().prop_map(Body::Updated),
        1 => Just(Body::Disbanded),
    ]
    .boxed()
}

pub(crate) fn event() -> BoxedStrategy<Event> {
    let state = prop_oneof![
        select(vec![
            GroupState::Invited,
            GroupState::Member,
            GroupState::Removed,
            GroupState::Disbanded,
            GroupState::None,
        ]),
        user().prop_map(|user| GroupState::Requested { user }),
    ];
    prop_oneof![
        message().prop_map(Event::Message),
        (conversation(), user(), seq(), seq()).prop_map(|(conversation, user, delivered, read)| {
            Event::Receipt {
                conversation,
                user,
                delivered,
                read,
            }
        }),
        (conversation(), user())
            .prop_map(|(conversation, user)| Event::Typing { conversation, user }),
        (user(), any::<bool>()).prop_map(|(user, online)| Event::Presence { user, online }),
        (user(), name(), friend_state()).prop_map(|(user, name, state)| Event::Friend {
            user,
            name,
            state
        }),
        (group(), name(), state).prop_map(|(group, name, state)| Event::Group {
            group,
            name,
            state
        }),
        (
            select(NoticeCode::ALL),
            characters(0..=40),
            option::of(integer())
        )
            .prop_map(|(code, message, retry_ms)| Event::Notice {
                code,
                message: message.into(),
                retry_ms,
            }),
    ]
    .boxed()
}
