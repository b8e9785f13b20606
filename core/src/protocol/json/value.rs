//! Makes typed values of slices whose grammar was checked.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::id::{ConversationRef, GroupId, MAX_INTEGER, Seq, UserId};
use crate::name::{Key, MAX_KEY_BYTES, Name};
use crate::protocol::json::object::{ObjectError, Slots, read_object, slots};

/// What is wrong with a value; the texts continue a sentence that begins with the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A string has half of a surrogate pair, or something else that is text in no encoding.
    Unreadable,
    /// The value has the wrong type or breaks a rule.
    Bad(Cow<'static, str>),
    /// The value exceeds a limit that has an error code of its own.
    TooLarge(Cow<'static, str>),
}

impl Problem {
    /// Makes the problem of a value that breaks a rule.
    pub(crate) const fn bad(rule: &'static str) -> Self {
        Self::Bad(Cow::Borrowed(rule))
    }
}

/// Reads an integer from 0 to 2^53 − 1, written without sign, fraction or exponent.
pub(crate) fn integer(raw: &str) -> Result<u64, Problem> {
    let wrong = Problem::bad("must be an integer from 0 to 2^53 - 1");
    if !raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong);
    }
    match raw.parse::<u64>() {
        Ok(value) if value <= MAX_INTEGER => Ok(value),
        _ => Err(wrong),
    }
}

/// Reads a user's number.
pub(crate) fn user(raw: &str) -> Result<UserId, Problem> {
    integer(raw).map(UserId)
}

/// Reads a group's number.
pub(crate) fn group(raw: &str) -> Result<GroupId, Problem> {
    integer(raw).map(GroupId)
}

/// Reads a number of a log.
pub(crate) fn seq(raw: &str) -> Result<Seq, Problem> {
    integer(raw).map(Seq)
}

/// Reads `true` or `false`.
pub(crate) fn boolean(raw: &str) -> Result<bool, Problem> {
    match raw {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::bad("must be true or false")),
    }
}

/// Reads a string and hands it on; it is borrowed from the frame where it has no escapes.
pub(crate) fn string<T>(
    raw: &str,
    make: impl FnOnce(&str) -> Result<T, Problem>,
) -> Result<T, Problem> {
    struct Text<F>(F);

    impl<T, F: FnOnce(&str) -> Result<T, Problem>> Visitor<'_> for Text<F> {
        type Value = Result<T, Problem>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok((self.0)(text))
        }
    }

    let Some(begun) = raw.strip_prefix('"') else {
        return Err(Problem::bad("must be a string"));
    };
    // Without escapes, what stands between the quotes is the text.
    if let Some(text) = begun.strip_suffix('"')
        && !text.contains('\\')
    {
        return make(text);
    }
    serde_json::Deserializer::from_str(raw)
        .deserialize_str(Text(make))
        .map_err(|_| Problem::Unreadable)?
}

/// Reads a string of any length.
pub(crate) fn shared(raw: &str) -> Result<Arc<str>, Problem> {
    string(raw, |text| Ok(Arc::from(text)))
}

/// Reads the name of a user or group.
pub(crate) fn name(raw: &str) -> Result<Name, Problem> {
    string(raw, |text| {
        Name::new(text).map_err(|error| Problem::Bad(Cow::Owned(error.to_string())))
    })
}

/// Reads a message key.
pub(crate) fn key(raw: &str) -> Result<Key, Problem> {
    string(raw, |text| {
        Key::new(text).ok_or_else(|| {
            Problem::Bad(Cow::Owned(format!("must have 1 to {MAX_KEY_BYTES} bytes")))
        })
    })
}

/// Reads one of a few words.
pub(crate) fn word<T>(
    raw: &str,
    from_name: impl FnOnce(&str) -> Option<T>,
    rule: &'static str,
) -> Result<T, Problem> {
    string(raw, |text| from_name(text).ok_or(Problem::bad(rule)))
}

slots!(
    /// The fields of a conversation's name.
    Reference {
        user = "user",
        group = "group",
    }
);

/// Reads a conversation: `{"user":2}` or `{"group":7}`.
pub(crate) fn conversation(raw: &str) -> Result<ConversationRef, Problem> {
    let mut reference = Reference::default();
    object(raw, &mut reference)?;
    let user = reference.user.read(user).map_err(|error| error.problem)?;
    let group = reference.group.read(group).map_err(|error| error.problem)?;
    match (user, group) {
        (Some(user), None) => Ok(ConversationRef::User(user)),
        (None, Some(group)) => Ok(ConversationRef::Group(group)),
        (None, None) | (Some(_), Some(_)) => {
            Err(Problem::bad("must have either `user` or `group`"))
        }
    }
}

