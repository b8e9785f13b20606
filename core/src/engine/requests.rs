//! What each request starts: an answer at once, or a store request whose completion goes on in
//! [`complete`](super::complete).

use std::time::Duration;

use crate::engine::Engine;
use crate::engine::config::Registration;
use crate::engine::guard::Account;
use crate::engine::pending::{Awaited, Pending, Proof};
use crate::engine::token::Token;
use crate::engine::work::{Work, work_of};
use crate::id::{ConnectionId, ConversationRef, Pair, Place, SessionId, StoreToken, UserId};
use crate::log::FriendState;
use crate::protocol::reply::Keep;
use crate::protocol::request::{Anchor, UserRef};
use crate::protocol::{ErrorCode, Reply, Request, RequestError};
use crate::secret::Secret;
use crate::store::{Command, Read, StoreRequest};

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) connection: ConnectionId,
    pub(super) serial: u64,
}

pub(super) type Answer = Option<Result<Reply, RequestError>>;

impl Engine {
    /// Starts a request; returns its answer where that is known at once.
    pub(super) fn start(
        &mut self,
        connection: ConnectionId,
        serial: u64,
        request: Request,
    ) -> Answer {
        let origin = Origin { connection, serial };
        let session = self.connections.get(connection)?.session.as_ref();
        let session = session.map(|session| (session.user, session.id));
        match (request, session) {
            (Request::Ping, _) => Some(Ok(Reply::Pong { at: self.now })),
            (request @ Request::Register { .. }, _) => self.start_register(origin, request),
            (
                Request::Login { .. } | Request::LoginJwt { .. } | Request::Resume { .. },
                Some(_),
            ) => refuse(ErrorCode::AlreadyLoggedIn),
            (request @ (Request::Login { .. } | Request::LoginJwt { .. }), None) => {
                self.start_login(origin, request)
            }
            (Request::Resume { token, start }, None) => {
                let Some(token) = Token::verify(&token, &self.config.secret) else {
                    return refuse(ErrorCode::TokenExpired);
                };
                let Token {
                    session,
                    user,
                    expires,
                } = token;
                let request = StoreRequest::Resume {
                    user,
                    session,
                    expires,
                };
                self.ask(
                    origin,
                    request,
                    Awaited::Session {
                        start,
                        by: Proof::Token,
                        asked: self.now,
                    },
                )
            }
            (_, None) => refuse(ErrorCode::NotLoggedIn),
            (request, Some((user, session))) => {
                self.start_in_session(origin, user, session, request)
            }
        }
    }

    fn start_login(&mut self, origin: Origin, request: Request) -> Answer {
        let (by, account, request, start) = match request {
            Request::Login {
                who,
                password,
                device,
                start,
            } => {
                let account = Account::of(&who, &self.config.secret);
                let request = StoreRequest::Login {
                    who,
                    password,
                    device,
                };
                (Proof::Password, Some(account), request, start)
            }
            // Whose it is comes out once it is verified: till then only where it comes from counts.
            Request::LoginJwt { jwt, device, start } => {
                let request = StoreRequest::LoginJwt { jwt, device };
                (Proof::Vouched, None, request, start)
            }
            _ => return None,
        };
        let awaited = Awaited::Session {
            start,
            by,
            asked: self.now,
        };
        self.ask_guarded(origin, account, request, awaited)
    }

    fn start_register(&mut self, origin: Origin, request: Request) -> Answer {
        let Request::Register {
            name,
            password,
            invite,
        } = request
        else {
            return None;
        };
        match &self.config.registration {
            Registration::Open => {}
            Registration::Closed => return refuse(ErrorCode::RegistrationClosed),
            Registration::Invite(codes) => {
                if !invite.is_some_and(|invite| any_equals(codes, &invite)) {
                    return refuse(ErrorCode::BadInvite);
                }
            }
        }
        let network = self.connections.get(origin.connection)?.network;
        if let (Some(rates), Some(network)) = (&self.config.rates, network)
            && let Err(wait) = self.guard.register(rates, network, self.now)
        {
            return Some(Err(rate_limited(wait)));
        }
        let request = StoreRequest::Register { name, password };
        self.ask(origin, request, Awaited::Change)
    }

