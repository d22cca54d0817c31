//! Rows counted by what they have in common.

use std::collections::HashMap;

use downlink_domain::query::{Field, GroupValue, Scalar};
use downlink_domain::time::Timestamp;

use super::evaluate::{Found, find};
use super::{ScanRow, Tallied, Tally, TallyGroup};

/// Counts rows for a [`Tally`], never more groups than it may have.
#[derive(Debug)]
pub struct Counting<'t> {
    tally: &'t Tally,
    groups: HashMap<Vec<Key>, u64>,
}

/// There are more groups than the tally may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyGroups;

/// A [`GroupValue`] that can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Undefined,
    Null,
    Bool(bool),
    /// The bits of the number, those of 0 for -0.
    Number(u64),
    Text(String),
    Time(Timestamp),
    Composite,
}

impl<'t> Counting<'t> {
    /// Nothing counted yet.
    pub fn new(tally: &'t Tally) -> Self {
        Self {
            tally,
            groups: HashMap::new(),
        }
    }

    /// Counts a row that the filter holds for.
    ///
    /// # Errors
    /// [`TooManyGroups`]: it would be one group more than there may be.
    pub fn row(&mut self, row: &ScanRow) -> Result<(), TooManyGroups> {
        let key = |field: &Field| Key::of(find(field, row));
        let key = self.tally.group_by.iter().map(key).collect();
        self.keyed(key, 1)
    }

    /// Counts rows that are known to have `values` in common.
    ///
    /// # Errors
    /// [`TooManyGroups`]: it would be one group more than there may be.
    pub fn group(&mut self, values: Vec<GroupValue>, count: u64) -> Result<(), TooManyGroups> {
        let key = values.into_iter().map(Key::of_value).collect();
        self.keyed(key, count)
    }

    fn keyed(&mut self, key: Vec<Key>, count: u64) -> Result<(), TooManyGroups> {
        if count == 0 {
            return Ok(());
        }
        if let Some(counted) = self.groups.get_mut(&key) {
            *counted += count;
            return Ok(());
        }
        if self.groups.len() >= self.tally.max_groups as usize {
            return Err(TooManyGroups);
        }
        self.groups.insert(key, count);
        Ok(())
    }

    /// What was counted.
    pub fn finish(mut self) -> Tallied {
        if self.tally.group_by.is_empty() {
            self.groups.entry(Vec::new()).or_insert(0);
        }
        let groups = self.groups.into_iter().map(|(key, count)| TallyGroup {
            values: key.into_iter().map(Key::value).collect(),
            count,
        });
        Tallied::Groups(groups.collect())
    }
}

impl Key {
    fn of(found: Found<'_>) -> Self {
        match found {
            Found::Undefined => Self::Undefined,
            Found::Null => Self::Null,
            Found::Bool(value) => Self::Bool(value),
            // -0 and 0 are one number.
            Found::Number(number) => Self::Number((number + 0.0).to_bits()),
            Found::Text(text) => Self::Text(text.to_owned()),
            Found::Time(at) => Self::Time(at),
            Found::Object | Found::Array => Self::Composite,
        }
    }

    fn of_value(value: GroupValue) -> Self {
        match value {
            GroupValue::Undefined => Self::Undefined,
            GroupValue::Composite => Self::Composite,
            GroupValue::Scalar(Scalar::Null) => Self::Null,
            GroupValue::Scalar(Scalar::Bool(value)) => Self::Bool(value),
            GroupValue::Scalar(Scalar::Number(number)) => Self::Number((number + 0.0).to_bits()),
            GroupValue::Scalar(Scalar::Text(text)) => Self::Text(text),
            GroupValue::Scalar(Scalar::Time(at)) => Self::Time(at),
        }
    }

    fn value(self) -> GroupValue {
        match self {
            Self::Undefined => GroupValue::Undefined,
            Self::Null => GroupValue::Scalar(Scalar::Null),
            Self::Bool(value) => GroupValue::Scalar(Scalar::Bool(value)),
            Self::Number(bits) => GroupValue::Scalar(Scalar::Number(f64::from_bits(bits))),
            Self::Text(text) => GroupValue::Scalar(Scalar::Text(text)),
            Self::Time(at) => GroupValue::Scalar(Scalar::Time(at)),
            Self::Composite => GroupValue::Composite,
        }
    }
}
