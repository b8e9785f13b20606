//! The line that one types.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar as _;

/// The most lines that are remembered.
const REMEMBERED: usize = 200;

/// What follows this is neither shown nor remembered.
const SECRET: &str = "/password ";

/// A line under the cursor, and the lines before it.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: Vec<char>,
    cursor: usize,
    history: VecDeque<String>,
    /// Which remembered line is shown, counted from the newest, and what was typed before.
    recalled: Option<(usize, Vec<char>)>,
}

impl Editor {
    /// Returns the line.
    pub(super) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Adds characters at the cursor, of a key or of a paste. Line feeds stay, other control
    /// characters do not.
    pub(super) fn insert(&mut self, text: &str) {
        let text = text
            .replace("\r\n", "\n")
            .replace(['\r'], "\n")
            .replace('\t', " ");
        for character in text.chars().filter(|it| *it == '\n' || !it.is_control()) {
            self.text.insert(self.cursor, character);
            self.cursor += 1;
        }
    }

    /// Removes the character before the cursor.
    pub(super) fn backspace(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.text.remove(self.cursor);
        }
    }

    /// Removes the character under the cursor.
    pub(super) fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    /// Removes the word before the cursor.
    pub(super) fn delete_word(&mut self) {
        let before = |editor: &Self| {
            editor
                .cursor
                .checked_sub(1)
                .and_then(|at| editor.text.get(at).copied())
        };
        while before(self) == Some(' ') {
            self.backspace();
        }
        while before(self).is_some_and(|it| it != ' ') {
            self.backspace();
        }
    }

    /// Removes everything before the cursor.
    pub(super) fn delete_to_start(&mut self) {
        self.text.drain(..self.cursor);
        self.cursor = 0;
    }

    /// Moves the cursor.
    pub(super) fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    /// Moves the cursor.
    pub(super) fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.text.len());
    }

    /// Moves the cursor.
    pub(super) fn home(&mut self) {
        self.cursor = 0;
    }

    /// Moves the cursor.
    pub(super) fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Takes the line and remembers it.
    pub(super) fn submit(&mut self) -> String {
        let line = self.text();
        self.clear();
        if !line.is_empty() && !line.starts_with(SECRET) && self.history.back() != Some(&line) {
            self.history.push_back(line.clone());
            if self.history.len() > REMEMBERED {
                self.history.pop_front();
            }
        }
        line
    }

    /// Empties the line.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.cursor = 0;
        self.recalled = None;
    }

    /// Shows the line before.
    pub(super) fn older(&mut self) {
        let next = self.recalled.as_ref().map_or(0, |(index, _)| index + 1);
        let Some(line) = self.history.iter().rev().nth(next).cloned() else {
            return;
        };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => std::mem::take(&mut self.text),
        };
        self.recalled = Some((next, typed));
        self.show(line.chars().collect());
    }

    /// Shows the line after.
    pub(super) fn newer(&mut self) {
        let Some((index, typed)) = self.recalled.take() else {
            return;
        };
        let Some(next) = index.checked_sub(1) else {
            self.show(typed);
            return;
        };
        if let Some(line) = self.history.iter().rev().nth(next) {
            let line = line.chars().collect();
            self.recalled = Some((next, typed));
            self.show(line);
        }
    }

    /// Returns the part of the line that fits `width` columns, with the cursor in it, and the
    /// cursor's column. Line feeds show as `⏎`.
    pub(super) fn window(&self, width: usize) -> (String, usize) {
        let width = width.max(3);
        let columns = |it: &char| {
            if *it == '\n' {
                1
            } else {
                it.width().unwrap_or(0)
            }
        };
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let mut start = self.cursor;
        let mut used = 0;
        for character in before.iter().rev() {
            if used + columns(character) >= width {
                break;
            }
            used += columns(character);
            start -= 1;
        }
        let hidden = if self.text().starts_with(SECRET) {
            SECRET.chars().count()
        } else {
            usize::MAX
        };
        let mut shown = String::new();
        let mut total = 0;
        for (index, character) in self.text.iter().enumerate().skip(start) {
            total += columns(character);
            if total > width {
                break;
            }
            shown.push(match *character {
                _ if index >= hidden => '•',
                '\n' => '⏎',
                other => other,
            });
        }
        (shown, used)
    }

    fn show(&mut self, text: Vec<char>) {
        self.text = text;
        self.cursor = self.text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn characters_go_where_the_cursor_is() {
        let mut editor = typed("helo");
        editor.left();
        editor.insert("l");
        assert_eq!(editor.text(), "hello");
        editor.home();
        editor.delete();
        editor.end();
        editor.backspace();
        editor.backspace();
        assert_eq!(editor.text(), "el");
    }

    #[test]
    fn words_and_beginnings_are_removed_whole() {
        let mut editor = typed("one two  ");
        editor.delete_word();
        assert_eq!(editor.text(), "one ");
        editor.delete_to_start();
        assert_eq!(editor.text(), "");
        editor.delete_word();
        editor.backspace();
        editor.delete();
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn pastes_bring_line_feeds_and_no_other_controls() {
        assert_eq!(typed("a\r\nb\u{1b}[31m\tc").text(), "a\nb[31m c");
    }

    #[test]
    fn arrows_walk_through_earlier_lines_and_back_to_what_was_typed() {
        let mut editor = typed("first");
        editor.submit();
        editor.insert("second");
        assert_eq!(editor.submit(), "second");
        editor.insert("unsent");
        editor.older();
        assert_eq!(editor.text(), "second");
        editor.older();
        editor.older();
        assert_eq!(editor.text(), "first");
        editor.newer();
        assert_eq!(editor.text(), "second");
        editor.newer();
        assert_eq!(editor.text(), "unsent");
    }

    #[test]
    fn passwords_are_neither_shown_nor_remembered() {
        let mut editor = typed("/password old new");
        assert_eq!(editor.window(40), ("/password •••••••".into(), 17));
        assert_eq!(editor.submit(), "/password old new");
        editor.older();
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn the_window_keeps_the_cursor_in_sight_and_counts_columns() {
        assert_eq!(typed("日本語").window(10), ("日本語".into(), 6));
        assert_eq!(typed("abcdef").window(4), ("def".into(), 3));
        let mut editor = typed("abcdef");
        editor.home();
        assert_eq!(editor.window(4), ("abcd".into(), 0));
        assert_eq!(typed("a\nb").window(9), ("a⏎b".into(), 3));
    }
}
