//! Drives the client session of `parlor-core` over TCP, and brings in what the user does.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_channel::{Receiver, Sender};
use async_std::{future, task};
use parlor_core::client::{Config, Effect, Input, Listed, Outcome, Session, Status, Ticket};
use parlor_core::protocol::client::encode_request;
use parlor_core::protocol::reply::SessionReply;
use parlor_core::protocol::{Event, Request};
use parlor_core::time::Timestamp;
use parlor_transport_tcp::{
    Arrival, Connection, FrameReader, FrameWriter, TlsConnector, connect, connect_tls,
};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the server may accept nothing.
const WRITE: Duration = Duration::from_secs(30);

/// How many happenings may wait; the reader of the socket pauses above.
const INBOX: usize = 64;

/// Where the server is, and how to speak with it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// `host:port`.
    pub(super) address: String,
    /// With TLS, whom to believe.
    pub(super) tls: Option<TlsConnector>,
}

impl From<String> for Server {
    /// Without TLS.
    fn from(address: String) -> Self {
        Self { address, tls: None }
    }
}

impl Server {
    async fn connect(&self, timeout: Duration) -> io::Result<Connection> {
        match &self.tls {
            Some(tls) => connect_tls(&self.address, tls, timeout).await,
            None => connect(&self.address, timeout).await,
        }
    }
}

/// What the program is told.
#[derive(Debug)]
pub(super) enum Told<U> {
    /// The user did something.
    User(U),
    /// A request came to its end.
    Outcome(Ticket, Outcome),
    /// An event arrived.
    Event(Event),
    /// The session went on after a break.
    Resumed(Box<SessionReply>),
    /// More of a list that was cut when the session began.
    Listed(Listed),
    /// The state of the connection changed.
    Status(Status),
    /// No connection could be made.
    CannotConnect(io::Error),
    /// Nothing is left to do: all is acknowledged, on both sides.
    Settled,
    /// The moment that the program asked for has come.
    Alarm,
}

/// What arrives in the inbox.
#[derive(Debug)]
enum Happening<U> {
    User(U),
    Connected(Sender<Vec<u8>>),
    ConnectFailed(io::Error),
    Frames(Vec<Vec<u8>>),
    Closed,
}

/// Where user input is brought in from another thread or task.
#[derive(Debug)]
pub(super) struct UserSender<U>(Sender<Happening<U>>);

impl<U> Clone for UserSender<U> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<U> UserSender<U> {
    /// Brings input in and waits for room; false when the program has ended.
    pub(super) fn send_blocking(&self, input: U) -> bool {
        self.0.send_blocking(Happening::User(input)).is_ok()
    }

    /// Brings input in; false when the program has ended.
    pub(super) async fn send(&self, input: U) -> bool {
        self.0.send(Happening::User(input)).await.is_ok()
    }
}

/// The session and its connection.
#[derive(Debug)]
pub(super) struct Driver<U> {
    session: Session,
    server: Server,
    clock: Clock,
    tickets: u64,
    inbox: Receiver<Happening<U>>,
    sender: Sender<Happening<U>>,
    /// Frames for the connection; dropping it closes the connection once they are written.
    writer: Option<Sender<Vec<u8>>>,
    told: VecDeque<Told<U>>,
    settled: bool,
    /// When the program wants to be woken.
    pub(super) alarm: Option<Timestamp>,
}

