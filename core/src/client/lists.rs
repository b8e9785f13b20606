//! The rest of the lists for which the reply that began the session had no room.

use std::collections::VecDeque;

use super::contract::Listed;
use crate::id::{ConversationRef, GroupId, RequestId, UserId};
use crate::protocol::lists::SessionList;
use crate::protocol::reply::{Listing, SessionReply};
use crate::protocol::{Reply, Request};
use crate::time::Timestamp;

/// Where a list goes on: behind this item, or at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The friends and those who ask for friendship.
    Friends(Option<UserId>),
    /// The groups.
    Groups(Option<GroupId>),
    /// The conversations.
    Conversations(Option<ConversationRef>),
}

/// The pages that are to be asked for, one after another.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// At most one for each list; the first stays until its answer came.
    pages: VecDeque<Page>,
    under_way: Option<RequestId>,
    /// How many more items are asked for.
    room: usize,
    /// Nothing is asked for before this moment: the server asked for a pause.
    paused_until: Option<Timestamp>,
}

impl Page {
    /// Returns where the cut lists of a reply go on. One request brings both friends and those who
    /// ask for friendship; none brings invitations.
    pub(super) fn all(reply: &SessionReply, cut: &[SessionList]) -> VecDeque<Self> {
        let is_cut = |list| cut.contains(&list);
        let friends = is_cut(SessionList::Friends).then(|| reply.friends.last().map(|it| it.user));
        let asking = is_cut(SessionList::Requests).then(|| reply.requests.last().map(|it| it.user));
        let people = friends.into_iter().chain(asking).min();
        let groups = is_cut(SessionList::Groups).then(|| reply.groups.last().map(|it| it.group));
        let conversations = is_cut(SessionList::Conversations)
            .then(|| reply.conversations.last().map(|it| it.conversation));
        people
            .map(Self::Friends)
            .into_iter()
            .chain(groups.map(Self::Groups))
            .chain(conversations.map(Self::Conversations))
            .collect()
    }

    /// Returns what asks for the page.
    pub(super) const fn request(self, limit: u32) -> Request {
        match self {
            Self::Friends(after) => Request::Friends { after, limit },
            Self::Groups(after) => Request::Groups { after, limit },
            Self::Conversations(after) => Request::Conversations { after, limit },
        }
    }
}

impl Lists {
    /// Asks for these pages and what follows them, up to a number of items.
    pub(super) fn begin(&mut self, pages: VecDeque<Page>, room: usize) {
        *self = Self {
            pages,
            room,
            ..Self::default()
        };
    }

    /// Asks for nothing more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns how many pages are to be asked for.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Tells whether nothing more is to come.
    pub(super) fn is_complete(&self) -> bool {
        self.pages.is_empty()
    }

    /// Returns when the pause ends.
    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.paused_until
    }

    /// Returns the page to ask for, unless one is under way or the server asked for a pause.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Page> {
        if self.under_way.is_some() || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        self.pages.front().copied()
    }

    /// Notes that the page was asked for.
    pub(super) const fn asked(&mut self, request: RequestId) {
        self.under_way = Some(request);
    }

    /// Takes a page; `None` when it is not wanted or no such page.
    pub(super) fn arrived(&mut self, request: RequestId, reply: Reply) -> Option<Listed> {
        let asked = self.answered(request)?;
        let (next, listed) = match (asked, reply) {
            (Page::Friends(after), Reply::Friends(page)) => {
                let next = self.follow(after, &page, |it| it.user);
                (next.map(Page::Friends), Listed::Friends(page.items))
            }
            (Page::Groups(after), Reply::Groups(page)) => {
                let next = self.follow(after, &page, |it| it.group);
                (next.map(Page::Groups), Listed::Groups(page.items))
            }
            (Page::Conversations(after), Reply::Conversations(page)) => {
                let next = self.follow(after, &page, |it| it.conversation);
                let next = next.map(Page::Conversations);
                (next, Listed::Conversations(page.items))
            }
            _ => return None,
        };
        if let Some(next) = next {
            self.pages.push_front(next);
        }
        Some(listed)
    }

    /// Takes a refusal: asks again then, or not at all.
    pub(super) fn refused(&mut self, request: RequestId, again: Option<Timestamp>) {
        if let Some(page) = self.answered(request)
            && again.is_some()
        {
            self.pages.push_front(page);
            self.paused_until = again;
        }
    }

    /// Takes the page that a request asked for.
    fn answered(&mut self, request: RequestId) -> Option<Page> {
        self.under_way.take_if(|id| *id == request)?;
        self.pages.pop_front()
    }

    /// Returns behind which item a list goes on, if it does; one that does not rise ends.
    fn follow<T, K: Copy + Ord>(
        &mut self,
        after: Option<K>,
        page: &Listing<T>,
        key: impl Fn(&T) -> K,
    ) -> Option<Option<K>> {
        self.room = self.room.saturating_sub(page.items.len());
        let last = page.items.last().map(key);
        (page.more && self.room > 0 && last > after).then_some(last)
    }
}
