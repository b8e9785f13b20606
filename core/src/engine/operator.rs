//! What operators ask of a node.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::contract::Effect;
use crate::engine::pending::Pending;
use crate::engine::session::Cursor;
use crate::engine::trail::Step;
use crate::engine::{Engine, weight};
use crate::id::{ConnectionId, OrderTicket, SessionId, UserId};
use crate::name::Name;
use crate::protocol::request::UserRef;
use crate::protocol::{ErrorCode, Event, NoticeCode, RequestError};
use crate::secret::Secret;
use crate::store::{
    Account, Command, Done, MessageRef, Read, ReadDone, StoreRequest, StoreResponse, StoreResult,
    StoredEntry, Supervision,
};
use crate::time::Timestamp;

/// Something that an operator asks of a node. Whoever passes it on has made sure that it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Which sessions are here. Answered by [`OrderDone::Sessions`].
    Sessions {
        /// Only those of connections above this one.
        after: Option<ConnectionId>,
        /// At most so many.
        limit: usize,
    },
    /// An account, its sessions, and which of them are here. Answered by [`OrderDone::Account`];
    /// refused with `no_such_user`.
    Account(UserRef),
    /// What became of a message. Answered by [`OrderDone::Message`]; refused with `no_such_user` and
    /// `no_such_message`.
    Message(MessageRef),
    /// Ends every session of a user, on every node. Answered by [`OrderDone::Supervised`]; refused
    /// with `no_such_user`, as the next three are.
    EndSessions(UserRef),
    /// Ends every session of a user and lets none begin.
    Lock(UserRef),
    /// Lets sessions begin again.
    Unlock(UserRef),
    /// Sets a user's password and ends every session.
    ResetPassword {
        /// Whose.
        who: UserRef,
        /// The password from now on, in clear.
        password: Secret,
    },
    /// Says something to every session here (`notice` `announcement`). Answered by
    /// [`OrderDone::Announced`].
    Announce(Arc<str>),
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderDone {
    /// Of [`Order::Sessions`].
    Sessions {
        /// Ascending by connection.
        sessions: Vec<SessionHere>,
        /// Whether there are more.
        more: bool,
    },
    /// Of [`Order::Account`].
    Account {
        /// What is stored.
        account: Box<Account>,
        /// Which of the sessions are connected here.
        here: Vec<SessionHere>,
    },
    /// Of [`Order::Message`].
    Message {
        /// Where it is stored.
        entry: StoredEntry,
        /// What this node remembers of its way, in order.
        steps: Vec<Step>,
    },
    /// Of the orders about an account.
    Supervised {
        /// Whose.
        user: UserId,
        /// How many sessions this ended.
        ended: usize,
    },
    /// Of [`Order::Announce`].
    Announced {
        /// To how many connections.
        connections: usize,
    },
}

/// A session that is connected here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHere {
    /// The connection.
    pub connection: ConnectionId,
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// The user's name.
    pub name: Name,
    /// When it began on this connection.
    pub since: Timestamp,
    /// Whether entries are known of that were not pushed to it.
    pub behind: bool,
}

impl Engine {
    /// Carries an order out, or begins to.
    pub(super) fn ordered(&mut self, ticket: OrderTicket, order: Order) {
        let supervise =
            |who, action| StoreRequest::Command(Box::new(Command::Supervise { who, action }));
        let (request, reason) = match order {
            Order::Sessions { after, limit } => {
                let (sessions, more) = self.sessions_here(after, limit);
                return self.told(ticket, Ok(OrderDone::Sessions { sessions, more }));
            }
            Order::Announce(text) => {
                let connections = self.announce(&text);
                return self.told(ticket, Ok(OrderDone::Announced { connections }));
            }
            Order::Account(who) => (StoreRequest::Read(Read::Account(who)), ""),
            Order::Message(message) => (StoreRequest::Read(Read::Entry(message)), ""),
            Order::EndSessions(who) => (
                supervise(who, Supervision::EndSessions),
                "an operator ended the session",
            ),
            Order::Lock(who) => (
                supervise(who, Supervision::Lock),
                "an operator locked the account",
            ),
            Order::Unlock(who) => (supervise(who, Supervision::Unlock), ""),
            Order::ResetPassword { who, password } => (
                StoreRequest::ResetPassword { who, password },
                "an operator set a new password",
            ),
        };
        if self.pending.len() >= self.config.store_requests {
            let busy = self.busy();
            return self.told(ticket, Err(busy));
        }
        self.ask_store(request, Pending::Order { ticket, reason });
    }

