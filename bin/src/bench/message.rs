//! The messages that are sent: texts that tell where they come from, so that whoever receives them
//! can check them.
//!
//! A text has digits at fixed places, then filling up to its size: the run (8 characters), the lane
//! (8, which sender it is), the number (10, counting from 1 within the lane), and when it was due
//! (14, microseconds of the machine's monotonic clock).

use rustix::time::{ClockId, clock_gettime};

/// The fewest bytes that a text needs.
pub(super) const LEAST_SIZE: usize = RUN + LANE + NUMBER + DUE;

const RUN: usize = 8;
const LANE: usize = 8;
const NUMBER: usize = 10;
const DUE: usize = 14;

/// What a text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which sender's it is.
    pub(super) lane: u64,
    /// Its place among those of its lane: 1, 2, 3, ..
    pub(super) number: u64,
    /// When it was to be sent, in microseconds of [`now`].
    pub(super) due: u64,
}

/// Returns the time in microseconds, by a clock that all processes of the machine share.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanoseconds / 1000
}

/// Appends a text of that many bytes, [`LEAST_SIZE`] at least.
pub(super) fn write_text(run: &str, mark: Mark, size: usize, out: &mut Vec<u8>) {
    let end = out.len() + size.max(LEAST_SIZE);
    out.extend_from_slice(run.as_bytes());
    write_digits(mark.lane, LANE, out);
    write_digits(mark.number, NUMBER, out);
    write_digits(mark.due, DUE, out);
    out.resize(end, b'.');
}

/// Reads a text of this run; `None` where it is none.
pub(super) fn read_text(run: &str, text: &[u8]) -> Option<Mark> {
    let (digits, filling) = text
        .strip_prefix(run.as_bytes())?
        .split_at_checked(LANE + NUMBER + DUE)?;
    let (lane, digits) = digits.split_at_checked(LANE)?;
    let (number, due) = digits.split_at_checked(NUMBER)?;
    if filling.iter().any(|byte| *byte != b'.') {
        return None;
    }
    Some(Mark {
        lane: read_digits(lane)?,
        number: read_digits(number)?,
        due: read_digits(due)?,
    })
}

/// Appends a number without leading zeros.
pub(super) fn write_number(number: u64, out: &mut Vec<u8>) {
    let width = number.checked_ilog10().map_or(1, |log| log + 1);
    write_digits(number, usize::try_from(width).unwrap_or(1), out);
}

/// Appends the last digits of a number, filled with zeros.
fn write_digits(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out.iter_mut().skip(start).rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Reads a number that is nothing but digits; `None` too where it is too large.
pub(super) fn read_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::{LEAST_SIZE, Mark, now, read_digits, read_text, write_number, write_text};

    const MARK: Mark = Mark {
        lane: 7,
        number: 1234,
        due: 98_765_432_101,
    };

    fn text(size: usize) -> Vec<u8> {
        let mut text = Vec::new();
        write_text("0badcafe", MARK, size, &mut text);
        text
    }

    #[test]
    fn a_text_reads_back() {
        for size in [LEAST_SIZE, 100, 4000] {
            let text = text(size);
            assert_eq!(text.len(), size);
            assert_eq!(read_text("0badcafe", &text), Some(MARK));
        }
        assert_eq!(text(0).len(), LEAST_SIZE, "it is as long as it must be");
    }

    #[test]
    fn a_text_that_was_changed_does_not_read() {
        assert_eq!(read_text("0badcaff", &text(100)), None, "another run's");
        for place in [8, 20, 39, 50, 99] {
            let mut text = text(100);
            text[place] = b'?';
            assert_eq!(read_text("0badcafe", &text), None, "byte {place}");
        }
        assert_eq!(read_text("0badcafe", &text(100)[..39]), None);
    }

    #[test]
    fn numbers_are_written_and_read() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX / 2] {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
            assert_eq!(read_digits(&out), Some(number));
        }
        assert_eq!(read_digits(b""), None);
        assert_eq!(read_digits(b"12a"), None);
        assert_eq!(read_digits(b"99999999999999999999"), None);
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let first = now();
        assert!(first > 0 && now() >= first);
    }
}
