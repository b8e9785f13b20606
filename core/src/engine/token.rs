//! What a client resumes its session with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::time::Timestamp;

/// What a token says, and nothing else: everything secret is in its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Which session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// When the session expires; the store compares it with the session's.
    pub expires: Timestamp,
}

const VERSION: u8 = 1;
const BODY: usize = 1 + 3 * 8;
const SIGNATURE: usize = 32;

impl Token {
    /// Signs the token: base64url of version, session, user and expiry (big-endian), then
    /// HMAC-SHA-256 (RFC 2104) over them.
    #[must_use]
    pub fn sign(&self, secret: &Secret) -> Secret {
        let mut bytes = Vec::with_capacity(BODY + SIGNATURE);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.session.0.to_be_bytes());
        bytes.extend_from_slice(&self.user.0.to_be_bytes());
        bytes.extend_from_slice(&self.expires.0.to_be_bytes());
        if let Some(mut mac) = keyed(secret) {
            mac.update(&bytes);
            bytes.extend_from_slice(&mac.finalize().into_bytes());
        }
        Secret::new(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a token; `None` unless this cluster signed it. Takes the same time whichever byte of
    /// the signature is wrong.
    #[must_use]
    pub fn verify(text: &Secret, secret: &Secret) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.expose()).ok()?;
        let (body, signature) = bytes.split_at_checked(BODY)?;
        let mut mac = keyed(secret)?;
        mac.update(body);
        mac.verify_slice(signature).ok()?;
        let (version, numbers) = body.split_first()?;
        let mut numbers = numbers
            .chunks_exact(8)
            .map_while(|chunk| chunk.try_into().ok());
        let mut number = || numbers.next().map(u64::from_be_bytes);
        (*version == VERSION).then_some(())?;
        Some(Self {
            session: SessionId(number()?),
            user: UserId(number()?),
            expires: Timestamp(number()?),
        })
    }
}

/// HMAC takes keys of any length, so this is never `None`; an unsigned token would not verify.
fn keyed(secret: &Secret) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(secret.expose().as_bytes()).ok()
}

/// Returns a short name for something that only this cluster can make: the first 16 bytes of
/// HMAC-SHA-256 (RFC 2104) over what kind of thing it is and the thing. Kinds have no zero byte.
pub(super) fn tag(secret: &Secret, kind: &[u8], thing: &[u8]) -> [u8; 16] {
    let mut tag = [0; 16];
    if let Some(mut mac) = keyed(secret) {
        mac.update(kind);
        mac.update(&[0]);
        mac.update(thing);
        for (to, from) in tag.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::Token;
    use crate::id::{SessionId, UserId};
    use crate::secret::Secret;
    use crate::time::Timestamp;

    #[test]
    fn only_the_untouched_token_of_this_secret_verifies() {
        let token = Token {
            session: SessionId(7),
            user: UserId(3),
            expires: Timestamp(1_700_000_000_000),
        };
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        let text = token.sign(&secret);
        assert_eq!(Token::verify(&text, &secret), Some(token));
        assert_eq!(
            Token::verify(&text, &Secret::new("another secret of 32 bytes or so")),
            None
        );
        for index in 0..text.expose().len() {
            let mut bytes = text.expose().as_bytes().to_vec();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = Secret::new(String::from_utf8(bytes).unwrap());
            assert_eq!(Token::verify(&changed, &secret), None, "byte {index}");
        }
        for text in ["", "A", "%%%", &text.expose()[..40]] {
            assert_eq!(Token::verify(&Secret::new(text), &secret), None);
        }
    }
}
