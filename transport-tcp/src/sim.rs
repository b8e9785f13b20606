//! What must hold of every stream of bytes: the body of a fuzz target.

use crate::framing::{Deframer, TooLarge};

/// Checks that the frames of a stream do not depend on how it is cut into pieces, and that no more
/// is kept of it than may be.
///
/// The first byte gives the limit of a frame, the second one the pieces; the stream follows.
///
/// # Panics
/// When they do, or more is: a bug of the framing.
pub fn deframe(bytes: &[u8]) {
    let [limit, cuts, stream @ ..] = bytes else {
        return;
    };
    // Short lines are at the limit now and then; a stream of the fuzzer is hardly ever longer.
    let limit = if *limit == u8::MAX {
        parlor_core::protocol::MAX_CLIENT_FRAME
    } else {
        usize::from(*limit % 32)
    };
    let whole = split(limit, [stream]);
    assert_eq!(whole, split(limit, stream.chunks(1)), "byte by byte");
    let size = usize::from(cuts % 16) + 2;
    assert_eq!(whole, split(limit, stream.chunks(size)), "in {size}s");
    // Pieces that end and begin at line ends: before them, between and behind.
    let lines = stream.split_inclusive(|byte| *byte == b'\n');
    assert_eq!(whole, split(limit, lines), "line by line");
    let ends = stream.split_inclusive(|byte| *byte == b'\r');
    assert_eq!(whole, split(limit, ends), "cut behind carriage returns");
    for frame in &whole.0 {
        assert!(!frame.is_empty() && frame.len() <= limit && !frame.contains(&b'\n'));
        parlor_core::sim::frames::decode_frame(frame);
    }
}

fn split<'a>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Result<(), TooLarge>) {
    let mut deframer = Deframer::new(limit);
    let mut frames = Vec::new();
    let mut result = Ok(());
    for piece in pieces {
        result = deframer.feed(piece, |frame| frames.push(frame.to_vec()));
        assert!(deframer.pending() <= limit + 1, "more is kept than may be");
        assert_eq!(result.is_err(), deframer.is_too_large());
    }
    (frames, result)
}
