//! Expressions, from OR, which binds least, to names and values.

use downlink_domain::query::Comparison;

use super::{Parser, is_reserved};
use crate::ast::{Aggregate, Expr, Literal, Math, Source};
use crate::error::SyntaxError;
use crate::functions::Function;
use crate::path::{Path, Step};
use crate::token::Token;
use crate::{MAX_DEPTH, MAX_OPERATIONS};

impl Parser {
    pub(super) fn expression(&mut self) -> Result<Expr, SyntaxError> {
        self.deeper(Self::or)
    }

    fn or(&mut self) -> Result<Expr, SyntaxError> {
        let first = self.and()?;
        let mut parts = vec![first];
        while self.take_word("OR") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, SyntaxError> {
        let first = self.not()?;
        let mut parts = vec![first];
        while self.take_word("AND") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expr::And))
    }

    fn not(&mut self) -> Result<Expr, SyntaxError> {
        if self.take_word("NOT") {
            let part = self.deeper(Self::not)?;
            return Ok(Expr::Not(Box::new(part)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, SyntaxError> {
        let left = self.sum()?;
        if self.take_word("IN") {
            return self.list_of_values(left);
        }
        let negated = self.take_word("NIN")
            || (self.is_word("NOT") && is_in(self.peek_at(1)) && {
                self.advance();
                self.advance();
                true
            });
        if negated {
            let list = self.list_of_values(left)?;
            return Ok(Expr::Not(Box::new(list)));
        }
        let Some(comparison) = self.take_comparison() else {
            return Ok(left);
        };
        let right = self.sum()?;
        if self.take_comparison().is_some() {
            self.at -= 1;
            return Err(self.error("comparisons do not chain; use AND"));
        }
        Ok(Expr::Compare(comparison, Box::new(left), Box::new(right)))
    }

    fn take_comparison(&mut self) -> Option<Comparison> {
        let comparison = match self.peek() {
            Token::Sign("=") => Comparison::Eq,
            Token::Sign("!=" | "<>") => Comparison::Ne,
            Token::Sign("<") => Comparison::Lt,
            Token::Sign("<=") => Comparison::Le,
            Token::Sign(">") => Comparison::Gt,
            Token::Sign(">=") => Comparison::Ge,
            _ => return None,
        };
        self.advance();
        Some(comparison)
    }

    fn list_of_values(&mut self, left: Expr) -> Result<Expr, SyntaxError> {
        self.expect_sign("[")?;
        let mut values = Vec::new();
        loop {
            let negative = self.take_sign("-");
            let value = match (self.literal(), negative) {
                (Some(value), false) => value,
                (Some(Literal::Number(number)), true) => Literal::Number(-number),
                _ => return Err(self.expected("a value")),
            };
            self.advance();
            values.push(value);
            if !self.take_sign(",") {
                break;
            }
        }
        self.expect_sign("]")?;
        Ok(Expr::In(Box::new(left), values))
    }

    fn sum(&mut self) -> Result<Expr, SyntaxError> {
        self.chain(&[("+", Math::Add), ("-", Math::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expr, SyntaxError> {
        let signs = [
            ("*", Math::Multiply),
            ("/", Math::Divide),
            ("%", Math::Remainder),
        ];
        self.chain(&signs, Self::signed)
    }

    /// Operations of one rank, the left ones first. Each makes the tree one level deeper.
    fn chain(
        &mut self,
        signs: &[(&str, Math)],
        operand: fn(&mut Self) -> Result<Expr, SyntaxError>,
    ) -> Result<Expr, SyntaxError> {
        let mut left = operand(self)?;
        let depth = self.depth;
        while let Some((_, math)) = signs.iter().find(|(sign, _)| self.is_sign(sign)) {
            // The left operand may be as deep as its own operations and parentheses made it.
            if self.depth >= MAX_DEPTH || self.operations >= MAX_OPERATIONS {
                return Err(self.error("too many operations in one query"));
            }
            self.depth += 1;
            self.operations += 1;
            self.advance();
            let right = operand(self)?;
            left = Expr::Math(*math, Box::new(left), Box::new(right));
        }
        self.depth = depth;
        Ok(left)
    }

    fn signed(&mut self) -> Result<Expr, SyntaxError> {
        if self.take_sign("-") {
            let part = self.deeper(Self::signed)?;
            return Ok(match part {
                Expr::Literal(Literal::Number(number)) => Expr::Literal(Literal::Number(-number)),
                part => Expr::Negative(Box::new(part)),
            });
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expr, SyntaxError> {
        if self.take_sign("(") {
            let inner = self.expression()?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        if let Some(literal) = self.literal() {
            self.advance();
            return Ok(Expr::Literal(literal));
        }
        match self.peek() {
            Token::Word(word) if *self.peek_at(1) == Token::Sign("(") => {
                let word = word.clone();
                self.call(&word)
            }
            Token::Word(word) if !is_reserved(word) => self.path(),
            Token::Escaped(_) => self.path(),
            _ => Err(self.expected("a value, a name or a function")),
        }
    }

    fn literal(&self) -> Option<Literal> {
        let words = [
            ("true", Literal::Bool(true)),
            ("false", Literal::Bool(false)),
            ("null", Literal::Null),
            ("undefined", Literal::Undefined),
        ];
        match self.peek() {
            Token::Number(number) => Some(Literal::Number(*number)),
            Token::Text(text) => Some(Literal::Text(text.clone())),
            Token::Word(word) => {
                let mut words = words.into_iter();
                let found = words.find(|(known, _)| known.eq_ignore_ascii_case(word));
                found.map(|(_, literal)| literal)
            }
            Token::Escaped(_) | Token::Sign(_) | Token::End => None,
        }
    }

    fn call(&mut self, word: &str) -> Result<Expr, SyntaxError> {
        let position = self.position();
        if let Some(aggregate) = Aggregate::parse(word) {
            return self.aggregate(aggregate);
        }
        let Some(function) = Function::parse(word) else {
            return Err(self.error(format!("there is no function {word}")));
        };
        self.advance();
        let arguments = self.arguments()?;
        let takes = function.takes();
        if !takes.contains(&arguments.len()) {
            let message = format!(
                "{} takes {} to {} arguments",
                function.name(),
                takes.start(),
                takes.end()
            );
            return Err(SyntaxError::new(position, message));
        }
        Ok(Expr::Call(function, arguments))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, SyntaxError> {
        self.expect_sign("(")?;
        let mut arguments = Vec::new();
        if self.take_sign(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if !self.take_sign(",") {
                break;
            }
        }
        self.expect_sign(")")?;
        Ok(arguments)
    }

    fn aggregate(&mut self, aggregate: Aggregate) -> Result<Expr, SyntaxError> {
        if !self.scope.allows_aggregates {
            return Err(self.error("an aggregate stands in SELECT alone, not within another one"));
        }
        if self.scope.source == Source::Jobs {
            return Err(self.error("rows of jobs cannot be aggregated"));
        }
        self.advance();
        self.scope.allows_aggregates = false;
        let argument = self.aggregate_argument(aggregate);
        self.scope.allows_aggregates = true;
        Ok(Expr::Aggregate(aggregate, argument?.map(Box::new)))
    }

    fn aggregate_argument(&mut self, of: Aggregate) -> Result<Option<Expr>, SyntaxError> {
        self.expect_sign("(")?;
        let is_star = of == Aggregate::Count && self.take_sign("*");
        if is_star || (of == Aggregate::Count && self.is_sign(")")) {
            self.expect_sign(")")?;
            return Ok(None);
        }
        let argument = self.expression()?;
        self.expect_sign(")")?;
        Ok(Some(argument))
    }

    fn path(&mut self) -> Result<Expr, SyntaxError> {
        let position = self.position();
        let mut steps = vec![self.name()?];
        loop {
            if self.take_sign(".") {
                steps.push(self.name()?);
            } else if self.take_sign("[") {
                steps.push(self.index()?);
                self.expect_sign("]")?;
            } else {
                break;
            }
        }
        let path = Path::resolve(self.scope.source, self.scope.alias.as_deref(), steps);
        let path =
            path.ok_or_else(|| SyntaxError::new(position, "expected a member of the row"))?;
        Ok(Expr::Path(path))
    }

    fn name(&mut self) -> Result<Step, SyntaxError> {
        let name = match self.peek() {
            Token::Word(name) | Token::Escaped(name) => Some(name.clone()),
            _ => None,
        };
        let name = name.ok_or_else(|| self.expected("a name"))?;
        self.advance();
        Ok(Step::Name(name))
    }

    fn index(&mut self) -> Result<Step, SyntaxError> {
        /// Longer arrays do not fit into a section (twins.md §4.5).
        const MOST: f64 = 65_535.0;
        let index = match self.peek() {
            Token::Number(number) if number.fract() == 0.0 && *number <= MOST => Some(*number),
            _ => None,
        };
        let index = index.ok_or_else(|| self.expected("the number of an element"))?;
        self.advance();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 0 to 65,535"
        )]
        Ok(Step::Index(index as usize))
    }
}

fn is_in(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("IN"))
}

fn one_or(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}
