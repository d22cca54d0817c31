//! Tokens into queries and conditions: recursive descent with a bound on its depth.

mod expression;
mod query;

use crate::ast::{Expr, Query, Source};
use crate::error::SyntaxError;
use crate::token::{Placed, Token, tokens};
use crate::{MAX_DEPTH, MAX_TEXT};

/// Words that name nothing at the beginning of a path, so that what is left out is noticed.
const RESERVED: [&str; 16] = [
    "SELECT", "TOP", "FROM", "AS", "WHERE", "GROUP", "BY", "AND", "OR", "NOT", "IN", "NIN",
    "ORDER", "JOIN", "DISTINCT", "HAVING",
];

impl Query {
    /// Reads a whole query.
    ///
    /// # Errors
    /// [`SyntaxError`], the first one.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut parser = Parser::new(text)?;
        let query = parser.query()?;
        parser.expect_end()?;
        Ok(query)
    }
}

/// Reads `*` or nothing (all devices), `<condition>` (over devices), or
/// `FROM <source> [WHERE <condition>]`.
pub(crate) fn condition(text: &str) -> Result<(Source, Option<Expr>), SyntaxError> {
    let mut parser = Parser::new(text)?;
    let read = parser.bare_condition()?;
    parser.expect_end()?;
    Ok(read)
}

/// Where expressions stand.
#[derive(Clone, Debug)]
struct Scope {
    source: Source,
    alias: Option<String>,
    /// Where aggregates may stand: in items, but not within each other.
    allows_aggregates: bool,
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    /// Levels of recursion that are open.
    depth: usize,
    /// Operations of arithmetic so far, each of which may make a tree one level deeper.
    operations: usize,
    scope: Scope,
}

impl Parser {
    fn new(text: &str) -> Result<Self, SyntaxError> {
        if text.chars().nth(MAX_TEXT).is_some() {
            let message = format!("a query has at most {MAX_TEXT} characters");
            return Err(SyntaxError::new(MAX_TEXT + 1, message));
        }
        Ok(Self {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
            operations: 0,
            scope: Scope {
                source: Source::Devices,
                alias: None,
                allows_aggregates: false,
            },
        })
    }

    fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens
            .get(self.at + ahead)
            .map_or(&Token::End, |placed| &placed.token)
    }

    fn position(&self) -> usize {
        let placed = self.tokens.get(self.at).or(self.tokens.last());
        placed.map_or(1, |placed| placed.position)
    }

    fn advance(&mut self) {
        self.at += 1;
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_there = self.is_sign(sign);
        self.at += usize::from(is_there);
        is_there
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(word);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(self.expected(&format!("'{sign}'")))
    }

    fn expect_word(&mut self, word: &str) -> Result<(), SyntaxError> {
        if self.take_word(word) {
            return Ok(());
        }
        Err(self.expected(word))
    }

    fn expect_end(&self) -> Result<(), SyntaxError> {
        let missing = [
            (
                "ORDER",
                "there is no ORDER BY: rows come in the order of their registration",
            ),
            ("JOIN", "there is no JOIN"),
            ("HAVING", "there is no HAVING"),
            (
                "LIKE",
                "there is no LIKE; use STARTS_WITH, ENDS_WITH or CONTAINS",
            ),
            ("BETWEEN", "there is no BETWEEN; use >= and <="),
            ("LIMIT", "there is no LIMIT; use SELECT TOP"),
            (
                "OFFSET",
                "there is no OFFSET; use the continuation of the page before",
            ),
        ];
        if *self.peek() == Token::End {
            return Ok(());
        }
        let missing = missing.iter().find(|(word, _)| self.is_word(word));
        Err(match missing {
            Some((_, message)) => self.error(*message),
            None => self.expected("the end of the query"),
        })
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.position(), message)
    }

    fn expected(&self, what: &str) -> SyntaxError {
        self.error(format!("expected {what}, found {}", self.peek()))
    }

    /// Reads with one more level of recursion.
    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(format!("expressions go at most {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }
}

fn is_reserved(word: &str) -> bool {
    RESERVED
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}
