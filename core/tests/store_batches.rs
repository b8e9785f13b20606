//! Changes that share a transaction come out as they do one by one.

#![expect(clippy::unwrap_used, reason = "tests")]

use parlor_core::id::{ConversationId, ConversationRef, GroupId, Place, Seq, SessionId, UserId};
use parlor_core::log::{GroupChange, JoinPolicy, Role};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction, UserRef};
use parlor_core::secret::Secret;
use parlor_core::sim::MemoryStore;
use parlor_core::store::{Command, Limits, Read, StoreRequest, StoreResult, Supervision};
use parlor_core::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const USERS: u64 = 4;
const GROUPS: u64 = 6;

/// Limits that a few dozen commands reach.
fn limits() -> Limits {
    Limits {
        sessions: 2,
        friends: 2,
        groups: 3,
        conversations: 4,
        members: 3,
        invitations: 1,
        join_requests: 1,
        ..Limits::default()
    }
}

fn user() -> impl Strategy<Value = UserId> {
    // One more than there are.
    (1..=USERS + 1).prop_map(UserId)
}

fn group() -> impl Strategy<Value = GroupId> {
    // Some of these are direct conversations.
    (1..=GROUPS).prop_map(GroupId)
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (user(), user()).prop_filter_map("a pair", |(one, other)| {
            ConversationRef::User(other).place(one)
        }),
        group().prop_map(Place::Group),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    select(vec!["a", "b", "c", "d", "e", "f"]).prop_map(|text| Key::new(text).unwrap())
}

fn text() -> impl Strategy<Value = &'static str> {
    select(vec!["one", "two"])
}

fn name() -> impl Strategy<Value = Name> {
    select(vec!["user 1", "USER 2", "user 3", "other", "OTHER"])
        .prop_map(|text| Name::new(text).unwrap())
}

fn who() -> impl Strategy<Value = UserRef> {
    prop_oneof![user().prop_map(UserRef::Id), name().prop_map(UserRef::Name)]
}

fn supervision() -> impl Strategy<Value = Supervision> {
    select(vec![
        Supervision::EndSessions,
        Supervision::Lock,
        Supervision::Unlock,
        Supervision::SetPassword(Secret::new("another hash")),
    ])
}

fn friendly() -> impl Strategy<Value = Command> {
    let action = select(vec![
        FriendAction::Accept,
        FriendAction::Reject,
        FriendAction::Remove,
        FriendAction::Block,
        FriendAction::Unblock,
    ]);
    prop_oneof![
        3 => (user(), user()).prop_map(|(user, other)| Command::FriendRequest {
            user,
            who: UserRef::Id(other),
        }),
        1 => (user(), name()).prop_map(|(user, name)| Command::FriendRequest {
            user,
            who: UserRef::Name(name),
        }),
        4 => (user(), action, user()).prop_map(|(user, action, other)| Command::Friend {
            user,
            action,
            other,
        }),
    ]
}

