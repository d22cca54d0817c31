//! What may stand in a twin (twins.md §4.5).

use serde_json::{Number, Value};

use super::{Object, TwinError};
use crate::caps;

/// Checks every key and value of a patch or a whole section, `null` members included; its total
/// size is a matter of [`check_size`] after the merge.
pub(super) fn check_members(section: &'static str, members: &Object) -> Result<(), TwinError> {
    let at = Place {
        section,
        depth: 0,
        is_in_array: false,
        path_bytes: 0,
    };
    members.iter().try_for_each(|(k, v)| at.check_member(k, v))
}

/// Checks the size of a section as twins.md §4.5 counts it.
pub(super) fn check_size(
    section: &'static str,
    values: &Object,
    max_bytes: usize,
) -> Result<(), TwinError> {
    let bytes = counted_object_bytes(values);
    if bytes > max_bytes {
        return Err(TwinError::Invalid(format!(
            "{section} would have {bytes} bytes, more than {max_bytes}"
        )));
    }
    Ok(())
}

/// Where in a section a value stands. The recursion below ends at the depth limit, whatever the
/// depth of the input.
#[derive(Clone, Copy)]
struct Place {
    section: &'static str,
    /// Objects (and arrays right inside arrays) around the value, the section itself not counted.
    depth: usize,
    /// Whether an array is around the value: `null` is a delete mark elsewhere only.
    is_in_array: bool,
    path_bytes: usize,
}

impl Place {
    fn invalid(self, what: &str) -> TwinError {
        TwinError::Invalid(format!("{} {what}", self.section))
    }

    fn deeper(self) -> Result<Self, TwinError> {
        if self.depth == caps::MAX_TWIN_DEPTH {
            return Err(self.invalid("is nested more than 10 levels deep"));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn check_member(self, key: &str, value: &Value) -> Result<(), TwinError> {
        self.check_key(key)?;
        let at = Self {
            path_bytes: self.path_bytes + key.len(),
            ..self
        };
        match value {
            Value::Null if self.is_in_array => Err(self.invalid("has a null inside an array")),
            Value::Null => Ok(()),
            Value::Object(members) => at.check_members(members),
            Value::Array(items) => {
                at.check_items(items)?;
                at.check_property(counted_array_bytes(items))
            }
            // A string has a limit of its own, up to which it is taken under any key.
            Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                at.check_scalar(value)?;
                at.check_property(0)
            }
        }
    }

    fn check_members(self, members: &Object) -> Result<(), TwinError> {
        let inside = self.deeper()?;
        members
            .iter()
            .try_for_each(|(k, v)| inside.check_member(k, v))
    }

    fn check_items(self, items: &[Value]) -> Result<(), TwinError> {
        let inside = Self {
            is_in_array: true,
            ..self
        };
        for item in items {
            match item {
                Value::Null => return Err(self.invalid("has a null inside an array")),
                Value::Object(members) => inside.check_members(members)?,
                Value::Array(items) => inside.deeper()?.check_items(items)?,
                Value::String(_) | Value::Number(_) | Value::Bool(_) => self.check_scalar(item)?,
            }
        }
        Ok(())
    }

    fn check_key(self, key: &str) -> Result<(), TwinError> {
        if key.len() > caps::MAX_TWIN_KEY_BYTES {
            return Err(self.invalid("has a key of more than 1024 bytes"));
        }
        let is_refused = |c: char| c.is_control() || matches!(c, '.' | '$' | ' ' | '#');
        if key.contains(is_refused) {
            return Err(self.invalid(
                "has a key with a dot, a dollar sign, a hash sign, a space or a control character",
            ));
        }
        Ok(())
    }

    fn check_scalar(self, value: &Value) -> Result<(), TwinError> {
        match value {
            Value::String(text) if text.len() > caps::MAX_TWIN_STRING_BYTES => {
                Err(self.invalid("has a string of more than 4096 bytes"))
            }
            Value::Number(number) => self.check_number(number),
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => Ok(()),
        }
    }

    fn check_number(self, number: &Number) -> Result<(), TwinError> {
        let text = number.as_str();
        if text.len() > caps::MAX_TWIN_NUMBER_CHARS {
            return Err(self.invalid("has a number of more than 128 characters"));
        }
        let is_integer = !text.contains(['.', 'e', 'E']);
        let is_in_range = if is_integer {
            text.parse()
                .is_ok_and(|integer: i64| caps::TWIN_INTEGERS.contains(&integer))
        } else {
            number.as_f64().is_some_and(f64::is_finite)
        };
        if is_in_range {
            Ok(())
        } else {
            Err(self.invalid(
                "has a number outside of -4503599627370496 to 4503599627370495 \
                 or beyond double precision",
            ))
        }
    }

    /// Checks key path and value of one property; `value_bytes` is 0 for what is bounded by
    /// itself.
    fn check_property(self, value_bytes: usize) -> Result<(), TwinError> {
        if self.path_bytes.saturating_add(value_bytes) > caps::MAX_TWIN_PROPERTY_BYTES {
            return Err(self.invalid("has a property of more than 4096 bytes with its key path"));
        }
        Ok(())
    }
}

/// Bytes of keys and values as twins.md §4.5 counts them. The recursion is as deep as the values,
/// which [`super::parse_json`] bounds.
pub(super) fn counted_object_bytes(members: &Object) -> usize {
    members
        .iter()
        .map(|(key, value)| key.len() + counted_bytes(value))
        .sum()
}

fn counted_array_bytes(items: &[Value]) -> usize {
    items.iter().map(counted_bytes).sum()
}

fn counted_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text
            .chars()
            .filter(|c| !c.is_control())
            .map(char::len_utf8)
            .sum(),
        Value::Array(items) => counted_array_bytes(items),
        Value::Object(members) => counted_object_bytes(members),
    }
}
