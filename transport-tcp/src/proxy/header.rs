//! The header itself, without I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use memchr::memchr;

/// Most bytes of a header of version 1, its line end included; the specification's figure.
const V1_MAX: usize = 107;

/// Most bytes of a header of version 2. Its length field allows 64 KiB; what proxies add to the
/// addresses (names of TLS, numbers of networks) takes some hundred bytes.
const V2_MAX: usize = 4096;

/// Most bytes of any header.
pub const MAX_HEADER: usize = V2_MAX;

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header that begins a connection, of either version, however it is cut into pieces.
///
/// It keeps what has come of the header, never more than [`MAX_HEADER`] bytes.
#[derive(Debug, Default)]
pub struct HeaderReader {
    kept: Vec<u8>,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client's address and port. Absent where the proxy speaks for itself (`LOCAL`, a health
    /// check) or does not tell (`UNKNOWN`, or a family or a protocol other than TCP over IP).
    pub client: Option<SocketAddr>,
    /// How many of the bytes that completed the header belong to it; the rest is the client's.
    pub used: usize,
}

/// What begins the connection is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// It begins like neither version.
    #[error("the connection does not begin with a PROXY header")]
    NoSignature,
    /// Version 1 without a line end where the longest header has one, or one without `\r`.
    #[error("the line of a PROXY header (version 1) does not end with \\r\\n within 107 bytes")]
    NoLineEnd,
    /// Version 1 with other words than the specification's.
    #[error("the line of a PROXY header (version 1) is malformed")]
    BadLine,
    /// Version 2 with an unknown command, family or protocol, or a higher version.
    #[error("a PROXY header (version 2) has an unknown command, family or protocol")]
    UnknownKind,
    /// Version 2 with a length that is too short for the addresses, or above [`MAX_HEADER`].
    #[error("a PROXY header (version 2) is too short for its addresses, or too long")]
    BadLength,
}

impl HeaderReader {
    /// Takes the next bytes of the connection; returns the header once it is whole.
    ///
    /// As long as it is not, all bytes were taken. Afterwards, and after a failure, the reader is of
    /// no more use.
    ///
    /// # Errors
    ///
    /// As soon as the bytes cannot become a header.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
        let before = self.kept.len();
        let room = MAX_HEADER.saturating_sub(before);
        self.kept
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let whole = whole(&self.kept)?;
        Ok(whole.map(|(client, length)| Header {
            client,
            // What came before did not make the header whole, so it ends within these bytes.
            used: length.saturating_sub(before),
        }))
    }

    /// Tells whether nothing has come yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// What a header that is whole tells, and its length.
type Whole = Option<(Option<SocketAddr>, usize)>;

/// Looks for a whole header at the beginning of `bytes`, which may be cut off at [`MAX_HEADER`].
fn whole(bytes: &[u8]) -> Result<Whole, BadHeader> {
    if begins(bytes, V1_SIGNATURE) {
        version_1(bytes)
    } else if begins(bytes, V2_SIGNATURE) {
        version_2(bytes)
    } else {
        Err(BadHeader::NoSignature)
    }
}

/// Tells whether a connection's first frame is what a header makes of it where none is expected.
pub(crate) fn looks_like_header(first_frame: &[u8]) -> bool {
    // Version 2 begins with two empty lines, and with a zero byte between two line ends.
    first_frame.starts_with(V1_SIGNATURE) || first_frame == b"\0"
}

/// Tells whether `bytes` begins with a signature, or may come to.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let length = bytes.len().min(signature.len());
    bytes.get(..length) == signature.get(..length)
}

/// Section 2.1: a line.
fn version_1(bytes: &[u8]) -> Result<Whole, BadHeader> {
    let bytes = bytes.get(..V1_MAX).unwrap_or(bytes);
    let Some(end) = memchr(b'\n', bytes) else {
        return if bytes.len() < V1_MAX {
            Ok(None)
        } else {
            Err(BadHeader::NoLineEnd)
        };
    };
    let line = bytes.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(BadHeader::NoLineEnd)?;
    let line = std::str::from_utf8(line).map_err(|_| BadHeader::BadLine)?;
    let client = client_of_line(line).ok_or(BadHeader::BadLine)?;
    Ok(Some((client, end + 1)))
}

/// Returns the client that a line names, if any; `None` where the line is malformed.
fn client_of_line(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // The rest of the line means nothing.
        return Some(None);
    }
    let source = words.next()?;
    let destination = words.next()?;
    let ports = (words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let source = match family {
        "TCP4" => source_of::<Ipv4Addr>(source, destination)?,
        "TCP6" => source_of::<Ipv6Addr>(source, destination)?,
        _ => return None,
    };
    let client = SocketAddr::new(source, port(ports.0)?);
    port(ports.1)?;
    Some(Some(client))
}

/// Returns the source of two addresses of one family.
fn source_of<A: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Option<IpAddr> {
    A::from_str(destination).ok()?;
    Some(A::from_str(source).ok()?.into().to_canonical())
}

/// Reads a decimal number without sign and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

