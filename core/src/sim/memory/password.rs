//! Hashes of passwords that cost nothing: for tests, never for people's passwords.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::secret::Secret;

const PREFIX: &str = "sim$";

/// Hashes a password: `sim$` and the SHA-256 in hexadecimal digits.
pub(super) fn hash(password: &Secret) -> Secret {
    let mut text = String::from(PREFIX);
    for byte in Sha256::digest(password.expose().as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Secret::new(text)
}

/// Tells whether a hash is that of a password, in a time that does not depend on where they differ.
pub(super) fn verify(password: &Secret, stored: &Secret) -> bool {
    let given = hash(password);
    let (given, stored) = (given.expose().as_bytes(), stored.expose().as_bytes());
    given.len() == stored.len()
        && given
            .iter()
            .zip(stored)
            .fold(0, |difference, (one, other)| difference | (one ^ other))
            == 0
}
