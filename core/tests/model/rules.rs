//! What the store is asked for: friendships, groups, messages, lists.

use parlor_core::id::{Seq, UserId};
use parlor_core::log::{Body, FriendState, GroupChange, JoinPolicy, Role};
use parlor_core::protocol::reply::{FriendItem, JoinState, Keep, Listing, MemberItem, UserItem};
use parlor_core::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction};
use parlor_core::protocol::{ErrorCode, GroupState, Reply};
use parlor_core::time::Timestamp;

use crate::operation::{Ask, PAGE, Where, change};
use crate::state::{Answer, Group, Log, Member, Model, What, user_name};

impl Model {
    /// Carries out what a user asks for; `made` is the number of a group that is made.
    pub(crate) fn ask(&mut self, user: u64, ask: &Ask, made: u64) -> Answer {
        match *ask {
            Ask::Request(other) => self.request(user, other),
            Ask::Friend(action, other) => self.friend(user, action, other),
            Ask::Create(join) => Ok(self.create(user, join, made)),
            Ask::Send(place, key, reply_to) => self.send_text(user, place, key, reply_to),
            Ask::Edit(place, seq, text) => self.edit(user, place, seq, text),
            Ask::Recall(place, seq) => self.recall(user, place, seq),
            Ask::History(place) => self.history(user, place),
            Ask::Friends => Ok(self.friends(user)),
            Ask::Group(action, index) => {
                let group = self.group(index)?;
                self.on_self(user, action, group)
            }
            Ask::Member(action, index, other) => {
                let (group, role) = self.managed(user, index)?;
                self.on_other(user, role, action, (group, other))
            }
            Ask::Role(index, other, role) => {
                let (group, mine) = self.managed(user, index)?;
                self.give_role((user, mine), group, other, role)
            }
            Ask::Update(index, name, join) => {
                let (group, _) = self.managed(user, index)?;
                Ok(self.update(user, group, change(name, join)))
            }
            Ask::Members(index) => {
                let group = self.live(index)?;
                self.role(group, user).ok_or(ErrorCode::NotMember)?;
                Ok(self.members(user, group))
            }
            Ask::Requests(index) => {
                let (group, _) = self.managed(user, index)?;
                let asking = self.groups[&group].asking.iter();
                Ok(Reply::Requests(listing(asking.map(|user| UserItem {
                    user: UserId(*user),
                    name: user_name(*user),
                }))))
            }
        }
    }

    fn request(&mut self, a: u64, b: u64) -> Answer {
        if a == b {
            return Err(ErrorCode::BadRequest);
        }
        if self.blocked(a, b) {
            return Err(ErrorCode::Blocked);
        }
        match self.is(a, b) {
            FriendState::RequestedBy => self.befriend(a, b),
            FriendState::None => {
                self.set(a, b, FriendState::Requested);
                self.set(b, a, FriendState::RequestedBy);
            }
            _ => {}
        }
        Ok(Reply::FriendRequested {
            user: UserId(b),
            state: self.is(a, b),
        })
    }

    fn befriend(&mut self, a: u64, b: u64) {
        self.set(a, b, FriendState::Friends);
        self.set(b, a, FriendState::Friends);
        let log = Log::Direct(a.min(b), a.max(b));
        self.logs.entry(log).or_default();
    }

    fn friend(&mut self, a: u64, action: FriendAction, b: u64) -> Answer {
        if a == b {
            return Err(ErrorCode::BadRequest);
        }
        let state = self.is(a, b);
        let parts = match action {
            FriendAction::Accept => match state {
                _ if self.blocked(a, b) => return Err(ErrorCode::Blocked),
                FriendState::RequestedBy => {
                    self.befriend(a, b);
                    false
                }
                FriendState::Friends => false,
                _ => return Err(ErrorCode::NotFriends),
            },
            FriendAction::Block => {
                self.set(a, b, FriendState::Blocked);
                if self.is(b, a) != FriendState::Blocked {
                    self.set(b, a, FriendState::None);
                }
                false
            }
            FriendAction::Unblock => {
                if state == FriendState::Blocked {
                    self.set(a, b, FriendState::None);
                }
                false
            }
            FriendAction::Reject => state == FriendState::RequestedBy,
            FriendAction::Remove => {
                matches!(state, FriendState::Friends | FriendState::Requested)
            }
        };
        if parts {
            self.set(a, b, FriendState::None);
            self.set(b, a, FriendState::None);
        }
        let state = self.is(a, b);
        Ok(Reply::FriendState { state })
    }

