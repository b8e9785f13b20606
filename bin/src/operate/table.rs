//! Tables for people.

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use crate::chat::one_line;

/// Writes rows below a head, each column as wide as it must be.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| one_line(cell)))
        .collect();
    let mut widths = head.map(UnicodeWidthStr::width);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    line(&mut text, head.iter().copied(), &widths);
    for row in &rows {
        line(&mut text, row.iter().map(String::as_str), &widths);
    }
    text
}

fn line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>, widths: &[usize]) {
    let start = text.len();
    for (cell, width) in cells.zip(widths) {
        text.push_str(cell);
        let gap = width.saturating_sub(cell.width()) + 2;
        text.extend(std::iter::repeat_n(' ', gap));
    }
    let end = text.get(start..).unwrap_or_default().trim_end().len();
    text.truncate(start + end);
    text.push('\n');
}

/// Writes a moment, in milliseconds since 1970, as RFC 3339 has it.
pub(super) fn moment(millis: u64) -> String {
    let moment = i64::try_from(millis).map(Timestamp::from_millisecond);
    match moment {
        Ok(Ok(moment)) => format!("{moment:.3}"),
        _ => millis.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{moment, table};

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [
            ["ada".to_owned(), "1".to_owned()],
            ["\u{540d}\u{524d}\u{1b}[2J".to_owned(), "22".to_owned()],
        ];
        let text = table(["name", "user"], &rows);
        assert_eq!(
            text,
            "name      user\nada       1\n\u{540d}\u{524d}\u{fffd}[2J  22\n"
        );
    }

    #[test]
    fn moments_are_those_of_rfc_3339() {
        assert_eq!(moment(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(moment(u64::MAX), u64::MAX.to_string());
    }
}
