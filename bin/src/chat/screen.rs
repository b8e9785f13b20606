//! The full screen: keys in, drawings out.

use std::io::stdout;
use std::time::Duration;

use parlor_core::client::{Offline, Status};
use parlor_core::id::ConversationRef;
use parlor_core::log::FriendState;
use parlor_core::name::Name;
use parlor_core::protocol::{Event as ServerEvent, GroupState, NoticeCode, PASSWORD_BYTES};
use parlor_core::secret::Secret;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, KeyCode, KeyEvent, KeyEventKind,
    KeyModifiers, read,
};
use ratatui::crossterm::execute;

use super::command::{Command, parse};
use super::desk::{Desk, Report};
use super::driver::{Server, Told};
use super::view::{Login, Screen, draw};

/// How many reports are kept in sight.
const NOTES: usize = 100;

/// How often clocks and typing marks are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// What comes from outside.
#[derive(Debug)]
enum UserInput {
    /// From the terminal.
    Terminal(Event),
    /// A signal asks to stop, or the terminal is gone.
    Stop,
}

/// Runs until the user quits; the error is a sentence.
pub(super) async fn run(
    server: Server,
    name: Option<Name>,
    register: bool,
    invite: Option<Secret>,
) -> Result<(), String> {
    let address = server.address.clone();
    let desk = Desk::new(server, invite).map_err(|error| error.to_string())?;
    let user = desk.driver.user_sender();
    let signals = user.clone();
    super::on_signal(move || {
        let signals = signals.clone();
        async move { signals.send(UserInput::Stop).await }
    })?;
    let mut terminal = Terminal::take()?;
    std::thread::spawn(move || {
        while let Ok(event) = read() {
            if !user.send_blocking(UserInput::Terminal(event)) {
                return;
            }
        }
        user.send_blocking(UserInput::Stop);
    });
    let mut login = Login::default();
    if let Some(name) = name {
        login.name.insert(name.as_str());
        login.in_password = true;
    }
    if register {
        login.message = "Choose a password, then Ctrl-R registers.".to_owned();
    }
    let screen = Screen {
        login: Some(login),
        zone: local_zone(),
        ..Screen::default()
    };
    let mut app = App {
        desk,
        screen,
        server: address,
        submitted: None,
        quit: false,
    };
    app.run(&mut terminal).await
}

/// The terminal, in raw mode until it is dropped, whatever happens.
struct Terminal(DefaultTerminal);

impl Terminal {
    fn take() -> Result<Self, String> {
        // Restores the terminal when the program panics, too.
        let terminal =
            ratatui::try_init().map_err(|error| format!("the terminal fails: {error}"))?;
        let terminal = Self(terminal);
        execute!(stdout(), EnableBracketedPaste).map_err(|error| error.to_string())?;
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // There is nothing to do about a terminal that is gone.
        let _gone = execute!(stdout(), DisableBracketedPaste);
        ratatui::restore();
    }
}

/// A run of the full screen.
#[derive(Debug)]
struct App {
    desk: Desk<UserInput>,
    screen: Screen,
    server: String,
    /// The name and password of the dialog, and whether to register, until the server has them.
    submitted: Option<(Name, Secret, bool)>,
    quit: bool,
}

impl App {
    async fn run(&mut self, terminal: &mut Terminal) -> Result<(), String> {
        loop {
            let now = self.desk.driver.now();
            self.desk.driver.alarm = Some(now + TICK);
            let (state, screen) = (&self.desk.state, &mut self.screen);
            terminal
                .0
                .draw(|frame| draw(frame, state, screen, &self.server, now))
                .map_err(|error| error.to_string())?;
            // What has piled up is drawn once.
            let mut told = self.desk.driver.next().await;
            loop {
                self.take(told);
                match self.desk.driver.try_next() {
                    Some(next) => told = next,
                    None => break,
                }
            }
            if self.quit {
                return self.leave().await;
            }
        }
    }

