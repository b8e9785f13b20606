//! Finds the fields of an object: each known one as a slice of the frame, in one pass.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::json::value::Problem;

/// How deep a field's value may nest lists and objects; the JSON readers in use that have a limit
/// allow more.
const MAX_DEPTH: usize = 100;

/// A known field: its name, and what the frame says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    name: &'static str,
    raw: Option<&'a str>,
}

impl<'a> Slot<'a> {
    /// Makes the slot of a field that was not met yet.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, raw: None }
    }

    /// Tells whether the field is there; null equals absent.
    pub(crate) fn is_present(&self) -> bool {
        self.present().is_some()
    }

    /// Reads the field, if it is there.
    pub(crate) fn read<T>(
        &self,
        make: impl FnOnce(&'a str) -> Result<T, Problem>,
    ) -> Result<Option<T>, FieldError> {
        let Some(raw) = self.present() else {
            return Ok(None);
        };
        make(raw).map(Some).map_err(|problem| self.error(problem))
    }

    /// Reads the field, which must be there.
    pub(crate) fn need<T>(
        &self,
        make: impl FnOnce(&'a str) -> Result<T, Problem>,
    ) -> Result<T, FieldError> {
        self.read(make)?
            .ok_or_else(|| self.error(Problem::Bad(Cow::Borrowed("is missing"))))
    }

    /// Says what is wrong with the field.
    pub(crate) const fn error(&self, problem: Problem) -> FieldError {
        FieldError {
            field: self.name,
            problem,
        }
    }

    fn present(&self) -> Option<&'a str> {
        self.raw.filter(|raw| *raw != "null")
    }
}

/// What is wrong with which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// The field.
    pub(crate) field: &'static str,
    /// What is wrong.
    pub(crate) problem: Problem,
}

/// The slots of one kind of object.
pub(crate) trait Slots<'a> {
    /// Returns the slot of the field of that name, if the object has one.
    fn slot(&mut self, name: &str) -> Option<&mut Slot<'a>>;
}

/// Declares an object's known fields, each with its name on the wire.
macro_rules! slots {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: $crate::protocol::json::object::Slot<'a>,)+
        }

        impl Default for $name<'_> {
            fn default() -> Self {
                Self { $($field: $crate::protocol::json::object::Slot::new($text),)+ }
            }
        }

        impl<'a> $crate::protocol::json::object::Slots<'a> for $name<'a> {
            fn slot(
                &mut self,
                name: &str,
            ) -> Option<&mut $crate::protocol::json::object::Slot<'a>> {
                match name {
                    $($text => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use slots;

/// Why an object cannot be used although some of its fields may have been found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectError {
    /// The text is no JSON object, or has more after it; the slots hold what came before.
    Syntax,
    /// A value nests too deep.
    TooDeep,
    /// A field is there twice; its name, if it is a known one.
    Duplicate(Option<&'static str>),
}

/// Fills the slots from an object; what has no slot is skipped.
///
/// A field's value is checked for JSON's grammar only. Needs no memory but for the names of
/// unknown fields, which it keeps so that none comes twice.
pub(crate) fn read_object<'a>(
    text: &'a str,
    slots: &mut impl Slots<'a>,
) -> Result<(), ObjectError> {
    let mut flaw = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    reader
        .deserialize_map(Fill {
            slots,
            flaw: &mut flaw,
        })
        .and_then(|()| reader.end())
        .map_err(|_| ObjectError::Syntax)?;
    flaw.map_or(Ok(()), Err)
}

/// Visits an object; a flaw that is not of grammar is noted and the rest read all the same.
struct Fill<'s, S> {
    slots: &'s mut S,
    flaw: &'s mut Option<ObjectError>,
}

impl<'a, S: Slots<'a>> Visitor<'a> for Fill<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut unknown: BTreeSet<Cow<'a, str>> = BTreeSet::new();
        while let Some(FieldName(name)) = map.next_key()? {
            let raw = map.next_value::<&'a RawValue>()?.get();
            let duplicate = match self.slots.slot(&name) {
                Some(slot) if slot.raw.is_some() => Some(Some(slot.name)),
                Some(slot) => {
                    slot.raw = Some(raw);
                    None
                }
                None => (!unknown.insert(name)).then_some(None),
            };
            if let Some(name) = duplicate {
                self.flaw.get_or_insert(ObjectError::Duplicate(name));
            }
            if nests_deeper(raw, MAX_DEPTH) {
                *self.flaw = Some(ObjectError::TooDeep);
            }
        }
        Ok(())
    }
}

/// A field's name, borrowed where it has no escapes.
struct FieldName<'a>(Cow<'a, str>);

impl<'a> Deserialize<'a> for FieldName<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'a> Visitor<'a> for NameVisitor {
            type Value = FieldName<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a field's name")
            }

            fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// Tells whether a value, whose grammar was checked, nests lists and objects deeper than `limit`.
pub(crate) fn nests_deeper(raw: &str, limit: usize) -> bool {
    if !raw.starts_with(['{', '[']) {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    false
}

/// Moves past the end of a string whose opening quote was read.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, ObjectError, read_object};

    slots!(Two {
        one = "one",
        other = "other",
    });

    fn check(text: &str) -> (Result<(), ObjectError>, Option<String>, Option<String>) {
        let mut two = Two::default();
        let result = read_object(text, &mut two);
        (
            result,
            two.one.present().map(str::to_owned),
            two.other.present().map(str::to_owned),
        )
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn slots_hold_slices_in_any_order() {
        assert_eq!(
            check(r#" {"other" : [1, 2] ,"x":{"one":3},"o\u006ee":"a\"b"} "#),
            (Ok(()), some(r#""a\"b""#), some("[1, 2]"))
        );
        assert_eq!(check(r#"{"one":null}"#), (Ok(()), None, None));
    }

    #[test]
    fn what_came_before_a_syntax_error_is_kept() {
        for text in [r#"{"one":1,"other"#, r#"{"one":1} x"#, r#"{"one":1,}"#] {
            assert_eq!(check(text), (Err(ObjectError::Syntax), some("1"), None));
        }
        for text in [
            "",
            "[]",
            "1",
            "\u{feff}{}",
            "{\"a\u{1}\":1}",
            r#"{"\ud800":1}"#,
        ] {
            assert_eq!(check(text), (Err(ObjectError::Syntax), None, None));
        }
    }

    #[test]
    fn a_field_twice_is_noted_and_the_rest_read() {
        assert_eq!(
            check(r#"{"one":1,"on\u0065":null,"other":2}"#),
            (
                Err(ObjectError::Duplicate(Some("one"))),
                some("1"),
                some("2")
            )
        );
        assert_eq!(
            check(r#"{"one":null,"one":1}"#).0,
            Err(ObjectError::Duplicate(Some("one")))
        );
        assert_eq!(
            check(r#"{"x":1,"y":2,"x":3}"#).0,
            Err(ObjectError::Duplicate(None))
        );
    }

    #[test]
    fn depth_has_a_limit_outside_strings() {
        let nested = |depth: usize| {
            format!(
                r#"{{"x":{}{},"one":1}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
        };
        assert_eq!(check(&nested(MAX_DEPTH)).0, Ok(()));
        assert_eq!(
            check(&nested(MAX_DEPTH + 1)),
            (Err(ObjectError::TooDeep), some("1"), None)
        );
        let quoted = format!(r#"{{"x":["\"{}"]}}"#, "[".repeat(MAX_DEPTH + 1));
        assert_eq!(check(&quoted).0, Ok(()));
    }
}
