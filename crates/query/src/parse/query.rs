//! SELECT, FROM, WHERE, GROUP BY.

use std::collections::BTreeSet;

use super::{Parser, is_reserved};
use crate::ast::{Expr, Item, Query, Select, Source};
use crate::error::SyntaxError;
use crate::token::Token;
use crate::{MAX_GROUP_BY, MAX_ITEMS};

impl Parser {
    pub(super) fn query(&mut self) -> Result<Query, SyntaxError> {
        self.expect_word("SELECT")?;
        if self.is_word("DISTINCT") {
            return Err(self.error("there is no DISTINCT; use GROUP BY"));
        }
        let top = if self.is_word("TOP") && matches!(self.peek_at(1), Token::Number(_)) {
            self.advance();
            Some(self.top()?)
        } else {
            None
        };
        let list = self.at;
        self.skip_list()?;
        self.source()?;
        let after_source = self.at;
        // Paths of the list can be read once the source and its alias are known.
        self.at = list;
        self.operations = 0;
        let (select, positions) = self.list()?;
        if !self.is_word("FROM") {
            return Err(self.expected("FROM"));
        }
        self.at = after_source;
        let condition = self.where_part()?;
        let group_by = self.group_by()?;
        let query = Query {
            source: self.scope.source,
            select,
            top,
            condition,
            group_by,
        };
        check(&query, list_position(&positions), &positions)?;
        Ok(query)
    }

    pub(super) fn bare_condition(&mut self) -> Result<(Source, Option<Expr>), SyntaxError> {
        if *self.peek() == Token::End {
            return Ok((Source::Devices, None));
        }
        if self.is_sign("*") {
            self.advance();
            return Ok((Source::Devices, None));
        }
        if self.is_word("FROM") {
            self.source()?;
            let condition = self.where_part()?;
            return Ok((self.scope.source, condition));
        }
        Ok((Source::Devices, Some(self.expression()?)))
    }

    fn top(&mut self) -> Result<u64, SyntaxError> {
        /// Far above what a hub holds, exact as `f64`.
        const MOST: f64 = 1e15;
        let whole = match self.peek() {
            Token::Number(number) if number.fract() == 0.0 && *number <= MOST => Some(*number),
            _ => None,
        };
        let number = whole.ok_or_else(|| self.expected("a whole number"))?;
        self.advance();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 0 to 1e15"
        )]
        Ok(number as u64)
    }

    /// Goes to FROM, which names what the paths before it begin with.
    fn skip_list(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        loop {
            let is_name = self.at > start
                && matches!(self.tokens.get(self.at - 1), Some(before) if before.token == Token::Sign("."));
            if self.is_word("FROM") && !is_name {
                return Ok(());
            }
            if *self.peek() == Token::End {
                // Reading the list tells best where the query went wrong.
                self.at = start;
                self.list()?;
                return Err(self.expected("FROM"));
            }
            self.advance();
        }
    }

    fn source(&mut self) -> Result<(), SyntaxError> {
        self.expect_word("FROM")?;
        let unknown = "devices, devices.modules or devices.jobs";
        if !self.take_word("devices") {
            return Err(self.expected(unknown));
        }
        self.scope.source = if !self.take_sign(".") {
            Source::Devices
        } else if self.take_word("modules") {
            Source::Modules
        } else if self.take_word("jobs") {
            Source::Jobs
        } else {
            return Err(self.expected("modules or jobs"));
        };
        let must = self.take_word("AS");
        match self.peek() {
            Token::Word(word) if !is_reserved(word) && !is_clause(word) => {
                self.scope.alias = Some(word.clone());
                self.advance();
            }
            _ if must => return Err(self.expected("a name for the source")),
            _ => {}
        }
        Ok(())
    }

    fn where_part(&mut self) -> Result<Option<Expr>, SyntaxError> {
        if !self.take_word("WHERE") {
            return Ok(None);
        }
        self.expression().map(Some)
    }

    fn group_by(&mut self) -> Result<Vec<Expr>, SyntaxError> {
        let mut group_by = Vec::new();
        if !self.is_word("GROUP") {
            return Ok(group_by);
        }
        if self.scope.source == Source::Jobs {
            return Err(self.error("rows of jobs cannot be grouped"));
        }
        self.advance();
        self.expect_word("BY")?;
        loop {
            if group_by.len() == MAX_GROUP_BY {
                let message = format!("a query groups by at most {MAX_GROUP_BY} expressions");
                return Err(self.error(message));
            }
            group_by.push(self.expression()?);
            if !self.take_sign(",") {
                return Ok(group_by);
            }
        }
    }

    /// The list and where each item begins.
    fn list(&mut self) -> Result<(Select, Vec<usize>), SyntaxError> {
        let mut positions = vec![self.position()];
        if self.take_sign("*") {
            return Ok((Select::All, positions));
        }
        positions.clear();
        let mut items: Vec<Item> = Vec::new();
        let mut names = BTreeSet::new();
        loop {
            let position = self.position();
            if items.len() == MAX_ITEMS {
                return Err(self.error(format!("a query selects at most {MAX_ITEMS} items")));
            }
            let item = self.item(items.len() + 1)?;
            if !names.insert(item.name.clone()) {
                let message = format!(
                    "another item is named {:?} too; name this one with AS",
                    item.name
                );
                return Err(SyntaxError::new(position, message));
            }
            positions.push(position);
            items.push(item);
            if !self.take_sign(",") {
                return Ok((Select::Items(items), positions));
            }
        }
    }

    fn item(&mut self, number: usize) -> Result<Item, SyntaxError> {
        self.scope.allows_aggregates = true;
        let expr = self.expression();
        self.scope.allows_aggregates = false;
        let expr = expr?;
        let named = if self.take_word("AS") {
            let name = match self.peek() {
                Token::Word(name) | Token::Escaped(name) => Some(name.clone()),
                _ => None,
            };
            let name = name.ok_or_else(|| self.expected("a name"))?;
            self.advance();
            Some(name)
        } else {
            None
        };
        let name = named.unwrap_or_else(|| match &expr {
            Expr::Path(path) => path.last_name().to_owned(),
            _ => format!("${number}"),
        });
        Ok(Item { expr, name })
    }
}

fn is_clause(word: &str) -> bool {
    ["LIMIT", "OFFSET"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}

fn list_position(positions: &[usize]) -> usize {
    positions.first().copied().unwrap_or(1)
}

/// What groups have in common is all that can be asked of them.
fn check(query: &Query, list: usize, positions: &[usize]) -> Result<(), SyntaxError> {
    let items = match &query.select {
        Select::All if query.group_by.is_empty() => return Ok(()),
        Select::All => {
            let message = "groups are not rows: select what the query groups by, or aggregates";
            return Err(SyntaxError::new(list, message));
        }
        Select::Items(_) if query.source == Source::Jobs => {
            return Err(SyntaxError::new(list, "of jobs select *"));
        }
        Select::Items(items) => items,
    };
    if !query.is_grouped() {
        return Ok(());
    }
    for (item, position) in items.iter().zip(positions) {
        if !is_common(&item.expr, &query.group_by) {
            let message = "neither an aggregate nor what the query groups by";
            return Err(SyntaxError::new(*position, message));
        }
    }
    Ok(())
}

fn is_common(expr: &Expr, group_by: &[Expr]) -> bool {
    if group_by.contains(expr) {
        return true;
    }
    match expr {
        Expr::Aggregate(..) | Expr::Literal(_) => true,
        Expr::Path(_) => false,
        _ => expr.parts().iter().all(|part| is_common(part, group_by)),
    }
}