    fn take(&mut self, told: Told<UserInput>) {
        self.desk.apply(&told);
        match told {
            Told::User(UserInput::Terminal(event)) => self.on_terminal(event),
            Told::User(UserInput::Stop) => self.quit = true,
            Told::CannotConnect(error) => {
                if let Some(login) = &mut self.screen.login {
                    login.message = super::cannot_connect(&self.server, &error);
                    self.submitted = None;
                    self.desk.driver.want(false);
                }
            }
            Told::Status(status) => self.on_status(&status),
            // The session goes on by itself, with another node if there is one.
            Told::Event(ServerEvent::Notice {
                code: NoticeCode::Draining,
                ..
            }) => {}
            Told::Event(ServerEvent::Notice { code, message, .. }) => {
                let bad = code != NoticeCode::Announcement;
                self.note(bad, super::text::one_line(&message));
            }
            Told::Event(ServerEvent::Friend {
                user,
                state: FriendState::RequestedBy,
                ..
            }) => {
                let name = self.desk.state.name(user);
                self.note(
                    false,
                    format!("{name} asks for friendship: /accept or /reject {name}"),
                );
            }
            Told::Event(ServerEvent::Group {
                group,
                state: GroupState::Invited,
                ..
            }) => {
                self.note(false, format!("you are invited: /group join {group}"));
            }
            Told::Event(_)
            | Told::Outcome(..)
            | Told::Resumed(_)
            | Told::Listed(_)
            | Told::Settled
            | Told::Alarm => {}
        }
        for report in self.desk.take_reports() {
            match (report, &mut self.screen.login) {
                (Report::Error(code, sentence), Some(login)) => {
                    login.message = match code.as_str() {
                        "bad_credentials" => {
                            "No such user, or a wrong password. New here? Ctrl-R".to_owned()
                        }
                        "bad_invite" => {
                            "Not invited: start parlor chat with --invite CODE".to_owned()
                        }
                        _ => sentence,
                    };
                }
                (Report::Error(code, sentence), None) => {
                    self.note(true, format!("{code}: {sentence}"));
                }
                (Report::Ok(said) | Report::Item(said), _) => self.note(false, said),
            }
        }
        self.open_first();
    }

    /// Opens a conversation where none is: so that the first friend can be written to at once.
    fn open_first(&mut self) {
        let state = &self.desk.state;
        if state.open.is_none()
            && state.status == Status::Online
            && let Some(first) = state.listed().first()
        {
            self.desk.open_conversation(*first);
        }
    }

    fn on_status(&mut self, status: &Status) {
        match status {
            Status::Anonymous => match self.submitted.take() {
                Some((name, password, true)) => self.desk.register(name, password),
                Some((name, password, false)) => self.desk.login(name, password),
                None => self.ask_login("Log in."),
            },
            Status::Online => {
                self.screen.login = None;
                self.screen.told.clear();
            }
            Status::LoginNeeded(_) => self.ask_login("The session has expired: log in again."),
            Status::Offline(Offline::Ended(_)) => self.ask_login("The session was ended."),
            Status::Offline(_) | Status::Connecting | Status::Waiting { .. } | Status::Resuming => {
            }
        }
    }

    /// Shows the login dialog, if it is not there.
    fn ask_login(&mut self, message: &str) {
        if self.screen.login.is_none() {
            let mut login = Login {
                message: message.to_owned(),
                ..Login::default()
            };
            if let Some((_, name)) = &self.desk.state.me {
                login.name.insert(name.as_str());
                login.in_password = true;
            }
            self.screen.login = Some(login);
        }
    }

