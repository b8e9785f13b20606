//! Draws the state. Pure: the same state gives the same screen.

use parlor_core::client::{Offline, Status};
use parlor_core::id::{ConversationRef, Seq, UserId};
use parlor_core::log::FriendState;
use parlor_core::time::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};
use unicode_width::UnicodeWidthStr as _;

use super::command::HELP;
use super::editor::Editor;
use super::state::{Conversation, Happening, Shown, State, What};
use super::text::{clean, wrap};

/// What is on the screen beside the state.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The line that one types.
    pub(super) editor: Editor,
    /// The login's fields, while there is no session.
    pub(super) login: Option<Login>,
    /// What was told last, newest last.
    pub(super) told: Vec<(bool, String)>,
    /// Whether the list of commands is shown.
    pub(super) help: bool,
    /// How many lines one has scrolled up.
    pub(super) scroll: usize,
    /// The most that one can scroll, as of the last drawing.
    pub(super) scroll_end: usize,
    /// Minutes east of UTC.
    pub(super) zone: i64,
}

/// The login dialog.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// The name.
    pub(super) name: Editor,
    /// The password, shown as dots.
    pub(super) password: Editor,
    /// Whether the password is being typed, not the name.
    pub(super) in_password: bool,
    /// What went wrong, or is going on.
    pub(super) message: String,
}

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws everything.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    state: &State,
    screen: &mut Screen,
    server: &str,
    now: Timestamp,
) {
    let area = frame.area();
    if let Some(login) = &screen.login {
        draw_login(frame, area, login, server);
        return;
    }
    let side = (area.width / 4).clamp(12, 28);
    let [top, status] = Layout::vertical([Constraint::Min(3), Constraint::Length(1)]).areas(area);
    let [left, main] =
        Layout::horizontal([Constraint::Length(side), Constraint::Min(10)]).areas(top);
    draw_list(frame, left, state);
    let told = u16::try_from(screen.told.len().min(6)).unwrap_or(6);
    let parts = [
        Constraint::Min(1),
        Constraint::Length(told),
        Constraint::Length(2),
    ];
    let [log, notes, input] = Layout::vertical(parts).areas(main);
    draw_log(frame, log, state, screen, now);
    draw_notes(frame, notes, screen);
    draw_input(frame, input, screen);
    draw_status(frame, status, state, server, now);
    if screen.help {
        draw_help(frame, area);
    }
}

fn draw_login(frame: &mut Frame<'_>, area: Rect, login: &Login, server: &str) {
    let width = area.width.min(56);
    let height = area.height.min(9);
    let x = (area.width - width) / 2;
    let y = (area.height - height) / 2;
    let area = Rect::new(x, y, width, height);
    let block = Block::bordered().title(format!(" parlor at {} ", clean(server)));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let room = usize::from(inner.width).saturating_sub(11);
    let (name, name_cursor) = login.name.window(room);
    let hidden: String = login.password.text().chars().map(|_| '•').collect();
    let hidden: String = hidden.chars().take(room).collect();
    let lines = vec![
        Line::default(),
        Line::from(vec![Span::styled(" Name      ", BOLD), Span::raw(name)]),
        Line::from(vec![
            Span::styled(" Password  ", BOLD),
            Span::raw(hidden.clone()),
        ]),
        Line::default(),
        Line::styled(format!(" {}", clean(&login.message)), Color::Yellow),
        Line::default(),
        Line::styled(" Enter logs in · Ctrl-R registers · Esc quits", DIM),
    ];
    frame.render_widget(Paragraph::new(lines), inner);
    let (row, column) = if login.in_password {
        (2, hidden.width())
    } else {
        (1, name_cursor)
    };
    place_cursor(frame, inner, 11 + column, row);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let block = Block::default().borders(Borders::RIGHT);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inner.width);
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut selected = 0;
    for conversation in state.listed() {
        let open = state.open == Some(conversation);
        if open {
            selected = lines.len();
        }
        lines.push(list_line(state, conversation, open, width));
    }
    let asking = state
        .people
        .iter()
        .filter(|(_, it)| it.state == FriendState::RequestedBy);
    for (user, _) in asking {
        lines.push(Line::styled(
            fit(&format!("? {}", state.name(*user)), width),
            Color::Yellow,
        ));
    }
    for (group, name) in &state.invitations {
        let text = format!("? #{} ({group})", clean(name.as_str()));
        lines.push(Line::styled(fit(&text, width), Color::Yellow));
    }
    if lines.is_empty() {
        lines.push(Line::styled(fit("/add NAME to begin", width), DIM));
    }
    let rows = usize::from(inner.height);
    let skip = (selected + 1).saturating_sub(rows);
    let shown: Vec<_> = lines.into_iter().skip(skip).take(rows).collect();
    frame.render_widget(Paragraph::new(shown), inner);
}