    /// The store has answered; sessions that ended are told `reason`.
    pub(super) fn order_completed(
        &mut self,
        ticket: OrderTicket,
        reason: &'static str,
        result: StoreResult,
    ) {
        let done = match result {
            Ok(StoreResponse::Applied(applied)) => {
                self.applied(&applied);
                match applied.done {
                    Done::Supervised { user, ended } => {
                        self.end_these(user, &ended, reason);
                        let ended = ended.len();
                        Ok(OrderDone::Supervised { user, ended })
                    }
                    _ => Err(ErrorCode::Unavailable.into()),
                }
            }
            Ok(StoreResponse::Read(ReadDone::Account(account))) => {
                let here = self.sessions_of(account.user);
                Ok(OrderDone::Account { account, here })
            }
            Ok(StoreResponse::Read(ReadDone::Entry(entry))) => {
                let steps = self.way_of(entry.conversation, entry.seq);
                Ok(OrderDone::Message { entry, steps })
            }
            Ok(_) => Err(ErrorCode::Unavailable.into()),
            Err(failure) => Err(self.failure(failure)),
        };
        self.told(ticket, done);
    }

    fn told(&mut self, ticket: OrderTicket, result: Result<OrderDone, RequestError>) {
        self.effects.push_back(Effect::Told { ticket, result });
    }

    /// Ends those of a user's sessions that are here at once, without waiting for the roster that
    /// says so. One that began since is none of them.
    fn end_these(&mut self, user: UserId, ended: &[SessionId], reason: &'static str) {
        for connection in self.connections_of(user) {
            let slot = self.connections.get(connection);
            let session = slot.and_then(|slot| slot.session.as_ref());
            if session.is_some_and(|session| ended.binary_search(&session.id).is_ok()) {
                self.close(connection, NoticeCode::Ended, reason, None);
            }
        }
    }

    /// Says something to every session here, whatever its credit, unless very much waits for it;
    /// returns to how many.
    fn announce(&mut self, text: &str) -> usize {
        let event = Event::Notice {
            code: NoticeCode::Announcement,
            message: text.to_owned().into(),
            retry_ms: None,
        };
        let weight = weight::of_event(&event);
        let limit = self.config.outgoing.saturating_mul(4);
        let mut connections: SmallVec<[ConnectionId; 2]> = SmallVec::new();
        for id in self.connections.keys() {
            let slot = self.connections.get(id);
            if slot.is_some_and(|it| it.session.is_some() && it.outstanding < limit && !it.closing)
            {
                self.charge(id, weight);
                connections.push(id);
            }
        }
        let count = connections.len();
        if count > 0 {
            self.effects.push_back(Effect::Push {
                connections,
                event,
                weight,
            });
        }
        count
    }

    /// Returns a page of the sessions here, and whether there are more.
    fn sessions_here(&self, after: Option<ConnectionId>, limit: usize) -> (Vec<SessionHere>, bool) {
        let keys = self.connections.keys();
        let first = keys.partition_point(|id| after.is_some_and(|after| *id <= after));
        let connections = keys.into_iter().skip(first);
        let mut sessions = connections.filter_map(|id| self.session_here(id));
        let page = sessions.by_ref().take(limit).collect();
        (page, sessions.next().is_some())
    }

    fn sessions_of(&self, user: UserId) -> Vec<SessionHere> {
        let connections = self.connections_of(user).into_iter();
        connections.filter_map(|id| self.session_here(id)).collect()
    }

    fn session_here(&self, connection: ConnectionId) -> Option<SessionHere> {
        let session = self.connections.get(connection)?.session.as_ref()?;
        let user = session.user;
        Some(SessionHere {
            connection,
            session: session.id,
            user,
            name: self.users.get(user)?.name.clone(),
            since: session.asked,
            behind: session.cursors.iter().any(Cursor::behind),
        })
    }
}
