//! Plays every transcript of `PROTOCOL.md` against the engine, through the JSON codec.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use parlor_core::engine::{Config, Input, Order, Rate, Rates, Registration};
use parlor_core::id::{ConnectionId, OrderTicket, UserId};
use parlor_core::protocol::request::UserRef;
use parlor_core::protocol::{ErrorCode, MAX_CLIENT_FRAME, NoticeCode, Request, decode, encode};
use parlor_core::secret::Secret;
use parlor_core::sim::{Loopback, Sent};
use parlor_core::store::{Limits, StoreError, StoreFailure};

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

const EVENTS: [&str; 7] = [
    "message", "receipt", "typing", "presence", "friend", "group", "notice",
];

const KINDS: [&str; 9] = [
    "text",
    "edit",
    "recall",
    "joined",
    "left",
    "removed",
    "role",
    "updated",
    "disbanded",
];

/// One fenced block.
struct Transcript {
    line: usize,
    options: String,
    lines: Vec<&'static str>,
}

fn transcripts() -> Vec<Transcript> {
    let mut found: Vec<Transcript> = Vec::new();
    let mut inside = false;
    for (number, line) in PROTOCOL.lines().enumerate() {
        if let Some(options) = line.strip_prefix("```transcript") {
            inside = true;
            found.push(Transcript {
                line: number + 2,
                options: options.trim().to_owned(),
                lines: Vec::new(),
            });
        } else if line.starts_with("```") {
            inside = false;
        } else if inside {
            found.last_mut().unwrap().lines.push(line);
        }
    }
    assert!(!inside, "the last block does not end");
    assert!(
        found.len() > 20,
        "only {} transcripts were found",
        found.len()
    );
    found
}

#[test]
fn every_transcript_plays() {
    let mut stage: Option<Stage> = None;
    for transcript in transcripts() {
        if transcript.options == "continued" {
            assert!(
                stage.is_some(),
                "line {}: continues nothing",
                transcript.line
            );
        } else {
            stage = Some(Stage::new(&transcript.options));
        }
        let stage = stage.as_mut().unwrap();
        for (offset, line) in transcript.lines.iter().enumerate() {
            stage.number = transcript.line + offset;
            stage.play(line);
        }
        stage.expect_silence();
    }
}

