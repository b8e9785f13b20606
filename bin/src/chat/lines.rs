//! The mode for scripts: commands in, one line per event out.

use std::collections::VecDeque;
use std::io::{BufRead as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use parlor_core::client::{Offline, Outcome, Status};
use parlor_core::name::Name;
use parlor_core::protocol::{Event, Message, Reply};
use parlor_core::secret::Secret;
use parlor_core::time::Timestamp;

use super::command::{Command, HELP, parse};
use super::desk::{Desk, Intent, Report};
use super::driver::{Server, Told};
use super::print;
use super::state::State;

/// How long `/await` and `/expect` wait, and the end of the input for acknowledgements.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines that `/expect` can look back on.
const REMEMBERED: usize = 10_000;

/// Sends that wait for acknowledgement before the next line is read.
const AHEAD: usize = 500;

/// What comes from outside.
#[derive(Debug)]
enum UserInput {
    /// A line.
    Line(String),
    /// There are no more lines.
    End,
    /// A signal asks to stop.
    Stop,
}

/// Who chats.
#[derive(Debug)]
pub(super) struct Account {
    /// The name.
    pub(super) name: Name,
    /// The password.
    pub(super) password: Secret,
    /// Whether to make the account first.
    pub(super) register: bool,
    /// The invitation code for that.
    pub(super) invite: Option<Secret>,
}

/// What holds the next line back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hold {
    /// The login.
    Login,
    /// `/wait`.
    Wait(Timestamp),
    /// `/await`: that many messages.
    Await(u64, Timestamp),
    /// `/expect`: a line with this in it.
    Expect(String, Timestamp),
}

/// A run of the line mode.
#[derive(Debug)]
struct Lines {
    desk: Desk<UserInput>,
    account: Account,
    permits: mpsc::SyncSender<()>,
    line: Option<String>,
    /// When the input ended.
    ended: Option<Timestamp>,
    hold: Option<Hold>,
    /// Events that wait for a name.
    events: VecDeque<(Printed, Event)>,
    /// Lines that no `/expect` has passed.
    printed: VecDeque<String>,
    /// Messages that no `/await` has counted.
    messages: u64,
    logged_in: bool,
    failed: bool,
}

/// How an event is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    /// As it is.
    Fresh,
    /// As part of a history.
    History,
}

/// Runs until the input ends or `/quit`; the error is a sentence.
pub(super) async fn run(server: Server, mut account: Account) -> Result<(), String> {
    let invite = account.invite.take();
    let address = server.address.clone();
    let mut desk = Desk::new(server, invite).map_err(|error| error.to_string())?;
    desk.preload = false;
    // One line at a time is read ahead.
    let (permits, wanted) = mpsc::sync_channel(1);
    let user = desk.driver.user_sender();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if !user.send_blocking(UserInput::Line(line)) || wanted.recv().is_err() {
                return;
            }
        }
        user.send_blocking(UserInput::End);
    });
    let user = desk.driver.user_sender();
    super::on_signal(move || {
        let user = user.clone();
        async move { user.send(UserInput::Stop).await }
    })?;
    let mut lines = Lines {
        desk,
        account,
        permits,
        line: None,
        ended: None,
        hold: Some(Hold::Login),
        events: VecDeque::new(),
        printed: VecDeque::new(),
        messages: 0,
        logged_in: false,
        failed: false,
    };
    lines.desk.driver.want(true);
    loop {
        let told = lines.desk.driver.next().await;
        if let Some(end) = lines.take(told, &address) {
            return end;
        }
        if let Some(end) = lines.advance() {
            lines.leave().await;
            return end;
        }
    }
}

impl Lines {
    /// Takes what the driver tells; returns how the run ends, if it does.
    fn take(&mut self, told: Told<UserInput>, server: &str) -> Option<Result<(), String>> {
        self.keep_events(&told);
        self.desk.apply(&told);
        match told {
            Told::User(UserInput::Line(line)) => self.line = Some(line),
            Told::User(UserInput::End) => self.ended = Some(self.desk.driver.now()),
            Told::User(UserInput::Stop) => return Some(Err("stopped by a signal".to_owned())),
            Told::CannotConnect(error) if !self.logged_in => {
                return Some(Err(super::cannot_connect(server, &error)));
            }
            Told::Status(status) => return self.on_status(&status),
            Told::CannotConnect(_)
            | Told::Outcome(..)
            | Told::Event(_)
            | Told::Resumed(_)
            | Told::Listed(_)
            | Told::Settled
            | Told::Alarm => {}
        }
        let failed = self.report();
        // A login that was refused: nothing can follow.
        match failed {
            Some(sentence) if self.hold == Some(Hold::Login) => Some(Err(sentence)),
            _ => None,
        }
    }