    fn friends(&self, user: u64) -> Reply {
        let all = self
            .relation
            .iter()
            .filter(|((of, _), state)| *of == user && **state != FriendState::None);
        Reply::Friends(listing(all.map(|((_, other), state)| FriendItem {
            user: UserId(*other),
            name: user_name(*other),
            state: *state,
            online: (*state == FriendState::Friends).then(|| self.online.contains(other)),
        })))
    }
}

/// Groups.
impl Model {
    pub(crate) fn role(&self, group: u64, user: u64) -> Option<Role> {
        let member = self.groups.get(&group)?.members.get(&user)?;
        Some(member.role)
    }

    /// Returns the number of a group that was made.
    fn group(&self, index: usize) -> Result<u64, ErrorCode> {
        self.made.get(index).copied().ok_or(ErrorCode::NoSuchGroup)
    }

    /// Returns the number of a group that has not ended.
    pub(crate) fn live(&self, index: usize) -> Result<u64, ErrorCode> {
        let group = self.group(index)?;
        if self.groups[&group].disbanded {
            return Err(ErrorCode::NoSuchGroup);
        }
        Ok(group)
    }

    /// Returns the number of a group that a user manages, and the user's role.
    fn managed(&self, user: u64, index: usize) -> Result<(u64, Role), ErrorCode> {
        let group = self.live(index)?;
        match self.role(group, user) {
            None => Err(ErrorCode::NotMember),
            Some(role) if !role.manages() => Err(ErrorCode::Forbidden),
            Some(role) => Ok((group, role)),
        }
    }

    fn at(&mut self, group: u64) -> &mut Group {
        self.groups.get_mut(&group).unwrap()
    }

    fn create(&mut self, user: u64, join: JoinPolicy, made: u64) -> Reply {
        let group = Group {
            name: crate::operation::name("group"),
            join,
            owner: user,
            disbanded: false,
            members: Default::default(),
            invited: Default::default(),
            asking: Default::default(),
        };
        self.groups.insert(made, group);
        self.enter(made, user, user);
        self.at(made).members.get_mut(&user).unwrap().role = Role::Owner;
        self.marks.insert((Log::Group(made), user), (0, 0));
        Reply::GroupCreated {
            group: parlor_core::id::GroupId(made),
        }
    }

    /// Makes a user a member, by whose doing it may be another's.
    fn enter(&mut self, group: u64, from: u64, user: u64) {
        let log = Log::Group(group);
        let before = self.last(log);
        let (role, joined) = (Role::Member, before + 1);
        self.at(group).members.insert(user, Member { role, joined });
        self.at(group).invited.remove(&user);
        self.at(group).asking.remove(&user);
        self.marks.insert((log, user), (before, before));
        self.append(log, from, What::Other(Body::Joined { user: UserId(user) }));
        self.tell_group(user, group, GroupState::Member);
    }

