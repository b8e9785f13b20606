//! Many connections on one thread: sockets that do not block, and a loop that waits for whichever
//! is ready.
//!
//! Client and server share a machine's processors, so the client's side is made cheap: no task, no
//! buffer and no timer per connection, one read into a shared buffer for all that has come, and one
//! write for all that a round of the loop has to say on a connection.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::message::now;

/// How long a connection may say nothing before it pings, in microseconds: less than any sensible
/// server's `idle_ms`.
const QUIET: u64 = 20_000_000;

/// How often the loop looks who has been quiet, in microseconds.
const LOOK: u64 = 1_000_000;

/// The most bytes that may wait to be written on a connection.
const MOST_WAITING: usize = 8 * 1024 * 1024;

/// The most bytes of a line.
const LONGEST_LINE: usize = 512 * 1024;

/// How much is read at once.
const CHUNK: usize = 128 * 1024;

/// The connections that are ready in one round, at most.
const READY: usize = 4096;

/// The token of whatever is no connection.
const WAKE: Token = Token(usize::MAX);

/// Who is told what happens on connections; these are numbered as users are.
pub(super) trait Player {
    /// A connection that was asked for is there.
    fn opened(&mut self, _hub: &mut Hub, _user: usize) {}

    /// A line has come, at the moment `at`.
    fn line(&mut self, hub: &mut Hub, user: usize, line: &[u8], at: u64);

    /// A connection has ended, or could not be made.
    fn closed(&mut self, hub: &mut Hub, user: usize, why: &str);
}

/// The connections, and the loop over them.
#[derive(Debug)]
pub(super) struct Hub {
    poll: Poll,
    waker: Arc<Waker>,
    events: Events,
    ready: Vec<Ready>,
    links: Vec<Link>,
    /// Connections with something to write in this round.
    dirty: Vec<usize>,
    chunk: Vec<u8>,
    /// What keeps a quiet connection open; nothing for a peer that needs nothing.
    ping: &'static [u8],
    looked: u64,
}

/// One connection.
#[derive(Debug, Default)]
struct Link {
    stream: Option<TcpStream>,
    /// Whether it is made.
    open: bool,
    /// What is to be written, behind what is written already.
    out: Vec<u8>,
    written: usize,
    dirty: bool,
    /// The beginning of a line.
    partial: Vec<u8>,
    /// Rises when it ends, so that what was read before is not taken for what is read after.
    generation: u64,
    /// When it wrote last.
    wrote: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ready {
    user: usize,
    readable: bool,
    writable: bool,
    ended: bool,
}

impl Hub {
    /// Makes a loop for that many connections, none of which is open.
    pub(super) fn new(users: usize, pings: bool) -> io::Result<Self> {
        let mut links = Vec::new();
        links.resize_with(users, Link::default);
        let poll = Poll::new()?;
        Ok(Self {
            waker: Arc::new(Waker::new(poll.registry(), WAKE)?),
            poll,
            events: Events::with_capacity(READY),
            ready: Vec::new(),
            links,
            dirty: Vec::new(),
            chunk: vec![0; CHUNK],
            ping: if pings {
                b"{\"id\":0,\"op\":\"ping\"}\n"
            } else {
                b""
            },
            looked: now(),
        })
    }

    /// Returns what ends a round early, from another thread.
    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    /// Begins to connect; [`Player::opened`] tells when it is done.
    pub(super) fn connect(&mut self, user: usize, address: SocketAddr) -> io::Result<()> {
        let mut stream = TcpStream::connect(address).map_err(|error| {
            let what = format!("cannot connect to {address}: {error}");
            io::Error::new(error.kind(), what)
        })?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(user), interest)?;
        if let Some(link) = self.links.get_mut(user) {
            link.stream = Some(stream);
            link.wrote = now();
        }
        Ok(())
    }

