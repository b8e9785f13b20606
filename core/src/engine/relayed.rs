//! What other nodes told, and what is told without being stored.

use crate::engine::Engine;
use crate::engine::delivery::Targets;
use crate::engine::trail::EntryMark;
use crate::id::{ConversationRef, GroupId, Place, UserId};
use crate::protocol::{Event, Reply, RequestError};
use crate::relay::{Channel, RelayMessage};
use crate::store::command::Requested;

impl Engine {
    pub(super) fn relayed(&mut self, message: RelayMessage) {
        match message {
            RelayMessage::Entry(entry) => {
                self.mark_entry(entry.conversation, entry.seq, EntryMark::Relayed);
                self.deliver(&entry);
            }
            RelayMessage::Changed { user, version } => self.note_version(user, version),
            RelayMessage::Receipt {
                conversation,
                pair,
                to,
                user,
                delivered,
                read,
                origin,
            } if origin != self.origin => {
                let with = match pair {
                    Some(pair) => pair.other(user).map(ConversationRef::User),
                    None => Some(ConversationRef::Group(GroupId(conversation.0))),
                };
                match with {
                    Some(with) if to == user => {
                        self.own_receipt_heard(user, with, conversation, (delivered, read));
                    }
                    Some(ConversationRef::User(other)) if to == other => {
                        self.tell_receipt(user, other, (delivered, read));
                    }
                    _ => {}
                }
            }
            RelayMessage::TypingDirect { pair, user, origin } if origin != self.origin => {
                self.tell_typing(Place::Direct(pair), user);
            }
            RelayMessage::TypingGroup {
                group,
                user,
                origin,
            } if origin != self.origin => {
                self.tell_typing(Place::Group(group), user);
            }
            RelayMessage::Requested {
                group,
                name,
                user,
                origin,
            } if origin != self.origin => {
                self.join_requested(&Requested { group, name, user });
            }
            RelayMessage::Resumed { user, session, at } => {
                self.resumed_elsewhere(user, session, at);
            }
            RelayMessage::AskAbout { user } => self.told_to_ask(user),
            RelayMessage::Heartbeat { origin, line } => self.heard(origin, line),
            RelayMessage::Leaving { origin } => self.left(origin),
            // This node's own, handed back: everyone here was told.
            RelayMessage::Receipt { .. }
            | RelayMessage::TypingDirect { .. }
            | RelayMessage::TypingGroup { .. }
            | RelayMessage::Requested { .. } => {}
        }
    }

    /// Tells the others of a conversation that a user is writing.
    pub(super) fn typing(
        &mut self,
        user: UserId,
        to: ConversationRef,
    ) -> Result<Reply, RequestError> {
        let place = self.may_signal(user, to)?;
        let origin = self.origin;
        self.tell_typing(place, user);
        match place {
            Place::Direct(pair) => {
                if let Some(other) = pair.other(user) {
                    let message = RelayMessage::TypingDirect { pair, user, origin };
                    self.publish(Channel::User(other), message);
                }
            }
            Place::Group(group) => {
                let message = RelayMessage::TypingGroup {
                    group,
                    user,
                    origin,
                };
                self.publish(Channel::Group(group), message);
            }
        }
        Ok(Reply::Done)
    }

    fn tell_typing(&mut self, place: Place, user: UserId) {
        let (connections, conversation): (Targets, ConversationRef) = match place {
            Place::Direct(pair) => {
                let other = pair
                    .other(user)
                    .filter(|other| self.may_notice(*other, user));
                (
                    other.map_or_else(Targets::new, |other| self.connections_of(other)),
                    user_ref(user),
                )
            }
            Place::Group(group) => {
                let members = self
                    .groups
                    .get(group)
                    .map_or(&[][..], |local| &local.members);
                let conversation = ConversationRef::Group(group);
                let connections = members
                    .iter()
                    .filter(|member| **member != user)
                    .flat_map(|member| self.connections_of(*member))
                    // Who was sent the end of the membership hears no more.
                    .filter(|connection| self.cursor(*connection, conversation).is_some())
                    .collect();
                (connections, conversation)
            }
        };
        self.push_hint(&connections, Event::Typing { conversation, user });
    }
}

const fn user_ref(user: UserId) -> ConversationRef {
    ConversationRef::User(user)
}
