use parlor_core::id::SessionId;
use parlor_core::log::{Role, Text};
use parlor_core::name::Key;
use parlor_core::protocol::reply::{FriendItem, GroupItem, OnlineFriend, UserItem};
use parlor_core::secret::Secret;

use super::*;

const ME: UserId = UserId(1);
const BOB: UserId = UserId(2);
const WITH_BOB: ConversationRef = ConversationRef::User(BOB);
const CREW: GroupId = GroupId(7);

fn named(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn reply(last: u64, read: u64) -> SessionReply {
    SessionReply {
        user: ME,
        name: named("ann"),
        session: SessionId(1),
        token: Secret::new("t"),
        idle_ms: 90_000,
        friends: vec![OnlineFriend {
            user: BOB,
            name: named("Bob"),
            online: true,
        }],
        requests: vec![UserItem {
            user: UserId(3),
            name: named("eve"),
        }],
        groups: vec![GroupItem {
            group: CREW,
            name: named("crew"),
            role: Role::Member,
        }],
        invites: Vec::new(),
        conversations: vec![ConversationItem {
            conversation: WITH_BOB,
            last: Seq(last),
            delivered: Seq(read),
            read: Seq(read),
            peer: Some((Seq(2), Seq(1))),
        }],
    }
}

fn begun(last: u64, read: u64) -> State {
    let mut state = State::new(Status::Online);
    state.begin(&reply(last, read));
    state
}

fn said(from: UserId, seq: u64, text: &str) -> Message {
    let body = Body::Text(Text {
        key: Key::new("k").unwrap(),
        text: text.into(),
        reply_to: None,
        meta: None,
        edited: false,
        recalled: false,
    });
    entry(from, seq, body)
}

fn entry(from: UserId, seq: u64, body: Body) -> Message {
    Message {
        conversation: WITH_BOB,
        seq: Seq(seq),
        from,
        at: Timestamp(seq),
        body,
    }
}

fn give(state: &mut State, message: Message) -> bool {
    state.on_event(&Event::Message(message), Timestamp(0))
}

fn shown(state: &State, seq: u64) -> &What {
    &state.conversations[&WITH_BOB].entries[&Seq(seq)].what
}

#[test]
fn a_session_brings_people_groups_and_conversations() {
    let state = begun(0, 0);
    assert_eq!(
        state.people[&BOB],
        Person {
            state: FriendState::Friends,
            online: true
        }
    );
    assert_eq!(state.people[&UserId(3)].state, FriendState::RequestedBy);
    assert_eq!(state.listed(), [WITH_BOB, ConversationRef::Group(CREW)]);
    assert_eq!(state.title(WITH_BOB), "Bob");
    assert_eq!(state.title(ConversationRef::Group(CREW)), "#crew");
    assert_eq!(state.find(&named("BOB")), Some(BOB));
    assert_eq!(state.name(UserId(99)), "user-99");
}

#[test]
fn unread_counts_others_messages_and_what_is_not_loaded() {
    let mut state = begun(5, 2);
    assert_eq!(state.unread(WITH_BOB), 3);
    assert!(give(&mut state, said(BOB, 6, "six")));
    assert!(!give(&mut state, said(ME, 7, "seven")));
    assert_eq!(state.unread(WITH_BOB), 4);
    state.on_history(WITH_BOB, &[3, 4, 5].map(|seq| said(ME, seq, "mine")), false);
    assert_eq!(state.unread(WITH_BOB), 1);
    let receipt = Event::Receipt {
        conversation: WITH_BOB,
        user: ME,
        delivered: Seq(7),
        read: Seq(7),
    };
    state.on_event(&receipt, Timestamp(0));
    assert_eq!(state.unread(WITH_BOB), 0);
}

#[test]
fn edits_and_recalls_change_what_is_shown() {
    let mut state = begun(0, 0);
    give(&mut state, said(BOB, 1, "one"));
    give(&mut state, said(BOB, 2, "two"));
    give(
        &mut state,
        entry(
            BOB,
            3,
            Body::Edit {
                target: Seq(1),
                text: Some("uno".into()),
            },
        ),
    );
    give(&mut state, entry(BOB, 4, Body::Recall { target: Seq(2) }));
    assert_eq!(
        *shown(&state, 1),
        What::Text {
            text: "uno".into(),
            reply_to: None,
            edited: true,
            recalled: false
        }
    );
    assert_eq!(
        *shown(&state, 2),
        What::Text {
            text: "".into(),
            reply_to: None,
            edited: false,
            recalled: true
        }
    );
    assert_eq!(state.conversations[&WITH_BOB].entries.len(), 2);
    assert_eq!(state.conversations[&WITH_BOB].last, Seq(4));
}

#[test]
fn receipts_only_rise() {
    let mut state = begun(0, 0);
    let receipt = |delivered, read| Event::Receipt {
        conversation: WITH_BOB,
        user: BOB,
        delivered: Seq(delivered),
        read: Seq(read),
    };
    state.on_event(&receipt(5, 4), Timestamp(0));
    state.on_event(&receipt(3, 3), Timestamp(0));
    assert_eq!(state.conversations[&WITH_BOB].peer, (Seq(5), Seq(4)));
}

#[test]
fn a_message_ends_its_senders_typing() {
    let mut state = begun(0, 0);
    let typing = Event::Typing {
        conversation: WITH_BOB,
        user: BOB,
    };
    state.on_event(&typing, Timestamp(100));
    let until = Timestamp(100) + TYPING;
    assert_eq!(state.conversations[&WITH_BOB].typing[&BOB], until);
    give(&mut state, said(BOB, 1, "one"));
    assert!(state.conversations[&WITH_BOB].typing.is_empty());
}

#[test]
fn groups_come_and_go() {
    let mut state = begun(0, 0);
    let group = |state| Event::Group {
        group: GroupId(8),
        name: named("choir"),
        state,
    };
    state.on_event(&group(GroupState::Invited), Timestamp(0));
    assert!(state.invitations.contains_key(&GroupId(8)));
    state.on_event(&group(GroupState::Member), Timestamp(0));
    assert!(state.invitations.is_empty());
    assert!(state.groups.contains_key(&GroupId(8)));
    state.on_event(&group(GroupState::Removed), Timestamp(0));
    assert!(!state.groups.contains_key(&GroupId(8)));
}

#[test]
fn a_lost_friend_is_not_online() {
    let mut state = begun(0, 0);
    state.set_friend(BOB, FriendState::Blocked);
    assert_eq!(
        state.people[&BOB],
        Person {
            state: FriendState::Blocked,
            online: false
        }
    );
    state.set_friend(BOB, FriendState::None);
    assert!(!state.people.contains_key(&BOB));
}

#[test]
fn long_conversations_keep_their_end() {
    let mut state = begun(0, 0);
    for seq in 1..=2005 {
        give(&mut state, said(BOB, seq, "x"));
    }
    let conversation = &state.conversations[&WITH_BOB];
    assert_eq!(conversation.entries.len(), KEPT);
    assert_eq!(conversation.oldest, Some(Seq(6)));
    assert!(!conversation.complete);
}

#[test]
fn another_users_session_starts_with_nothing() {
    let mut state = begun(0, 0);
    give(&mut state, said(BOB, 1, "one"));
    let mut other = reply(0, 0);
    other.user = UserId(9);
    other.conversations.clear();
    state.begin(&other);
    assert!(state.conversations.is_empty());
}

#[test]
fn ones_last_message_is_found_for_editing() {
    let mut state = begun(0, 0);
    give(&mut state, said(ME, 1, "mine"));
    give(&mut state, said(ME, 2, "mine too"));
    give(&mut state, said(BOB, 3, "his"));
    assert_eq!(state.last_own(WITH_BOB), Some(Seq(2)));
    give(&mut state, entry(ME, 4, Body::Recall { target: Seq(2) }));
    assert_eq!(state.last_own(WITH_BOB), Some(Seq(1)));
}

#[test]
fn a_message_that_was_taken_shows_in_its_place_before_its_event_comes() {
    let mut state = begun(0, 0);
    let conversation = state.conversations.get_mut(&WITH_BOB).unwrap();
    for number in 1..=2 {
        conversation.unsent.push(Unsent {
            ticket: Ticket(number),
            text: "mine".into(),
            reply_to: None,
        });
    }
    state.settle(WITH_BOB, Ticket(1), Some((Seq(1), Timestamp(5))));
    state.settle(WITH_BOB, Ticket(2), None);
    assert!(state.conversations[&WITH_BOB].unsent.is_empty());
    assert_eq!(state.last_own(WITH_BOB), Some(Seq(1)));
    give(&mut state, said(ME, 1, "mine"));
    assert_eq!(state.conversations[&WITH_BOB].entries.len(), 1);
}

#[test]
fn what_is_listed_late_adds_to_what_is_known_and_overrules_no_event() {
    let mut state = begun(5, 5);
    let gone = Event::Friend {
        user: UserId(8),
        name: named("gil"),
        state: FriendState::None,
    };
    state.on_event(&gone, Timestamp(0));
    let left = Event::Group {
        group: GroupId(9),
        name: named("left"),
        state: GroupState::Removed,
    };
    state.on_event(&left, Timestamp(0));
    let item = |user, name, state, online| FriendItem {
        user: UserId(user),
        name: named(name),
        state,
        online,
    };
    state.on_listed(&Listed::Friends(vec![
        item(4, "dan", FriendState::Friends, Some(true)),
        item(5, "fay", FriendState::RequestedBy, None),
        item(6, "hal", FriendState::Blocked, None),
        item(8, "gil", FriendState::Friends, Some(true)),
    ]));
    let group = |group, name| GroupItem {
        group: GroupId(group),
        name: named(name),
        role: Role::Member,
    };
    state.on_listed(&Listed::Groups(vec![group(8, "club"), group(9, "left")]));
    let club = ConversationRef::Group(GroupId(8));
    state.on_listed(&Listed::Conversations(vec![ConversationItem {
        conversation: club,
        last: Seq(7),
        delivered: Seq(4),
        read: Seq(4),
        peer: None,
    }]));
    let people: Vec<_> = state
        .people
        .iter()
        .map(|(user, it)| (user.0, *it))
        .collect();
    let person = |state, online| Person { state, online };
    assert_eq!(
        people,
        [
            (2, person(FriendState::Friends, true)),
            (3, person(FriendState::RequestedBy, false)),
            (4, person(FriendState::Friends, true)),
            (5, person(FriendState::RequestedBy, false)),
        ]
    );
    let groups: Vec<_> = state.groups.keys().map(|group| group.0).collect();
    assert_eq!(groups, [7, 8]);
    assert_eq!(state.unread(club), 3);
    assert_eq!(state.name(UserId(6)), "hal");
}
