//! As much of a client as commanding servers takes
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>, version 2).

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest string, and the most elements of an array, that are read.
const LONGEST: usize = 1 << 20;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Text, of whatever kind.
    Text(String),
    /// A number.
    Number(i64),
    /// Nothing.
    Nil,
    /// Several answers.
    List(Vec<Reply>),
}

impl Reply {
    /// Returns the text, or nothing where it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A connection to a Redis server or sentinel. Commands wait for their answers, at most 5 s.
pub struct RedisClient {
    stream: BufReader<Box<dyn Stream>>,
}

impl RedisClient {
    /// Connects to a port of 127.0.0.1.
    ///
    /// # Errors
    /// Where nobody listens, or the password is wrong.
    pub fn connect(port: u16, password: Option<&str>) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Self::new(Box::new(stream), password)
    }

    /// Connects to a unix socket.
    pub(crate) fn connect_unix(socket: &Path, password: Option<&str>) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Self::new(Box::new(stream), password)
    }

    fn new(stream: Box<dyn Stream>, password: Option<&str>) -> io::Result<Self> {
        let stream = BufReader::new(stream);
        let mut client = Self { stream };
        if let Some(password) = password {
            client.command(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// Sends a command and reads the answer.
    ///
    /// # Errors
    /// Where the connection fails or the server refuses.
    pub fn command(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_bytes())?;
        stream.flush()?;
        self.reply(0)
    }

    fn reply(&mut self, depth: usize) -> io::Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.trim_end_matches(['\r', '\n']);
        let (kind, rest) = line
            .split_at_checked(1)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => Err(io::Error::other(rest.to_owned())),
            ":" => rest.parse().map(Reply::Number).map_err(|_| strange()),
            "$" | "*" if rest == "-1" => Ok(Reply::Nil),
            "$" => self.bulk(length(rest)?),
            "*" if depth < 8 => {
                let elements = (0..length(rest)?).map(|_| self.reply(depth + 1));
                elements.collect::<io::Result<_>>().map(Reply::List)
            }
            _ => Err(strange()),
        }
    }

    fn bulk(&mut self, length: usize) -> io::Result<Reply> {
        // The end of the line belongs to it.
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedisClient")
            .finish_non_exhaustive()
    }
}

fn length(text: &str) -> io::Result<usize> {
    let length = text.parse().ok().filter(|length| *length <= LONGEST);
    length.ok_or_else(strange)
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no answer of Redis")
}
