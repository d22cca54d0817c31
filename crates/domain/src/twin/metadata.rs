//! The `$metadata` tree that mirrors a section (twins.md §3.1).

use serde_json::Value;

use super::Object;
use crate::time::Timestamp;

const LAST_UPDATED: &str = "$lastUpdated";
const LAST_UPDATED_VERSION: &str = "$lastUpdatedVersion";

/// What one write leaves on every node it touches.
pub(super) struct Stamp {
    at: Value,
    version: Option<Value>,
}

impl Stamp {
    /// The stamp of a write of desired that makes it `version`.
    pub(super) fn of_desired(now: Timestamp, version: u64) -> Self {
        Self {
            at: Value::String(now.to_string()),
            version: Some(Value::from(version)),
        }
    }

    /// The stamp of a write of reported, whose nodes carry no version.
    pub(super) fn of_reported(now: Timestamp) -> Self {
        Self {
            at: Value::String(now.to_string()),
            version: None,
        }
    }

    /// Marks a node as touched; what is below it stays.
    pub(super) fn mark(&self, node: &mut Object) {
        node.insert(LAST_UPDATED.to_owned(), self.at.clone());
        if let Some(version) = &self.version {
            node.insert(LAST_UPDATED_VERSION.to_owned(), version.clone());
        }
    }

    /// The node of a value without members of its own.
    pub(super) fn leaf(&self) -> Object {
        let mut node = Object::new();
        self.mark(&mut node);
        node
    }

    /// The tree for values that were all written now; members that are `null` have no node.
    pub(super) fn tree(&self, values: &Object) -> Object {
        let mut node = self.leaf();
        for (key, value) in values {
            let child = match value {
                Value::Null => continue,
                Value::Object(members) => self.tree(members),
                Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                    self.leaf()
                }
            };
            node.insert(key.clone(), Value::Object(child));
        }
        node
    }
}

/// The metadata of a section that nobody has written yet.
pub(super) fn of_new_section(now: Timestamp) -> Object {
    Stamp::of_reported(now).leaf()
}
