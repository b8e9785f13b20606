//! What repairs every loss: rosters, newest numbers and changes are read again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::pending::{Changes, Pending};
use crate::engine::timers::Alarm;
use crate::id::{ConversationId, Place, Seq, UserId};
use crate::protocol::NoticeCode;
use crate::store::{Head, Read, ReadDone, StoreRequest, StoreResponse, StoreResult};
use crate::time::Timestamp;

/// How long a read that failed waits to be repeated.
const RETRY: Duration = Duration::from_secs(1);

/// Changes read with one query.
const CHANGES: u32 = 1000;

/// Reads that are due.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// Users whose roster is to be read.
    pub(super) rosters: BTreeSet<UserId>,
    rosters_under_way: bool,
    pub(super) heads: BTreeSet<ConversationId>,
    versions: BTreeSet<UserId>,
    heads_under_way: bool,
    /// Conversations whose newest number is to be compared with the highest cursor.
    verify: VecDeque<(ConversationId, Seq)>,
    verify_under_way: bool,
    retry_at: Option<Timestamp>,
    /// Whether one of these reads failed: none is started until they are repeated.
    failed: bool,
    /// The database's time of the last reconcile.
    as_of: Option<Timestamp>,
    reconciling: bool,
    /// When the store last did not say whether it had committed, until changes were read that must
    /// show it.
    doubt: Option<Doubt>,
    /// Whether the changes that are being read were asked for after that.
    in_doubt: bool,
    pub(super) relay_down: bool,
    /// When the next reconcile is due.
    reconcile_at: Timestamp,
    /// When the engine began.
    began: Timestamp,
}

/// Since when a commit is in doubt. Only the database's clock can tell how long its transactions
/// last: a node's may jump.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    /// Since a moment after the last read of changes was asked for.
    New,
    /// Since before this moment, by the database's clock.
    Before(Timestamp),
}

impl Refresh {
    pub(super) fn len(&self) -> usize {
        self.rosters.len() + self.heads.len() + self.versions.len() + self.verify.len()
    }
}

impl Engine {
    /// Starts the reads that are due, one of each kind at a time: what comes due meanwhile shares
    /// the next.
    pub(super) fn pump_refresh(&mut self) {
        let batch = self.config.batch;
        if self.refresh.failed {
            return;
        }
        if !self.refresh.rosters_under_way && !self.refresh.rosters.is_empty() {
            self.refresh.rosters_under_way = true;
            let users = take(&mut self.refresh.rosters, batch);
            let read = Read::Rosters(users.clone());
            self.ask_store(StoreRequest::Read(read), Pending::Rosters(users));
        }
        let due = !self.refresh.heads.is_empty() || !self.refresh.versions.is_empty();
        if !self.refresh.heads_under_way && due {
            self.refresh.heads_under_way = true;
            let conversations = take(&mut self.refresh.heads, batch);
            let users = take(&mut self.refresh.versions, batch);
            let read = Read::Heads {
                conversations: conversations.clone(),
                users: users.clone(),
            };
            self.ask_store(
                StoreRequest::Read(read),
                Pending::Heads {
                    conversations,
                    users,
                },
            );
        }
        if !self.refresh.verify_under_way && !self.refresh.verify.is_empty() {
            self.refresh.verify_under_way = true;
            let count = batch.min(self.refresh.verify.len());
            let issued: Vec<(ConversationId, Seq)> = self.refresh.verify.drain(..count).collect();
            let conversations = issued
                .iter()
                .map(|(conversation, _)| *conversation)
                .collect();
            let read = Read::Heads {
                conversations,
                users: Vec::new(),
            };
            self.ask_store(StoreRequest::Read(read), Pending::Verify(issued));
        }
    }

    /// Has the newest numbers of a user's conversations, and the user's version, read again.
    pub(super) fn check_heads(&mut self, user: UserId) {
        for connection in self.connections_of(user) {
            let slot = self.connections.get(connection);
            let Some(session) = slot.and_then(|slot| slot.session.as_ref()) else {
                continue;
            };
            self.refresh
                .heads
                .extend(session.cursors.iter().map(|cursor| cursor.id));
            self.refresh.versions.insert(user);
        }
    }

    pub(super) fn rosters_read(&mut self, users: Vec<UserId>, result: StoreResult) {
        self.refresh.rosters_under_way = false;
        let Ok(StoreResponse::Read(ReadDone::Rosters(rosters))) = result else {
            self.refresh.rosters.extend(users);
            self.refresh.failed = true;
            self.retry_later();
            return;
        };
        let found: BTreeSet<UserId> = rosters.iter().map(|roster| roster.user).collect();
        for roster in rosters {
            self.merge_roster(&roster);
        }
        for user in users {
            if !found.contains(&user) {
                self.end_sessions(user, NoticeCode::Ended, "the account was deleted");
            }
        }
    }