impl<U: Send + 'static> Driver<U> {
    /// Makes a driver that is offline.
    pub(super) fn new(server: impl Into<Server>, seed: u64) -> Self {
        let clock = Clock::new();
        let config = Config {
            seed,
            ..Config::default()
        };
        let (sender, inbox) = async_channel::bounded(INBOX);
        Self {
            session: Session::new(config, clock.now()),
            server: server.into(),
            clock,
            tickets: 0,
            inbox,
            sender,
            writer: None,
            told: VecDeque::new(),
            settled: true,
            alarm: None,
        }
    }

    /// Returns where to bring user input in.
    pub(super) fn user_sender(&self) -> UserSender<U> {
        UserSender(self.sender.clone())
    }

    /// Returns the present moment.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the session, for asking.
    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    /// Wants a connection, or none.
    pub(super) fn want(&mut self, connection: bool) {
        self.feed(if connection {
            Input::Connect
        } else {
            Input::Disconnect
        });
    }

    /// Asks the server for something.
    pub(super) fn request(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.feed(Input::Request { ticket, request });
        ticket
    }

    /// Waits for the next thing to know.
    pub(super) async fn next(&mut self) -> Told<U> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return told;
            }
            let now = self.clock.now();
            if self.alarm.is_some_and(|alarm| alarm <= now) {
                self.alarm = None;
                return Told::Alarm;
            }
            let timeout = self.session.poll_timeout();
            let wake = [timeout, self.alarm].into_iter().flatten().min();
            let wait = wake.map_or(Duration::MAX, |wake| wake.since(now));
            match within(wait, self.inbox.recv()).await {
                Some(Ok(happening)) => self.take(happening),
                // The inbox never closes: this holds a sender of its own.
                Some(Err(_)) => return Told::Alarm,
                None if timeout.is_some_and(|at| at <= self.clock.now()) => {
                    self.feed(Input::Timeout);
                }
                None => {}
            }
        }
    }

    /// Returns what there is to know without waiting.
    pub(super) fn try_next(&mut self) -> Option<Told<U>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let happening = self.inbox.try_recv().ok()?;
            self.take(happening);
        }
    }

    fn take(&mut self, happening: Happening<U>) {
        match happening {
            Happening::User(input) => self.told.push_back(Told::User(input)),
            Happening::Connected(writer) => {
                self.writer = Some(writer);
                self.feed(Input::Connected);
            }
            Happening::ConnectFailed(error) => {
                self.told.push_back(Told::CannotConnect(error));
                self.feed(Input::ConnectFailed);
            }
            Happening::Frames(frames) => {
                for frame in frames {
                    self.feed(Input::Frame(frame));
                }
            }
            Happening::Closed => {
                self.writer = None;
                self.feed(Input::Disconnected);
            }
        }
    }

    fn feed(&mut self, input: Input) {
        let fits = self.session.handle(input, self.clock.now());
        debug_assert!(fits.is_ok(), "{fits:?}");
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Connect => {
                    let connection = run_connection(self.server.clone(), self.sender.clone());
                    task::spawn(connection);
                }
                Effect::Disconnect => self.writer = None,
                Effect::Send { id, request } => {
                    let mut frame = Vec::new();
                    encode_request(id, &request, &mut frame);
                    frame.push(b'\n');
                    if let Some(writer) = &self.writer {
                        // Unbounded, and closed only with the connection, which is reported.
                        let _gone = writer.try_send(frame);
                    }
                }
                Effect::Outcome { ticket, outcome } => {
                    self.told.push_back(Told::Outcome(ticket, outcome));
                }
                Effect::Event(event) => self.told.push_back(Told::Event(event)),
                Effect::Resumed(reply) => self.told.push_back(Told::Resumed(reply)),
                Effect::Listed(listed) => self.told.push_back(Told::Listed(listed)),
                Effect::Status(status) => self.told.push_back(Told::Status(status)),
            }
        }
        let settled = self.session.is_settled();
        if settled && !std::mem::replace(&mut self.settled, settled) {
            self.told.push_back(Told::Settled);
        }
        self.settled = settled;
    }
}

/// Makes one connection and reads it to its end.
async fn run_connection<U: Send + 'static>(server: Server, inbox: Sender<Happening<U>>) {
    let (mut reader, writer) = match server.connect(CONNECT).await {
        Ok(connection) => connection.split(),
        Err(error) => {
            // A closed inbox means that the program has ended.
            let _ended = inbox.send(Happening::ConnectFailed(error)).await;
            return;
        }
    };
    // The session bounds how many requests are under way, and so how many frames wait here.
    let (frames, outgoing) = async_channel::unbounded();
    let writing = task::spawn(write(writer, outgoing));
    if inbox.send(Happening::Connected(frames)).await.is_ok() {
        read(&mut reader, &inbox).await;
        let _ended = inbox.send(Happening::Closed).await;
    }
    writing.await;
}

async fn read<U>(reader: &mut FrameReader, inbox: &Sender<Happening<U>>) {
    loop {
        let mut frames = Vec::new();
        let arrival = reader.read(|frame| frames.push(frame.to_vec())).await;
        if !frames.is_empty() && inbox.send(Happening::Frames(frames)).await.is_err() {
            return;
        }
        if !matches!(arrival, Ok(Arrival::Frames)) {
            return;
        }
    }
}

/// Writes frames until there will be no more; gives up on a server that accepts nothing.
async fn write(mut writer: FrameWriter, outgoing: Receiver<Vec<u8>>) {
    while let Ok(frame) = outgoing.recv().await {
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match future::timeout(WRITE, writer.write_some(rest)).await {
                Ok(Ok(written)) => rest = rest.get(written..).unwrap_or_default(),
                Ok(Err(_)) | Err(_) => {
                    writer.abort();
                    return;
                }
            }
        }
    }
    writer.close().await;
}

/// Waits for a future, but not for ever where there is an end.
async fn within<T>(wait: Duration, work: impl Future<Output = T>) -> Option<T> {
    if wait == Duration::MAX {
        return Some(work.await);
    }
    future::timeout(wait, work).await.ok()
}

/// The time of day, that never goes backwards.
#[derive(Debug)]
struct Clock {
    start: Timestamp,
    since: Instant,
}

impl Clock {
    fn new() -> Self {
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            start: Timestamp(0) + start,
            since: Instant::now(),
        }
    }

    fn now(&self) -> Timestamp {
        self.start + self.since.elapsed()
    }
}
