//! Who somebody is to those who vouch for them.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// An account of another service: SHA-256 over the service's name and the account's there, so that it
/// has one size, and a copy of the store names nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    /// Makes the identity of an account that an issuer knows as `subject` (RFC 7519, sections 4.1.1
    /// and 4.1.2), both compared byte by byte.
    #[must_use]
    pub fn new(issuer: &str, subject: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"parlor identity 1");
        // The length before it keeps what belongs to one from being taken for the other's.
        digest.update((issuer.len() as u64).to_be_bytes());
        digest.update(issuer.as_bytes());
        digest.update(subject.as_bytes());
        Self(digest.finalize().into())
    }

    /// Takes bytes that [`as_bytes`](Self::as_bytes) gave; `None` for another number of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns what is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn an_identity_is_of_both_issuer_and_subject() {
        let identity = Identity::new("issuer", "subject");
        assert_eq!(identity, Identity::new("issuer", "subject"));
        for (issuer, subject) in [
            ("issuer", "Subject"),
            ("Issuer", "subject"),
            ("issuers", "ubject"),
            ("issue", "rsubject"),
            ("", "issuersubject"),
        ] {
            assert_ne!(
                identity,
                Identity::new(issuer, subject),
                "{issuer} {subject}"
            );
        }
        assert_eq!(Identity::from_bytes(identity.as_bytes()), Some(identity));
        assert_eq!(Identity::from_bytes(&[0; 31]), None);
        assert_eq!(identity.to_string().len(), 64);
    }
}