fn list_line(
    state: &State,
    conversation: ConversationRef,
    open: bool,
    width: usize,
) -> Line<'static> {
    let mark = match conversation {
        ConversationRef::User(user) => match state.people.get(&user) {
            Some(person) if person.online => "● ",
            _ => "○ ",
        },
        ConversationRef::Group(_) => "  ",
    };
    let unread = state.unread(conversation);
    let count = if unread > 0 {
        format!(" {unread}")
    } else {
        String::new()
    };
    let room = width.saturating_sub(2 + count.width());
    let title = fit(&state.title(conversation), room);
    let style = match (open, unread > 0) {
        (true, _) => BOLD.add_modifier(Modifier::REVERSED),
        (false, true) => BOLD,
        (false, false) => Style::new(),
    };
    let online = if mark == "● " {
        Color::Green
    } else {
        Color::Reset
    };
    Line::from(vec![
        Span::styled(mark, online),
        Span::styled(title, style),
        Span::styled(count, Color::Cyan),
    ])
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, state: &State, screen: &mut Screen, now: Timestamp) {
    let Some(open) = state.open else {
        let hint = vec![
            Line::default(),
            Line::styled("  Choose a conversation with Tab, or /open NAME.", DIM),
            Line::styled("  /help shows every command.", DIM),
        ];
        frame.render_widget(Paragraph::new(hint), area);
        return;
    };
    let Some(conversation) = state.conversations.get(&open) else {
        return;
    };
    let width = usize::from(area.width).saturating_sub(1);
    let mut lines = log_lines(state, open, conversation, width, screen.zone);
    if let Some(typing) = typing_line(state, conversation, now) {
        lines.push(typing);
    }
    let rows = usize::from(area.height);
    screen.scroll_end = lines.len().saturating_sub(rows);
    screen.scroll = screen.scroll.min(screen.scroll_end);
    let skip = screen.scroll_end - screen.scroll;
    let shown: Vec<_> = lines.into_iter().skip(skip).take(rows).collect();
    frame.render_widget(Paragraph::new(shown), area);
}

fn log_lines(
    state: &State,
    open: ConversationRef,
    conversation: &Conversation,
    width: usize,
    zone: i64,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut day = None;
    for (seq, shown) in &conversation.entries {
        let today = local_minutes(shown.at, zone).div_euclid(24 * 60);
        if day != Some(today) {
            day = Some(today);
            let text = format!(" ── {} ──", date(today));
            lines.push(Line::styled(text, DIM));
        }
        let marks = marks(state, open, conversation, *seq, shown);
        entry_lines(
            &mut lines,
            state,
            conversation,
            (*seq, shown),
            (width, zone),
            marks,
        );
    }
    for unsent in &conversation.unsent {
        for line in wrap(&clean(&unsent.text), width.saturating_sub(8)) {
            lines.push(Line::styled(format!("   ··· {line}"), DIM));
        }
    }
    lines
}

/// Returns the marks of one's own direct messages: arrived, read.
fn marks(
    state: &State,
    open: ConversationRef,
    conversation: &Conversation,
    seq: Seq,
    shown: &Shown,
) -> &'static str {
    let direct = matches!(open, ConversationRef::User(_));
    if !direct || !state.is_me(shown.from) || !matches!(shown.what, What::Text { .. }) {
        ""
    } else if seq <= conversation.peer.1 {
        " ✓✓"
    } else if seq <= conversation.peer.0 {
        " ✓"
    } else {
        ""
    }
}

