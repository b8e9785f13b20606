//! Entries that sessions are behind of are read from the store, one read for all who lag in a
//! conversation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use smallvec::SmallVec;

use crate::engine::delivery::{Offer, Source};
use crate::engine::pending::Pending;
use crate::engine::session::Phase;
use crate::engine::{Engine, weight};
use crate::id::{ConnectionId, ConversationId, ConversationRef, Place, Seq, UserId};
use crate::log::Entry;
use crate::protocol::Event;
use crate::protocol::event::GroupState;
use crate::store::{Page, Read, ReadDone, StoreRequest, StoreResponse, StoreResult};

/// The conversations that someone lags in: each is queued, being read, or to be tried again.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    lagging: BTreeMap<ConversationId, Lag>,
    queue: VecDeque<ConversationId>,
    under_way: usize,
    /// Those whose read failed: tried again after a while.
    failed: BTreeSet<ConversationId>,
}

#[derive(Debug, Default)]
struct Lag {
    /// Who waits for entries, and as what they know the conversation.
    waiting: BTreeMap<ConnectionId, ConversationRef>,
    /// Whether someone came to wait after the present read was asked for: how far that read saw
    /// the log may be less than what is known by then.
    again: bool,
    /// Whose page was read last.
    turn: Option<ConnectionId>,
}

impl Fetches {
    pub(super) fn len(&self) -> usize {
        self.lagging.len()
    }

    /// A session that waited is gone, or reads the conversation no more.
    pub(super) fn forget(&mut self, conversation: ConversationId, connection: ConnectionId) {
        let Some(lag) = self.lagging.get_mut(&conversation) else {
            return;
        };
        lag.waiting.remove(&connection);
    }

    pub(super) fn retry(&mut self) {
        self.queue.extend(std::mem::take(&mut self.failed));
    }
}

impl Engine {
    /// Has a session fetch what it is behind of in one conversation.
    pub(super) fn lag(&mut self, connection: ConnectionId, with: ConversationRef) {
        let slot = self.connections.get(connection);
        let session = slot.and_then(|slot| slot.session.as_ref());
        let Some(cursor) = session.and_then(|session| session.cursors.get(with)) else {
            return;
        };
        let id = cursor.id;
        let queue = &mut self.fetches.queue;
        let lag = self.fetches.lagging.entry(id).or_insert_with(|| {
            queue.push_back(id);
            Lag::default()
        });
        lag.waiting.insert(connection, with);
        lag.again = true;
    }

    /// Has a session fetch whatever it is behind of.
    pub(super) fn catch_up(&mut self, connection: ConnectionId) {
        let config = &self.config;
        let Some(slot) = self.connections.get_mut(connection) else {
            return;
        };
        let credit = slot.has_credit(config);
        let Some(session) = slot.session.as_ref() else {
            return;
        };
        let behind: SmallVec<[ConversationRef; 8]> = session
            .cursors
            .iter()
            .filter(|cursor| cursor.behind())
            .map(|cursor| cursor.with)
            .collect();
        if behind.is_empty() {
            return;
        }
        if !credit {
            slot.starved = true;
            return;
        }
        for with in behind {
            self.lag(connection, with);
        }
    }

    /// Starts reads for those who lag, as many as may be under way.
    pub(super) fn pump_fetches(&mut self) {
        while self.fetches.under_way < self.config.fetches {
            let Some(conversation) = self.fetches.queue.pop_front() else {
                return;
            };
            let Some(after) = self.next_page(conversation) else {
                self.fetches.lagging.remove(&conversation);
                continue;
            };
            self.fetches.under_way += 1;
            if let Some(lag) = self.fetches.lagging.get_mut(&conversation) {
                lag.again = false;
            }
            let read = Read::Fetch {
                conversation,
                after,
                limit: self.config.fetch_entries,
                bytes: self.config.fetch_bytes,
            };
            self.ask_store(StoreRequest::Read(read), Pending::Fetch(conversation));
        }
    }

    pub(super) fn fetched(&mut self, conversation: ConversationId, result: StoreResult) {
        self.fetches.under_way = self.fetches.under_way.saturating_sub(1);
        let Ok(StoreResponse::Read(ReadDone::Page(page))) = result else {
            self.fetches.failed.insert(conversation);
            self.retry_later();
            return;
        };
        let Some(lag) = self.fetches.lagging.get(&conversation) else {
            return;
        };
        let newest = !lag.again;
        let waiting: Vec<(ConnectionId, ConversationRef)> = lag
            .waiting
            .iter()
            .map(|(connection, with)| (*connection, *with))
            .collect();
        for entry in &page.entries {
            self.deliver_page_entry(entry, &waiting);
        }
        for (connection, with) in waiting {
            if !self.still_waits(connection, with, &page, newest)
                && let Some(lag) = self.fetches.lagging.get_mut(&conversation)
            {
                lag.waiting.remove(&connection);
            }
        }
        let Some(lag) = self.fetches.lagging.get_mut(&conversation) else {
            return;
        };
        if lag.waiting.is_empty() {
            self.fetches.lagging.remove(&conversation);
        } else {
            self.fetches.queue.push_back(conversation);
        }
    }

