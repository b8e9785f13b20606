//! Events as lines.

use parlor_core::id::ConversationRef;
use parlor_core::log::{Body, GroupChange};
use parlor_core::protocol::{Event, GroupState, Message};

use super::command::quote;
use super::state::State;
use super::text::{clean, one_line};

/// Writes an event on one line; `None` for what says nothing to a script.
pub(super) fn event(state: &State, event: &Event) -> Option<String> {
    let name = |user| quote(&state.name(user));
    Some(match event {
        Event::Message(entry) => message(state, entry),
        Event::Receipt { user, .. } if state.is_me(*user) => return None,
        Event::Receipt {
            user,
            delivered,
            read,
            ..
        } => {
            format!("receipt {} delivered {delivered} read {read}", name(*user))
        }
        Event::Typing { conversation, user } => {
            format!("typing {} {}", place(state, *conversation), name(*user))
        }
        Event::Presence { user, online } => {
            let word = if *online { "online" } else { "offline" };
            format!("presence {} {word}", name(*user))
        }
        Event::Friend { name, state, .. } => {
            format!("friend {} {}", quote(&clean(name.as_str())), state.as_str())
        }
        Event::Group {
            group,
            name: title,
            state: change,
        } => {
            let title = quote(&clean(title.as_str()));
            match change {
                GroupState::Requested { user } => {
                    format!("group #{group} requested {title} {}", name(*user))
                }
                other => format!("group #{group} {} {title}", other.as_str()),
            }
        }
        Event::Notice { code, message, .. } => {
            format!("notice {} {}", code.as_str(), one_line(message))
        }
    })
}

/// Writes where something happens: a name, or `#` and the group's number.
fn place(state: &State, conversation: ConversationRef) -> String {
    match conversation {
        ConversationRef::User(user) => quote(&state.name(user)),
        ConversationRef::Group(group) => format!("#{group}"),
    }
}

fn message(state: &State, entry: &Message) -> String {
    let (seq, body) = (entry.seq, &entry.body);
    let place = place(state, entry.conversation);
    let from = quote(&state.name(entry.from));
    let name = |user| quote(&state.name(user));
    match body {
        Body::Text(text) if text.recalled => format!("recalled {place} {seq}"),
        Body::Text(text) => {
            let text = one_line(&text.text);
            match entry.conversation {
                _ if state.is_me(entry.from) => format!("sent {place} {seq} {text}"),
                ConversationRef::User(_) => format!("message {from} {seq} {text}"),
                ConversationRef::Group(_) => format!("group-message {place} {from} {seq} {text}"),
            }
        }
        Body::Edit {
            target,
            text: Some(text),
        } => {
            format!("edited {place} {target} {}", one_line(text))
        }
        Body::Edit { target, text: None } | Body::Recall { target } => {
            format!("recalled {place} {target}")
        }
        Body::Joined { user } => format!("group-event {place} {seq} joined {}", name(*user)),
        Body::Left { user } => format!("group-event {place} {seq} left {}", name(*user)),
        Body::Removed { user } => {
            format!(
                "group-event {place} {seq} removed {} by {from}",
                name(*user)
            )
        }
        Body::Role { user, role } => {
            format!(
                "group-event {place} {seq} role {} {}",
                name(*user),
                role.as_str()
            )
        }
        Body::Updated(change) => format!("group-event {place} {seq} updated{}", updated(change)),
        Body::Disbanded => format!("group-event {place} {seq} disbanded"),
    }
}

/// Writes what changed of a group.
fn updated(change: &GroupChange) -> String {
    let name = change
        .name
        .as_ref()
        .map(|name| format!(" name {}", quote(&clean(name.as_str()))));
    let join = change.join.map(|join| format!(" join {}", join.as_str()));
    let description = change.description.as_ref();
    let description = description.map(|text| format!(" description {}", one_line(text)));
    [name, join, description].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlor_core::client::Status;
    use parlor_core::id::{GroupId, Seq, UserId};
    use parlor_core::log::Text;
    use parlor_core::name::{Key, Name};
    use parlor_core::time::Timestamp;

    fn state() -> State {
        let mut state = State::new(Status::Online);
        let name = |text| Name::new(text).unwrap();
        state.me = Some((UserId(1), name("ann")));
        state.names.insert(UserId(1), name("ann"));
        state.names.insert(UserId(2), name("Bob Lee"));
        state
    }

    fn said(conversation: ConversationRef, from: u64, text: &str) -> Event {
        let body = Body::Text(Text {
            key: Key::new("k").unwrap(),
            text: text.into(),
            reply_to: None,
            meta: None,
            edited: false,
            recalled: false,
        });
        let (seq, at) = (Seq(12), Timestamp(0));
        Event::Message(Message {
            conversation,
            seq,
            from: UserId(from),
            at,
            body,
        })
    }

    fn line(it: &Event) -> String {
        event(&state(), it).unwrap()
    }

    #[test]
    fn messages_say_who_which_and_what_on_one_line() {
        let direct = ConversationRef::User(UserId(2));
        let group = ConversationRef::Group(GroupId(7));
        assert_eq!(
            line(&said(direct, 2, "a\nb")),
            "message \"Bob Lee\" 12 a\\nb"
        );
        assert_eq!(line(&said(direct, 1, "x")), "sent \"Bob Lee\" 12 x");
        assert_eq!(
            line(&said(group, 2, "x")),
            "group-message #7 \"Bob Lee\" 12 x"
        );
        assert_eq!(line(&said(group, 1, "x")), "sent #7 12 x");
    }

    #[test]
    fn a_hostile_text_cannot_forge_a_line_or_steer_the_terminal() {
        let direct = ConversationRef::User(UserId(2));
        let line = line(&said(direct, 2, "x\r\npresence ann online\u{1b}[2J"));
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }

    #[test]
    fn other_events_have_lines_of_their_own() {
        let presence = Event::Presence {
            user: UserId(2),
            online: false,
        };
        assert_eq!(line(&presence), "presence \"Bob Lee\" offline");
        let own = Event::Receipt {
            conversation: ConversationRef::User(UserId(2)),
            user: UserId(1),
            delivered: Seq(1),
            read: Seq(1),
        };
        assert_eq!(event(&state(), &own), None);
    }
}