fn entry_lines(
    lines: &mut Vec<Line<'static>>,
    state: &State,
    conversation: &Conversation,
    (seq, shown): (Seq, &Shown),
    (width, zone): (usize, i64),
    marks: &'static str,
) {
    let minutes = local_minutes(shown.at, zone).rem_euclid(24 * 60);
    let time = format!(" {:02}:{:02} ", minutes / 60, minutes % 60);
    let What::Text {
        text,
        reply_to,
        edited,
        recalled,
    } = &shown.what
    else {
        if let What::Event(event) = &shown.what {
            let text = happening(state, shown.from, event);
            for line in wrap(&format!("{time}* {text}"), width) {
                lines.push(Line::styled(line, DIM));
            }
        }
        return;
    };
    let mine = state.is_me(shown.from);
    let color = if mine {
        Color::Cyan
    } else {
        color_of(shown.from)
    };
    lines.push(Line::from(vec![
        Span::styled(time, DIM),
        Span::styled(
            state.name(shown.from),
            Style::from(color).add_modifier(Modifier::BOLD),
        ),
        Span::styled(format!("  {seq}"), DIM),
        Span::styled(marks, Color::Green),
        Span::styled(if *edited { " (edited)" } else { "" }, DIM),
    ]));
    if let Some(reply_to) = reply_to {
        let quoted = quoted(state, conversation, *reply_to);
        lines.push(Line::styled(fit(&format!("       ┆ {quoted}"), width), DIM));
    }
    if *recalled {
        lines.push(Line::styled(
            "       (recalled)",
            DIM.add_modifier(Modifier::ITALIC),
        ));
        return;
    }
    for line in wrap(&clean(text), width.saturating_sub(7)) {
        lines.push(Line::raw(format!("       {line}")));
    }
}

fn quoted(state: &State, conversation: &Conversation, seq: Seq) -> String {
    match conversation.entries.get(&seq) {
        Some(Shown {
            from,
            what:
                What::Text {
                    text,
                    recalled: false,
                    ..
                },
            ..
        }) => {
            let text = clean(text).replace('\n', " ");
            format!("{}: {text}", state.name(*from))
        }
        _ => format!("message {seq}"),
    }
}

fn happening(state: &State, from: UserId, event: &Happening) -> String {
    let name = |user: &UserId| state.name(*user);
    match event {
        Happening::Joined(user) => format!("{} joined", name(user)),
        Happening::Left(user) => format!("{} left", name(user)),
        Happening::Removed(user) => format!("{} removed {}", name(&from), name(user)),
        Happening::Role(user, role) => format!("{} made {} {role}", name(&from), name(user)),
        Happening::Updated(change) => {
            let mut text = format!("{} changed the group", name(&from));
            if let Some(title) = &change.name {
                text.push_str(&format!(": it is called {}", clean(title.as_str())));
            }
            if let Some(description) = &change.description {
                text.push_str(&format!(": {}", clean(description).replace('\n', " ")));
            }
            text
        }
        Happening::Disbanded => format!("{} disbanded the group", name(&from)),
    }
}

fn typing_line(
    state: &State,
    conversation: &Conversation,
    now: Timestamp,
) -> Option<Line<'static>> {
    let typing = conversation
        .typing
        .iter()
        .filter(|(_, until)| **until > now);
    let names: Vec<_> = typing.map(|(user, _)| state.name(*user)).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    (!names.is_empty()).then(|| Line::styled(format!(" {} {verb} typing…", names.join(", ")), DIM))
}