/// Fills the slots of an object within an object.
pub(crate) fn object<'a>(raw: &'a str, slots: &mut impl Slots<'a>) -> Result<(), Problem> {
    if !raw.starts_with('{') {
        return Err(Problem::bad("must be an object"));
    }
    read_object(raw, slots).map_err(|error| match error {
        ObjectError::Syntax => Problem::Unreadable,
        ObjectError::TooDeep => Problem::bad("nests too deep"),
        ObjectError::Duplicate(_) => Problem::bad("has a field twice"),
    })
}

/// Reads a list of at most `limit` items.
pub(crate) fn list<'a, T>(
    raw: &'a str,
    limit: usize,
    make: impl FnMut(&'a str) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    struct Items<F> {
        limit: usize,
        make: F,
    }

    impl<'a, T, F: FnMut(&'a str) -> Result<T, Problem>> Visitor<'a> for Items<F> {
        type Value = Result<Vec<T>, Problem>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Ok(Vec::new());
            // The rest is read even after a problem: the list is known to end.
            while let Some(raw) = seq.next_element::<&'a RawValue>()? {
                if let Ok(found) = &mut items {
                    if found.len() >= self.limit {
                        let rule = format!("must have at most {} items", self.limit);
                        items = Err(Problem::Bad(Cow::Owned(rule)));
                        continue;
                    }
                    match (self.make)(raw.get()) {
                        Ok(item) => found.push(item),
                        Err(problem) => items = Err(problem),
                    }
                }
            }
            Ok(items)
        }
    }

    if !raw.starts_with('[') {
        return Err(Problem::bad("must be a list"));
    }
    serde_json::Deserializer::from_str(raw)
        .deserialize_seq(Items { limit, make })
        .map_err(|_| Problem::Unreadable)?
}

#[cfg(test)]
mod tests {
    use super::{Problem, boolean, conversation, integer, list, string};
    use crate::id::{ConversationRef, GroupId, UserId};

    #[test]
    fn integers_are_exact() {
        assert_eq!(integer("0"), Ok(0));
        assert_eq!(integer("9007199254740991"), Ok(9_007_199_254_740_991));
        for wrong in [
            "9007199254740992",
            "18446744073709551616",
            "-1",
            "-0",
            "1.0",
            "1e3",
            "1e400",
            "\"1\"",
            "true",
            "[1]",
        ] {
            assert!(matches!(integer(wrong), Err(Problem::Bad(_))), "{wrong}");
        }
        let huge = "9".repeat(60_000);
        assert!(matches!(integer(&huge), Err(Problem::Bad(_))));
    }

    #[test]
    fn booleans_are_words() {
        assert_eq!(boolean("true"), Ok(true));
        assert_eq!(boolean("false"), Ok(false));
        assert_eq!(boolean("1"), Err(Problem::bad("must be true or false")));
    }

    #[test]
    fn strings_are_text() {
        let read = |raw| string(raw, |text| Ok(text.to_owned()));
        assert_eq!(read(r#""a\u00e9\ud83d\ude00\n""#), Ok("aé😀\n".to_owned()));
        assert_eq!(read(r#""\ud800""#), Err(Problem::Unreadable));
        assert_eq!(read(r#""\udc00\ud800""#), Err(Problem::Unreadable));
        assert_eq!(read("1"), Err(Problem::bad("must be a string")));
    }

    #[test]
    fn conversations_have_one_name() {
        assert_eq!(
            conversation(r#"{"user":2}"#),
            Ok(ConversationRef::User(UserId(2)))
        );
        assert_eq!(
            conversation(r#"{"x":[],"user":null,"group":7}"#),
            Ok(ConversationRef::Group(GroupId(7)))
        );
        for wrong in [
            "{}",
            "2",
            r#"{"user":2,"group":7}"#,
            r#"{"user":2,"user":2}"#,
            r#"{"user":2,"x":1,"x":1}"#,
            r#"{"user":"2"}"#,
            r#"{"user":-2}"#,
        ] {
            assert!(
                matches!(conversation(wrong), Err(Problem::Bad(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn lists_have_a_limit() {
        assert_eq!(list("[1, 2]", 2, integer), Ok(vec![1, 2]));
        assert_eq!(list("[]", 0, integer), Ok(vec![]));
        assert_eq!(
            list("[1,2,3]", 2, integer),
            Err(Problem::Bad("must have at most 2 items".into()))
        );
        assert!(list("[1,\"2\"]", 2, integer).is_err());
        assert_eq!(list("{}", 2, integer), Err(Problem::bad("must be a list")));
    }
}