    /// Sends one fetched entry to those who wait for it, encoded once for all who see it alike.
    fn deliver_page_entry(&mut self, entry: &Entry, waiting: &[(ConnectionId, ConversationRef)]) {
        let readers: SmallVec<[UserId; 2]> = match entry.place {
            Place::Direct(pair) => SmallVec::from_slice(&[pair.low(), pair.high()]),
            Place::Group(_) => SmallVec::from_slice(&[entry.from]),
        };
        self.note_recall(entry);
        for reader in readers {
            let Some(message) = self.message_of(entry, reader) else {
                continue;
            };
            let with = message.conversation;
            let event = Event::Message(message);
            let weight = weight::of_event(&event);
            let mut targets: SmallVec<[ConnectionId; 2]> = SmallVec::new();
            for (connection, seen_as) in waiting {
                // Two users see a direct conversation as different ones.
                if *seen_as == with
                    && self.offer(*connection, with, entry, Source::Store) == Offer::Push
                {
                    targets.push(*connection);
                }
            }
            self.push_entry(entry, with, targets, event, weight);
        }
    }

    /// Tells whether a session waits for more after a page.
    fn still_waits(
        &mut self,
        connection: ConnectionId,
        with: ConversationRef,
        page: &Page,
        newest: bool,
    ) -> bool {
        let config = &self.config;
        let Some(slot) = self.connections.get_mut(connection) else {
            return false;
        };
        let credit = slot.has_credit(config);
        let Some(session) = slot.session.as_mut() else {
            return false;
        };
        let Some(cursor) = session.cursors.get_mut(with) else {
            return false;
        };
        if cursor.at >= page.after {
            // What the page could serve, it has: its end is the truth about what there is, unless
            // more was heard of since it was asked for.
            let served_to_the_end = page.entries.last().map_or(page.after, |entry| entry.seq);
            let newest = newest && !slot.starved;
            if newest && served_to_the_end >= page.last && cursor.at >= page.last {
                cursor.head = cursor.at;
            } else {
                cursor.head = cursor.head.max(page.last);
                if cursor.phase == Phase::Leaving {
                    cursor.head = cursor.head.max(cursor.at.next());
                }
            }
        }
        if cursor.behind() {
            slot.starved |= !credit;
            return credit;
        }
        let lost = cursor.phase == Phase::Leaving;
        if lost {
            self.drop_lost(connection, with);
        }
        false
    }

    /// The roster does not have a conversation any more, and its log does not say why (it was
    /// restored to an earlier state, say): the session stops reading it all the same.
    fn drop_lost(&mut self, connection: ConnectionId, with: ConversationRef) {
        let user = self.session_user(connection);
        let slot = self.connections.get_mut(connection);
        let Some(session) = slot.and_then(|slot| slot.session.as_mut()) else {
            return;
        };
        session.cursors.remove(with);
        if let (ConversationRef::Group(group), Some(user)) = (with, user)
            && let Some(name) = self
                .users
                .get(user)
                .and_then(|local| local.parted_name(group))
        {
            self.push_one(
                connection,
                Event::Group {
                    group,
                    name,
                    state: GroupState::Removed,
                },
            );
        }
    }

    /// Returns where the next page of a conversation begins: at the cursor of each who waits in
    /// turn, so that nobody waits for one who is far behind. Everyone gets what fits of every page.
    fn next_page(&mut self, conversation: ConversationId) -> Option<Seq> {
        let lag = self.fetches.lagging.get_mut(&conversation)?;
        let turn = lag.turn.unwrap_or_default();
        let behind_turn = (Bound::Excluded(turn), Bound::Unbounded);
        let (connection, after) = lag
            .waiting
            .range(behind_turn)
            .chain(lag.waiting.range(..=turn))
            .find_map(|(connection, with)| {
                let session = self.connections.get(*connection)?.session.as_ref()?;
                Some((*connection, session.cursors.get(*with)?.at))
            })?;
        lag.turn = Some(connection);
        Some(after)
    }
}
