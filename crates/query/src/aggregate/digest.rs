//! Names of groups.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Names a group by what its rows have in common: the same for equal values however they are
/// written, so that a walk through groups finds its place again while groups come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupDigest(pub [u8; 16]);

impl GroupDigest {
    /// Of these values.
    pub(crate) fn of(values: &[Option<Value>]) -> Self {
        let mut hash = Sha256::new();
        for value in values {
            match value {
                None => hash.update([0]),
                Some(value) => add(&mut hash, value),
            }
        }
        let mut digest = [0; 16];
        for (to, from) in digest.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(digest)
    }
}

/// Every value begins with its kind and says how long it is, so no two are written alike.
fn add(hash: &mut Sha256, value: &Value) {
    let mut put = |kind: u8, length: usize, bytes: &[u8]| {
        hash.update([kind]);
        hash.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    match value {
        Value::Null => put(1, 0, &[]),
        Value::Bool(is) => put(2, 1, &[u8::from(*is)]),
        Value::Number(number) => {
            // Both zeros are one number.
            let number = number.as_f64().unwrap_or_default() + 0.0;
            put(3, 8, &number.to_be_bytes());
        }
        Value::String(text) => put(4, text.len(), text.as_bytes()),
        Value::Array(values) => {
            put(5, values.len(), &[]);
            for value in values {
                add(hash, value);
            }
        }
        Value::Object(members) => {
            put(6, members.len(), &[]);
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                hash.update(u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(name.as_bytes());
                add(hash, value);
            }
        }
    }
}

/// About how many bytes a value takes.
pub(crate) fn bytes_of(value: &Value) -> usize {
    /// A node of a value without its text.
    const NODE: usize = 32;
    NODE + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(bytes_of).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| NODE + name.len() + bytes_of(value))
            .sum(),
    }
}
