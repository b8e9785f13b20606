//! Appends compact JSON to a buffer. Never writes a newline, whatever the texts hold.

use crate::id::ConversationRef;

/// Writes an object, field by field; [`Object::end`] closes it.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Closes the object.
    pub(crate) fn end(&mut self) {
        self.out.push(b'}');
    }

    /// Returns how long the buffer is.
    pub(crate) fn length(&self) -> usize {
        self.out.len()
    }

    /// Opens a list and returns the buffer for its items.
    pub(crate) fn open_list(&mut self, name: &'static str) -> &mut Vec<u8> {
        let out = self.field(name);
        out.push(b'[');
        out
    }

    /// Closes a list.
    pub(crate) fn close_list(&mut self) {
        self.out.push(b']');
    }

    /// Writes a field's name and returns the buffer for its value. Names need no escapes.
    pub(crate) fn field(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes an integer.
    pub(crate) fn integer(&mut self, name: &'static str, value: u64) -> &mut Self {
        integer(self.field(name), value);
        self
    }

    /// Writes a string.
    pub(crate) fn string(&mut self, name: &'static str, value: &str) -> &mut Self {
        string(self.field(name), value);
        self
    }

    /// Writes a boolean.
    pub(crate) fn boolean(&mut self, name: &'static str, value: bool) -> &mut Self {
        boolean(self.field(name), value);
        self
    }

    /// Writes a conversation.
    pub(crate) fn conversation(&mut self, name: &'static str, value: ConversationRef) -> &mut Self {
        let out = self.field(name);
        match value {
            ConversationRef::User(user) => Object::begin(out).integer("user", user.0).end(),
            ConversationRef::Group(group) => Object::begin(out).integer("group", group.0).end(),
        }
        self
    }

    /// Writes what is compact JSON already.
    pub(crate) fn raw(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.field(name).extend_from_slice(value.as_bytes());
        self
    }

    /// Writes an integer, or nothing.
    pub(crate) fn maybe_integer(&mut self, name: &'static str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.integer(name, value),
            None => self,
        }
    }

    /// Writes a string, or nothing.
    pub(crate) fn maybe_string(&mut self, name: &'static str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.string(name, value),
            None => self,
        }
    }

    /// Writes a boolean, or nothing.
    pub(crate) fn maybe_boolean(&mut self, name: &'static str, value: Option<bool>) -> &mut Self {
        match value {
            Some(value) => self.boolean(name, value),
            None => self,
        }
    }
}

/// Writes an integer in decimal.
pub(crate) fn integer(out: &mut Vec<u8>, value: u64) {
    // Twenty digits hold 2^64 − 1.
    let mut digits = [0_u8; 20];
    let mut rest = value;
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Writes `true` or `false`.
pub(crate) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Writes a string with the escapes that RFC 8259, section 7, asks for, the short ones where there
/// are any.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let (plain, from) = rest.split_at(plain(rest))
        && let Some((&byte, behind)) = from.split_first()
    {
        out.extend_from_slice(plain);
        escape(out, byte);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Returns how many bytes at the beginning need no escape.
fn plain(bytes: &[u8]) -> usize {
    // Many bytes are looked at with a few instructions where no answer depends on the one before.
    let (blocks, _) = bytes.as_chunks::<16>();
    let is_plain = |block: &&[u8; 16]| {
        !block
            .iter()
            .fold(false, |is, &byte| is | needs_escape(byte))
    };
    let known = blocks.iter().take_while(is_plain).count() * 16;
    let mut rest = bytes.iter().skip(known);
    let place = rest.position(|&byte| needs_escape(byte));
    place.map_or(bytes.len(), |place| known + place)
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([hex(byte >> 4), hex(byte & 0xf)]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

const fn hex(digit: u8) -> u8 {
    if digit < 10 {
        b'0' + digit
    } else {
        b'a' + digit - 10
    }
}

#[cfg(test)]
mod tests {
    use super::{integer, string};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_are_decimal() {
        for value in [0, 7, 10, 99, 100, 9_007_199_254_740_991, u64::MAX] {
            assert_eq!(written(|out| integer(out, value)), value.to_string());
        }
    }

    #[test]
    fn every_character_is_escaped_as_the_reference_does() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        let late = ["\"", "\n", "\\"].map(|end| format!("{}{end}", "long ".repeat(9)));
        let texts = ["", "plain", "\"", "é\n😀\u{2028}\u{7f}", all.as_str()];
        for text in texts.into_iter().chain(late.iter().map(String::as_str)) {
            let line = written(|out| string(out, text));
            assert_eq!(line, serde_json::to_string(text).unwrap());
            assert!(!line.contains('\n'));
        }
    }
}
