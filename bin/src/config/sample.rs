//! `deploy/parlor.toml` is checked against the settings: it says what is so anyway, and leaves nothing
//! out.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::value::{Error, SeqDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

use super::Settings;
use super::file::File;
use super::tests::settings;

const SAMPLE: &str = include_str!("../../../deploy/parlor.toml");

/// Returns the sample with the settings that have no default set to their examples.
fn with_examples() -> String {
    let active = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|it: char| it.is_ascii_lowercase() || it == '[') => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    SAMPLE.lines().map(|line| active(line) + "\n").collect()
}

/// Returns the path of every key of a file.
fn keys_of(text: &str) -> BTreeSet<String> {
    fn walk(table: &Table, path: &str, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = format!("{path}{key}");
            if let Value::Table(table) = value {
                walk(table, &format!("{path}."), found);
            } else {
                found.insert(path);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&toml::from_str(text).unwrap(), "", &mut found);
    found
}

/// Returns the path of every key that a file may have, as serde sees its types.
fn keys_that_may_be() -> BTreeSet<String> {
    let found = RefCell::default();
    let lister = Lister {
        path: String::new(),
        found: &found,
    };
    File::deserialize(lister).map(drop).unwrap();
    found.into_inner()
}

/// A deserializer that gives every field of every structure some value, and notes their paths.
struct Lister<'a> {
    path: String,
    found: &'a RefCell<BTreeSet<String>>,
}

impl Lister<'_> {
    fn note(&self) {
        self.found.borrow_mut().insert(self.path.clone());
    }
}

impl<'de> Deserializer<'de> for Lister<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note();
        visitor.visit_str("open")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note();
        visitor.visit_bool(true)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note();
        visitor.visit_u32(1)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u32(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note();
        visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<String>()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note();
        let first: StrDeserializer<'_, Error> = variants.first().unwrap().into_deserializer();
        visitor.visit_enum(first)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields {
            table: self,
            fields: fields.iter(),
            field: "",
        })
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct map identifier ignored_any
    }
}

/// The fields of a structure, one after the other.
struct Fields<'a> {
    table: Lister<'a>,
    fields: std::slice::Iter<'static, &'static str>,
    field: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.fields.next() else {
            return Ok(None);
        };
        self.field = field;
        let name: StrDeserializer<'_, Error> = field.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let parent = &self.table.path;
        let path = match parent.as_str() {
            "" => self.field.to_owned(),
            parent => format!("{parent}.{}", self.field),
        };
        seed.deserialize(Lister {
            path,
            found: self.table.found,
        })
    }
}

#[test]
fn the_sample_says_what_is_so_anyway() {
    let sample = settings(SAMPLE).unwrap();
    assert_eq!(sample.to_string(), Settings::default().to_string());
    assert_eq!(format!("{sample:?}"), format!("{:?}", Settings::default()));
    // What has a default is said, rather than shown as an example.
    let said = keys_of(SAMPLE);
    let defaults = keys_of(&Settings::default().to_string());
    assert_eq!(said, defaults);
}

#[test]
fn the_sample_leaves_no_setting_out() {
    let shown = keys_of(&with_examples());
    settings(&with_examples()).unwrap();
    let mut lacking = keys_that_may_be();
    assert!(lacking.len() > 50, "only {lacking:?} were found");
    lacking.retain(|key| {
        // A rate has one of the two.
        let other = match key.rsplit_once('.') {
            Some((rate, "per_hour")) => format!("{rate}.per_second"),
            Some((rate, "per_second")) => format!("{rate}.per_hour"),
            _ => key.clone(),
        };
        !shown.contains(key) && !shown.contains(&other)
    });
    assert_eq!(lacking, BTreeSet::new(), "add them to deploy/parlor.toml");
}

#[test]
fn every_setting_of_the_sample_is_explained() {
    let mut explained = false;
    for line in SAMPLE.lines() {
        let setting = line.trim_start_matches('#');
        let is_setting = setting.starts_with(|it: char| it.is_ascii_lowercase());
        if is_setting && setting.contains(" = ") {
            assert!(explained, "{line}");
        } else if !line.starts_with("[") {
            // Keys that belong together share what is said above the first.
            explained = line.starts_with("# ");
        }
    }
}
