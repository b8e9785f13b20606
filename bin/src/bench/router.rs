//! A router that only moves bytes: the limit that a chat server is compared with.
//!
//! The first line of a connection is the number of a channel, and comes back when the connection is on
//! it; every line after that goes to all others on the channel, as it is. Nothing is parsed, kept or
//! acknowledged.
//!
//! It works by one loop over epoll, or by one for each core: then a connection stays on its core, and
//! what is for connections on another one goes there by a queue.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use async_std::task;
use clap::{Args, ValueEnum};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::message::read_digits;
use super::tasks;
use crate::{fail, print};

/// How much is read at once.
const CHUNK: usize = 128 * 1024;

/// The most bytes that wait for a connection; one that is further behind is closed.
const MOST_WAITING: usize = 256 * 1024 * 1024;

const LISTENER: Token = Token(usize::MAX);
const MAIL: Token = Token(usize::MAX - 1);

/// Where to route.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen: an address and a port; port 0 takes any that is free.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// How to route.
    #[arg(long, value_enum, default_value_t)]
    by: Routing,
}

/// How a router works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Routing {
    /// One loop over epoll.
    #[default]
    Loop,
    /// A loop over epoll for each core.
    Loops,
    /// Two tasks for each connection.
    Tasks,
    /// The same, with an executor for each core.
    Executors,
}

impl Routing {
    /// Returns the value that names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Loops => "loops",
            Self::Tasks => "tasks",
            Self::Executors => "executors",
        }
    }
}