fn grouped() -> impl Strategy<Value = Command> {
    let join = select(JoinPolicy::ALL.to_vec());
    let policy = select(JoinPolicy::ALL.to_vec());
    let own = select(vec![
        GroupSelfAction::Join,
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
        2 => (user(), text(), join, proptest::option::of(key())).prop_map(
            |(user, text, join, key)| Command::GroupCreate {
                user,
                name: Name::new(text).unwrap(),
                description: "".into(),
                join,
                key,
            }
        ),
        4 => (user(), own, group()).prop_map(|(user, action, group)| Command::GroupSelf {
            user,
            action,
            group,
        }),
        3 => (user(), other, group(), user()).prop_map(|(user, action, group, other)| {
            Command::GroupOther {
                user,
                action,
                group,
                other,
            }
        }),
        2 => (user(), group(), user(), select(Role::ALL.to_vec())).prop_map(
            |(user, group, other, role)| Command::GroupRole {
                user,
                group,
                other,
                role,
            }
        ),
        1 => (user(), group(), policy).prop_map(|(user, group, join)| Command::GroupUpdate {
            user,
            group,
            change: GroupChange {
                join: Some(join),
                ..GroupChange::default()
            },
        }),
    ]
}

fn message() -> impl Strategy<Value = Command> {
    let seq = || (0..6_u64).prop_map(Seq);
    prop_oneof![
        4 => (user(), place(), key(), text(), proptest::option::weighted(0.2, seq())).prop_map(
            |(user, place, key, text, reply_to)| Command::Send {
                user,
                place,
                key,
                text: text.into(),
                reply_to,
                meta: None,
            }
        ),
        1 => (user(), place(), seq(), text()).prop_map(|(user, place, seq, text)| {
            Command::Edit {
                user,
                place,
                seq,
                text: text.into(),
            }
        }),
        1 => (user(), place(), seq()).prop_map(|(user, place, seq)| Command::Recall {
            user,
            place,
            seq,
        }),
    ]
}

fn account() -> impl Strategy<Value = Command> {
    let hash = || Secret::new("hash");
    prop_oneof![
        3 => name().prop_map(move |name| Command::Register { name, hash: hash() }),
        3 => user().prop_map(move |user| Command::OpenSession {
            user,
            verified: hash(),
            renewed: None,
            device: None,
        }),
        1 => (user(), 1..6_u64).prop_map(|(user, session)| Command::CloseSession {
            user,
            session: SessionId(session),
        }),
        1 => (user(), 1..6_u64).prop_map(move |(user, session)| Command::ChangePassword {
            user,
            session: SessionId(session),
            verified: hash(),
            hash: hash(),
        }),
        1 => user().prop_map(move |user| Command::DeleteAccount { user, verified: hash() }),
        1 => (who(), supervision()).prop_map(|(who, action)| Command::Supervise { who, action }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![3 => friendly(), 4 => grouped(), 5 => message(), 1 => account()]
}

fn execute(store: &mut MemoryStore, command: Command) -> StoreResult {
    store.execute(StoreRequest::Command(Box::new(command)), NOW)
}

/// A store with so many users, the first two of them friends.
fn store(limits: Limits) -> MemoryStore {
    let mut store = MemoryStore::new(limits);
    for number in 1..=USERS {
        let name = Name::new(&format!("user {number}")).unwrap();
        let hash = Secret::new("hash");
        execute(&mut store, Command::Register { name, hash }).unwrap();
    }
    for (user, other) in [(1, 2), (2, 1)] {
        let command = Command::FriendRequest {
            user: UserId(user),
            who: UserRef::Id(UserId(other)),
        };
        execute(&mut store, command).unwrap();
    }
    store
}

/// Everything that there is to read.
fn contents(store: &mut MemoryStore) -> Vec<StoreResult> {
    let mut reads = vec![
        Read::Rosters((1..=USERS * 3).map(UserId).collect()),
        Read::Changes {
            since: Some(Timestamp(0)),
            conversations_after: None,
            users_after: None,
            limit: 1000,
        },
    ];
    for conversation in 1..=50 {
        reads.push(Read::Fetch {
            conversation: ConversationId(conversation),
            after: Seq(0),
            limit: 1000,
            bytes: u32::MAX,
        });
    }
    for (group, reader) in (1..=50).zip((1..=USERS).cycle()) {
        let (group, reader) = (GroupId(group), UserId(reader));
        reads.push(Read::Group { reader, group });
    }
    reads
        .into_iter()
        .map(|read| store.execute(StoreRequest::Read(read), NOW))
        .collect()
}

proptest! {
    #[test]
    fn batches_are_as_good_as_single_commands(
        batches in vec((vec(command(), 1..40), any::<bool>()), 1..6),
        tight in any::<bool>(),
    ) {
        // Half of the runs reach no limit.
        let limits = if tight { limits() } else { Limits::default() };
        let (mut one_by_one, mut batched) = (store(limits), store(limits));
        for (commands, together) in batches {
            let single: Vec<StoreResult> = commands
                .iter()
                .map(|command| execute(&mut one_by_one, command.clone()))
                .collect();
            let requests = commands
                .iter()
                .map(|command| StoreRequest::Command(Box::new(command.clone())));
            let answers: Vec<StoreResult> = if together {
                batched.execute_batch(requests.collect(), NOW)
            } else {
                requests.map(|request| batched.execute(request, NOW)).collect()
            };
            prop_assert_eq!(answers, single);
        }
        prop_assert_eq!(contents(&mut batched), contents(&mut one_by_one));
    }
}