fn draw_notes(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let rows = usize::from(area.height);
    let skip = screen.told.len().saturating_sub(rows);
    let lines: Vec<_> = screen
        .told
        .iter()
        .skip(skip)
        .map(|(bad, text)| {
            let color = if *bad { Color::Red } else { Color::Yellow };
            Line::styled(fit(&format!(" {text}"), usize::from(area.width)), color)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let block = Block::default().borders(Borders::TOP);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let room = usize::from(inner.width).saturating_sub(3);
    let (text, cursor) = screen.editor.window(room);
    frame.render_widget(Paragraph::new(format!("> {text}")), inner);
    place_cursor(frame, inner, 2 + cursor, 0);
}

fn draw_status(frame: &mut Frame<'_>, area: Rect, state: &State, server: &str, now: Timestamp) {
    let me = state
        .me
        .as_ref()
        .map_or_else(String::new, |(_, name)| clean(name.as_str()));
    let unsent: usize = state.conversations.values().map(|it| it.unsent.len()).sum();
    let waiting = if unsent > 0 {
        format!(" · {unsent} not sent yet")
    } else {
        String::new()
    };
    let text = format!(
        " {me}@{} · {}{waiting}",
        clean(server),
        status_text(&state.status, now)
    );
    let style = match state.status {
        Status::Online => Style::new().add_modifier(Modifier::REVERSED),
        _ => Style::from(Color::Yellow).add_modifier(Modifier::REVERSED),
    };
    let width = usize::from(area.width);
    let text = fit(&text, width);
    let padding = " ".repeat(width.saturating_sub(text.width()));
    frame.render_widget(Line::styled(text + &padding, style), area);
}

/// Returns the connection's state for people.
pub(super) fn status_text(status: &Status, now: Timestamp) -> String {
    match status {
        Status::Online => "connected".to_owned(),
        Status::Connecting => "connecting…".to_owned(),
        Status::Resuming => "logging in…".to_owned(),
        Status::Anonymous => "connected, not logged in".to_owned(),
        Status::LoginNeeded(_) => "log in again".to_owned(),
        Status::Waiting { until } => {
            let seconds = until.since(now).as_millis().div_ceil(1000);
            format!("reconnecting in {seconds} s")
        }
        Status::Offline(Offline::Ended(code)) => format!("session ended ({})", code.as_str()),
        Status::Offline(_) => "offline".to_owned(),
    }
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(HELP.len() + 6)
        .unwrap_or(u16::MAX)
        .min(area.height);
    let width = area.width.min(92);
    let area = Rect::new(
        (area.width - width) / 2,
        (area.height - height) / 2,
        width,
        height,
    );
    let mut lines: Vec<_> = HELP
        .iter()
        .map(|(usage, explanation)| {
            Line::from(vec![
                Span::styled(format!(" {usage:<46}"), BOLD),
                Span::raw(*explanation),
            ])
        })
        .collect();
    lines.push(Line::default());
    lines.push(Line::raw(
        " Tab, Ctrl-N, Ctrl-P: the next or previous conversation",
    ));
    lines.push(Line::raw(
        " PageUp, PageDown: scroll · Up, Down: earlier lines · Alt-Enter: line feed",
    ));
    lines.push(Line::raw(
        " ✓ arrived  ✓✓ read  ··· not sent yet · any key closes this",
    ));
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" help ")),
        area,
    );
}

fn place_cursor(frame: &mut Frame<'_>, area: Rect, column: usize, row: u16) {
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    let x = area
        .x
        .saturating_add(column)
        .min(area.right().saturating_sub(1));
    let y = area
        .y
        .saturating_add(row)
        .min(area.bottom().saturating_sub(1));
    frame.set_cursor_position(Position::new(x, y));
}

/// Cuts a text to a width, with an ellipsis where something is missing.
fn fit(text: &str, width: usize) -> String {
    let text = text.replace('\n', " ");
    if text.width() <= width {
        return text;
    }
    let mut cut = String::new();
    for character in text.chars() {
        let more = unicode_width::UnicodeWidthChar::width(character).unwrap_or(0);
        if cut.width() + more + 1 > width {
            break;
        }
        cut.push(character);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

fn color_of(user: UserId) -> Color {
    const COLORS: [Color; 5] = [
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::LightRed,
    ];
    let index = usize::try_from(user.0 % 5).unwrap_or(0);
    COLORS.get(index).copied().unwrap_or(Color::Reset)
}

fn local_minutes(at: Timestamp, zone: i64) -> i64 {
    i64::try_from(at.0 / 60_000).unwrap_or(i64::MAX / 2) + zone
}

/// Writes a day, counted from 1970-01-01, by the Gregorian calendar (Hinnant: "chrono-compatible
/// low-level date algorithms", civil_from_days).
fn date(day: i64) -> String {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