/// Routes until stdin ends.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    crate::serve::raise_descriptor_limit();
    thread::spawn(|| {
        // Whatever it says, and however it ends.
        let _ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
    let routed = match arguments.by {
        Routing::Loop => route(arguments.listen, 1),
        Routing::Loops => route(arguments.listen, cores()),
        Routing::Tasks => task::block_on(tasks::route(arguments.listen)),
        Routing::Executors => task::block_on(tasks::route_on(arguments.listen, cores())),
    };
    match routed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// How many threads run at once.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Returns to which of some cores a connection goes: to any of them, so that who speaks to each other
/// is on one core as often as chance has it.
pub(super) fn deal(connection: u64, cores: usize) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(connection);
    let cores = u64::try_from(cores).unwrap_or(u64::MAX);
    usize::try_from(hash % cores).unwrap_or_default()
}

/// Routes by so many loops; the first one listens.
fn route(address: SocketAddr, loops: usize) -> io::Result<()> {
    let polls = (0..loops)
        .map(|_| Poll::new())
        .collect::<io::Result<Vec<Poll>>>()?;
    let desks = polls.iter().map(|poll| {
        Ok(Desk {
            waker: Waker::new(poll.registry(), MAIL)?,
            mail: Mutex::default(),
        })
    });
    let shared = Arc::new(Shared {
        desks: desks.collect::<io::Result<_>>()?,
        channels: Mutex::default(),
    });
    let mut routers = polls.into_iter().enumerate().map(|(core, poll)| Router {
        core,
        poll,
        shared: Arc::clone(&shared),
        connections: Vec::new(),
        chunk: vec![0; CHUNK],
    });
    let Some(mut first) = routers.next() else {
        return Ok(());
    };
    for mut router in routers {
        thread::spawn(move || {
            if let Err(error) = router.run(None) {
                fail(&error);
                std::process::exit(1);
            }
        });
    }
    let mut listener = TcpListener::bind(address)?;
    let registry = first.poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    print(&format!(
        "bench-router is ready: listening on {}\n",
        listener.local_addr()?
    ));
    first.run(Some(&listener))
}

/// What the loops have together.
struct Shared {
    desks: Vec<Desk>,
    /// Who is on each channel: a loop and its number for the connection.
    channels: Mutex<HashMap<u64, Vec<(usize, usize)>>>,
}

/// What waits for a loop.
struct Desk {
    waker: Waker,
    mail: Mutex<Vec<Mail>>,
}

enum Mail {
    Connection(TcpStream),
    /// Whole lines for a connection.
    Lines(usize, Arc<Vec<u8>>),
}

impl Shared {
    /// Gives something to a loop, and wakes it where nothing waited.
    fn post(&self, core: usize, mail: Mail) {
        if let Some(desk) = self.desks.get(core) {
            let mut waiting = lock(&desk.mail);
            waiting.push(mail);
            if waiting.len() == 1 {
                // A loop that has ended ends the process.
                let _ended = desk.waker.wake();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave what they hold half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the loops.
struct Router {
    core: usize,
    poll: Poll,
    shared: Arc<Shared>,
    connections: Vec<Option<Connection>>,
    chunk: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    channel: Option<u64>,
    /// The beginning of a line.
    partial: Vec<u8>,
    out: Vec<u8>,
    written: usize,
}

impl Router {
    fn run(&mut self, listener: Option<&TcpListener>) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        let mut accepted = 0;
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match (event.token(), listener) {
                    (LISTENER, Some(listener)) => self.accept(listener, &mut accepted)?,
                    (MAIL, _) => self.take_mail()?,
                    (Token(number), _) => {
                        if event.is_writable() {
                            self.write(number);
                        }
                        if event.is_readable() {
                            self.read(number, event.is_read_closed());
                        }
                    }
                }
            }
        }
    }

    /// Deals connections out among the loops.
    fn accept(&self, listener: &TcpListener, accepted: &mut u64) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let core = deal(*accepted, self.shared.desks.len());
            *accepted += 1;
            self.shared.post(core, Mail::Connection(stream));
        }
    }

    fn take_mail(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let desk = shared.desks.get(self.core);
        let mail = desk.map(|desk| std::mem::take(&mut *lock(&desk.mail)));
        for mail in mail.unwrap_or_default() {
            match mail {
                Mail::Connection(stream) => self.connect(stream)?,
                Mail::Lines(number, lines) => self.send(number, &lines),
            }
        }
        Ok(())
    }

    fn connect(&mut self, mut stream: TcpStream) -> io::Result<()> {
        let token = Token(self.connections.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, token, interest)?;
        self.connections.push(Some(Connection {
            stream,
            channel: None,
            partial: Vec::new(),
            out: Vec::new(),
            written: 0,
        }));
        Ok(())
    }

    fn read(&mut self, number: usize, ended: bool) {
        let mut chunk = std::mem::take(&mut self.chunk);
        while let Some(Some(connection)) = self.connections.get_mut(number) {
            match connection.stream.read(&mut chunk) {
                Ok(0) => self.close(number),
                Ok(count) => {
                    self.route(number, chunk.get(..count).unwrap_or_default());
                    if count < chunk.len() && !ended {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.close(number),
            }
        }
        self.chunk = chunk;
    }

    /// Passes whole lines on.
    fn route(&mut self, number: usize, bytes: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        let Some((mut lines, rest)) =
            memchr::memrchr(b'\n', bytes).and_then(|end| bytes.split_at_checked(end + 1))
        else {
            return connection.partial.extend_from_slice(bytes);
        };
        let mut partial = std::mem::replace(&mut connection.partial, rest.to_vec());
        if !partial.is_empty() {
            partial.extend_from_slice(lines);
            lines = &partial;
        }
        let channel = match connection.channel {
            Some(channel) => channel,
            None => {
                let end = memchr::memchr(b'\n', lines).unwrap_or(0);
                let first = lines.get(..end).and_then(read_digits);
                let Some(channel) = first else {
                    return self.close(number);
                };
                connection.channel = Some(channel);
                let (name, rest) = lines.split_at_checked(end + 1).unwrap_or_default();
                connection.out.extend_from_slice(name);
                lines = rest;
                let mut channels = lock(&self.shared.channels);
                let members = channels.entry(channel).or_default();
                members.push((self.core, number));
                drop(channels);
                self.write(number);
                channel
            }
        };
        if lines.is_empty() {
            return;
        }
        let members = lock(&self.shared.channels).get(&channel).cloned();
        let mut copy = None;
        for (core, member) in members.unwrap_or_default() {
            if core != self.core {
                let lines = copy.get_or_insert_with(|| Arc::new(lines.to_vec()));
                let lines = Mail::Lines(member, Arc::clone(lines));
                self.shared.post(core, lines);
            } else if member != number {
                self.send(member, lines);
            }
        }
    }

    fn send(&mut self, number: usize, lines: &[u8]) {
        if let Some(Some(connection)) = self.connections.get_mut(number) {
            connection.out.extend_from_slice(lines);
        }
        self.write(number);
    }

    fn write(&mut self, number: usize) {
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        while let Some(rest) = connection.out.get(connection.written..) {
            if rest.is_empty() {
                connection.out.clear();
                connection.written = 0;
                return;
            }
            match connection.stream.write(rest) {
                Ok(count) => connection.written += count,
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && rest.len() < MOST_WAITING =>
                {
                    return;
                }
                Err(_) => return self.close(number),
            }
        }
    }

    fn close(&mut self, number: usize) {
        if let Some(connection) = self.connections.get_mut(number) {
            *connection = None;
        }
        for members in lock(&self.shared.channels).values_mut() {
            members.retain(|member| *member != (self.core, number));
        }
    }
}