    /// Returns where to append what is to be written on a connection, whole lines each time.
    pub(super) fn out(&mut self, user: usize) -> Option<&mut Vec<u8>> {
        let link = self.links.get_mut(user)?;
        if !link.dirty {
            link.dirty = true;
            self.dirty.push(user);
        }
        Some(&mut link.out)
    }

    /// Cuts a connection off without a farewell, as when a machine or its network dies: what the
    /// kernel has of it is gone at once, its port included.
    pub(super) fn cut(&mut self, user: usize) {
        let Some(link) = self.links.get_mut(user) else {
            return;
        };
        if let Some(stream) = &link.stream {
            // Where that fails, it closes as connections do.
            let _closes = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
        }
        link.end();
    }

    /// Waits for the next round's happenings, for at most so long, and tells the player; then writes
    /// what there is to say.
    pub(super) fn turn(
        &mut self,
        player: &mut (impl Player + ?Sized),
        wait: Duration,
    ) -> io::Result<()> {
        self.flush(player);
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let links = self.events.iter().filter(|event| event.token() != WAKE);
        ready.extend(links.map(|event| Ready {
            user: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
            ended: event.is_read_closed() || event.is_error(),
        }));
        for event in &ready {
            self.take(player, *event);
        }
        self.ready = ready;
        self.keep_alive();
        self.flush(player);
        Ok(())
    }

    fn take(&mut self, player: &mut (impl Player + ?Sized), event: Ready) {
        let user = event.user;
        let Some(link) = self.links.get_mut(user) else {
            return;
        };
        if !link.open {
            match link.is_made() {
                Ok(false) => return,
                Ok(true) => {
                    link.open = true;
                    player.opened(self, user);
                    // Whatever was to be said before is said now.
                    self.out(user);
                }
                Err(error) => return self.end(player, user, &format!("cannot connect: {error}")),
            }
        } else if event.writable {
            self.write(player, user);
        }
        if event.readable || event.ended {
            self.read(player, user, event.ended);
        }
    }