#[test]
fn every_op_is_shown_to_succeed() {
    let mut asked = BTreeMap::new();
    let mut succeeded = BTreeSet::new();
    for line in transcripts()
        .iter()
        .flat_map(|transcript| &transcript.lines)
    {
        let (name, frame) = line.split_once(' ').unwrap();
        if let Some(connection) = name.strip_suffix('>') {
            if let Some(op) = field(frame, "op") {
                asked.insert((connection, request_id(frame)), op);
            }
        } else if let Some(connection) = name.strip_suffix('<')
            && frame.contains(r#","ok":{"#)
        {
            succeeded.extend(asked.get(&(connection, request_id(frame))).copied());
        }
    }
    let all = BTreeSet::from(Request::OPS);
    assert_eq!(
        all.difference(&succeeded).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
    assert_eq!(
        succeeded.difference(&all).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
}

#[test]
fn every_event_kind_and_error_is_shown() {
    let shown: String = transcripts()
        .iter()
        .flat_map(|transcript| &transcript.lines)
        .filter(|line| {
            line.split(' ')
                .next()
                .is_some_and(|name| name.ends_with('<'))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let mut missing = Vec::new();
    for (field, names) in [("event", &EVENTS[..]), ("kind", &KINDS[..])] {
        for name in names {
            if !shown.contains(&format!(r#""{field}":"{name}""#)) {
                missing.push(format!("{field} {name}"));
            }
        }
    }
    for code in ErrorCode::ALL {
        if !shown.contains(&format!(r#""error":{{"code":"{code}""#)) {
            missing.push(format!("error {code}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_name_is_in_its_table() {
    let cells: BTreeSet<&str> = PROTOCOL
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next())
        .flat_map(|cell| cell.split(','))
        .filter_map(|name| name.trim().strip_prefix('`')?.strip_suffix('`'))
        .collect();
    let notices = NoticeCode::ALL.iter().map(|code| code.as_str());
    let errors = ErrorCode::ALL.iter().map(|code| code.as_str());
    let missing: Vec<&str> = Request::OPS
        .into_iter()
        .chain(EVENTS)
        .chain(KINDS)
        .chain(notices)
        .chain(errors)
        .filter(|name| !cells.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// A server, its clients, and what the transcript has said of them so far.
struct Stage {
    number: usize,
    node: Loopback,
    clients: BTreeMap<String, Client>,
    values: BTreeMap<String, String>,
    failing: Option<StoreError>,
}

struct Client {
    connection: ConnectionId,
    replies: VecDeque<String>,
    events: VecDeque<String>,
    closed: bool,
}

impl Stage {
    fn new(options: &str) -> Self {
        let mut config = Config::new(Secret::new("a secret of at least thirty-two bytes"));
        config.rates = None;
        let mut limits = Limits::default();
        for option in options.split_whitespace() {
            match option.split_once('=').expect("name=value") {
                ("registration", "closed") => config.registration = Registration::Closed,
                ("invite", code) => {
                    config.registration = Registration::Invite(vec![Secret::new(code)]);
                }
                ("logins", count) => {
                    let logins = Rate::per_second(count.parse().unwrap(), 1);
                    config.rates = Some(Rates {
                        logins,
                        ..Rates::default()
                    });
                }
                ("friends", count) => limits.friends = count.parse().unwrap(),
                other => panic!("unknown option {other:?}"),
            }
        }
        Self {
            number: 0,
            node: Loopback::new(config, limits),
            clients: BTreeMap::new(),
            values: BTreeMap::new(),
            failing: None,
        }
    }

    fn play(&mut self, line: &str) {
        let (name, rest) = line.split_once(' ').expect("a name and a frame");
        if name == "--" {
            self.direct(rest);
        } else if let Some(client) = name.strip_suffix('>') {
            self.send(client, rest);
        } else if let Some(client) = name.strip_suffix('<') {
            self.expect(client, rest);
        } else {
            panic!("line {}: who is {name:?}?", self.number);
        }
    }

    fn order(&mut self, order: Order) {
        let ticket = OrderTicket(1);
        self.node.input(Input::Operator { ticket, order }).unwrap();
    }

    /// What happens between the lines.
    fn direct(&mut self, what: &str) {
        let words: Vec<&str> = what.split(' ').collect();
        match words[..] {
            ["the", "store", "is", "away"] => self.failing = Some(StoreError::Unavailable),
            ["the", "store", "is", "full"] => self.failing = Some(StoreError::Busy),
            ["the", "store", "waits"] => self.node.hold_store(),
            ["the", "store", "answers"] => self.node.release_store().unwrap(),
            ["the", "server", "stops"] => self.node.input(Input::Drain).unwrap(),
            ["an", "operator", "locks", "user", user] => {
                let user = UserId(user.parse().unwrap());
                self.order(Order::Lock(UserRef::Id(user)));
            }
            ["an", "operator", "announces", ..] => {
                let (_, text) = what.split_once("announces ").unwrap();
                self.order(Order::Announce(text.into()));
            }
            [name, "closes"] => {
                // The last frames were received before.
                self.collect();
                let client = self.clients.remove(name).expect("a connection");
                assert!(
                    client.is_silent(),
                    "line {}: {name} received more",
                    self.number
                );
                self.node.disconnect(client.connection).unwrap();
            }
            [count, "second" | "seconds", "passes" | "pass"] => {
                let seconds = count.parse().unwrap();
                self.node.advance(Duration::from_secs(seconds)).unwrap();
            }
            _ => panic!("line {}: what is {what:?}?", self.number),
        }
    }

    fn send(&mut self, name: &str, frame: &str) {
        let connection = match self.clients.get(name) {
            Some(client) if !client.closed => client.connection,
            _ => self.connect(name),
        };
        if frame == "(sends no more)" {
            self.node.input(Input::EndOfInput { connection }).unwrap();
            return;
        }
        let frame = self.fill_in(frame);
        let (id, request) = if frame.len() > MAX_CLIENT_FRAME {
            (None, Err(ErrorCode::FrameTooLarge.into()))
        } else {
            match decode::request(frame.as_bytes()) {
                Ok(frame) => (Some(frame.id), Ok(frame.request)),
                Err(failure) => (failure.id, Err(failure.error)),
            }
        };
        if self.failing.is_some() {
            self.node.hold_store();
        }
        let input = Input::Request {
            connection,
            id,
            request,
        };
        self.node.input(input).unwrap();
        if let Some(error) = self.failing {
            for (token, _) in self.node.take_held() {
                let result = Err(StoreFailure::Failed(error));
                self.node.complete(token, result).unwrap();
            }
        }
    }

    fn connect(&mut self, name: &str) -> ConnectionId {
        let connection = self.node.connect().unwrap();
        let client = Client {
            connection,
            replies: VecDeque::new(),
            events: VecDeque::new(),
            closed: false,
        };
        self.clients.insert(name.to_owned(), client);
        connection
    }

    /// Puts values where placeholders stand, and long texts where they are described.
    fn fill_in(&self, frame: &str) -> String {
        if let Some(bytes) = described(frame, "(a line of ") {
            return "x".repeat(bytes);
        }
        let mut filled = frame.to_owned();
        if let Some(bytes) = described(frame, "(a text of ") {
            filled = filled.replace(&format!("(a text of {bytes} bytes)"), &"x".repeat(bytes));
        }
        // What the store in memory takes for another service's token.
        if filled.contains("(a token for ") {
            filled = filled.replace("(a token for ", "jwt of us, ");
            filled = filled.replace(")\"", "\"");
        }
        for (name, value) in &self.values {
            filled = filled.replace(&format!("<{name}>"), value);
        }
        filled
    }

    fn expect(&mut self, name: &str, pattern: &str) {
        let number = self.number;
        self.collect();
        let client = self
            .clients
            .get_mut(name)
            .unwrap_or_else(|| panic!("line {number}: {name} never connected"));
        if pattern == "(closed)" {
            assert!(client.closed, "line {number}: the connection is open");
            assert!(client.is_silent(), "line {number}: {name} received more");
            return;
        }
        let queue = if is_event(pattern) {
            &mut client.events
        } else {
            &mut client.replies
        };
        let Some(frame) = queue.pop_front() else {
            panic!("line {number}: {name} received nothing instead of\n{pattern}");
        };
        let Some(values) = matches(pattern, &frame) else {
            panic!("line {number}: {name} expected\n{pattern}\nand received\n{frame}");
        };
        self.values.extend(values);
    }

    /// Takes what was sent to the clients and encodes it.
    fn collect(&mut self) {
        for client in self.clients.values_mut() {
            for sent in self.node.take(client.connection) {
                match sent {
                    Sent::Reply(id, result) => client
                        .replies
                        .push_back(text(|out| encode::reply(id, &result, out))),
                    Sent::Event(event) => client
                        .events
                        .push_back(text(|out| encode::event(&event, out))),
                    Sent::Closed => client.closed = true,
                }
            }
        }
    }

    fn expect_silence(&mut self) {
        self.collect();
        for (name, client) in &self.clients {
            let unexpected: Vec<&String> = client.replies.iter().chain(&client.events).collect();
            assert!(
                unexpected.is_empty(),
                "before line {}: {name} also received {unexpected:#?}",
                self.number
            );
        }
    }
}

impl Client {
    fn is_silent(&self) -> bool {
        self.replies.is_empty() && self.events.is_empty()
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut frame = Vec::new();
    write(&mut frame);
    String::from_utf8(frame).expect("UTF-8")
}

fn is_event(frame: &str) -> bool {
    frame.starts_with(r#"{"event":"#)
}

/// Reads the number of `(a line of 70000 bytes)`.
fn described(frame: &str, prefix: &str) -> Option<usize> {
    let (_, rest) = frame.split_once(prefix)?;
    rest.split_once(" bytes)")?.0.parse().ok()
}

/// Compares a frame with a pattern, byte for byte but for its placeholders, each of which stands
/// for the inside of a string or for a number; returns what they stand for.
fn matches(pattern: &str, frame: &str) -> Option<Vec<(String, String)>> {
    let mut values = Vec::new();
    let mut pattern = pattern;
    let mut frame = frame;
    while let Some((literal, rest)) = pattern.split_once('<') {
        let (name, rest) = rest.split_once('>')?;
        frame = frame.strip_prefix(literal)?;
        let end = if literal.ends_with('"') {
            frame.find('"')?
        } else {
            frame.find(|character: char| !character.is_ascii_digit())?
        };
        values.push((name.to_owned(), frame[..end].to_owned()));
        frame = &frame[end..];
        pattern = rest;
    }
    (pattern == frame).then_some(values)
}

/// Reads a text field of a frame, without looking closely.
fn field<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = frame.split_once(&format!(r#""{name}":""#))?;
    Some(rest.split_once('"')?.0)
}

fn request_id(frame: &str) -> Option<&str> {
    frame.strip_prefix(r#"{"id":"#)?.split(',').next()
}

#[test]
fn a_mismatch_is_noticed() {
    assert!(matches(r#"{"at":<at>}"#, r#"{"at":12}"#).is_some());
    assert!(matches(r#"{"at":<at>}"#, r#"{"at":12,"x":1}"#).is_none());
    assert!(matches(r#"{"a":<a>,"b":1}"#, r#"{"a":1,"b":2}"#).is_none());
    assert!(matches("{}", "{} ").is_none());
}
