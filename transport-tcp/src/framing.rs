//! Bytes to frames and back, without I/O.

use memchr::memchr;

/// Splits a stream of bytes into frames.
///
/// A frame ends with `\n`; one `\r` before it is dropped; empty lines are ignored. However the
/// stream is cut into pieces, the frames are the same. Only what has no end yet is kept, never more
/// than the limit and one byte, and nothing at all while no frame is incomplete.
#[derive(Debug)]
pub struct Deframer {
    limit: usize,
    carry: Vec<u8>,
    too_large: bool,
}

/// A line is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame is over the limit")]
pub struct TooLarge;

impl Deframer {
    /// Makes a splitter for frames of at most `limit` bytes, line end not counted.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            carry: Vec::new(),
            too_large: false,
        }
    }

    /// Takes the next bytes of the stream and hands each frame that they complete to `on_frame`, in
    /// order.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] as soon as a line is known to be over the limit, its end seen or not; the frames
    /// before it have been handed over. From then on every call fails and hands over nothing.
    pub fn feed(&mut self, bytes: &[u8], mut on_frame: impl FnMut(&[u8])) -> Result<(), TooLarge> {
        if self.too_large {
            return Err(TooLarge);
        }
        let mut rest = bytes;
        while let Some((line, after)) = split_line(rest) {
            rest = after;
            if self.carry.is_empty() {
                self.emit(line, &mut on_frame)?;
            } else {
                self.extend_carry(line)?;
                let line = std::mem::take(&mut self.carry);
                self.emit(&line, &mut on_frame)?;
            }
        }
        self.extend_carry(rest)
    }

    /// Tells how many bytes of an incomplete frame are kept.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.carry.len()
    }

    /// Tells whether a line was over the limit, so that no frame will follow.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    fn emit(&mut self, line: &[u8], on_frame: &mut impl FnMut(&[u8])) -> Result<(), TooLarge> {
        let frame = line.strip_suffix(b"\r").unwrap_or(line);
        if frame.len() > self.limit {
            return Err(self.overflow());
        }
        if !frame.is_empty() {
            on_frame(frame);
        }
        Ok(())
    }

    /// Keeps bytes without a line end, if the line can still become a frame.
    fn extend_carry(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let Some(last) = bytes.last() else {
            return Ok(());
        };
        let length = self.carry.len().saturating_add(bytes.len());
        // A last `\r` may turn out to belong to the line end.
        if length - usize::from(*last == b'\r') > self.limit {
            return Err(self.overflow());
        }
        if length > self.carry.capacity() {
            let roomy = length.max(self.carry.capacity().saturating_mul(2));
            let capacity = roomy.min(self.limit.saturating_add(1));
            self.carry.reserve_exact(capacity - self.carry.len());
        }
        self.carry.extend_from_slice(bytes);
        Ok(())
    }

    fn overflow(&mut self) -> TooLarge {
        self.too_large = true;
        self.carry = Vec::new();
        TooLarge
    }
}

/// Appends a frame and its line end to bytes that will be written.
///
/// The frame must hold no `\n`, which compact JSON never does.
pub fn append_frame(out: &mut Vec<u8>, frame: &[u8]) {
    debug_assert!(memchr(b'\n', frame).is_none(), "a frame is one line");
    out.reserve(frame.len() + 1);
    out.extend_from_slice(frame);
    out.push(b'\n');
}