    fn on_self(&mut self, user: u64, action: GroupSelfAction, group: u64) -> Answer {
        let log = Log::Group(group);
        let here = &self.groups[&group];
        let role = self.role(group, user);
        if here.disbanded {
            let again = action == GroupSelfAction::Disband && here.owner == user;
            return if again {
                Ok(Reply::Done)
            } else {
                Err(ErrorCode::NoSuchGroup)
            };
        }
        match action {
            GroupSelfAction::Join => {
                let invited = here.invited.contains_key(&user);
                let state = match here.join {
                    _ if role.is_some() => JoinState::Member,
                    JoinPolicy::Approval if !invited => JoinState::Requested,
                    JoinPolicy::Invite if !invited => return Err(ErrorCode::Forbidden),
                    _ => {
                        self.enter(group, user, user);
                        JoinState::Member
                    }
                };
                if state == JoinState::Requested && self.at(group).asking.insert(user) {
                    let state = GroupState::Requested { user: UserId(user) };
                    let members = self.groups[&group].members.clone();
                    for (member, _) in members.iter().filter(|(_, it)| it.role.manages()) {
                        self.tell_group(*member, group, state);
                    }
                }
                Ok(Reply::GroupJoined { state })
            }
            GroupSelfAction::Leave if role == Some(Role::Owner) => Err(ErrorCode::Forbidden),
            GroupSelfAction::Leave => {
                if role.is_some() {
                    self.append(log, user, What::Other(Body::Left { user: UserId(user) }));
                    self.at(group).members.remove(&user);
                    self.tell_group(user, group, GroupState::None);
                } else if self.at(group).invited.remove(&user).is_some()
                    || self.at(group).asking.remove(&user)
                {
                    self.tell_outside(user, group);
                }
                Ok(Reply::Done)
            }
            GroupSelfAction::Disband if role.is_none() => Err(ErrorCode::NotMember),
            GroupSelfAction::Disband if role != Some(Role::Owner) => Err(ErrorCode::Forbidden),
            GroupSelfAction::Disband => {
                self.append(log, user, What::Other(Body::Disbanded));
                let here = self.at(group);
                here.disbanded = true;
                let members = std::mem::take(&mut here.members);
                let mut outside = std::mem::take(&mut here.asking);
                outside.extend(std::mem::take(&mut here.invited).into_keys());
                for member in members.into_keys() {
                    self.tell_group(member, group, GroupState::Disbanded);
                }
                for user in outside {
                    self.tell_outside(user, group);
                }
                Ok(Reply::Done)
            }
        }
    }

    /// Tells who was invited, or asked, that neither holds any more, unless one still does.
    fn tell_outside(&mut self, user: u64, group: u64) {
        let here = &self.groups[&group];
        if !here.invited.contains_key(&user) && !here.asking.contains(&user) {
            self.tell_group(user, group, GroupState::None);
        }
    }

    fn on_other(
        &mut self,
        user: u64,
        mine: Role,
        action: GroupOtherAction,
        (group, other): (u64, u64),
    ) -> Answer {
        let theirs = self.role(group, other);
        match action {
            GroupOtherAction::Invite => {
                if self.blocked(user, other) {
                    return Err(ErrorCode::Blocked);
                }
                let invited = self.groups[&group].invited.contains_key(&other);
                if theirs.is_none() && !invited {
                    self.at(group).invited.insert(other, user);
                    self.tell_group(other, group, GroupState::Invited);
                }
            }
            GroupOtherAction::Approve if theirs.is_some() => {}
            GroupOtherAction::Approve => {
                if !self.groups[&group].asking.contains(&other) {
                    return Err(ErrorCode::Forbidden);
                }
                self.enter(group, user, other);
            }
            GroupOtherAction::Reject => {
                if self.at(group).asking.remove(&other) {
                    self.tell_outside(other, group);
                }
            }
            GroupOtherAction::Remove => match theirs {
                _ if user == other => return Err(ErrorCode::Forbidden),
                None => {
                    if self.at(group).invited.remove(&other).is_some() {
                        self.tell_outside(other, group);
                    }
                }
                Some(Role::Owner) => return Err(ErrorCode::Forbidden),
                Some(Role::Admin) if mine == Role::Admin => return Err(ErrorCode::Forbidden),
                Some(_) => {
                    let removed = Body::Removed {
                        user: UserId(other),
                    };
                    self.append(Log::Group(group), user, What::Other(removed));
                    self.at(group).members.remove(&other);
                    self.tell_group(other, group, GroupState::Removed);
                }
            },
        }
        Ok(Reply::Done)
    }

