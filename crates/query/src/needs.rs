//! Which parts of a row an expression reads.

use downlink_ports::Needs;

use crate::ast::{Expr, Query, Select};
use crate::path::Step;

/// Everything, as a whole twin needs it.
pub(crate) const ALL: Needs = Needs {
    tags: true,
    desired: true,
    reported: true,
    configurations: true,
    waiting: true,
};

/// What the expressions read.
pub(crate) fn of<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Needs {
    let mut needs = Needs::default();
    for path in exprs.into_iter().flat_map(Expr::paths) {
        let name = |at: usize| match path.steps().get(at) {
            Some(Step::Name(name)) => name.as_str(),
            Some(Step::Index(_)) | None => "",
        };
        match (name(0), name(1)) {
            ("tags", _) => needs.tags = true,
            // Its version is always there.
            ("properties", "desired" | "reported") if name(2) == "$version" => {}
            ("properties", "desired") => needs.desired = true,
            ("properties", "reported") => needs.reported = true,
            ("properties", _) => (needs.desired, needs.reported) = (true, true),
            ("configurations", _) => needs.configurations = true,
            ("cloudToDeviceMessageCount", _) => needs.waiting = true,
            _ => {}
        }
    }
    needs
}

impl Query {
    /// What has to be read of a row to answer the query.
    pub fn needs(&self) -> Needs {
        match &self.select {
            Select::All => ALL,
            Select::Items(items) => {
                let items = items.iter().map(|item| &item.expr);
                of(items.chain(&self.condition).chain(&self.group_by))
            }
        }
    }
}
