//! Other people's text, made harmless for a terminal.

use unicode_width::UnicodeWidthChar as _;

/// Replaces what could steer a terminal or turn the reading direction: control characters (but not
/// line feeds), and the bidirectional controls of UAX #9.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' => '\n',
            '\t' => ' ',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => {
                char::REPLACEMENT_CHARACTER
            }
            control if control.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect()
}

/// Writes a text on one line: line feeds as `\n`, backslashes doubled, the rest [`clean`].
pub(crate) fn one_line(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('\n', "\\n")
}

/// Breaks a text into lines of at most `width` columns, at spaces where there are any.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(2);
    text.split('\n')
        .flat_map(|line| wrap_line(line, width))
        .collect()
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    let mut columns = 0;
    for character in line.chars() {
        let more = character.width().unwrap_or(0);
        if columns + more > width {
            let rest = match current.rfind(' ') {
                Some(space) if space > 0 => {
                    let rest = current.split_off(space);
                    rest.trim_start().to_owned()
                }
                _ => String::new(),
            };
            lines.push(std::mem::replace(&mut current, rest));
            columns = current.chars().filter_map(char_width).sum();
        }
        if current.is_empty() && !lines.is_empty() && character == ' ' {
            continue;
        }
        current.push(character);
        columns += more;
    }
    lines.push(current);
    lines
}

fn char_width(character: char) -> Option<usize> {
    character.width()
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr as _;

    #[test]
    fn nothing_steers_the_terminal() {
        let hostile = "a\u{1b}[2Jb\u{9b}31m\u{7}\r\u{202e}c\u{7f}\0";
        let clean = clean(hostile);
        assert!(!clean.chars().any(char::is_control), "{clean:?}");
        assert!(!clean.contains('\u{202e}'));
        assert!(clean.starts_with("a\u{fffd}[2Jb"));
    }

    #[test]
    fn one_line_stays_one_line_and_can_be_undone() {
        assert_eq!(one_line("a\nb\\n\tc"), "a\\nb\\\\n c");
    }

    #[test]
    fn lines_break_at_spaces_and_within_long_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 8), ["a", "", "b"]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let lines = wrap("日本語日本語👍👍", 5);
        assert_eq!(lines, ["日本", "語日", "本語", "👍👍"]);
        assert!(lines.iter().all(|line| line.width() <= 5));
    }
}
