//! The fields of a message.

use parlor_core::id::MAX_INTEGER;
use parlor_core::time::Timestamp;

/// The numbers of fields that a reader keeps are below this; others are skipped.
const KEPT: usize = 32;

/// Adds fields to a payload. Their numbers must ascend.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Begins a message of a kind.
    pub(super) fn new(kind: u8, out: &'a mut Vec<u8>) -> Self {
        out.push(kind);
        Self { out }
    }

    /// Adds an integer.
    pub(super) fn number(&mut self, field: u8, value: u64) {
        self.out.push(field << 1);
        self.integer(value);
    }

    /// Adds a flag where it is set.
    pub(super) fn flag(&mut self, field: u8, value: bool) {
        if value {
            self.number(field, 1);
        }
    }

    /// Adds a text.
    pub(super) fn text(&mut self, field: u8, value: &str) {
        self.out.push(field << 1 | 1);
        self.integer(u64::try_from(value.len()).unwrap_or(u64::MAX));
        self.out.extend_from_slice(value.as_bytes());
    }

    /// Adds a text where there is one.
    pub(super) fn optional_text(&mut self, field: u8, value: Option<&str>) {
        if let Some(value) = value {
            self.text(field, value);
        }
    }

    fn integer(&mut self, mut value: u64) {
        loop {
            // The first of the bytes has the lowest bits.
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.out.push(low & 0x7f);
            }
            self.out.push(low | 0x80);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message that was received, by number.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    values: [Option<Value<'a>>; KEPT],
}

impl<'a> Fields<'a> {
    /// Reads all fields; `None` where they have not the form that they must have.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut values = [None; KEPT];
        let mut least = 0;
        while let Some((key, rest)) = bytes.split_first() {
            bytes = rest;
            let field = key >> 1;
            if field < least {
                return None;
            }
            least = field + 1;
            let number = integer(&mut bytes)?;
            let value = if key & 1 == 0 {
                Value::Number(number)
            } else {
                let (value, rest) = bytes.split_at_checked(usize::try_from(number).ok()?)?;
                bytes = rest;
                Value::Bytes(value)
            };
            if let Some(slot) = values.get_mut(usize::from(field)) {
                *slot = Some(value);
            }
        }
        Some(Self { values })
    }

    /// Returns any integer.
    pub(super) fn any(&self, field: u8) -> Option<u64> {
        match self.value(field)? {
            Value::Number(number) => Some(number),
            Value::Bytes(_) => None,
        }
    }

    /// Returns an integer that the protocol can carry, as an identifier of some type.
    pub(super) fn id<T>(&self, field: u8, make: impl Fn(u64) -> T) -> Option<T> {
        self.any(field)
            .filter(|number| *number <= MAX_INTEGER)
            .map(make)
    }

    /// Returns a time.
    pub(super) fn time(&self, field: u8) -> Option<Timestamp> {
        self.id(field, Timestamp)
    }

    /// Returns an integer that may be absent; `None` where it is there and malformed.
    pub(super) fn optional_id<T>(&self, field: u8, make: impl Fn(u64) -> T) -> Option<Option<T>> {
        if self.has(field) {
            self.id(field, make).map(Some)
        } else {
            Some(None)
        }
    }

    /// Returns whether a flag is set; `None` where it is no flag.
    pub(super) fn flag(&self, field: u8) -> Option<bool> {
        if self.has(field) {
            (self.any(field)? == 1).then_some(true)
        } else {
            Some(false)
        }
    }

    /// Returns a text of at most so many bytes.
    pub(super) fn text(&self, field: u8, most: usize) -> Option<&'a str> {
        match self.value(field)? {
            Value::Bytes(bytes) if bytes.len() <= most => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Returns a text that may be absent; `None` where it is there and malformed.
    pub(super) fn optional_text(&self, field: u8, most: usize) -> Option<Option<&'a str>> {
        if self.has(field) {
            self.text(field, most).map(Some)
        } else {
            Some(None)
        }
    }

    /// Tells whether a field is there.
    pub(super) fn has(&self, field: u8) -> bool {
        self.value(field).is_some()
    }

    fn value(&self, field: u8) -> Option<Value<'a>> {
        self.values.get(usize::from(field)).copied().flatten()
    }
}

/// Takes an integer from the front; `None` where it is cut short, too large, or longer than need be.
fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return (*byte != 0 || shift == 0).then_some(value);
        }
    }
    None
}
