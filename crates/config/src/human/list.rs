//! Lists of names, addresses and the like.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// More items than this are a mistake.
const MAX_ITEMS: usize = 100;

/// At most 100 items: a list in a file, or one text with commas between where there are no lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "Vec<String>"))]
pub struct List<T> {
    items: Vec<T>,
}

impl<T> List<T> {
    /// Makes a list.
    pub fn new(items: Vec<T>) -> Self {
        Self { items }
    }

    /// Returns the items in their order.
    pub fn as_slice(&self) -> &[T] {
        &self.items
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T: Display> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items.iter().map(ToString::to_string))
    }
}

impl<'de, T> Deserialize<'de> for List<T>
where
    T: FromStr,
    T::Err: Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<T> ListVisitor<T>
where
    T: FromStr,
    T::Err: Display,
{
    fn push<E: Error>(items: &mut Vec<T>, text: &str) -> Result<(), E> {
        if items.len() == MAX_ITEMS {
            return Err(E::custom(format_args!("more than {MAX_ITEMS} items")));
        }
        let item = text
            .parse()
            .map_err(|error| E::custom(format_args!("{text:?}: {error}")))?;
        items.push(item);
        Ok(())
    }
}

impl<'de, T> Visitor<'de> for ListVisitor<T>
where
    T: FromStr,
    T::Err: Display,
{
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or one text with commas between the items")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
        let mut items = Vec::new();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            Self::push(&mut items, item)?;
        }
        Ok(List { items })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<List<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(text) = texts.next_element::<String>()? {
            Self::push(&mut items, &text)?;
        }
        Ok(List { items })
    }
}