    fn give_role(&mut self, (user, mine): (u64, Role), group: u64, other: u64, to: Role) -> Answer {
        let theirs = self.role(group, other).ok_or(ErrorCode::NotMember)?;
        let plain = |role| matches!(role, Role::Member | Role::Muted);
        if theirs == to {
            return Ok(Reply::Done);
        }
        if theirs == Role::Owner || (mine == Role::Admin && !(plain(theirs) && plain(to))) {
            return Err(ErrorCode::Forbidden);
        }
        let mut give = |whom: u64, role| {
            let entry = Body::Role {
                user: UserId(whom),
                role,
            };
            self.at(group).members.get_mut(&whom).unwrap().role = role;
            self.append(Log::Group(group), user, What::Other(entry));
        };
        give(other, to);
        if to == Role::Owner {
            give(user, Role::Admin);
            self.at(group).owner = other;
        }
        Ok(Reply::Done)
    }

    fn update(&mut self, user: u64, group: u64, wanted: GroupChange) -> Reply {
        let here = self.at(group);
        let change = GroupChange {
            name: wanted.name.filter(|name| *name != here.name),
            description: None,
            join: wanted.join.filter(|join| *join != here.join),
        };
        if let Some(name) = &change.name {
            here.name = name.clone();
        }
        here.join = change.join.unwrap_or(here.join);
        if change != GroupChange::default() {
            self.append(Log::Group(group), user, What::Other(Body::Updated(change)));
        }
        Reply::Done
    }

    fn members(&self, user: u64, group: u64) -> Reply {
        let members = self.groups[&group].members.iter();
        Reply::Members(listing(members.map(|(member, row)| MemberItem {
            user: UserId(*member),
            name: user_name(*member),
            role: row.role,
            online: (!self.blocked(user, *member)).then(|| self.online.contains(member)),
        })))
    }
}

/// Messages.
impl Model {
    /// Checks that there is a conversation into which a user may look.
    fn reach(&self, user: u64, place: Where) -> Result<Log, ErrorCode> {
        let log = self.log_of(user, place);
        match place {
            Where::User(other) if other == user => Err(ErrorCode::NotFriends),
            Where::User(_) if self.logs.contains_key(&log) => Ok(log),
            Where::User(other) if self.blocked(user, other) => Err(ErrorCode::Blocked),
            Where::User(_) => Err(ErrorCode::NotFriends),
            Where::Group(index) => {
                let group = self.live(index)?;
                self.role(group, user).ok_or(ErrorCode::NotMember)?;
                Ok(log)
            }
        }
    }

    /// Checks that a user may write today.
    fn may_write(&self, user: u64, place: Where) -> Result<(), ErrorCode> {
        match place {
            Where::User(other) if self.blocked(user, other) => Err(ErrorCode::Blocked),
            Where::User(other) if self.is(user, other) != FriendState::Friends => {
                Err(ErrorCode::NotFriends)
            }
            Where::User(_) => Ok(()),
            Where::Group(index) => match self.role(self.live(index)?, user) {
                Some(Role::Muted) => Err(ErrorCode::Muted),
                _ => Ok(()),
            },
        }
    }

    fn shows(&self, log: Log, user: u64, seq: u64) -> bool {
        let first = self.first(log, user);
        first.is_some_and(|first| (first..=self.last(log)).contains(&seq))
    }

