//! What must hold of every session token, whoever made it: the body of a fuzz target.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::engine::Token;
use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Checks that nobody without the cluster's secret makes a token that stands.
///
/// The bytes are a token, and also three numbers, where to change the token that says them, and
/// with what to replace its end.
///
/// # Panics
/// When a token is taken that this cluster did not sign, or when one that it signed is not: a bug.
pub fn verify_token(bytes: &[u8]) {
    let ours = Secret::new("a secret of at least thirty-two bytes");
    check_text(&String::from_utf8_lossy(bytes), &ours);
    check_text(&URL_SAFE_NO_PAD.encode(bytes), &ours);

    let mut rest = bytes;
    let mut number = || match rest.split_first_chunk::<8>() {
        Some((first, others)) => {
            rest = others;
            u64::from_be_bytes(*first)
        }
        None => 0,
    };
    let token = Token {
        session: SessionId(number()),
        user: UserId(number()),
        expires: Timestamp(number()),
    };
    let text = token.sign(&ours);
    assert_eq!(Token::verify(&text, &ours), Some(token), "signed here");
    let theirs = Secret::new("a secret of at least thirty-two bytez");
    assert_eq!(Token::verify(&text, &theirs), None, "another cluster's");
    check_changed(&token, &text, rest, &ours);
}

/// A text is taken only if it is, to the letter, what this cluster signs.
fn check_text(text: &str, ours: &Secret) {
    if let Some(token) = Token::verify(&Secret::new(text), ours) {
        assert_eq!(token.sign(ours).expose(), text, "two spellings of a token");
    }
}

/// Changes a token, of which nothing is taken then.
fn check_changed(token: &Token, text: &Secret, changes: &[u8], ours: &Secret) {
    let refused = |bytes: &[u8], what: &str| {
        let changed = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(Token::verify(&changed, ours), None, "{what}: {changes:?}");
    };
    let signed = URL_SAFE_NO_PAD.decode(text.expose()).unwrap_or_default();
    for bit in 0..signed.len() * 8 {
        let mut changed = signed.clone();
        if let Some(byte) = changed.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        refused(&changed, "a bit");
    }
    for length in 0..signed.len() {
        refused(signed.get(..length).unwrap_or_default(), "shorter");
    }
    if !changes.is_empty() {
        refused(&[signed.as_slice(), changes].concat(), "longer");
        let kept = signed.len().saturating_sub(changes.len());
        let replaced = [signed.get(..kept).unwrap_or_default(), changes].concat();
        check_text(&URL_SAFE_NO_PAD.encode(replaced), ours);
    }
    // The signature of another token, for which the same holds as for any other number.
    let later = Token {
        expires: Timestamp(token.expires.0.wrapping_add(1)),
        ..*token
    };
    let later = URL_SAFE_NO_PAD
        .decode(later.sign(ours).expose())
        .unwrap_or_default();
    let half = signed.len().saturating_sub(32);
    let body = signed.get(..half).unwrap_or_default();
    refused(
        &[body, later.get(half..).unwrap_or_default()].concat(),
        "another's signature",
    );
}