    pub(super) fn heads_read(
        &mut self,
        conversations: Vec<ConversationId>,
        users: Vec<UserId>,
        result: StoreResult,
    ) {
        self.refresh.heads_under_way = false;
        let Ok(StoreResponse::Read(ReadDone::Heads { heads, versions })) = result else {
            self.refresh.heads.extend(conversations);
            self.refresh.versions.extend(users);
            self.refresh.failed = true;
            self.retry_later();
            return;
        };
        for head in heads {
            self.repairs.heads += u64::from(self.raise_head(&head));
        }
        let found: BTreeSet<UserId> = versions.iter().map(|(user, _)| *user).collect();
        for (user, version) in versions {
            self.note_version(user, version);
        }
        for user in users {
            if !found.contains(&user) {
                self.end_sessions(user, NoticeCode::Ended, "the account was deleted");
            }
        }
    }

    /// Has everyone who reads a conversation catch up with its newest entry; tells whether that
    /// was news to anyone.
    fn raise_head(&mut self, head: &Head) -> bool {
        let mut news = false;
        let users: Vec<UserId> = match head.place {
            Place::Direct(pair) => vec![pair.low(), pair.high()],
            Place::Group(group) => self
                .groups
                .get(group)
                .map_or_else(Vec::new, |local| local.members.clone()),
        };
        for user in users {
            let Some(with) = head.place.seen_by(user) else {
                continue;
            };
            for connection in self.connections_of(user) {
                let config = &self.config;
                let Some(slot) = self.connections.get_mut(connection) else {
                    continue;
                };
                let credit = slot.has_credit(config);
                let Some(session) = slot.session.as_mut() else {
                    continue;
                };
                let Some(cursor) = session.cursors.get_mut(with) else {
                    continue;
                };
                news |= cursor.head < head.last;
                cursor.head = cursor.head.max(head.last);
                if cursor.behind() {
                    slot.starved |= !credit;
                    if credit {
                        self.lag(connection, with);
                    }
                }
            }
        }
        news
    }

    /// Reads that failed are repeated after a while.
    pub(super) fn retry_later(&mut self) {
        if self.refresh.retry_at.is_none() {
            let at = self.now + RETRY;
            self.refresh.retry_at = Some(at);
            self.timers.set(at, Alarm::Retry);
        }
    }

    pub(super) fn retry(&mut self) {
        self.refresh.retry_at = None;
        self.refresh.failed = false;
        self.repairs.retries += 1;
        self.fetches.retry();
    }

    pub(super) fn start_reconciling(&mut self) {
        let now = self.now;
        self.refresh.began = now;
        // Whoever was here before may have left something under way.
        self.doubt();
        self.reconcile_at(now);
        self.timers.set(now + self.config.verify, Alarm::Verify);
    }

    /// A change may have been committed, or may yet be, without anyone having been told.
    pub(super) fn doubt(&mut self) {
        self.refresh.doubt = Some(Doubt::New);
        self.refresh.in_doubt = false;
    }

    /// Reads what changed in the store, if others may have changed it or a commit is in doubt.
    pub(super) fn reconcile(&mut self) {
        let down = self.refresh.relay_down && self.config.clustered;
        let period = if down {
            self.config.reconcile_down
        } else {
            self.config.reconcile
        };
        self.reconcile_at(self.now + period);
        let doubt = self.refresh.doubt.is_some();
        let needed = self.config.clustered || doubt || self.refresh.as_of.is_none();
        if needed && !self.refresh.reconciling && !self.stopping.draining() {
            let since = self
                .refresh
                .as_of
                .map(|as_of| as_of - self.config.reconcile_overlap);
            self.refresh.reconciling = true;
            self.refresh.in_doubt = doubt;
            self.ask_changes(Changes {
                since,
                ..Changes::default()
            });
        }
    }

    /// Sets the only alarm for the next reconcile.
    fn reconcile_at(&mut self, at: Timestamp) {
        self.timers
            .clear(self.refresh.reconcile_at, Alarm::Reconcile);
        self.refresh.reconcile_at = at;
        self.timers.set(at, Alarm::Reconcile);
    }

    fn ask_changes(&mut self, changes: Changes) {
        let read = Read::Changes {
            since: changes.since,
            conversations_after: changes.conversations_after,
            users_after: changes.users_after,
            limit: CHANGES,
        };
        self.ask_store(StoreRequest::Read(read), Pending::Changes(changes));
    }

