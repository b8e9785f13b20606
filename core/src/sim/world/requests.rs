//! What devices ask for: every op of the protocol.

use super::World;
use super::chronicle::Ties;
use super::devices::{PASSWORDS, password};
use crate::id::{ConversationRef, GroupId, Seq, UserId};
use crate::log::{FriendState, GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::Request;
use crate::protocol::request::{Anchor, FriendAction, GroupOtherAction, GroupSelfAction, UserRef};

impl World<'_> {
    /// Chooses what a device that is online asks for.
    pub(super) fn request_of(&mut self, index: usize) -> Option<Request> {
        let device = self.devices.get(index)?;
        let user = device.view.user?;
        Some(match self.random.below(1000) {
            0..420 => self.send_request(index, user),
            420..460 => self.entry_request(index, user),
            460..500 => {
                let conversation = self.conversation_of(index, user);
                let seq = self.seq_in(conversation, user);
                let (delivered, read) = if self.random.chance(500) {
                    (None, Some(seq))
                } else {
                    (Some(seq), None)
                };
                Request::Ack {
                    conversation,
                    delivered,
                    read,
                }
            }
            500..530 => Request::Typing {
                to: self.conversation_of(index, user),
            },
            530..560 => self.history_request(index, user),
            560..740 => self.friend_request(index, user),
            740..930 => self.group_request(index, user),
            930..980 => self.list_request(user),
            _ => self.account_request(index),
        })
    }

    fn send_request(&mut self, index: usize, user: UserId) -> Request {
        let to = self.conversation_of(index, user);
        let reply_to = self.random.chance(50).then(|| self.seq_in(to, user));
        let meta = self.random.chance(50).then(|| r#"{"a":1}"#.into());
        // Some keys are used by several devices, mostly for the same content.
        let (key, text) = if self.random.chance(80) {
            let number = self.random.below(6);
            let text = if self.random.chance(900) {
                number
            } else {
                number + 1
            };
            (format!("shared {number} {to:?}"), format!("text {text}"))
        } else {
            let number = self.random.next();
            (format!("key {number:x}"), format!("text {number:x}"))
        };
        Request::Send {
            to,
            key: key_of(&key),
            text: text.as_str().into(),
            reply_to,
            meta,
        }
    }

    fn entry_request(&mut self, index: usize, user: UserId) -> Request {
        let conversation = self.conversation_of(index, user);
        let seq = self.seq_in(conversation, user);
        if self.random.chance(500) {
            let text = format!("edited {}", self.random.below(100)).as_str().into();
            Request::Edit {
                conversation,
                seq,
                text,
            }
        } else {
            Request::Recall { conversation, seq }
        }
    }

    fn history_request(&mut self, index: usize, user: UserId) -> Request {
        let conversation = self.conversation_of(index, user);
        let seq = self.seq_in(conversation, user);
        let anchors = [Anchor::Newest, Anchor::After(seq), Anchor::Before(seq)];
        Request::History {
            conversation,
            anchor: self.random.pick(&anchors).unwrap_or(Anchor::Newest),
            limit: 5,
        }
    }

    fn friend_request(&mut self, index: usize, user: UserId) -> Request {
        use FriendAction::{Accept, Block, Reject, Remove, Unblock};
        let asks = |(other, state): (&UserId, &FriendState)| {
            (*state == FriendState::RequestedBy).then_some(*other)
        };
        let waiting = self
            .devices
            .get(index)
            .and_then(|device| device.view.friends.iter().find_map(asks));
        if let Some(user) = waiting
            && self.random.chance(700)
        {
            let action = Accept;
            return Request::Friend { action, user };
        }
        let other = self.other_user(user);
        if self.random.chance(600) {
            let known = self.people.iter().find(|person| person.user == Some(other));
            let name = known.map(super::devices::Person::valid_name);
            return Request::FriendRequest {
                who: match name {
                    Some(name) if self.random.chance(300) => UserRef::Name(name),
                    _ => UserRef::Id(other),
                },
            };
        }
        let actions = [Accept, Reject, Remove, Block, Unblock, Unblock];
        let action = self.random.pick(&actions).unwrap_or(Accept);
        Request::Friend {
            action,
            user: other,
        }
    }

    fn group_request(&mut self, index: usize, user: UserId) -> Request {
        use GroupOtherAction::{Approve, Invite, Reject, Remove};
        use GroupSelfAction::{Disband, Join, Leave};
        let group = self.group_of(index);
        match self.random.below(100) {
            0..5 => {
                let key = self.random.chance(500).then(|| self.random.below(4));
                let policies = JoinPolicy::ALL;
                Request::GroupCreate {
                    name: name_of("group"),
                    description: "about".into(),
                    join: self.random.pick(policies).unwrap_or_default(),
                    key: key.map(|number| key_of(&format!("group {number}"))),
                }
            }
            5..46 => {
                let actions = [Join, Join, Join, Join, Leave, Leave, Disband];
                let action = self.random.pick(&actions).unwrap_or(Join);
                Request::GroupSelf { action, group }
            }
            46..76 => {
                let actions = [Invite, Invite, Approve, Approve, Reject, Remove];
                let action = self.random.pick(&actions).unwrap_or(Invite);
                let group = self.managed_group(user, group);
                let other = match action {
                    Invite => self.other_user(user),
                    Approve | Reject => self.someone(user, |ties| ties.waits(group)),
                    Remove => self.someone(user, |ties| ties.is_member(group)),
                };
                Request::GroupOther {
                    action,
                    group,
                    user: other,
                }
            }
            76..90 => {
                let group = self.managed_group(user, group);
                Request::GroupRole {
                    group,
                    user: self.someone(user, |ties| ties.is_member(group)),
                    role: self.random.pick(Role::ALL).unwrap_or(Role::Member),
                }
            }
            _ => {
                let group = self.managed_group(user, group);
                let join = self.random.pick(JoinPolicy::ALL);
                let number = self.random.below(5);
                let change = GroupChange {
                    name: self
                        .random
                        .chance(500)
                        .then(|| name_of(&format!("group {number}"))),
                    description: self.random.chance(300).then(|| "about it".into()),
                    join: join.filter(|_| self.random.chance(300)),
                };
                Request::GroupUpdate { group, change }
            }
        }
    }

    fn list_request(&mut self, user: UserId) -> Request {
        let after = self.random.chance(200).then_some(UserId(1));
        let group = self.any_group();
        let limit = 3;
        match self.random.below(9) {
            0 => Request::Ping,
            1 => Request::User {
                who: UserRef::Id(self.other_user(user)),
            },
            2 => Request::Friends { after, limit },
            3 => Request::Groups { after: None, limit },
            4 => Request::Conversations { after: None, limit },
            5 => Request::Group { group },
            6 => Request::GroupMembers {
                group,
                after,
                limit,
            },
            7 => Request::GroupRequests {
                group,
                after,
                limit,
            },
            _ => Request::User {
                who: UserRef::Name(name_of("person 0")),
            },
        }
    }

    fn account_request(&mut self, index: usize) -> Request {
        let person = self.devices.get(index).map_or(0, |device| device.person);
        let present = self
            .people
            .get(person)
            .map_or_else(|| password(0), super::devices::Person::password);
        match self.random.below(20) {
            0..10 => Request::Logout,
            10..18 => Request::Password {
                old: present,
                new: password(self.random.below(PASSWORDS)),
            },
            _ => Request::DeleteAccount { password: present },
        }
    }

    /// Another user, mostly one of these people.
    fn other_user(&mut self, user: UserId) -> UserId {
        let others: Vec<UserId> = self
            .people
            .iter()
            .filter_map(|person| person.user)
            .filter(|other| *other != user)
            .collect();
        match self.random.pick(&others) {
            Some(other) if self.random.chance(970) => other,
            _ => UserId(self.random.between(1, 14)),
        }
    }

    /// Another user whose ties are such, mostly.
    fn someone(&mut self, user: UserId, such: impl Fn(&Ties) -> bool) -> UserId {
        let is = |other: &UserId| self.chronicle.present(*other).is_some_and(&such);
        let others = self.people.iter().filter_map(|person| person.user);
        let found: Vec<UserId> = others.filter(|other| *other != user && is(other)).collect();
        match self.random.pick(&found) {
            Some(other) if self.random.chance(850) => other,
            _ => self.other_user(user),
        }
    }

    /// A group that a user manages, mostly.
    fn managed_group(&mut self, user: UserId, otherwise: GroupId) -> GroupId {
        let ties = self.chronicle.present(user);
        let managed: Vec<GroupId> = ties.map_or_else(Vec::new, |ties| ties.managed().collect());
        match self.random.pick(&managed) {
            Some(group) if self.random.chance(800) => group,
            _ => otherwise,
        }
    }

    fn any_group(&mut self) -> GroupId {
        let groups: Vec<GroupId> = self.ledger.groups().collect();
        self.random.pick(&groups).unwrap_or(GroupId(1))
    }

    /// A group, mostly one of the device's or one that it is invited to.
    fn group_of(&mut self, index: usize) -> GroupId {
        let Some(device) = self.devices.get(index) else {
            return GroupId(1);
        };
        let view = &device.view;
        let own: Vec<GroupId> = view.groups.iter().chain(&view.invites).copied().collect();
        match self.random.pick(&own) {
            Some(group) if self.random.chance(700) => group,
            _ => self.any_group(),
        }
    }

    /// A conversation, mostly one of the device's.
    fn conversation_of(&mut self, index: usize, user: UserId) -> ConversationRef {
        let Some(device) = self.devices.get(index) else {
            return ConversationRef::User(user);
        };
        let own: Vec<ConversationRef> = device.view.seen.keys().copied().collect();
        match self.random.pick(&own) {
            Some(conversation) if self.random.chance(950) => conversation,
            _ if self.random.chance(500) => ConversationRef::User(self.other_user(user)),
            _ => ConversationRef::Group(self.any_group()),
        }
    }

    /// A number in a conversation's log, or just above.
    fn seq_in(&mut self, conversation: ConversationRef, user: UserId) -> Seq {
        let place = conversation.place(user);
        let length = place.map_or(0, |place| self.ledger.length(place));
        Seq(self.random.between(1, length + 1))
    }
}

fn key_of(text: &str) -> Key {
    #[expect(clippy::expect_used, reason = "the key keeps the rules")]
    Key::new(text).expect("a key")
}

fn name_of(text: &str) -> Name {
    #[expect(clippy::expect_used, reason = "the name keeps the rules")]
    Name::new(text).expect("a name")
}
