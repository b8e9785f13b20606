//! What a relayed message is in Redis: versioned, authenticated, compact.
//!
//! ```text
//!   version (1 byte) | tag (16 bytes) | kind (1 byte) | field, field, ..
//!   field = number << 1 (1 byte) | LEB128 integer
//!         | number << 1 | 1 (1 byte) | LEB128 length | bytes
//! ```
//!
//! The tag is HMAC-SHA-256 (RFC 2104), cut to 128 bits, over the version, the channel's name with
//! its length, and all that follows; its key is HMAC-SHA-256 of a label under the cluster's secret.
//! So who can write to Redis can neither forge a message nor move one to another channel. They can
//! repeat one on its own channel, which the engine takes for what it is: a hint that was heard before.
//!
//! Integers have their shortest form, at most ten bytes. The fields of a message ascend by number,
//! none comes twice, and those that are absent are left out.
//!
//! # Nodes of two versions side by side
//!
//! - A **field** may be added to a message: it gets a new number, and a reader that does not know
//!   the number skips it. So a field must be one that older nodes can do without. A field's number
//!   and meaning never change, and numbers of fields that are gone are not used again.
//! - A **kind** of message, or of entry, may be added: older nodes count it as unknown and ignore
//!   it. They lose nothing for good, since the store has what matters and reconciling finds it.
//! - The **version** changes only when the form above does. A release that reads the new form comes
//!   first, and a later one writes it.

mod fields;
mod message;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parlor_core::protocol::{MAX_META_BYTES, MAX_TEXT_BYTES};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use sha2::Sha256;
use thiserror::Error;

/// The form that this version writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// The most bytes of a payload; longer ones are neither written nor read.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// The bytes of a tag.
const TAG: usize = 16;

/// Where the kind stands: behind the version and the tag.
const HEADER: usize = 1 + TAG;

/// What the key of the tags is derived with.
const LABEL: &[u8] = b"parlor relay payload";

// Whatever an entry may carry fits.
const _: () = assert!(MAX_TEXT_BYTES + MAX_META_BYTES + 1024 < MAX_PAYLOAD);

/// Writes and reads payloads with one cluster's key.
#[derive(Clone)]
pub struct Codec {
    /// Has the key in it already: each tag begins with a copy.
    keyed: Hmac<Sha256>,
}

/// Why a payload is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejected {
    /// No node with the cluster's secret wrote it, or not for this channel, or it is too long.
    #[error("not written by a node of this cluster for this channel")]
    Forged,
    /// It has a version, a kind or a value that only another version of Parlor knows.
    #[error("of another version")]
    Unknown,
}

impl Codec {
    /// Derives the key from the cluster's secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let mut derived = keyed(secret.expose().as_bytes());
        derived.update(LABEL);
        Self {
            keyed: keyed(&derived.finalize().into_bytes()),
        }
    }

    /// Writes a message for a channel; `None` where it would have more than [`MAX_PAYLOAD`] bytes,
    /// which none of the engine's has.
    #[must_use]
    pub fn encode(&self, channel: &str, message: &RelayMessage) -> Option<Vec<u8>> {
        let mut out = vec![0; HEADER];
        message::write(message, &mut out);
        self.seal(channel, &mut out)?;
        Some(out)
    }

    /// Reads what was received on a channel. Nothing is allocated before the tag is verified.
    ///
    /// # Errors
    /// It is to be ignored.
    pub fn decode(&self, channel: &[u8], payload: &[u8]) -> Result<RelayMessage, Rejected> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Rejected::Forged);
        }
        let (version, rest) = payload.split_first().ok_or(Rejected::Forged)?;
        if *version != VERSION {
            return Err(Rejected::Unknown);
        }
        let (tag, body) = rest.split_at_checked(TAG).ok_or(Rejected::Forged)?;
        self.tag(*version, channel, body)
            .verify_truncated_left(tag)
            .map_err(|_| Rejected::Forged)?;
        message::read(body).ok_or(Rejected::Unknown)
    }

    /// Writes the header in front of the kind and the fields.
    fn seal(&self, channel: &str, out: &mut [u8]) -> Option<()> {
        if out.len() > MAX_PAYLOAD {
            return None;
        }
        let tag = self.tag(VERSION, channel.as_bytes(), out.get(HEADER..)?);
        let tag = tag.finalize().into_bytes();
        *out.first_mut()? = VERSION;
        out.get_mut(1..HEADER)?.copy_from_slice(tag.get(..TAG)?);
        Some(())
    }

    fn tag(&self, version: u8, channel: &[u8], body: &[u8]) -> Hmac<Sha256> {
        let mut tag = self.keyed.clone();
        tag.update(&[version]);
        tag.update(
            &u64::try_from(channel.len())
                .unwrap_or(u64::MAX)
                .to_be_bytes(),
        );
        tag.update(channel);
        tag.update(body);
        tag
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Codec(..)")
    }
}

/// Checks what must hold of any bytes, as a payload and as what follows a payload's tag: the body of
/// a fuzz target.
///
/// # Panics
/// When bytes that no node wrote are taken, or a message changes on its way: a bug of the codec.
pub fn check(bytes: &[u8]) {
    let codec = Codec::new(&Secret::new("a secret of at least 32 bytes ..."));
    let (channel, other) = ("parlor:check:user:1", "parlor:check:user:2");
    assert!(codec.decode(channel.as_bytes(), bytes).is_err(), "forged");
    let mut payload = [&[0; HEADER], bytes].concat();
    if codec.seal(channel, &mut payload).is_none() {
        assert!(payload.len() > MAX_PAYLOAD, "refused for no reason");
        return;
    }
    let Ok(message) = codec.decode(channel.as_bytes(), &payload) else {
        return;
    };
    let moved = codec.decode(other.as_bytes(), &payload);
    assert_eq!(moved, Err(Rejected::Forged), "taken on another channel");
    let again = codec.encode(channel, &message);
    let again = again.map(|again| codec.decode(channel.as_bytes(), &again));
    assert_eq!(again, Some(Ok(message)), "the message changed");
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests;