    pub(super) fn changes_read(&mut self, asked: Changes, result: StoreResult) {
        self.refresh.reconciling = false;
        let Ok(StoreResponse::Read(ReadDone::Changes {
            as_of,
            conversations,
            users,
        })) = result
        else {
            // The next reconcile begins where this one did.
            return;
        };
        for (_, head) in &conversations {
            self.repairs.reconciled += u64::from(self.raise_head(head));
        }
        for (_, user, version) in &users {
            self.note_version(*user, *version);
        }
        let since = asked.since;
        let as_of = asked.as_of.unwrap_or(as_of);
        let full = |count: usize| u32::try_from(count).is_ok_and(|count| count >= CHANGES);
        if full(conversations.len()) || full(users.len()) {
            let conversation = conversations.last();
            let conversation = conversation.map(|(at, head)| (*at, head.conversation));
            let user = users.last().map(|(at, user, _)| (*at, *user));
            self.refresh.reconciling = true;
            self.ask_changes(Changes {
                since,
                as_of: Some(as_of),
                conversations_after: conversation.or(asked.conversations_after),
                users_after: user.or(asked.users_after),
            });
        } else {
            // The first answer says only what time it is: what came since the engine began counts
            // as not yet seen.
            let unseen = if since.is_none() {
                self.now.since(self.refresh.began)
            } else {
                Duration::ZERO
            };
            self.refresh.as_of = Some(as_of - unseen);
            self.settle_doubt(as_of);
        }
    }

    /// A transaction lasts no longer than the overlap: what was read of the database that long after
    /// a doubt shows what became of it.
    fn settle_doubt(&mut self, as_of: Timestamp) {
        match self.refresh.doubt {
            Some(Doubt::New) if self.refresh.in_doubt => {
                self.refresh.doubt = Some(Doubt::Before(as_of));
            }
            Some(Doubt::Before(at)) if at + self.config.reconcile_overlap <= as_of => {
                self.refresh.doubt = None;
            }
            _ => {}
        }
    }

    /// What was subscribed before the relay came back is confirmed by that; what was subscribed while
    /// it did is confirmed later.
    pub(super) fn relay_up(&mut self) {
        self.refresh.relay_down = false;
        for user in self.users.keys() {
            self.check_heads(user);
        }
        self.nodes_relay_up();
    }

    pub(super) fn relay_lost(&mut self) {
        if !std::mem::replace(&mut self.refresh.relay_down, true) {
            self.reconcile();
            self.presence_relay_lost();
        }
    }

    /// Compares the newest number of every held conversation with the highest cursor in it.
    pub(super) fn verify(&mut self) {
        self.timers
            .set(self.now + self.config.verify, Alarm::Verify);
        if !self.refresh.verify.is_empty() || self.refresh.verify_under_way {
            return;
        }
        let mut held: BTreeMap<ConversationId, Seq> = BTreeMap::new();
        for connection in self.connections.keys() {
            let slot = self.connections.get(connection);
            let Some(session) = slot.and_then(|slot| slot.session.as_ref()) else {
                continue;
            };
            for cursor in session.cursors.iter() {
                let highest = held.entry(cursor.id).or_default();
                *highest = (*highest).max(cursor.at);
            }
        }
        self.refresh.verify.extend(held);
    }

    /// A log that ends below where a session had got was restored to an earlier state: the sessions
    /// that know more than there is begin anew.
    pub(super) fn verified(&mut self, issued: &[(ConversationId, Seq)], result: StoreResult) {
        self.refresh.verify_under_way = false;
        let Ok(StoreResponse::Read(ReadDone::Heads { heads, .. })) = result else {
            return;
        };
        let issued: BTreeMap<ConversationId, Seq> = issued.iter().copied().collect();
        for head in heads {
            if issued
                .get(&head.conversation)
                .is_some_and(|cursor| head.last < *cursor)
            {
                self.restart_readers(head.conversation, head.last);
            } else {
                self.repairs.verified += u64::from(self.raise_head(&head));
            }
        }
    }

    fn restart_readers(&mut self, conversation: ConversationId, last: Seq) {
        for connection in self.connections.keys() {
            let slot = self.connections.get(connection);
            let Some(session) = slot.and_then(|slot| slot.session.as_ref()) else {
                continue;
            };
            if session
                .cursors
                .iter()
                .any(|cursor| cursor.id == conversation && cursor.at > last)
            {
                let message = "the store was restored to an earlier state";
                let wait = self.jitter(2000);
                self.close(connection, NoticeCode::Restored, message, Some(wait));
            }
        }
    }
}

/// Takes up to `count` of the first elements.
fn take<T: Ord + Copy>(set: &mut BTreeSet<T>, count: usize) -> Vec<T> {
    let taken: Vec<T> = set.iter().take(count).copied().collect();
    for element in &taken {
        set.remove(element);
    }
    taken
}
