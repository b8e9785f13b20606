//! Who is online on other nodes: asked of the relay about the friends of those who are here.
//!
//! Nothing is stored and nothing waits: what is shown is what was last known, and what turns out
//! otherwise is told then. The relay counts subscriptions, so three answers are not taken at their
//! word. That someone is gone counts only when a second question, [`Config::offline_after`] later,
//! finds the same, since sessions move between nodes; and not while nodes may be on their way back
//! to a relay that was away. That someone is there may be the echo of a subscription that just
//! ended: it is asked again.
//!
//! [`Config::offline_after`]: crate::engine::Config::offline_after

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smallvec::SmallVec;

use crate::engine::Engine;
use crate::engine::contract::{Effect, Misuse};
use crate::engine::requests::{Answer, Origin};
use crate::engine::table::Table;
use crate::engine::timers::Alarm;
use crate::engine::user::LocalFriend;
use crate::id::{StoreToken, UserId};
use crate::log::FriendState;
use crate::protocol::reply::{Listing, MemberItem};
use crate::protocol::{Event, Reply};
use crate::time::Timestamp;

/// How long after a question that the relay could not answer the same is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of users who may be online elsewhere, and what is being asked.
#[derive(Debug, Default)]
pub(super) struct Presence {
    watched: Table<UserId, Watched>,
    /// Whom to ask about next, by ticket: who came first is first.
    queue: BTreeMap<u64, UserId>,
    last_ticket: u64,
    questions: BTreeMap<StoreToken, Question>,
    /// How many of the questions are about those who are watched.
    rounds: usize,
    /// Until when nobody is declared offline.
    pub(super) grace_until: Timestamp,
}

/// A friend of someone here.
#[derive(Debug, Default)]
struct Watched {
    /// The users here who are shown this one, ascending.
    watchers: SmallVec<[UserId; 2]>,
    /// What they are shown, while the user has no session here.
    online: bool,
    /// Since when nobody was found of one who is shown as online.
    missing_since: Option<Timestamp>,
    /// A subscription was about to end: who is found by a question from before this moment may
    /// be gone all the same.
    echoes_until: Option<Timestamp>,
    /// Whether the user's last session was here, for all that is known.
    left_here: bool,
    asked: Asked,
}

/// Whether a question about a user is to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    /// There is nothing to ask.
    #[default]
    No,
    /// It is asked at this moment.
    Later(Timestamp),
    /// It is asked when this ticket's turn has come.
    Queued(u64),
    /// The relay is asked; whether it is asked once more after that.
    UnderWay { token: StoreToken, again: bool },
}

/// What the relay is being asked.
#[derive(Debug)]
enum Question {
    /// About users who are watched.
    Round {
        users: Vec<UserId>,
        asked: Timestamp,
    },
    /// About members of a group that someone wants to see.
    Members {
        origin: Origin,
        list: Box<Listing<MemberItem>>,
        deadline: Timestamp,
    },
    /// The same, when it has been waited for long enough.
    Overdue,
}

impl Presence {
    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    pub(super) fn questions(&self) -> usize {
        self.questions.len()
    }

    /// Returns the users here who are shown another one, ascending.
    pub(super) fn watchers(&self, user: UserId) -> &[UserId] {
        self.watched
            .get(user)
            .map_or(&[][..], |watched| &watched.watchers)
    }

    /// Tells whether a user was last known to be online on another node.
    pub(super) fn is_online(&self, user: UserId) -> bool {
        self.watched.get(user).is_some_and(|watched| watched.online)
    }
}

impl Engine {
    /// Watches those who have become friends of a user here, and those no more who were.
    pub(super) fn watch_friends(
        &mut self,
        user: UserId,
        before: &[LocalFriend],
        after: &[LocalFriend],
    ) {
        if !self.config.clustered {
            return;
        }
        let friends = |list: &[LocalFriend]| -> BTreeSet<UserId> {
            list.iter()
                .filter(|friend| friend.state == FriendState::Friends)
                .map(|friend| friend.user)
                .collect()
        };
        let (before, after) = (friends(before), friends(after));
        for friend in before.difference(&after) {
            self.unwatch(*friend, user);
        }
        for friend in after.difference(&before) {
            self.watch(*friend, user);
        }
    }

    fn watch(&mut self, user: UserId, watcher: UserId) {
        let new = !self.presence.watched.contains(user);
        let watched = self
            .presence
            .watched
            .get_or_insert_with(user, Watched::default);
        if let Err(index) = watched.watchers.binary_search(&watcher) {
            watched.watchers.insert(index, watcher);
        }
        if new {
            self.ask_about(user);
        }
    }

