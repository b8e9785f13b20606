//! What was sent against what should have been.

use std::collections::BTreeMap;

use parlor_core::id::{ConversationRef, GroupId};
use parlor_core::log::{Body, FriendState};
use parlor_core::protocol::{Event, GroupState, Message, Reply, RequestError};
use parlor_core::secret::Secret;
use parlor_core::sim::Sent;
use parlor_core::time::Timestamp;

use crate::operation::USERS;
use crate::state::{Answer, Model, user_name};

/// What users were to each other and to groups.
pub(crate) struct Before {
    pub(crate) made: Vec<u64>,
    relation: BTreeMap<(u64, u64), FriendState>,
    standing: BTreeMap<(u64, u64), Standing>,
}

/// What a group is to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Member,
    Invited,
    Outside,
}

impl Before {
    pub(crate) fn of(model: &Model) -> Self {
        let users = 1..=USERS;
        let pairs = users.flat_map(|user| model.made.iter().map(move |group| (*group, user)));
        Self {
            made: model.made.clone(),
            relation: model.relation.clone(),
            standing: pairs
                .map(|(group, user)| ((group, user), standing(model, group, user)))
                .collect(),
        }
    }
}

fn standing(model: &Model, group: u64, user: u64) -> Standing {
    let group = &model.groups[&group];
    if group.members.contains_key(&user) {
        Standing::Member
    } else if group.invited.contains_key(&user) {
        Standing::Invited
    } else {
        Standing::Outside
    }
}

/// Leaves out of an answer what the model does not know: times, tokens, sentences.
pub(crate) fn answer(result: Result<Reply, RequestError>) -> Answer {
    let mut reply = result.map_err(|error| error.code)?;
    match &mut reply {
        Reply::Appended { at, .. } => *at = Timestamp(0),
        Reply::Token { token } => *token = Secret::new(""),
        Reply::Session(session) => session.token = Secret::new(""),
        Reply::History { messages, .. } => {
            for message in messages {
                message.at = Timestamp(0);
            }
        }
        _ => {}
    }
    Ok(reply)
}

/// Leaves out of an answer who is online: that follows from what the node knows of friendships,
/// which it may yet be reading.
pub(crate) fn without_presence(mut answer: Answer) -> Answer {
    match &mut answer {
        Ok(Reply::Friends(list)) => list.items.iter_mut().for_each(|item| item.online = None),
        Ok(Reply::Members(list)) => list.items.iter_mut().for_each(|item| item.online = None),
        _ => {}
    }
    answer
}

/// Leaves out of an event what the model does not know.
fn event(mut event: Event) -> Event {
    match &mut event {
        Event::Message(message) => message.at = Timestamp(0),
        Event::Notice {
            message, retry_ms, ..
        } => {
            *message = "".into();
            *retry_ms = None;
        }
        Event::Group {
            name,
            state: GroupState::Invited | GroupState::None,
            ..
        } => *name = user_name(0),
        _ => {}
    }
    event
}

/// Compares all that a connection was sent. Events about one thing come in their order; how those
/// about different things mix is the server's affair.
pub(crate) fn exactly(sent: &[Sent], expected: &[Sent], what: &str) {
    let streams = |all: &[Sent]| {
        let mut streams: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        for sent in all {
            let (subject, sent) = match sent {
                Sent::Event(it) => (subject(it), Sent::Event(event(it.clone()))),
                other => ("the end".to_owned(), other.clone()),
            };
            streams.entry(subject).or_default().push(sent);
        }
        streams
    };
    assert_eq!(streams(sent), streams(expected), "{what}");
}

/// What an event is about.
fn subject(event: &Event) -> String {
    match event {
        Event::Message(message) => format!("{:?}", message.conversation),
        Event::Group { group, .. } => format!("{:?}", ConversationRef::Group(*group)),
        Event::Friend { user, .. } | Event::Presence { user, .. } => format!("{user}"),
        Event::Receipt { conversation, .. } => format!("receipts of {conversation:?}"),
        Event::Typing { conversation, .. } => format!("typing in {conversation:?}"),
        Event::Notice { .. } => "the end".to_owned(),
    }
}

/// Compares what a user's connection was sent while much happened at once. Logs come entry by
/// entry all the same; of what is no log entry the last word counts.
pub(crate) fn loosely(
    events: &[Event],
    expected: &[Sent],
    (before, after, user): (&Before, &Model, u64),
) {
    let events: Vec<Event> = events.iter().cloned().map(event).collect();
    let expected: Vec<Event> = expected
        .iter()
        .filter_map(|sent| match sent {
            Sent::Event(event) => Some(event.clone()),
            _ => None,
        })
        .collect();
    let told = |all: &[Event]| {
        format!("user {user}\nwas told {events:#?}\nnot {all:#?}\nin the order of commits")
    };
    let mut logs = messages(&events);
    for (conversation, entries) in messages(&expected) {
        let got = logs.remove(&conversation).unwrap_or_default();
        check_log(&got, &entries, (before, after, user), &told(&expected));
    }
    assert!(logs.is_empty(), "{}", told(&expected));
    for event in &events {
        match event {
            Event::Group {
                state: GroupState::Requested { .. },
                ..
            } => assert!(expected.contains(event), "{}", told(&expected)),
            Event::Presence { online, .. } => assert!(online, "{}", told(&expected)),
            Event::Message(_) | Event::Friend { .. } | Event::Group { .. } => {}
            other => panic!("{other:?} from nowhere"),
        }
    }
    for other in (1..=USERS).filter(|other| *other != user) {
        check_friend(&events, other, (before, after, user));
    }
    for group in &after.made {
        check_group(&events, *group, (before, after, user));
    }
}

