//! `parlor chat`: a client for people and for scripts.
//!
//! On a terminal it fills the screen ([`screen`]). Where stdin or stdout is a pipe it reads one
//! command per line and prints one line per event ([`lines`]). Both do the same things by the same
//! means: [`driver`] runs the client session of `parlor-core` over TCP, [`desk`] carries commands
//! out, [`state`] holds what is known.

mod command;
mod desk;
mod driver;
mod editor;
mod lines;
mod outcome;
mod print;
mod screen;
mod state;
mod text;
mod view;

use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use async_signal::{Signal, Signals};
use async_std::task;
use clap::Args;
use futures::StreamExt as _;
use parlor_core::name::Name;
use parlor_core::secret::Secret;
use parlor_transport_tcp::TlsConnector;

use driver::Server;
pub(crate) use text::one_line;

const HELP: &str = "\
Examples:
  parlor chat
      Asks for name and password and opens the full screen; /help there shows every command.
  parlor chat --server chat.example.org:6000 --name ada
      Chats as ada on another machine.
  parlor chat --server chat.example.org:6443 --tls --name ada
      The same over TLS; --ca FILE where the certificate is not from a public authority.
  printf '%s\\n' '/open bob' 'hello' | PARLOR_PASSWORD=.. parlor chat --name ada
      Sends one message, waits until the server has it, and exits 0.
  PARLOR_INVITE=.. parlor chat --name ada --register
      Makes an account on a server that wants an invitation code.

Scripts: where stdin or stdout is no terminal, each line of stdin is a command or a text for the
open conversation, and each event is one line on stdout. The password comes from PARLOR_PASSWORD,
else from the first line. Names with spaces are \"quoted\"; in texts \\n is a line feed, \\\\ a backslash.

  Lines out:
    ok WHAT ..                     a command was carried out
    error CODE SENTENCE            it was not
    message NAME N TEXT            a direct message, the conversation's number N
    group-message #ID NAME N TEXT  a group's message
    sent NAME|#ID N TEXT           a message of one's own, on this device or another
    edited|recalled NAME|#ID N ..  message N was changed or erased
    group-event #ID N WHAT ..      joined, left, removed, role, updated, disbanded
    friend NAME STATE              none, requested, requested_by, friends or blocked
    group #ID STATE NAME           invited, member, removed, disbanded, none or requested
    presence NAME online|offline   receipt NAME delivered N read N   typing NAME|#ID NAME
    online   reconnecting SECONDS   notice CODE SENTENCE   history LINE

  Commands for scripts, beside those of /help:
    /wait SECONDS    does nothing for a while
    /await COUNT     waits for that many messages from others, at most 60 s
    /expect TEXT     waits for a line with TEXT, among those since the last one it found, at most 60 s

  At the end of input it waits until everything that was sent is acknowledged. It exits 0 then, and 1
  with a sentence on stderr when that did not happen within 60 s, when it cannot connect or log in, or
  when something waited for did not come.";

/// How to reach the server, and as whom.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The server: host:port.
    #[arg(
        long,
        value_name = "ADDR",
        env = "PARLOR_SERVER",
        default_value = "127.0.0.1:6000"
    )]
    server: String,

    /// Speaks TLS, and with nobody but the server that --server names, by its certificate.
    #[arg(long)]
    tls: bool,

    /// Certificates (PEM) to believe instead of the public authorities': a private authority's, or
    /// the server's own.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,

    /// The account's name. The full screen asks for it when it is not given.
    #[arg(long, value_name = "NAME", env = "PARLOR_NAME", value_parser = parse_name)]
    name: Option<Name>,

    /// Makes the account first; where the name is taken, logs in to it.
    #[arg(long)]
    register: bool,

    /// The invitation code that --register and Ctrl-R give, where the server wants one.
    #[arg(
        long,
        value_name = "CODE",
        env = "PARLOR_INVITE",
        hide_env_values = true,
        value_parser = parse_secret
    )]
    invite: Option<Secret>,
}

/// Runs the client to its end.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let tls = match (&arguments.ca, arguments.tls) {
        (Some(path), _) => match TlsConnector::private(path) {
            Ok(connector) => Some(connector),
            Err(error) => return crate::fail(&error),
        },
        (None, true) => Some(TlsConnector::public()),
        (None, false) => None,
    };
    let server = Server {
        address: arguments.server,
        tls,
    };
    let invite = arguments
        .invite
        .filter(|invite| !invite.expose().is_empty());
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let ended = if on_terminal {
        task::block_on(screen::run(
            server,
            arguments.name,
            arguments.register,
            invite,
        ))
    } else {
        match account(arguments.name, arguments.register, invite) {
            Ok(account) => task::block_on(lines::run(server, account)),
            Err(error) => Err(error),
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(&error),
    }
}

/// Finds out who chats, for a script.
fn account(
    name: Option<Name>,
    register: bool,
    invite: Option<Secret>,
) -> Result<lines::Account, String> {
    let name = name.ok_or("say who you are: --name NAME")?;
    let password = lines::password()?;
    Ok(lines::Account {
        name,
        password,
        register,
        invite,
    })
}

fn parse_name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| format!("the name {error}"))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "clap takes a function that may fail"
)]
fn parse_secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Says in one sentence why there is no connection.
fn cannot_connect(server: &str, error: &io::Error) -> String {
    match error.kind() {
        // It is running, and something is wrong with its TLS.
        io::ErrorKind::InvalidData => format!("cannot connect to {server}: {error}"),
        _ => format!("cannot connect to {server}: is `parlor serve` running? ({error})"),
    }
}

/// Calls for the end when SIGTERM, SIGINT or SIGHUP arrives.
fn on_signal<F>(stop: impl Fn() -> F + Send + 'static) -> Result<(), String>
where
    F: Future<Output = bool> + Send,
{
    let watched = [Signal::Term, Signal::Int, Signal::Hup];
    let mut signals = Signals::new(watched).map_err(|error| error.to_string())?;
    task::spawn(async move {
        while signals.next().await.is_some() {
            if !stop().await {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::Arguments;

    #[test]
    fn debug_shows_no_invitation_code() {
        let command = Arguments::augment_args(Command::new("chat"));
        let matches = command.get_matches_from(["chat", "--invite", "hidden"]);
        let arguments = Arguments::from_arg_matches(&matches).unwrap();
        assert!(!format!("{arguments:?}").contains("hidden"));
        assert_eq!(arguments.invite.unwrap().expose(), "hidden");
    }
}
