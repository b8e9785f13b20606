//! A password that is not on the command line.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use parlor_core::protocol::PASSWORD_BYTES;
use parlor_core::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use thiserror::Error;

/// What a password that is made up is made of: no two of these look alike.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// How many of them: 100 bits.
const LENGTH: usize = 20;

/// Why there is no password.
#[derive(Debug, Error)]
pub(super) enum NoPassword {
    #[error("the password cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("the two passwords differ; nothing was changed")]
    Differ,
    #[error("a password has {} to {} bytes; nothing was changed", PASSWORD_BYTES.start(), PASSWORD_BYTES.end())]
    Length,
    #[error("cannot get random bytes from the system: {0}")]
    Random(getrandom::Error),
}

/// Makes a password up.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn generate() -> Result<Secret, NoPassword> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(NoPassword::Random)?;
    // As many letters as divide 256: each is as likely as the others.
    let letters = bytes
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
    let letters: String = letters.map(|byte| char::from(*byte)).collect();
    Ok(Secret::new(letters))
}

/// Asks for a password twice on a terminal; elsewhere takes the first line.
///
/// # Errors
/// Says why there is none.
pub(super) fn read() -> Result<Secret, NoPassword> {
    let password = match io::stdin().is_terminal() {
        true => {
            let first = prompt("New password: ")?;
            let second = prompt("Once more: ")?;
            if first != second {
                return Err(NoPassword::Differ);
            }
            first
        }
        false => line()?,
    };
    match PASSWORD_BYTES.contains(&password.len()) {
        true => Ok(Secret::new(password)),
        false => Err(NoPassword::Length),
    }
}

fn prompt(question: &str) -> Result<String, NoPassword> {
    let mut terminal = io::stderr();
    // Where nobody can read the question, the answer may come all the same.
    let _closed = terminal.write_all(question.as_bytes());
    let _quiet = Quiet::begin();
    let line = line();
    let _closed = terminal.write_all(b"\n");
    line
}

fn line() -> Result<String, NoPassword> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(NoPassword::Unreadable)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet {
    before: Option<Termios>,
}

impl Quiet {
    fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            let _shown = tcsetattr(io::stdin(), OptionalActions::Flush, &quiet);
        }
        Self { before }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _gone = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, LENGTH, generate};

    #[test]
    fn passwords_that_are_made_up_differ() {
        let [one, other] = [(), ()].map(|()| generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        for password in [one, other] {
            assert_eq!(password.expose().len(), LENGTH);
            assert!(password.expose().bytes().all(|it| ALPHABET.contains(&it)));
        }
    }
}
