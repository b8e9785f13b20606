//! The `meta` of a message: any JSON object, kept in its compact form.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::protocol::MAX_META_BYTES;
use crate::protocol::json::object::nests_deeper;

/// How deep a `meta` may nest lists and objects, itself counted: a server's frame around it stays
/// within what JSON readers allow.
pub const MAX_META_DEPTH: usize = 64;

/// What is wrong with a `meta`; the text continues a sentence that begins with the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MetaError {
    /// It is no JSON, or has a string or number that not every JSON reader can read, or nests
    /// deeper than [`MAX_META_DEPTH`].
    #[error("must be JSON that every reader can read")]
    Unreadable,
    /// It is JSON, but no object.
    #[error("must be an object")]
    NotObject,
    /// Its compact form has more than [`MAX_META_BYTES`].
    #[error("must have at most {MAX_META_BYTES} bytes")]
    TooLarge,
}

/// Checks a JSON object and drops the white space between its parts: what
/// [`Request::Send`](crate::protocol::Request::Send) takes as `meta`.
///
/// Order, spelling of numbers and fields that are there twice stay as they are.
///
/// # Errors
/// Says which rule the text breaks.
pub fn compact(text: &str) -> Result<Arc<str>, MetaError> {
    let raw = serde_json::from_str::<&RawValue>(text)
        .map_err(|_| MetaError::Unreadable)?
        .get();
    if !raw.starts_with('{') {
        return Err(MetaError::NotObject);
    }
    if nests_deeper(raw, MAX_META_DEPTH) {
        return Err(MetaError::Unreadable);
    }
    let mut compact = String::with_capacity(raw.len().min(MAX_META_BYTES));
    let mut rest = raw;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(part_length(rest));
        if compact.len().saturating_add(part.len()) > MAX_META_BYTES {
            return Err(MetaError::TooLarge);
        }
        compact.push_str(part);
        rest = behind.trim_start_matches([' ', '\t', '\n', '\r']);
    }
    serde_json::from_str::<Readable>(&compact).map_err(|_| MetaError::Unreadable)?;
    Ok(compact.into())
}

/// Returns how many bytes there are before the next white space outside strings.
fn part_length(text: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    text.bytes()
        .position(|byte| {
            if quoted {
                quoted = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                false
            } else {
                quoted = byte == b'"';
                matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
            }
        })
        .unwrap_or(text.len())
}

/// Reads a value and keeps nothing of it; fails where strings are no text or numbers too large.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{MetaError, compact};
    use crate::protocol::MAX_META_BYTES;

    fn check(text: &str) -> Result<String, MetaError> {
        compact(text).map(|meta| meta.to_string())
    }

    #[test]
    fn white_space_goes_outside_strings_only() {
        assert_eq!(
            check("  { \"a b\" :\r\n [ 1 ,\t-2.50e+1, \"\\\" x \\\\\" , \" \" ] } \n").as_deref(),
            Ok(r#"{"a b":[1,-2.50e+1,"\" x \\"," "]}"#)
        );
        assert_eq!(check("{}").as_deref(), Ok("{}"));
        assert_eq!(check(r#"{"a":1,"a":2}"#).as_deref(), Ok(r#"{"a":1,"a":2}"#));
    }

    #[test]
    fn only_objects_that_every_reader_reads() {
        assert_eq!(check("[]"), Err(MetaError::NotObject));
        assert_eq!(check("1"), Err(MetaError::NotObject));
        let nested = |depth| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(63)), Ok(nested(63)));
        let deep = nested(64);
        for text in [
            "",
            "{",
            "{} {}",
            r#"{"a":"\ud800"}"#,
            r#"{"\udc00":1}"#,
            r#"{"a":1e400}"#,
            &deep,
        ] {
            assert_eq!(check(text), Err(MetaError::Unreadable), "{text}");
        }
    }

    #[test]
    fn the_limit_counts_the_compact_form() {
        let object = |length: usize| format!(r#"{{ "a" :"{}"}}"#, "x".repeat(length));
        let spaces = " ".repeat(60_000);
        let full = object(MAX_META_BYTES - 8).replace(' ', &spaces);
        assert_eq!(check(&full).unwrap().len(), MAX_META_BYTES);
        assert_eq!(check(&object(MAX_META_BYTES - 7)), Err(MetaError::TooLarge));
    }
}
