use std::sync::Arc;

use parlor_core::client::Ticket;
use parlor_core::id::GroupId;
use parlor_core::name::Name;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::state::{Person, Unsent};
use super::*;

const BOB: UserId = UserId(2);
const WITH_BOB: ConversationRef = ConversationRef::User(BOB);
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn said(from: u64, text: &str) -> Shown {
    Shown {
        from: UserId(from),
        at: NOW,
        what: What::Text {
            text: text.into(),
            reply_to: None,
            edited: false,
            recalled: false,
        },
    }
}

fn state() -> State {
    let mut state = State::new(Status::Online);
    let name = |text| Name::new(text).unwrap();
    state.me = Some((UserId(1), name("ann")));
    state.names.insert(UserId(1), name("ann"));
    state.names.insert(BOB, name("Bob"));
    state.people.insert(
        BOB,
        Person {
            state: FriendState::Friends,
            online: true,
        },
    );
    state.groups.insert(GroupId(7), name("crew"));
    state.open = Some(WITH_BOB);
    let conversation = state.conversations.entry(WITH_BOB).or_default();
    conversation
        .entries
        .insert(Seq(1), said(2, "hello 日本語 👍"));
    conversation.entries.insert(Seq(2), said(1, "hi"));
    conversation.entries.insert(Seq(3), said(1, "you there?"));
    conversation.peer = (Seq(3), Seq(2));
    conversation.read = Seq(3);
    conversation.oldest = Some(Seq(1));
    state
}