/// Section 2.2: 12 bytes of signature, version and command, family and protocol, the length of the
/// rest, the rest: addresses first, then fields of varying type, which are ignored.
fn version_2(bytes: &[u8]) -> Result<Whole, BadHeader> {
    let Some((_, fields)) = bytes.split_at_checked(V2_SIGNATURE.len()) else {
        return Ok(None);
    };
    let command = fields.first().copied();
    if command.is_some_and(|command| ![LOCAL, PROXY].contains(&command)) {
        return Err(BadHeader::UnknownKind);
    }
    let is_local = command == Some(LOCAL);
    let kind = fields.get(1).copied();
    if !is_local && kind.is_some_and(|kind| kind >> 4 > 3 || kind & 15 > 2) {
        return Err(BadHeader::UnknownKind);
    }
    let Some((head, rest)) = fields.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let addresses = match kind {
        _ if is_local => 0,
        Some(TCP4) => 12,
        Some(TCP6) => 36,
        _ => 0,
    };
    let total = V2_SIGNATURE.len() + 4 + length;
    if length < addresses || total > V2_MAX {
        return Err(BadHeader::BadLength);
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(None);
    };
    let client = match addresses {
        12 => source_at::<4>(rest, 8),
        36 => source_at::<16>(rest, 32),
        _ => None,
    };
    Ok(Some((client, total)))
}

/// Version 2; the proxy speaks for itself.
const LOCAL: u8 = 0x20;
/// Version 2; the proxy speaks for a client.
const PROXY: u8 = 0x21;
/// TCP over IPv4: two addresses of 4 bytes, two ports of 2.
const TCP4: u8 = 0x11;
/// TCP over IPv6: two addresses of 16 bytes, two ports of 2.
const TCP6: u8 = 0x21;