    /// Reads what has come.
    fn read(&mut self, player: &mut (impl Player + ?Sized), user: usize, ended: bool) {
        let mut chunk = std::mem::take(&mut self.chunk);
        let generation = self.generation(user);
        while self.generation(user) == generation {
            let Some(stream) = self.links.get_mut(user).and_then(|it| it.stream.as_mut()) else {
                break;
            };
            match stream.read(&mut chunk) {
                Ok(0) => {
                    self.end(player, user, "the server closed the connection");
                    break;
                }
                Ok(count) => {
                    let bytes = chunk.get(..count).unwrap_or_default();
                    self.split(player, user, bytes);
                    // What comes after a short read is another event; an end is none.
                    if count < chunk.len() && !ended {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.end(player, user, &format!("the connection broke: {error}"));
                    break;
                }
            }
        }
        self.chunk = chunk;
    }

    /// Tells the player the lines that end in these bytes, and keeps the rest.
    fn split(&mut self, player: &mut (impl Player + ?Sized), user: usize, bytes: &[u8]) {
        let at = now();
        let generation = self.generation(user);
        let mut rest = bytes;
        while let Some((line, after)) = split_line(rest) {
            rest = after;
            let partial = match self.links.get_mut(user) {
                Some(link) => std::mem::take(&mut link.partial),
                None => return,
            };
            if partial.is_empty() {
                player.line(self, user, line, at);
            } else {
                let whole = [partial.as_slice(), line].concat();
                player.line(self, user, &whole, at);
            }
            if self.generation(user) != generation {
                return;
            }
        }
        let mut is_too_long = false;
        if let Some(link) = self.links.get_mut(user) {
            link.partial.extend_from_slice(rest);
            is_too_long = link.partial.len() > LONGEST_LINE;
        }
        if is_too_long {
            self.end(player, user, "the server sent a line without an end");
        }
    }

    /// Writes on every connection that has something to say.
    fn flush(&mut self, player: &mut (impl Player + ?Sized)) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for user in dirty.drain(..) {
            if let Some(link) = self.links.get_mut(user) {
                link.dirty = false;
            }
            self.write(player, user);
        }
        // What a player says while it is told of an end waits for the next round.
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    fn write(&mut self, player: &mut (impl Player + ?Sized), user: usize) {
        let why = match self.links.get_mut(user).map(Link::write) {
            None | Some(Ok(())) => return,
            Some(Err(error)) => format!("the connection broke: {error}"),
        };
        self.end(player, user, &why);
    }

    fn end(&mut self, player: &mut (impl Player + ?Sized), user: usize, why: &str) {
        if let Some(link) = self.links.get_mut(user) {
            link.end();
        }
        player.closed(self, user, why);
    }

    fn generation(&self, user: usize) -> u64 {
        self.links.get(user).map_or(0, |link| link.generation)
    }

    /// Pings where nothing was said for long.
    fn keep_alive(&mut self) {
        let now = now();
        if now < self.looked + LOOK || self.ping.is_empty() {
            return;
        }
        self.looked = now;
        for (user, link) in self.links.iter_mut().enumerate() {
            if link.open && now > link.wrote + QUIET {
                link.out.extend_from_slice(self.ping);
                if !link.dirty {
                    link.dirty = true;
                    self.dirty.push(user);
                }
            }
        }
    }
}

impl Link {
    /// Tells whether the connection is made by now.
    fn is_made(&self) -> io::Result<bool> {
        let Some(stream) = &self.stream else {
            return Ok(false);
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => {
                stream.set_nodelay(true)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let (Some(stream), true) = (&mut self.stream, self.open) else {
            return Ok(());
        };
        while let Some(rest) = self.out.get(self.written..).filter(|it| !it.is_empty()) {
            match stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if rest.len() > MOST_WAITING {
                        return Err(io::Error::other("the server accepts nothing more"));
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if self.written > 0 {
            self.wrote = now();
        }
        self.written = 0;
        self.out.clear();
        Ok(())
    }

    /// Forgets everything of a connection.
    fn end(&mut self) {
        *self = Self {
            dirty: self.dirty,
            generation: self.generation + 1,
            ..Self::default()
        };
    }
}

/// Splits off the first line, without its end.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::{Hub, LONGEST_LINE, Player};

    const WAIT: Duration = Duration::from_millis(10);

    /// Notes everything.
    #[derive(Default)]
    struct Notes {
        opened: Vec<usize>,
        lines: Vec<(usize, String)>,
        closed: Vec<(usize, String)>,
        /// Cuts a connection off when this line comes.
        cuts: Option<&'static str>,
    }

    impl Player for Notes {
        fn opened(&mut self, _hub: &mut Hub, user: usize) {
            self.opened.push(user);
        }

        fn line(&mut self, hub: &mut Hub, user: usize, line: &[u8], _at: u64) {
            let line = String::from_utf8(line.to_vec()).unwrap();
            if self.cuts == Some(line.as_str()) {
                hub.cut(user);
            }
            self.lines.push((user, line));
        }

        fn closed(&mut self, _hub: &mut Hub, user: usize, why: &str) {
            self.closed.push((user, why.to_owned()));
        }
    }

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Makes a hub whose user 1 is connected.
    fn connected(notes: &mut Notes) -> (Hub, TcpStream) {
        let (listener, address) = listen();
        let mut hub = Hub::new(2, false).unwrap();
        hub.connect(1, address).unwrap();
        let (peer, _) = listener.accept().unwrap();
        while notes.opened.is_empty() {
            hub.turn(notes, WAIT).unwrap();
        }
        (hub, peer)
    }

    fn until(hub: &mut Hub, notes: &mut Notes, is_so: impl Fn(&Notes) -> bool) {
        while !is_so(notes) {
            hub.turn(notes, WAIT).unwrap();
        }
    }

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let mut notes = Notes::default();
        let (mut hub, mut peer) = connected(&mut notes);
        for byte in b"one\ntwo\n" {
            peer.write_all(&[*byte]).unwrap();
            hub.turn(&mut notes, WAIT).unwrap();
        }
        peer.write_all(b"three\nfour\nfive").unwrap();
        until(&mut hub, &mut notes, |notes| notes.lines.len() == 4);
        drop(peer);
        until(&mut hub, &mut notes, |notes| !notes.closed.is_empty());
        let lines: Vec<&str> = notes.lines.iter().map(|it| it.1.as_str()).collect();
        assert_eq!(lines, ["one", "two", "three", "four"]);
        assert!(notes.lines.iter().all(|it| it.0 == 1));
        assert_eq!(notes.closed[0].0, 1);
    }

    #[test]
    fn what_is_said_before_there_is_a_connection_is_written() {
        let (listener, address) = listen();
        let mut notes = Notes::default();
        let mut hub = Hub::new(1, false).unwrap();
        hub.connect(0, address).unwrap();
        hub.out(0).unwrap().extend_from_slice(b"hello\n");
        let (peer, _) = listener.accept().unwrap();
        until(&mut hub, &mut notes, |notes| !notes.opened.is_empty());
        let mut line = String::new();
        BufReader::new(peer).read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
    }

    #[test]
    fn megabytes_are_written_as_the_peer_takes_them() {
        let mut notes = Notes::default();
        let (mut hub, mut peer) = connected(&mut notes);
        let much = 6 * 1024 * 1024;
        hub.out(1).unwrap().resize(much, b'x');
        let reading = std::thread::spawn(move || {
            let mut got = vec![0; much];
            peer.read_exact(&mut got).map(|()| peer)
        });
        while !reading.is_finished() {
            hub.turn(&mut notes, WAIT).unwrap();
        }
        let _peer = reading.join().unwrap().unwrap();
        assert_eq!(notes.closed, []);
    }

    #[test]
    fn a_peer_that_reads_nothing_is_given_up() {
        let mut notes = Notes::default();
        let (mut hub, _peer) = connected(&mut notes);
        hub.out(1).unwrap().resize(64 * 1024 * 1024, b'x');
        until(&mut hub, &mut notes, |notes| !notes.closed.is_empty());
        assert!(notes.closed[0].1.contains("accepts nothing more"));
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut notes = Notes::default();
        let (mut hub, mut peer) = connected(&mut notes);
        let writing = std::thread::spawn(move || peer.write_all(&vec![b'x'; 4 * LONGEST_LINE]));
        until(&mut hub, &mut notes, |notes| !notes.closed.is_empty());
        assert!(notes.closed[0].1.contains("without an end"));
        // It may or may not have gone into the kernel's buffers.
        let _written = writing.join().unwrap();
    }

    #[test]
    fn nothing_comes_from_a_connection_that_was_cut_off() {
        let mut notes = Notes {
            cuts: Some("two"),
            ..Notes::default()
        };
        let (mut hub, mut peer) = connected(&mut notes);
        peer.write_all(b"one\ntwo\nthree\n").unwrap();
        until(&mut hub, &mut notes, |notes| notes.lines.len() == 2);
        // The peer is told by a reset.
        let error = peer.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        hub.turn(&mut notes, WAIT).unwrap();
        assert_eq!(notes.lines.len(), 2);
        assert_eq!(notes.closed, [], "who cuts it off knows");
        let (listener, address) = listen();
        hub.connect(1, address).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"four\n").unwrap();
        until(&mut hub, &mut notes, |notes| notes.lines.len() == 3);
        assert_eq!(notes.lines[2].1, "four");
    }

    #[test]
    fn where_nobody_listens_that_is_said() {
        let (listener, address) = listen();
        drop(listener);
        let mut notes = Notes::default();
        let mut hub = Hub::new(1, false).unwrap();
        match hub.connect(0, address) {
            Err(error) => assert!(error.to_string().contains("cannot connect"), "{error}"),
            Ok(()) => {
                until(&mut hub, &mut notes, |notes| !notes.closed.is_empty());
                assert!(notes.closed[0].1.contains("cannot connect"));
            }
        }
    }
}