fn drawn(state: &State, screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(frame, state, screen, "127.0.0.1:6000", NOW))
        .unwrap();
    let buffer = terminal.backend().buffer().clone();
    (0..height)
        .map(|y| {
            let mut line = String::new();
            let mut x = 0;
            while x < width {
                let symbol = buffer[(x, y)].symbol();
                line.push_str(symbol);
                x += u16::try_from(symbol.width().max(1)).unwrap();
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn a_conversation_shows_people_times_texts_and_marks() {
    let lines = drawn(&state(), &mut Screen::default(), 60, 13);
    assert_eq!(
        lines,
        [
            "● Bob         │ ── 2023-11-14 ──",
            "  #crew       │ 22:13 Bob  1",
            "              │       hello 日本語 👍",
            "              │ 22:13 ann  2 ✓✓",
            "              │       hi",
            "              │ 22:13 ann  3 ✓",
            "              │       you there?",
            "              │",
            "              │",
            "              │",
            "              │─────────────────────────────────────────────",
            "              │>",
            " ann@127.0.0.1:6000 · connected",
        ]
    );
}

#[test]
fn unread_typing_and_unsent_show() {
    let mut state = state();
    let conversation = state.conversations.entry(WITH_BOB).or_default();
    conversation.read = Seq(0);
    conversation
        .typing
        .insert(BOB, NOW + std::time::Duration::from_secs(1));
    conversation.unsent.push(Unsent {
        ticket: Ticket(1),
        text: Arc::from("on its way"),
        reply_to: None,
    });
    state.status = Status::Waiting {
        until: NOW + std::time::Duration::from_millis(2500),
    };
    let screen = drawn(&state, &mut Screen::default(), 60, 16).join("\n");
    assert!(
        screen.contains("● Bob") && screen.contains(" 1 │") || screen.contains("Bob 1"),
        "{screen}"
    );
    assert!(screen.contains("Bob is typing…"), "{screen}");
    assert!(screen.contains("··· on its way"), "{screen}");
    assert!(
        screen.contains("reconnecting in 3 s · 1 not sent yet"),
        "{screen}"
    );
}

#[test]
fn a_mark_of_typing_fades() {
    let mut state = state();
    let conversation = state.conversations.entry(WITH_BOB).or_default();
    conversation.typing.insert(BOB, NOW);
    let screen = drawn(&state, &mut Screen::default(), 60, 16).join("\n");
    assert!(!screen.contains("typing"), "{screen}");
}

#[test]
fn edits_recalls_replies_and_group_events_show() {
    let mut state = state();
    let conversation = state.conversations.entry(WITH_BOB).or_default();
    let what = |text: &str, reply_to, edited, recalled| What::Text {
        text: text.into(),
        reply_to,
        edited,
        recalled,
    };
    let add = |conversation: &mut Conversation, seq, what| {
        conversation.entries.insert(
            Seq(seq),
            Shown {
                from: BOB,
                at: NOW,
                what,
            },
        );
    };
    add(conversation, 4, what("better", None, true, false));
    add(conversation, 5, what("", None, false, true));
    add(conversation, 6, what("yes", Some(Seq(3)), false, false));
    add(conversation, 7, What::Event(Happening::Joined(UserId(1))));
    let screen = drawn(&state, &mut Screen::default(), 60, 24).join("\n");
    assert!(screen.contains("Bob  4 (edited)"), "{screen}");
    assert!(screen.contains("(recalled)"), "{screen}");
    assert!(screen.contains("┆ ann: you there?"), "{screen}");
    assert!(screen.contains("* ann joined"), "{screen}");
}

#[test]
fn hostile_texts_reach_the_screen_without_control_characters() {
    let mut state = state();
    let conversation = state.conversations.entry(WITH_BOB).or_default();
    conversation
        .entries
        .insert(Seq(4), said(2, "\u{1b}[2J\u{9b}5m\u{7}\u{202e}gpj"));
    let screen = drawn(&state, &mut Screen::default(), 60, 16).join("");
    assert!(
        !screen.chars().any(|it| it.is_control() || it == '\u{202e}'),
        "{screen:?}"
    );
    assert!(screen.contains("\u{fffd}[2J"), "{screen}");
}

#[test]
fn the_login_never_shows_the_password() {
    let mut login = Login::default();
    login.name.insert("ann");
    login.password.insert("correct horse");
    login.in_password = true;
    let mut screen = Screen {
        login: Some(login),
        ..Screen::default()
    };
    let lines = drawn(&state(), &mut screen, 60, 12).join("\n");
    assert!(!lines.contains("correct"), "{lines}");
    assert!(lines.contains("•••••••••••••"), "{lines}");
    assert!(lines.contains("ann"), "{lines}");
}

#[test]
fn no_size_of_the_window_is_too_small() {
    let mut state = state();
    for width in 1..40 {
        for height in 1..12 {
            drawn(&state, &mut Screen::default(), width, height);
            let mut screen = Screen {
                help: true,
                ..Screen::default()
            };
            drawn(&state, &mut screen, width, height);
            let mut screen = Screen {
                login: Some(Login::default()),
                ..Screen::default()
            };
            drawn(&state, &mut screen, width, height);
        }
    }
    state.open = None;
    drawn(&state, &mut Screen::default(), 5, 2);
}

#[test]
fn one_scrolls_no_further_than_there_is() {
    let mut state = state();
    let conversation = state.conversations.entry(WITH_BOB).or_default();
    for seq in 10..40 {
        conversation
            .entries
            .insert(Seq(seq), said(2, &format!("m{seq}")));
    }
    let mut screen = Screen {
        scroll: 1000,
        ..Screen::default()
    };
    let lines = drawn(&state, &mut screen, 60, 13).join("\n");
    assert!(lines.contains("2023-11-14"), "{lines}");
    assert_eq!(screen.scroll, screen.scroll_end);
    screen.scroll = 0;
    assert!(
        drawn(&state, &mut screen, 60, 13)
            .join("\n")
            .contains("m39")
    );
}

#[test]
fn days_have_their_dates() {
    assert_eq!(date(0), "1970-01-01");
    assert_eq!(date(11_016), "2000-02-29");
    assert_eq!(date(19_675), "2023-11-14");
    assert_eq!(date(-1), "1969-12-31");
}