/// Returns the address of `N` bytes at the start and the port at `port`.
fn source_at<const N: usize>(block: &[u8], port: usize) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address = IpAddr::from(*block.first_chunk::<N>()?);
    let port = u16::from_be_bytes(*block.get(port..)?.first_chunk()?);
    Some(SocketAddr::new(address.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::{BadHeader, Header, HeaderReader, MAX_HEADER, V2_SIGNATURE};

    /// Feeds `header` and then a frame of the client, whole and cut at each byte; returns the
    /// client, or what is wrong, which must not depend on the cut.
    fn read(header: &[u8]) -> Result<Option<String>, BadHeader> {
        let stream = [header, b"{\"id\":1}\n"].concat();
        let whole = HeaderReader::default().feed(&stream);
        for cut in 0..=header.len() {
            let mut reader = HeaderReader::default();
            let (first, second) = stream.split_at(cut);
            match reader.feed(first) {
                Ok(None) => {
                    let later = Header {
                        client: None,
                        used: header.len() - cut,
                    };
                    let whole = whole.map(|it| {
                        it.map(|it| Header {
                            client: it.client,
                            ..later
                        })
                    });
                    assert_eq!(reader.feed(second), whole, "cut at {cut}");
                }
                early => assert_eq!(early, whole, "cut at {cut}"),
            }
        }
        let header_end = whole?.expect("a header or none");
        assert_eq!(header_end.used, header.len());
        Ok(header_end.client.map(|client| client.to_string()))
    }

    fn client(header: &[u8]) -> String {
        read(header).unwrap().expect("a client")
    }

    fn version_2(command: u8, kind: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, kind], &length, block].concat()
    }

    const IPV4: &[u8] = &[203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 0x04, 0x17, 0x70];

    fn ipv6() -> Vec<u8> {
        let mut block = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        block.extend([0; 15]);
        block.extend([1, 0xdc, 0x04, 0x17, 0x70]);
        block
    }

    #[test]
    fn version_1_names_the_client() {
        for (line, address) in [
            (
                "PROXY TCP4 203.0.113.9 10.0.0.1 56324 6000\r\n",
                "203.0.113.9:56324",
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                "255.255.255.255:65535",
            ),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"),
            (
                "PROXY TCP6 2001:DB8::7 ::1 56324 6000\r\n",
                "[2001:db8::7]:56324",
            ),
            (
                "PROXY TCP6 ::ffff:203.0.113.9 ::ffff:10.0.0.1 1 2\r\n",
                "203.0.113.9:1",
            ),
        ] {
            assert_eq!(client(line.as_bytes()), address, "{line}");
        }
    }

    #[test]
    fn version_1_may_not_know_the_client() {
        let longest = format!("PROXY UNKNOWN {} {} 65535 65535\r\n", ffff(), ffff());
        assert_eq!(longest.len(), 107);
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN \r\n",
            "PROXY UNKNOWN what \r ever\r\n",
            &longest,
        ] {
            assert_eq!(read(line.as_bytes()), Ok(None), "{line}");
        }
    }

    fn ffff() -> String {
        ["ffff"; 8].join(":")
    }

    #[test]
    fn version_1_is_taken_to_the_letter() {
        for line in [
            "PROXY \r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY unknown\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.256 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
            "PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\u{a0}2\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(BadHeader::BadLine), "{line}");
        }
        let latin = b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \xb2\r\n";
        assert_eq!(read(latin), Err(BadHeader::BadLine));
    }

    #[test]
    fn version_1_ends_in_time_and_with_both_characters() {
        for line in [
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n".to_owned(),
            "PROXY UNKNOWN \n\r\n".to_owned(),
            format!("PROXY UNKNOWN {:93}", ""),
            format!("PROXY UNKNOWN {:92}\r\n", ""),
            format!("PROXY UNKNOWN {:5000}\r\n", ""),
        ] {
            assert_eq!(read(line.as_bytes()), Err(BadHeader::NoLineEnd), "{line:?}");
        }
        // A byte less may still become one.
        let line = format!("PROXY UNKNOWN {:92}", "");
        assert_eq!(HeaderReader::default().feed(line.as_bytes()), Ok(None));
    }

    #[test]
    fn version_2_names_the_client() {
        assert_eq!(client(&version_2(0x21, 0x11, IPV4)), "203.0.113.9:56324");
        assert_eq!(
            client(&version_2(0x21, 0x21, &ipv6())),
            "[2001:db8::7]:56324"
        );
        let mut mapped = ipv6();
        mapped[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        assert_eq!(client(&version_2(0x21, 0x21, &mapped)), "0.0.0.7:56324");
    }

    #[test]
    fn version_2_skips_what_it_does_not_know() {
        // A field of one byte, and one whose length is nonsense: neither is looked at.
        let fields = [IPV4, &[0x04, 0, 1, 0], &[0x20, 0xff, 0xff]].concat();
        assert_eq!(client(&version_2(0x21, 0x11, &fields)), "203.0.113.9:56324");
        let longest = [IPV4, &[0; MAX_HEADER - 16 - 12]].concat();
        assert_eq!(
            client(&version_2(0x21, 0x11, &longest)),
            "203.0.113.9:56324"
        );
    }

    #[test]
    fn version_2_may_not_name_a_client() {
        for (command, kind, block) in [
            (0x20, 0x00, &[][..]),
            // The family of LOCAL means nothing.
            (0x20, 0x11, &[]),
            (0x20, 0x11, IPV4),
            (0x20, 0xff, &[1]),
            (0x21, 0x00, &[]),
            (0x21, 0x00, IPV4),
            (0x21, 0x01, IPV4),
            // UDP, and sockets of Unix.
            (0x21, 0x12, IPV4),
            (0x21, 0x22, &[]),
            (0x21, 0x31, &[0; 216]),
            (0x21, 0x32, &[]),
        ] {
            let header = version_2(command, kind, block);
            assert_eq!(read(&header), Ok(None), "{command:x} {kind:x}");
        }
    }

    #[test]
    fn version_2_is_taken_to_the_letter() {
        for (command, kind) in [
            (0x11, 0x11),
            (0x01, 0x11),
            (0x31, 0x11),
            (0x22, 0x11),
            (0x2f, 0x11),
            (0x21, 0x41),
            (0x21, 0x13),
            (0x21, 0xff),
        ] {
            let header = version_2(command, kind, IPV4);
            assert_eq!(read(&header), Err(BadHeader::UnknownKind), "{header:x?}");
        }
        for (kind, block) in [
            (0x11, &IPV4[..11]),
            (0x11, &[]),
            (0x21, &ipv6()[..35]),
            (0x21, IPV4),
            (0x00, &[0; MAX_HEADER - 15]),
            (0x11, &[0; 0xffff]),
        ] {
            let header = version_2(0x21, kind, block);
            assert_eq!(read(&header), Err(BadHeader::BadLength), "{kind:x}");
        }
    }

    #[test]
    fn anything_else_is_refused_at_its_first_byte() {
        for bytes in [
            b"{\"id\":1}\n".as_slice(),
            b"proxy TCP4",
            b"PROXY\t",
            b"\n",
            b"\r\nP",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\0",
        ] {
            let mut reader = HeaderReader::default();
            let (last, before) = bytes.split_last().unwrap();
            if bytes[0] == b'P' || bytes[0] == b'\r' {
                assert_eq!(reader.feed(before), Ok(None));
                assert_eq!(reader.feed(&[*last]), Err(BadHeader::NoSignature));
            } else {
                assert_eq!(reader.feed(&bytes[..1]), Err(BadHeader::NoSignature));
            }
        }
        assert_eq!(HeaderReader::default().feed(b""), Ok(None));
    }

    #[test]
    fn no_more_is_kept_than_a_header_may_have() {
        let mut reader = HeaderReader::default();
        assert!(reader.is_empty());
        let header = version_2(0x21, 0x00, &[0; MAX_HEADER - 16]);
        assert_eq!(reader.feed(&header[..MAX_HEADER - 1]), Ok(None));
        assert!(!reader.is_empty());
        let flood = vec![b'x'; 1 << 20];
        let used = reader.feed(&flood).unwrap().unwrap().used;
        assert_eq!((used, reader.kept.len()), (1, MAX_HEADER));
    }
}
