//! The client session against a server that keeps no rule, a network that breaks at any point, and
//! a program that asks for anything: played from a list of operations, so that property tests and
//! fuzzing share it.
//!
//! Whatever arrives, the session neither panics nor grows beyond its limits, hands out each
//! conversation's messages in order and once, sends nothing that a server could not read, gives
//! each request one outcome, and never calls, repeats or wakes without a pause. Once the server
//! is an honest one, whatever is still open comes to its end.

mod check;
mod program;
mod server;

use self::program::Program;

/// Something that happens. Numbers are reduced to those that there are, so that every value means
/// something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The program wants a connection, or none.
    Want(bool),
    /// The program asks for something.
    Ask(Ask),
    /// The connection that was asked for comes about, or does not.
    Made(bool),
    /// The connection breaks.
    Break,
    /// The server answers one of the requests under way.
    Answer {
        /// Which.
        request: u8,
        /// With what.
        answer: Answer,
        /// Whether it comes as a frame.
        framed: bool,
    },
    /// The server sends an event.
    Push {
        /// Which.
        event: Pushed,
        /// Whether it comes as a frame.
        framed: bool,
    },
    /// The server sends any bytes as a frame.
    Frame(Vec<u8>),
    /// Time passes.
    Wait(u16),
    /// Time passes until the session wants to wake.
    Wake,
}

/// What the program asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Logs in as one of two users.
    Login(u8),
    /// Resumes by the token that the session has.
    Resume,
    /// Ends the session.
    Logout,
    /// Writes into a conversation; a few sizes are too large.
    Send(u8, u8),
    /// Any of the other requests.
    Other(u8),
}

/// How the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With what the request asks for, made from these numbers.
    Fit(Vec<u8>),
    /// With an error, and when to repeat.
    Refuse(u8, Option<u8>),
    /// With what another kind of request asks for.
    Misfit(u8, Vec<u8>),
    /// As if another request had been sent, or (zero) without saying which.
    Unasked(u8),
}

/// What the server says unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// An entry: of which conversation, its number, its kind.
    Message(u8, u8, u8),
    /// What a group is to the reader.
    Group(u8, u8),
    /// A notice, and when to connect again.
    Notice(u8, Option<u8>),
    /// Any of the other events.
    Other(u8, u8),
}

/// Reads operations from bytes and plays them.
pub fn run(bytes: &[u8]) {
    play(&Op::read_all(bytes));
}

/// Plays operations.
///
/// # Panics
/// Where the session breaks a promise.
pub fn play(ops: &[Op]) {
    let mut program = Program::new();
    for op in ops {
        program.step(op);
    }
    program.finish();
}

impl Op {
    /// Reads as many operations as the bytes hold.
    #[must_use]
    pub fn read_all(bytes: &[u8]) -> Vec<Self> {
        let mut bytes = bytes.iter().copied();
        let mut ops = Vec::new();
        while let Some(op) = Self::read(&mut bytes) {
            ops.push(op);
        }
        ops
    }

    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        Some(match bytes.next()? % 32 {
            0 | 1 => Self::Want(true),
            2 => Self::Want(false),
            3..=7 => Self::Ask(Ask::read(bytes)?),
            8..=10 => Self::Made(true),
            11 => Self::Made(false),
            12 => Self::Break,
            13..=20 => Self::Answer {
                request: bytes.next()?,
                answer: Answer::read(bytes)?,
                framed: bytes.next()?.is_multiple_of(2),
            },
            21..=27 => Self::Push {
                event: Pushed::read(bytes)?,
                framed: bytes.next()?.is_multiple_of(2),
            },
            28 => Self::Frame(counted(bytes, u8::MAX)?),
            29 => Self::Wait(u16::from_le_bytes([bytes.next()?, bytes.next()?])),
            _ => Self::Wake,
        })
    }
}

impl Ask {
    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        Some(match bytes.next()? % 12 {
            0..=2 => Self::Login(bytes.next()?),
            3 => Self::Resume,
            4 => Self::Logout,
            5..=9 => Self::Send(bytes.next()?, bytes.next()?),
            _ => Self::Other(bytes.next()?),
        })
    }
}

impl Answer {
    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        Some(match bytes.next()? % 16 {
            0..=9 => Self::Fit(counted(bytes, 24)?),
            10..=13 => Self::Refuse(bytes.next()?, maybe(bytes)?),
            14 => Self::Misfit(bytes.next()?, counted(bytes, 24)?),
            _ => Self::Unasked(bytes.next()?),
        })
    }
}

impl Pushed {
    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        Some(match bytes.next()? % 16 {
            0..=9 => Self::Message(bytes.next()?, bytes.next()?, bytes.next()?),
            10 | 11 => Self::Group(bytes.next()?, bytes.next()?),
            12 | 13 => Self::Notice(bytes.next()?, maybe(bytes)?),
            _ => Self::Other(bytes.next()?, bytes.next()?),
        })
    }
}

/// Reads a number of bytes, then so many; fewer where they end.
fn counted(bytes: &mut impl Iterator<Item = u8>, limit: u8) -> Option<Vec<u8>> {
    let count = bytes.next()?.min(limit);
    Some(bytes.take(usize::from(count)).collect())
}

/// Reads a number that may be absent.
fn maybe(bytes: &mut impl Iterator<Item = u8>) -> Option<Option<u8>> {
    let present = bytes.next()?.is_multiple_of(2);
    Some(if present { Some(bytes.next()?) } else { None })
}