    /// Keeps what is to be printed once every name in it is known.
    fn keep_events(&mut self, told: &Told<UserInput>) {
        match told {
            Told::Event(event) => self.events.push_back((Printed::Fresh, event.clone())),
            Told::Outcome(ticket, Outcome::Done(Reply::History { messages, .. })) => {
                if let Some(Intent::Print) = self.desk.intents.get(ticket) {
                    let events = messages.iter().cloned().map(Event::Message);
                    self.events
                        .extend(events.map(|event| (Printed::History, event)));
                }
            }
            _ => {}
        }
    }

    fn on_status(&mut self, status: &Status) -> Option<Result<(), String>> {
        match status {
            Status::Anonymous => {
                let (name, password) = (self.account.name.clone(), self.account.password.clone());
                if std::mem::take(&mut self.account.register) {
                    self.desk.register(name, password);
                } else {
                    self.desk.login(name, password);
                }
                self.hold = Some(Hold::Login);
            }
            Status::LoginNeeded(_) => {
                let (name, password) = (self.account.name.clone(), self.account.password.clone());
                self.desk.login(name, password);
            }
            Status::Online => {
                self.logged_in = true;
                self.say("online".to_owned());
                if self.hold == Some(Hold::Login) {
                    self.hold = None;
                }
            }
            Status::Waiting { until } if self.logged_in => {
                let wait = until.since(self.desk.driver.now()).as_secs_f64();
                self.say(format!("reconnecting {wait:.1}"));
            }
            Status::Offline(Offline::Ended(code)) => {
                let code = code.as_str();
                return Some(Err(format!("the server ended the session ({code})")));
            }
            Status::Offline(Offline::TooManyConversations) => {
                return Some(Err("the server names too many conversations".to_owned()));
            }
            Status::Offline(Offline::NotWanted)
            | Status::Connecting
            | Status::Resuming
            | Status::Waiting { .. } => {}
        }
        self.report();
        None
    }

    /// Prints what there is to tell; returns the last error's sentence.
    fn report(&mut self) -> Option<String> {
        let mut failed = None;
        for report in self.desk.take_reports() {
            match report {
                Report::Ok(said) => self.say(format!("ok {said}")),
                Report::Item(item) => self.say(item),
                Report::Error(code, sentence) => {
                    self.say(format!("error {code} {sentence}"));
                    failed = Some(format!("{code}: {sentence}"));
                }
            }
        }
        failed
    }

    /// Goes on with the script as far as possible; returns how the run ends, if it does.
    fn advance(&mut self) -> Option<Result<(), String>> {
        loop {
            self.print_events();
            self.report();
            if !self.is_released() {
                return None;
            }
            self.desk.driver.alarm = None;
            if let Some(line) = self.line.take() {
                // A reader that has ended needs no permit.
                let _ended = self.permits.try_send(());
                if self.execute(&line) {
                    return Some(self.verdict());
                }
                continue;
            }
            let ended = self.ended?;
            return self.at_end(ended);
        }
    }

    /// The input has ended: waits until all is acknowledged, but not for ever.
    fn at_end(&mut self, ended: Timestamp) -> Option<Result<(), String>> {
        if self.desk.driver.session().is_settled() && self.events.is_empty() {
            return Some(self.verdict());
        }
        let deadline = ended + PATIENCE;
        if self.desk.driver.now() < deadline {
            self.desk.driver.alarm = Some(deadline);
            return None;
        }
        let unsent = self.desk.driver.session().unacknowledged_sends();
        Some(Err(format!("{unsent} messages were not acknowledged")))
    }

    /// Tells whether the next line may be carried out.
    fn is_released(&mut self) -> bool {
        let now = self.desk.driver.now();
        let passed = match &self.hold {
            None => true,
            Some(Hold::Login) => return false,
            Some(Hold::Wait(until)) => now >= *until,
            Some(Hold::Await(count, _)) => match self.messages.checked_sub(*count) {
                Some(rest) => {
                    self.messages = rest;
                    true
                }
                None => false,
            },
            Some(Hold::Expect(text, _)) => {
                let found = self.printed.iter().position(|line| line.contains(text));
                if let Some(index) = found {
                    self.printed.drain(..=index);
                }
                found.is_some()
            }
        };
        if passed {
            self.hold = None;
        } else if let Some(Hold::Await(_, deadline) | Hold::Expect(_, deadline)) = self.hold {
            if now < deadline {
                self.desk.driver.alarm = Some(deadline);
                return false;
            }
            self.hold = None;
            self.failed = true;
            self.say("error timeout what was waited for did not come".to_owned());
        } else if let Some(Hold::Wait(until)) = self.hold {
            self.desk.driver.alarm = Some(until);
            return false;
        }
        let session = self.desk.driver.session();
        // A command may name what is yet to be listed.
        let busy = session.is_listing() || self.desk.intents.values().any(holds_back);
        // Text goes to the outbox, connected or not.
        let text = self.line.as_ref().is_some_and(|line| is_text(line));
        let able = session.is_online() || (text && self.logged_in);
        let ahead = if text { AHEAD } else { 1 };
        let free = able && !busy && session.unacknowledged_sends() < ahead;
        free || self.ended_offline()
    }