    fn on_terminal(&mut self, event: Event) {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.on_key(key),
            Event::Paste(text) => match &mut self.screen.login {
                Some(login) => login.field().insert(text.trim_end_matches(['\r', '\n'])),
                None => self.screen.editor.insert(&text),
            },
            _ => {}
        }
    }

    fn on_key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            self.quit = true;
        } else if self.screen.login.is_some() {
            self.on_login_key(key, control);
        } else if std::mem::take(&mut self.screen.help) {
            // Any key closes the help.
        } else if control {
            self.on_control_key(key.code);
        } else {
            self.on_plain_key(key);
        }
    }

    fn on_login_key(&mut self, key: KeyEvent, control: bool) {
        let Some(login) = &mut self.screen.login else {
            return;
        };
        match key.code {
            KeyCode::Esc => self.quit = true,
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Up | KeyCode::Down => {
                login.in_password = !login.in_password;
            }
            KeyCode::Enter if !login.in_password => login.in_password = true,
            KeyCode::Enter => self.submit_login(false),
            KeyCode::Char('r') if control => self.submit_login(true),
            KeyCode::Char('u') if control => login.field().clear(),
            KeyCode::Char(character) if !control => {
                login.field().insert(character.encode_utf8(&mut [0; 4]));
            }
            code => edit(login.field(), code),
        }
    }

    fn submit_login(&mut self, register: bool) {
        let Some(login) = &mut self.screen.login else {
            return;
        };
        let name = match Name::new(&login.name.text()) {
            Ok(name) => name,
            Err(error) => {
                login.message = format!("The name {error}.");
                login.in_password = false;
                return;
            }
        };
        let password = login.password.text();
        if !PASSWORD_BYTES.contains(&password.len()) {
            login.message = "A password has 8 to 256 bytes.".to_owned();
            login.in_password = true;
            return;
        }
        login.message = "Connecting…".to_owned();
        let password = Secret::new(password);
        match self.desk.state.status {
            Status::Anonymous | Status::LoginNeeded(_) if register => {
                self.desk.register(name, password);
            }
            Status::Anonymous | Status::LoginNeeded(_) => self.desk.login(name, password),
            _ => {
                self.submitted = Some((name, password, register));
                self.desk.driver.want(true);
            }
        }
    }

    fn on_control_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('n') => self.switch(1),
            KeyCode::Char('p') => self.switch(-1),
            KeyCode::Char('a') => self.screen.editor.home(),
            KeyCode::Char('e') => self.screen.editor.end(),
            KeyCode::Char('w') => self.screen.editor.delete_word(),
            KeyCode::Char('u') => self.screen.editor.delete_to_start(),
            KeyCode::Char('l') => self.screen.told.clear(),
            _ => {}
        }
    }

    fn on_plain_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Enter if key.modifiers.contains(KeyModifiers::ALT) => {
                self.screen.editor.insert("\n");
            }
            KeyCode::Enter => self.submit(),
            KeyCode::Tab => self.switch(1),
            KeyCode::BackTab => self.switch(-1),
            KeyCode::Esc => self.screen.told.clear(),
            KeyCode::Up => self.screen.editor.older(),
            KeyCode::Down => self.screen.editor.newer(),
            KeyCode::PageUp => {
                if self.screen.scroll >= self.screen.scroll_end {
                    self.desk.load_older(50);
                }
                self.screen.scroll += 10;
            }
            KeyCode::PageDown => self.screen.scroll = self.screen.scroll.saturating_sub(10),
            KeyCode::Char(character) => {
                self.screen
                    .editor
                    .insert(character.encode_utf8(&mut [0; 4]));
                if !self.screen.editor.text().starts_with('/') {
                    self.desk.typing();
                }
            }
            code => edit(&mut self.screen.editor, code),
        }
    }

    /// Carries out what was typed.
    fn submit(&mut self) {
        let line = self.screen.editor.submit();
        self.screen.scroll = 0;
        match parse(&line) {
            Ok(Command::Quit) => self.quit = true,
            Ok(Command::Help) => self.screen.help = true,
            Ok(command) => {
                self.screen.told.clear();
                self.desk.execute(command);
            }
            Err(sentence) => self.note(true, sentence),
        }
        for report in self.desk.take_reports() {
            match report {
                Report::Error(_, sentence) => self.note(true, sentence),
                Report::Ok(said) | Report::Item(said) => self.note(false, said),
            }
        }
    }

    /// Opens the conversation some places further.
    fn switch(&mut self, by: isize) {
        let listed: Vec<ConversationRef> = self.desk.state.listed();
        let open = self.desk.state.open;
        let at = listed.iter().position(|it| Some(*it) == open);
        let count = isize::try_from(listed.len()).unwrap_or(isize::MAX);
        let next = match at.and_then(|at| isize::try_from(at).ok()) {
            Some(at) => (at + by).checked_rem_euclid(count),
            None => Some(0),
        };
        let found = next.and_then(|next| listed.get(usize::try_from(next).ok()?));
        if let Some(conversation) = found {
            self.screen.scroll = 0;
            self.desk.open_conversation(*conversation);
        }
    }

    fn note(&mut self, bad: bool, text: String) {
        self.screen.told.push((bad, text));
        if self.screen.told.len() > NOTES {
            self.screen.told.remove(0);
        }
    }

    /// Closes the connection politely.
    async fn leave(&mut self) -> Result<(), String> {
        let unsent = self.desk.driver.session().unacknowledged_sends();
        self.desk.driver.want(false);
        let patience = self.desk.driver.now() + Duration::from_secs(3);
        self.desk.driver.alarm = Some(patience);
        while self.desk.driver.now() < patience
            && self.desk.state.status != Status::Offline(Offline::NotWanted)
        {
            let told = self.desk.driver.next().await;
            self.desk.apply(&told);
        }
        match unsent {
            0 => Ok(()),
            count => Err(format!("{count} messages were not sent")),
        }
    }
}

impl Login {
    /// Returns the field that one types into.
    fn field(&mut self) -> &mut super::editor::Editor {
        if self.in_password {
            &mut self.password
        } else {
            &mut self.name
        }
    }
}

/// Returns how many minutes the local clock is east of UTC.
fn local_zone() -> i64 {
    i64::from(jiff::Zoned::now().offset().seconds() / 60)
}

/// Moves and removes, in any field.
fn edit(editor: &mut super::editor::Editor, code: KeyCode) {
    match code {
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Delete => editor.delete(),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End => editor.end(),
        _ => {}
    }
}