/// Splits off the first line, without its `\n`.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', bytes)?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line, rest.split_first()?.1))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use super::{Deframer, TooLarge, append_frame};

    /// Feeds `chunks` and returns the frames and whether a line was too large.
    fn split<'a>(
        limit: usize,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Vec<u8>>, Result<(), TooLarge>) {
        let mut deframer = Deframer::new(limit);
        let mut frames = Vec::new();
        let mut result = Ok(());
        for chunk in chunks {
            result = deframer.feed(chunk, |frame| frames.push(frame.to_vec()));
            assert!(deframer.carry.capacity() <= limit + 1);
        }
        (frames, result)
    }

    /// The simplest splitter: the whole stream at once.
    fn model(limit: usize, bytes: &[u8]) -> (Vec<Vec<u8>>, Result<(), TooLarge>) {
        let mut frames = Vec::new();
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        for (index, line) in lines.iter().enumerate() {
            let frame = line.strip_suffix(b"\r").unwrap_or(line);
            if frame.len() > limit {
                return (frames, Err(TooLarge));
            }
            if index + 1 < lines.len() && !frame.is_empty() {
                frames.push(frame.to_vec());
            }
        }
        (frames, Ok(()))
    }

    #[test]
    fn splits_lines_and_drops_one_carriage_return() {
        let (frames, result) = split(10, [b"a\nb\r\n\n\r\nc\r\r\nd\re\nrest".as_slice()]);
        assert_eq!(result, Ok(()));
        assert_eq!(frames, [b"a".as_slice(), b"b", b"c\r", b"d\re"]);
    }

    #[test]
    fn a_frame_of_the_limit_passes_and_one_byte_more_does_not() {
        for (stream, frames, result) in [
            (b"1234\n".as_slice(), vec![b"1234".to_vec()], Ok(())),
            (b"1234\r\n", vec![b"1234".to_vec()], Ok(())),
            (b"123\r\r\n", vec![b"123\r".to_vec()], Ok(())),
            (b"1234\r", vec![], Ok(())),
            (b"1234", vec![], Ok(())),
            (b"12345", vec![], Err(TooLarge)),
            (b"12345\n", vec![], Err(TooLarge)),
            (b"1234\r\r", vec![], Err(TooLarge)),
            (b"1234\rx", vec![], Err(TooLarge)),
            (b"ok\n12345\nok\n", vec![b"ok".to_vec()], Err(TooLarge)),
        ] {
            assert_eq!(split(4, [stream]), (frames.clone(), result), "{stream:?}");
            assert_eq!(split(4, stream.chunks(1)), (frames, result), "{stream:?}");
        }
    }

    #[test]
    fn nothing_follows_what_is_too_large() {
        let mut deframer = Deframer::new(2);
        assert_eq!(deframer.feed(b"123", |_| panic!("no frame")), Err(TooLarge));
        assert_eq!(deframer.carry.capacity(), 0);
        assert_eq!(
            deframer.feed(b"\n1\n", |_| panic!("no frame")),
            Err(TooLarge)
        );
    }

    #[test]
    fn no_memory_is_held_between_frames() {
        let mut deframer = Deframer::new(100);
        for piece in [b"whole\nwhole\r\n".as_slice(), b"par", b"tial\n"] {
            deframer.feed(piece, |_| ()).unwrap();
        }
        assert_eq!(deframer.pending(), 0);
        assert_eq!(deframer.carry.capacity(), 0);
    }

    #[test]
    fn appended_frames_come_back() {
        let mut out = Vec::new();
        append_frame(&mut out, b"{}");
        append_frame(&mut out, b"[1]");
        assert_eq!(out, b"{}\n[1]\n");
    }

    /// Streams in which line ends and lengths near the limit are frequent.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => Just(b"\n".to_vec()),
            2 => Just(b"\r".to_vec()),
            2 => Just(b"\r\n".to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
            4 => (0..=9_usize).prop_map(|length| vec![b'x'; length]),
        ];
        vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            stream in stream(),
            cuts in vec(any::<proptest::sample::Index>(), 0..20),
            limit in 0..12_usize,
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.push(stream.len());
            cuts.sort_unstable();
            let mut start = 0;
            let chunks: Vec<&[u8]> = cuts
                .iter()
                .map(|cut| &stream[std::mem::replace(&mut start, *cut)..*cut])
                .collect();

            prop_assert_eq!(split(limit, chunks), model(limit, &stream));
        }

        #[test]
        fn what_is_kept_is_what_came_since_the_last_line_end(stream in stream()) {
            let mut deframer = Deframer::new(1000);
            for byte in &stream {
                prop_assert!(deframer.feed(&[*byte], |_| ()).is_ok());
            }
            let since = stream.iter().rev().take_while(|byte| **byte != b'\n').count();
            prop_assert_eq!(deframer.pending(), since);
        }
    }
}