    fn start_in_session(
        &mut self,
        origin: Origin,
        user: UserId,
        session: SessionId,
        request: Request,
    ) -> Answer {
        if limited_by_user(&request)
            && let Err(error) = self.take_send(user)
        {
            return Some(Err(error));
        }
        match request {
            Request::Logout => {
                let command = Command::CloseSession { user, session };
                self.ask_command(origin, command, Awaited::Logout)
            }
            Request::Password { old, new } => {
                let request = StoreRequest::ChangePassword {
                    user,
                    session,
                    old,
                    new,
                };
                let account = Account::of(&UserRef::Id(user), &self.config.secret);
                self.ask_guarded(origin, Some(account), request, Awaited::Password)
            }
            Request::DeleteAccount { password } => {
                let request = StoreRequest::DeleteAccount { user, password };
                let account = Account::of(&UserRef::Id(user), &self.config.secret);
                self.ask_guarded(origin, Some(account), request, Awaited::DeleteAccount)
            }
            Request::Ack {
                conversation,
                delivered,
                read,
            } => Some(self.acknowledge(origin.connection, conversation, delivered, read)),
            Request::Typing { to } => Some(self.typing(user, to)),
            Request::FriendRequest { who } => {
                let command = Command::FriendRequest { user, who };
                self.ask_command(origin, command, Awaited::FriendRequest)
            }
            request => match work_of(user, request) {
                Ok(Work::Read(read)) => {
                    let forward = matches!(
                        &read,
                        Read::History {
                            anchor: Anchor::After(_),
                            ..
                        }
                    );
                    let keep = if forward { Keep::First } else { Keep::Last };
                    self.ask(origin, StoreRequest::Read(read), Awaited::Read { keep })
                }
                Ok(Work::Change(command)) => self.ask_command(origin, command, Awaited::Change),
                Err(error) => Some(Err(error)),
            },
        }
    }

    pub(super) fn ask_command(
        &mut self,
        origin: Origin,
        command: Command,
        kind: Awaited,
    ) -> Answer {
        self.ask(origin, StoreRequest::Command(Box::new(command)), kind)
    }

    fn ask(&mut self, origin: Origin, request: StoreRequest, kind: Awaited) -> Answer {
        self.try_ask(origin, request, kind).err().map(Err)
    }

    /// Asks for what only the right password is granted, or a token that another service signed.
    fn ask_guarded(
        &mut self,
        origin: Origin,
        account: Option<Account>,
        request: StoreRequest,
        kind: Awaited,
    ) -> Answer {
        let Some(limits) = self.config.rates.map(|rates| rates.guard) else {
            return self.ask(origin, request, kind);
        };
        let network = self.connections.get(origin.connection)?.network;
        let admitted = self.guard.admit(&limits, account, network, self.now);
        let asked = admitted
            .map_err(rate_limited)
            .and_then(|attempt| Ok((attempt, self.try_ask(origin, request, kind)?)));
        match asked {
            Ok((attempt, token)) => {
                self.guard.begin(&limits, token, attempt);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn try_ask(
        &mut self,
        origin: Origin,
        request: StoreRequest,
        kind: Awaited,
    ) -> Result<StoreToken, RequestError> {
        if self.pending.len() >= self.config.store_requests {
            return Err(self.busy());
        }
        let Origin { connection, serial } = origin;
        let pending = Pending::Request {
            connection,
            serial,
            kind,
        };
        Ok(self.ask_store(request, pending))
    }

    pub(super) fn busy(&mut self) -> RequestError {
        let wait = Duration::from_millis(250 + self.jitter(750));
        RequestError::from(ErrorCode::Busy).retry_after(wait)
    }

    fn take_send(&mut self, user: UserId) -> Result<(), RequestError> {
        let Some(rates) = self.config.rates else {
            return Ok(());
        };
        let now = self.now;
        let Some(local) = self.users.get_mut(user) else {
            return Ok(());
        };
        local.sends.take(rates.sends, now).map_err(rate_limited)
    }

    /// Checks that `user` may tell the conversation something that is not stored.
    pub(super) fn may_signal(
        &self,
        user: UserId,
        to: ConversationRef,
    ) -> Result<Place, RequestError> {
        let local = self.users.get(user).ok_or(ErrorCode::NotLoggedIn)?;
        match to {
            ConversationRef::User(other) => match local.friend(other) {
                FriendState::Friends => Pair::new(user, other).map(Place::Direct),
                FriendState::Blocked => return Err(ErrorCode::Blocked.into()),
                _ => None,
            }
            .ok_or_else(|| ErrorCode::NotFriends.into()),
            ConversationRef::Group(group) => match local.role(group) {
                None => Err(ErrorCode::NotMember.into()),
                Some(crate::log::Role::Muted) => Err(ErrorCode::Muted.into()),
                Some(_) => Ok(Place::Group(group)),
            },
        }
    }
}

pub(super) fn rate_limited(wait: Duration) -> RequestError {
    RequestError::from(ErrorCode::RateLimited).retry_after(wait)
}

fn refuse(code: ErrorCode) -> Answer {
    Some(Err(code.into()))
}

const fn limited_by_user(request: &Request) -> bool {
    matches!(
        request,
        Request::Send { .. }
            | Request::Edit { .. }
            | Request::Recall { .. }
            | Request::GroupCreate { .. }
    )
}

/// Compares with every code, and with every byte of those that have the right length, so that the
/// time taken tells nothing of how close a guess was.
fn any_equals(codes: &[Secret], guess: &Secret) -> bool {
    codes.iter().fold(false, |found, code| {
        let (code, guess) = (code.expose().as_bytes(), guess.expose().as_bytes());
        let difference = code
            .iter()
            .zip(guess)
            .fold(0, |sum, (one, other)| sum | (one ^ other));
        found | (code.len() == guess.len() && difference == 0)
    })
}
