//! JSON of strangers: bounded, no name twice, read no deeper than it is asked for.
//!
//! A value is kept as its text until somebody wants it, so nothing recurses and nothing is built
//! from what no claim names.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// More members than this are no header, claims, key or discovery document.
const MAX_MEMBERS: usize = 256;

/// An object whose names are distinct, of at most 256 members.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Parses an object; `None` for anything else.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `name`; JSON's `null` is one.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.members.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    /// The text that `name` holds.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        text(self.get(name)?)
    }

    /// The value at `path`: that of the member with this whole name, else that of the members whose
    /// names are its parts between dots, one in the other.
    pub(crate) fn at(&self, path: &str) -> Option<&'a RawValue> {
        if let Some(value) = self.get(path) {
            return Some(value);
        }
        let (first, rest) = path.split_once('.')?;
        Object::parse(self.get(first)?.get())?.at(rest)
    }
}

/// The text that a value is.
pub(crate) fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The items of an array of at most `most`; `None` for more, and for anything else.
pub(crate) fn items(value: &RawValue, most: usize) -> Option<Vec<&RawValue>> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    deserializer.deserialize_seq(ItemsVisitor { most }).ok()
}

/// The texts that a value is: an array of at most `most`, or one alone.
pub(crate) fn texts(value: &RawValue, most: usize) -> Option<Vec<String>> {
    match text(value) {
        Some(one) => Some(vec![one]),
        None => items(value, most)?.into_iter().map(text).collect(),
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut members: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() == MAX_MEMBERS || members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a member too many"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Object { members })
    }
}

struct ItemsVisitor {
    most: usize,
}

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.most {
                return Err(A::Error::custom("an item too many"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_escaped() {
        assert!(Object::parse(r#"{"aud":"a","aud":"b"}"#).is_none());
        assert!(Object::parse(r#"{"aud":"a","\u0061ud":"b"}"#).is_none());
        assert!(Object::parse(r#"{"aud":"a","Aud":"b"}"#).is_some());
    }

    #[test]
    fn only_an_object_and_nothing_behind_it_is_an_object() {
        for text in ["", "[]", "1", "null", "{} {}", "{\"a\":1,}", "{\"a\"}", "{"] {
            assert!(Object::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn members_and_items_are_counted() {
        let members = |count: usize| {
            let all: Vec<String> = (0..count).map(|at| format!("\"{at}\":0")).collect();
            format!("{{{}}}", all.join(","))
        };
        assert!(Object::parse(&members(256)).is_some());
        assert!(Object::parse(&members(257)).is_none());
        let list = r#"{"list":[1,2,3],"texts":["a","b"],"mixed":["a",1],"text":"a b"}"#;
        let object = Object::parse(list).unwrap();
        assert_eq!(items(object.get("list").unwrap(), 3).unwrap().len(), 3);
        assert!(items(object.get("list").unwrap(), 2).is_none());
        assert_eq!(texts(object.get("texts").unwrap(), 2).unwrap(), ["a", "b"]);
        assert_eq!(texts(object.get("text").unwrap(), 2).unwrap(), ["a b"]);
        assert!(texts(object.get("mixed").unwrap(), 2).is_none());
    }

    #[test]
    fn nesting_costs_no_stack_and_is_not_entered_unasked() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(8_000), "]".repeat(8_000));
        let object = Object::parse(&deep).unwrap();
        assert!(texts(object.get("a").unwrap(), 10).is_none());
        let deep = format!("{}0{}", "{\"a\":".repeat(3_000), "}".repeat(3_000));
        let object = Object::parse(&deep).unwrap();
        assert!(object.at("a.a.a").is_some() && object.at("a.b").is_none());
    }

    #[test]
    fn a_path_is_a_whole_name_first() {
        let text = r#"{"a.b":"whole","a":{"b":"inner","c":"one"},"https://x.test/roles":"r"}"#;
        let object = Object::parse(text).unwrap();
        let at = |path| object.at(path).and_then(super::text);
        assert_eq!(at("a.b").unwrap(), "whole");
        assert_eq!(at("a.c").unwrap(), "one");
        assert_eq!(at("https://x.test/roles").unwrap(), "r");
        assert!(at("a.d").is_none() && at("b.c").is_none());
    }
}
