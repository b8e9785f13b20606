//! Names of users and groups, and message keys.

use std::fmt;

use smol_str::SmolStr;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;

/// The most characters (Unicode scalar values) that a name may have.
pub const MAX_NAME_CHARS: usize = 32;

/// The most bytes that a message key may have.
pub const MAX_KEY_BYTES: usize = 64;

/// A name as its owner wrote it: 1 to 32 characters, no control characters, no surrounding space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

/// What is wrong with a name; the text continues a sentence that begins with the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// It has no characters.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`MAX_NAME_CHARS`].
    #[error("must have at most {MAX_NAME_CHARS} characters")]
    TooLong,
    /// It has a control character.
    #[error("must not have control characters")]
    Control,
    /// It begins or ends with white space.
    #[error("must not begin or end with white space")]
    Space,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.chars().nth(MAX_NAME_CHARS).is_some() {
            return Err(NameError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if text.trim() != text {
            return Err(NameError::Space);
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// Returns the name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what makes the name unique: NFKC, then full case folding, then NFKC again
    /// (Unicode 16, section 3.13, D146 and UAX #15), so that no spelling of one name is another.
    #[must_use]
    pub fn key(&self) -> NameKey {
        let normal: String = self.0.nfkc().collect();
        let folded = caseless::default_case_fold_str(&normal);
        NameKey(folded.nfkc().collect::<String>().into())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The unique form of a user's name; compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameKey(SmolStr);

impl NameKey {
    /// Returns the key's text, whose bytes are stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A message key: 1 to 64 bytes of any text, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(SmolStr);

impl Key {
    /// Checks a key; `None` when it is empty or longer than [`MAX_KEY_BYTES`].
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (1..=MAX_KEY_BYTES)
            .contains(&text.len())
            .then(|| Self(SmolStr::new(text)))
    }

    /// Returns the key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