/// Sorts messages by conversation. Texts may be newer than their entries: they are left out.
fn messages(events: &[Event]) -> BTreeMap<ConversationRef, Vec<Message>> {
    let mut all: BTreeMap<ConversationRef, Vec<Message>> = BTreeMap::new();
    for event in events {
        let Event::Message(message) = event else {
            continue;
        };
        let mut message = message.clone();
        match &mut message.body {
            Body::Text(text) => {
                text.text = "".into();
                (text.edited, text.recalled) = (false, false);
            }
            Body::Edit { text, .. } => *text = None,
            _ => {}
        }
        let log = all.entry(message.conversation).or_default();
        log.push(message);
    }
    all
}

fn begins(message: &Message, user: u64) -> bool {
    matches!(message.body, Body::Joined { user: who } if who.0 == user)
}

fn ends(message: &Message, user: u64) -> bool {
    match message.body {
        Body::Left { user: who } | Body::Removed { user: who } => who.0 == user,
        Body::Disbanded => true,
        _ => false,
    }
}

/// A reader gets every entry, except that who comes back may miss what was before, the end of the
/// earlier membership included; and who comes and goes unnoticed gets nothing.
fn check_log(
    got: &[Message],
    expected: &[Message],
    (before, after, user): (&Before, &Model, u64),
    told: &str,
) {
    let mut rest = expected.iter();
    for message in got {
        assert!(rest.any(|entry| entry == message), "{told}");
    }
    let follows =
        |(one, next): (&Message, &Message)| next.seq == one.seq.next() || begins(next, user);
    assert!(got.iter().zip(got.iter().skip(1)).all(follows), "{told}");
    if let Some(first) = got.first() {
        assert!(
            Some(first) == expected.first() || begins(first, user),
            "{told}"
        );
    }
    let (was, is) = match expected.first().map(|message| message.conversation) {
        Some(ConversationRef::Group(group)) => {
            let was = before.standing.get(&(group.0, user)).copied();
            (
                was == Some(Standing::Member),
                standing(after, group.0, user) == Standing::Member,
            )
        }
        _ => (true, true),
    };
    let complete = match got.last() {
        Some(last) if is => Some(last) == expected.last(),
        Some(last) => ends(last, user),
        None => !was && !is,
    };
    assert!(complete, "{told}");
}

fn check_friend(events: &[Event], other: u64, (before, after, user): (&Before, &Model, u64)) {
    let mut word = None;
    let mut present = false;
    for event in events {
        match event {
            Event::Friend {
                user: of, state, ..
            } if of.0 == other => (word, present) = (Some(*state), false),
            Event::Presence { user: of, .. } if of.0 == other => present = true,
            _ => {}
        }
    }
    let was = before
        .relation
        .get(&(user, other))
        .copied()
        .unwrap_or_default();
    let is = after.is(user, other);
    assert_eq!(word.unwrap_or(was), is, "{other} to {user}: {events:#?}");
    if word == Some(FriendState::Friends) {
        assert_eq!(present, after.online.contains(&other), "{other} to {user}");
    }
}

fn check_group(events: &[Event], group: u64, (before, after, user): (&Before, &Model, u64)) {
    let mut word = None;
    let mut last = None;
    for event in events {
        match event {
            Event::Message(message)
                if message.conversation == ConversationRef::Group(GroupId(group)) =>
            {
                last = Some(message);
            }
            Event::Group {
                group: of, state, ..
            } if of.0 == group => {
                // After the entry that says so.
                let in_place = match state {
                    GroupState::Member => last.is_some_and(|last| begins(last, user)),
                    GroupState::Removed | GroupState::Disbanded => {
                        last.is_some_and(|last| ends(last, user))
                    }
                    _ => true,
                };
                assert!(in_place, "{group} to {user}: {events:#?}");
                word = match state {
                    GroupState::Member => Some(Standing::Member),
                    GroupState::Invited => Some(Standing::Invited),
                    GroupState::Requested { .. } => word,
                    _ => Some(Standing::Outside),
                };
            }
            _ => {}
        }
    }
    if after.groups[&group].asking.contains(&user) {
        // Nothing is told of an invitation that is withdrawn while one waits to be let in.
        return;
    }
    let was = before.standing.get(&(group, user)).copied();
    let was = was.unwrap_or(Standing::Outside);
    let is = standing(after, group, user);
    assert_eq!(word.unwrap_or(was), is, "{group} to {user}: {events:#?}");
}