    fn unwatch(&mut self, user: UserId, watcher: UserId) {
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return;
        };
        watched.watchers.retain(|other| *other != watcher);
        if watched.watchers.is_empty() {
            self.ask_no_more(user);
            self.presence.watched.remove(user);
        }
    }

    /// Notes that a user has a first session here; tells whether the user was shown online before.
    pub(super) fn arrived(&mut self, user: UserId) -> bool {
        self.ask_no_more(user);
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return false;
        };
        watched.missing_since = None;
        watched.echoes_until = None;
        watched.left_here = false;
        watched.online
    }

    /// Notes that a user has had no session here since a moment; tells whether that is to be told
    /// now. Else it is when the relay has been asked whether there are sessions elsewhere.
    pub(super) fn departed(&mut self, user: UserId, since: Timestamp) -> bool {
        let ask = !self.refresh.relay_down;
        let echoes_until = self.now + self.config.offline_after;
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return true;
        };
        watched.online = ask;
        watched.left_here = ask;
        if ask {
            watched.missing_since = Some(since);
            // The relay may count this node itself for a while.
            watched.echoes_until = Some(echoes_until);
            self.ask_about(user);
        }
        !ask
    }

    /// Another node tells that a user may have come or gone.
    pub(super) fn told_to_ask(&mut self, user: UserId) {
        let echoes_until = self.now + self.config.offline_after;
        if let Some(watched) = self.presence.watched.get_mut(user)
            && watched.online
        {
            // It may have told before the relay knew.
            watched.echoes_until = Some(echoes_until);
        }
        self.ask_about(user);
    }

    /// Asks about everyone who is watched.
    pub(super) fn ask_about_all(&mut self) {
        for user in self.presence.watched.keys() {
            self.ask_about(user);
        }
    }

    pub(super) fn recheck_presence(&mut self) {
        self.timers
            .set(self.now + self.config.presence_recheck, Alarm::Recheck);
        self.ask_about_all();
    }

    /// Has the relay asked about a user who is watched and not here, as soon as there is room.
    pub(super) fn ask_about(&mut self, user: UserId) {
        if self.refresh.relay_down || self.users.contains(user) {
            return;
        }
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return;
        };
        match watched.asked {
            Asked::Queued(_) => return,
            Asked::UnderWay { token, .. } => {
                watched.asked = Asked::UnderWay { token, again: true };
                return;
            }
            Asked::Later(at) => self.timers.clear(at, Alarm::Ask(user)),
            Asked::No => {}
        }
        self.presence.last_ticket += 1;
        let ticket = self.presence.last_ticket;
        watched.asked = Asked::Queued(ticket);
        self.presence.queue.insert(ticket, user);
    }

    fn ask_later(&mut self, user: UserId, at: Timestamp) {
        if self.refresh.relay_down {
            return;
        }
        if let Some(watched) = self.presence.watched.get_mut(user) {
            watched.asked = Asked::Later(at);
            self.timers.set(at, Alarm::Ask(user));
        }
    }

    /// Forgets what was to be asked about a user; an answer that is under way counts no more.
    fn ask_no_more(&mut self, user: UserId) {
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return;
        };
        match std::mem::take(&mut watched.asked) {
            Asked::Later(at) => self.timers.clear(at, Alarm::Ask(user)),
            Asked::Queued(ticket) => {
                self.presence.queue.remove(&ticket);
            }
            Asked::UnderWay { .. } | Asked::No => {}
        }
    }

    /// Asks nothing more until the relay is back. What is shown stays, but of who left here and
    /// was not found elsewhere.
    pub(super) fn presence_relay_lost(&mut self) {
        for user in self.presence.watched.keys() {
            self.ask_no_more(user);
            let watched = self.presence.watched.get(user);
            if watched.is_some_and(|watched| watched.left_here) {
                self.declare_offline(user);
            }
        }
    }

    /// Puts the questions that are due, as many users in each as may be, while there is room.
    pub(super) fn pump_presence(&mut self) {
        while self.presence.rounds < self.config.presence_questions
            && !self.presence.queue.is_empty()
        {
            let token = self.next_token();
            let mut users = Vec::new();
            while users.len() < self.config.presence_batch
                && let Some((_, user)) = self.presence.queue.pop_first()
            {
                if let Some(watched) = self.presence.watched.get_mut(user) {
                    let again = false;
                    watched.asked = Asked::UnderWay { token, again };
                    users.push(user);
                }
            }
            let question = Question::Round {
                users: users.clone(),
                asked: self.now,
            };
            self.presence.rounds += 1;
            self.presence.questions.insert(token, question);
            self.effects.push_back(Effect::AskPresence { token, users });
        }
    }

    /// Takes the relay's answer.
    pub(super) fn presence_told(
        &mut self,
        token: StoreToken,
        online: Option<Vec<UserId>>,
    ) -> Result<(), Misuse> {
        let question = self
            .presence
            .questions
            .remove(&token)
            .ok_or(Misuse::NoToken(token))?;
        let online: Option<BTreeSet<UserId>> = online.map(BTreeSet::from_iter);
        match question {
            Question::Round { users, asked } => {
                self.presence.rounds -= 1;
                for user in users {
                    let found = online.as_ref().map(|online| online.contains(&user));
                    self.found(user, token, asked, found);
                }
            }
            Question::Members {
                origin,
                list,
                deadline,
            } => {
                self.timers.clear(deadline, Alarm::Members(token));
                self.show_members(origin, *list, &online.unwrap_or_default());
            }
            Question::Overdue => {}
        }
        Ok(())
    }

    /// Takes the answer to one user's part in a question.
    fn found(&mut self, user: UserId, token: StoreToken, asked: Timestamp, found: Option<bool>) {
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return;
        };
        let Asked::UnderWay { token: last, again } = watched.asked else {
            return;
        };
        if last != token {
            return;
        }
        watched.asked = Asked::No;
        match found {
            Some(true) => self.found_online(user, asked),
            Some(false) => self.found_nobody(user, asked),
            None => self.ask_later(user, self.now + RETRY),
        }
        if again {
            self.ask_about(user);
        }
    }

    fn found_online(&mut self, user: UserId, asked: Timestamp) {
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return;
        };
        watched.missing_since = None;
        let news = !std::mem::replace(&mut watched.online, true);
        match watched.echoes_until {
            Some(until) if asked < until => self.ask_later(user, until),
            _ => {
                watched.echoes_until = None;
                watched.left_here = false;
            }
        }
        if news {
            self.tell_watchers(user, true);
        }
    }

    fn found_nobody(&mut self, user: UserId, asked: Timestamp) {
        let (now, grace_until) = (self.now, self.presence.grace_until);
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return;
        };
        watched.echoes_until = None;
        if !watched.online {
            return;
        }
        let since = *watched.missing_since.get_or_insert(now);
        let certain = (since + self.config.offline_after).max(grace_until);
        if asked < certain {
            self.ask_later(user, certain);
        } else {
            self.declare_offline(user);
        }
    }

    fn declare_offline(&mut self, user: UserId) {
        let Some(watched) = self.presence.watched.get_mut(user) else {
            return;
        };
        watched.online = false;
        watched.missing_since = None;
        watched.echoes_until = None;
        watched.left_here = false;
        self.tell_watchers(user, false);
    }

    fn tell_watchers(&mut self, user: UserId, online: bool) {
        let watchers = self.presence.watchers(user).to_vec();
        self.tell_presence(&watchers, user, online);
    }

    /// Tells some users that another came or went.
    pub(super) fn tell_presence(&mut self, told: &[UserId], user: UserId, online: bool) {
        for watcher in told {
            for connection in self.connections_of(*watcher) {
                self.push_one(connection, Event::Presence { user, online });
            }
        }
    }

    /// Shows who of a page of members is online. The relay is asked about those of whom nothing is
    /// known, since no event would set right what the page says of them; but not for long.
    pub(super) fn members_read(&mut self, origin: Origin, list: Listing<MemberItem>) -> Answer {
        let unknown: Vec<UserId> = list
            .items
            .iter()
            .filter(|item| item.online.is_some())
            .map(|item| item.user)
            .filter(|user| !self.users.contains(*user) && !self.presence.watched.contains(*user))
            .collect();
        let others = self.presence.questions.len() - self.presence.rounds;
        if unknown.is_empty()
            || !self.config.clustered
            || self.refresh.relay_down
            || others >= self.config.presence_lists
        {
            return Some(Ok(self.members_reply(list, &BTreeSet::new())));
        }
        let token = self.next_token();
        let deadline = self.now + self.config.presence_wait;
        let list = Box::new(list);
        let question = Question::Members {
            origin,
            list,
            deadline,
        };
        self.presence.questions.insert(token, question);
        self.timers.set(deadline, Alarm::Members(token));
        self.effects.push_back(Effect::AskPresence {
            token,
            users: unknown,
        });
        None
    }

    /// Waits no longer for the answer about a page of members.
    pub(super) fn members_overdue(&mut self, token: StoreToken) {
        let Some(question) = self.presence.questions.get_mut(&token) else {
            return;
        };
        let waited = std::mem::replace(question, Question::Overdue);
        if let Question::Members { origin, list, .. } = waited {
            self.show_members(origin, *list, &BTreeSet::new());
        }
    }

    fn show_members(
        &mut self,
        origin: Origin,
        list: Listing<MemberItem>,
        online: &BTreeSet<UserId>,
    ) {
        let reply = self.members_reply(list, online);
        self.answer(origin.connection, origin.serial, Ok(reply));
        self.advance(origin.connection);
    }

    fn members_reply(&self, mut list: Listing<MemberItem>, online: &BTreeSet<UserId>) -> Reply {
        for item in &mut list.items {
            let found = self.is_online(item.user) || online.contains(&item.user);
            item.online = item.online.map(|_| found);
        }
        Reply::Members(list)
    }
}
