//! The wire protocol: typed requests, replies and events, and their JSON.
//!
//! The engine takes [`Request`]s and gives [`Reply`]s and [`Event`]s; only a front-end that speaks
//! JSON needs [`decode`] and [`encode`] (a server's side) or [`client`] (a client's side).
//! `core/PROTOCOL.md` describes the same for authors of clients.

pub mod client;
pub mod decode;
pub mod encode;
pub mod error;
pub mod event;
mod json;
pub mod lists;
pub mod meta;
pub mod reply;
pub mod request;

pub use error::{ErrorCode, RequestError};
pub use event::{Event, GroupState, Message, NoticeCode};
pub use reply::Reply;
pub use request::{Frame, Request};

/// The version of the wire protocol that this crate speaks.
pub const VERSION: u64 = 1;

/// The most bytes of a frame from a client, without its line ending.
pub const MAX_CLIENT_FRAME: usize = 64 * 1024;

/// The most bytes of a frame from a server, without its line ending.
pub const MAX_SERVER_FRAME: usize = 256 * 1024;

/// The most bytes of a message's text.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The most bytes of a message's `meta`, in its compact form.
pub const MAX_META_BYTES: usize = 4 * 1024;

/// The most bytes of a group's description.
pub const MAX_DESCRIPTION_BYTES: usize = 1024;

/// The most bytes of the name of a device.
pub const MAX_DEVICE_BYTES: usize = 64;

/// The fewest and the most bytes of a password.
pub const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=256;

/// The most bytes of a session's token or of an invitation code: those that stand are far shorter.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// The most bytes of the token by which another service vouches for somebody.
pub const MAX_JWT_BYTES: usize = 8192;

/// The most items of a list that a client may ask for.
pub const MAX_LIMIT: u32 = 200;

/// How many items of a list a client gets that does not say.
pub const DEFAULT_LIMIT: u32 = 50;

/// The most positions that a client may name in `have`.
pub const MAX_HAVE: usize = 2048;

#[cfg(test)]
mod tests {
    #[test]
    fn the_limits_are_those_of_version_1() {
        assert_eq!(super::MAX_CLIENT_FRAME, 65_536);
        assert_eq!(super::MAX_SERVER_FRAME, 262_144);
        assert_eq!(super::MAX_TEXT_BYTES, 16_384);
        assert_eq!(super::MAX_META_BYTES, 4096);
    }
}