    fn send_text(&mut self, user: u64, place: Where, key: u8, reply_to: Option<u64>) -> Answer {
        if matches!(place, Where::User(other) if other == user) {
            return Err(ErrorCode::NotFriends);
        }
        let log = self.log_of(user, place);
        if let Some((used, answered, seq)) = self.keys.get(&(user, key)) {
            return if (*used, *answered) == (log, reply_to) {
                Ok(appended(*seq))
            } else {
                Err(ErrorCode::KeyConflict)
            };
        }
        self.reach(user, place)?;
        self.may_write(user, place)?;
        if reply_to.is_some_and(|target| !self.shows(log, user, target)) {
            return Err(ErrorCode::NoSuchMessage);
        }
        let what = What::Text {
            key,
            text: Some(key),
            edited: false,
            reply_to,
            changed: None,
        };
        let seq = self.append(log, user, what);
        self.keys.insert((user, key), (log, reply_to, seq));
        Ok(appended(seq))
    }

    /// Finds the message that a user wants to change.
    fn target(&self, log: Log, user: u64, seq: u64) -> Result<(u64, What), ErrorCode> {
        if !self.shows(log, user, seq) {
            return Err(ErrorCode::NoSuchMessage);
        }
        let item = &self.logs[&log][usize::try_from(seq).unwrap() - 1];
        match item.what {
            What::Text { .. } => Ok((item.from, item.what.clone())),
            _ => Err(ErrorCode::NoSuchMessage),
        }
    }

    fn replace(&mut self, log: Log, seq: u64, what: What) {
        let items = self.logs.get_mut(&log).unwrap();
        items[usize::try_from(seq).unwrap() - 1].what = what;
    }

    fn edit(&mut self, user: u64, place: Where, seq: u64, new: u8) -> Answer {
        let log = self.reach(user, place)?;
        let (from, mut what) = self.target(log, user, seq)?;
        let last = self.last(log);
        let What::Text {
            text: Some(text),
            edited,
            changed,
            ..
        } = &mut what
        else {
            return Err(ErrorCode::NoSuchMessage);
        };
        if from != user {
            return Err(ErrorCode::Forbidden);
        }
        self.may_write(user, place)?;
        if *text == new {
            return Ok(appended(changed.unwrap_or(seq)));
        }
        (*text, *edited, *changed) = (new, true, Some(last + 1));
        self.replace(log, seq, what);
        Ok(appended(self.append(log, user, What::Edit(seq))))
    }

    fn recall(&mut self, user: u64, place: Where, seq: u64) -> Answer {
        let log = match place {
            Where::User(_) if !self.logs.contains_key(&self.log_of(user, place)) => {
                return Err(ErrorCode::NotFriends);
            }
            _ => self.reach(user, place)?,
        };
        let (from, mut what) = self.target(log, user, seq)?;
        let manages = match log {
            Log::Group(group) => self.role(group, user).is_some_and(Role::manages),
            Log::Direct(..) => false,
        };
        if from != user && !manages {
            return Err(ErrorCode::Forbidden);
        }
        let last = self.last(log);
        if let What::Text { text, changed, .. } = &mut what {
            if text.take().is_none() {
                return Ok(appended(changed.unwrap_or(seq)));
            }
            *changed = Some(last + 1);
        }
        self.replace(log, seq, what);
        let entry = Body::Recall { target: Seq(seq) };
        Ok(appended(self.append(log, user, What::Other(entry))))
    }

    fn history(&self, user: u64, place: Where) -> Answer {
        let log = self.log_of(user, place);
        let first = match place {
            Where::User(_) => self.first(log, user).ok_or(ErrorCode::NotFriends)?,
            Where::Group(index) => {
                self.live(index)?;
                self.first(log, user).ok_or(ErrorCode::NotMember)?
            }
        };
        let last = self.last(log);
        let from = first.max((last + 1).saturating_sub(u64::from(PAGE)));
        Ok(Reply::History {
            messages: (from..=last)
                .map(|seq| self.message(log, seq, user))
                .collect(),
            more: from > first,
            keep: Keep::Last,
        })
    }
}

fn appended(seq: u64) -> Reply {
    Reply::Appended {
        seq: Seq(seq),
        at: Timestamp(0),
    }
}

fn listing<T>(items: impl Iterator<Item = T>) -> Listing<T> {
    Listing {
        items: items.collect(),
        more: false,
    }
}
