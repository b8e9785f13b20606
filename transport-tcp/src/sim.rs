//! What must hold of every stream of bytes: the bodies of the fuzz targets.

use std::net::{IpAddr, SocketAddr};

use crate::framing::{Deframer, TooLarge};
use crate::proxy::{BadHeader, HeaderReader, MAX_HEADER};

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

/// Checks how a connection from a proxy is read.
///
/// # Panics
/// When a header depends on how it is cut into pieces, is longer than the limit or the bytes, or
/// names another client when it is written anew: a bug of the reader.
pub fn proxy_header(bytes: &[u8]) {
    let whole = read_header(bytes.chunks(usize::MAX));
    assert_eq!(read_header(bytes.chunks(1)), whole, "bytes one by one");
    assert_eq!(read_header(bytes.chunks(7)), whole, "pieces of 7 bytes");
    let Ok(Some((client, length))) = whole else {
        return;
    };
    assert!(length <= bytes.len().min(MAX_HEADER), "{length} bytes");
    if let Some(client) = client {
        let again = write_header(client);
        let expected = Ok(Some((Some(client), again.len())));
        assert_eq!(read_header(again.chunks(3)), expected, "written anew");
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

/// Feeds pieces up to a header's end; returns the client and the header's length.
fn read_header<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<(Option<SocketAddr>, usize)>, BadHeader> {
    let mut reader = HeaderReader::default();
    let mut before = 0;
    for piece in pieces {
        if let Some(header) = reader.feed(piece)? {
            assert!(header.used <= piece.len(), "more used than there was");
            return Ok(Some((header.client, before + header.used)));
        }
        before += piece.len();
        assert!(before < MAX_HEADER, "no header is longer");
    }
    Ok(None)
}

/// Writes a header of version 2, with the client's address for the server's too.
fn write_header(client: SocketAddr) -> Vec<u8> {
    let (kind, address) = match client.ip() {
        IpAddr::V4(address) => (0x11, address.octets().to_vec()),
        IpAddr::V6(address) => (0x21, address.octets().to_vec()),
    };
    let port = client.port().to_be_bytes();
    let block = [&address, &address, port.as_slice(), &port].concat();
    let length = if kind == 0x11 { 12 } else { 36 };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.extend([kind, 0, length]);
    header.extend(block);
    header
}