    /// Tells whether the input has ended and there is no session: only time can help.
    fn ended_offline(&self) -> bool {
        self.logged_in && self.ended.is_some() && self.line.is_none() && self.hold.is_none()
    }

    /// Carries a line out; returns whether it ends the run.
    fn execute(&mut self, line: &str) -> bool {
        let now = self.desk.driver.now();
        match parse(line) {
            Ok(Command::Quit) => return true,
            Ok(Command::Wait(wait)) => self.hold = Some(Hold::Wait(now + wait)),
            Ok(Command::Await(count)) => self.hold = Some(Hold::Await(count, now + PATIENCE)),
            Ok(Command::Expect(text)) => self.hold = Some(Hold::Expect(text, now + PATIENCE)),
            Ok(Command::Help) => {
                for (usage, explanation) in HELP {
                    self.say(format!("help {usage}: {explanation}"));
                }
            }
            Ok(command) => self.desk.execute(command),
            Err(sentence) => self.desk.refuse(sentence),
        }
        false
    }

    /// Prints the events whose names are known, in order.
    fn print_events(&mut self) {
        while let Some((how, event)) = self.events.front() {
            if let Event::Message(message) = event {
                let unnamed = State::unnamed(message, &self.desk.state.names);
                if !unnamed.is_empty() {
                    for user in unnamed {
                        self.desk.ask_name(user);
                    }
                    return;
                }
            }
            let line = print::event(&self.desk.state, event);
            let history = *how == Printed::History;
            let counted = !history && is_from_another(&self.desk.state, event);
            self.messages += u64::from(counted);
            self.events.pop_front();
            if let Some(line) = line {
                self.say(if history {
                    format!("history {line}")
                } else {
                    line
                });
            }
        }
    }

    /// Prints a line.
    fn say(&mut self, line: String) {
        let mut out = std::io::stdout().lock();
        // Whoever reads has gone: the exit code says so.
        self.failed |= writeln!(out, "{line}").and_then(|()| out.flush()).is_err();
        self.printed.push_back(line);
        if self.printed.len() > REMEMBERED {
            self.printed.pop_front();
        }
    }

    fn verdict(&self) -> Result<(), String> {
        let unsent = self.desk.driver.session().unacknowledged_sends();
        match (unsent, self.failed) {
            (0, false) => Ok(()),
            (0, true) => Err("what was waited for did not come".to_owned()),
            (unsent, _) => Err(format!("{unsent} messages were not acknowledged")),
        }
    }

    /// Closes the connection politely.
    async fn leave(&mut self) {
        self.desk.driver.want(false);
        while self.desk.state.status != Status::Offline(Offline::NotWanted) {
            let told = self.desk.driver.next().await;
            self.desk.apply(&told);
        }
    }
}

/// Tells whether the next line waits for what a request brings.
fn holds_back(intent: &Intent) -> bool {
    !matches!(
        intent,
        Intent::Quiet | Intent::Naming(_) | Intent::Read(_) | Intent::Send(_)
    )
}

/// Tells whether a line is no command.
fn is_text(line: &str) -> bool {
    !line.starts_with('/') || line.starts_with("//")
}

/// Tells whether an event is someone else's message.
fn is_from_another(state: &State, event: &Event) -> bool {
    match event {
        Event::Message(Message { from, body, .. }) => {
            !state.is_me(*from) && matches!(body, parlor_core::log::Body::Text(_))
        }
        _ => false,
    }
}

/// Reads the password from the environment, or else from the first line of the input.
pub(super) fn password() -> Result<Secret, String> {
    if let Ok(password) = std::env::var("PARLOR_PASSWORD") {
        return Ok(Secret::new(password));
    }
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(Secret::new(line.trim_end_matches(['\r', '\n']))),
        _ => Err("set PARLOR_PASSWORD, or give the password as the first line".to_owned()),
    }
}
