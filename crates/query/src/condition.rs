//! Conditions alone, as jobs and configurations have them (registry.md §6.1, §7.1).

use downlink_ports::{Needs, ScanRow};

use crate::ast::{Expr, Source};
use crate::error::SyntaxError;
use crate::evaluate::holds;
use crate::plan::{Plan, plan};
use crate::{needs, parse};

/// Which twins something is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    source: Source,
    expr: Option<Expr>,
}

impl Condition {
    /// Reads a condition: nothing or `*` for all devices; an expression over devices; or
    /// `FROM devices.modules WHERE …` with the expression over modules.
    ///
    /// # Errors
    /// [`SyntaxError`], the first one; rows of jobs are no targets.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (source, expr) = parse::condition(text)?;
        if source == Source::Jobs {
            return Err(SyntaxError::new(1, "expected devices or devices.modules"));
        }
        Ok(Self { source, expr })
    }

    /// Over devices or modules.
    pub fn source(&self) -> downlink_domain::query::Source {
        match self.source {
            Source::Devices | Source::Jobs => downlink_domain::query::Source::Devices,
            Source::Modules => downlink_domain::query::Source::Modules,
        }
    }

    /// What it comes to in a store.
    pub fn plan(&self) -> Plan {
        plan(self.expr.as_ref())
    }

    /// What has to be read of a row to decide it.
    pub fn needs(&self) -> Needs {
        needs::of(&self.expr)
    }

    /// Tells whether it is true of the row, of which at least [`Self::needs`] was read.
    pub fn matches(&self, row: &ScanRow) -> bool {
        self.expr.as_ref().is_none_or(|expr| holds(expr, row))
    }
}
