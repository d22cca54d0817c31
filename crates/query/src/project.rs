//! Rows into what a query selects of them.

use downlink_domain::twin::Object;

use crate::ast::{Item, Query, Select};
use crate::evaluate::{Document, holds, value};
use crate::plan::{Plan, plan};

impl Query {
    /// What the condition comes to in a store of twins.
    pub fn plan(&self) -> Plan {
        plan(self.condition.as_ref())
    }

    /// Tells whether the query is about this row.
    pub fn matches(&self, row: &dyn Document) -> bool {
        let condition = self.condition.as_ref();
        condition.is_none_or(|condition| holds(condition, row))
    }

    /// The selected items of a row, without those that are undefined; `None` when the whole row is
    /// selected.
    pub fn project(&self, row: &dyn Document) -> Option<Object> {
        match &self.select {
            Select::All => None,
            Select::Items(items) => Some(project(items, row)),
        }
    }
}

pub(crate) fn project(items: &[Item], row: &dyn Document) -> Object {
    let mut object = Object::new();
    for item in items {
        if let Some(value) = value(&item.expr, row).into_json() {
            object.insert(item.name.clone(), value);
        }
    }
    object
}
