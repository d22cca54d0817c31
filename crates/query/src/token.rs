//! Text into tokens.

use std::iter::Peekable;
use std::str::Chars;

use crate::error::SyntaxError;

/// A piece of a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name or a keyword, as written.
    Word(String),
    /// A name between `[[` and `]]`.
    Escaped(String),
    /// A finite number.
    Number(f64),
    /// Text between quotes.
    Text(String),
    /// An operator or a mark of punctuation.
    Sign(&'static str),
    /// Nothing more.
    End,
}

/// A token and where it begins, in characters from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) position: usize,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => write!(f, "'{word}'"),
            Self::Escaped(name) => write!(f, "[[{name}]]"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(_) => f.write_str("a text"),
            Self::Sign(sign) => write!(f, "'{sign}'"),
            Self::End => f.write_str("the end of the query"),
        }
    }
}

/// All signs, the longer ones first.
const SIGNS: [&str; 20] = [
    "<=", ">=", "<>", "!=", "[[", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",",
    ".", ";",
];

/// Reads all tokens; the last one is [`Token::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed>, SyntaxError> {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        position: 1,
    };
    let mut tokens = Vec::new();
    loop {
        reader.skip_space();
        let position = reader.position;
        let token = reader.token()?;
        let is_end = token == Token::End;
        tokens.push(Placed { token, position });
        if is_end {
            return Ok(tokens);
        }
    }
}

/// The text with a question mark in the place of each value, at most 512 characters of it: what
/// may be told of a query where its values may not.
pub fn shape(text: &str) -> String {
    const LONGEST: usize = 512;
    let mut shape = String::new();
    for placed in tokens(text).unwrap_or_default() {
        let (piece, glued) = match placed.token {
            Token::Word(word) => (word, false),
            Token::Escaped(name) => (format!("[[{name}]]"), false),
            Token::Number(_) | Token::Text(_) => ("?".to_owned(), false),
            Token::Sign(sign) => (sign.to_owned(), sign == "."),
            Token::End => break,
        };
        let is_glued = glued || shape.is_empty() || shape.ends_with('.');
        if !is_glued {
            shape.push(' ');
        }
        shape.push_str(&piece);
        if shape.len() > LONGEST {
            return shape.chars().take(LONGEST).collect();
        }
    }
    shape
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    position: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        self.position += usize::from(next.is_some());
        next
    }

    fn next_if(&mut self, is_wanted: impl FnOnce(char) -> bool) -> Option<char> {
        let next = self.chars.next_if(|c| is_wanted(*c));
        self.position += usize::from(next.is_some());
        next
    }

    fn skip_space(&mut self) {
        while self.next_if(char::is_whitespace).is_some() {}
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.position, message))
    }

    fn token(&mut self) -> Result<Token, SyntaxError> {
        let Some(first) = self.chars.peek().copied() else {
            return Ok(Token::End);
        };
        if is_word_start(first) {
            return Ok(Token::Word(self.take_while(is_word_char)));
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '\'' || first == '"' {
            return self.text();
        }
        self.sign(first)
    }

    fn take_while(&mut self, is_wanted: fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.next_if(is_wanted) {
            taken.push(c);
        }
        taken
    }

    fn sign(&mut self, first: char) -> Result<Token, SyntaxError> {
        if !SIGNS.iter().any(|sign| sign.starts_with(first)) {
            return self.error(format!("{first:?} has no meaning here"));
        }
        self.next();
        let second = self.chars.peek().copied();
        let is_double = |sign: &&&str| {
            let mut chars = sign.chars();
            chars.next() == Some(first) && chars.next().is_some_and(|c| Some(c) == second)
        };
        if let Some(sign) = SIGNS.iter().find(is_double) {
            self.next();
            return if *sign == "[[" {
                self.escaped()
            } else {
                Ok(Token::Sign(sign))
            };
        }
        let is_single = |sign: &&&str| sign.len() == 1 && sign.starts_with(first);
        match SIGNS.iter().find(is_single) {
            Some(sign) => Ok(Token::Sign(sign)),
            None => self.error(format!("expected '=' after {first:?}")),
        }
    }

    fn escaped(&mut self) -> Result<Token, SyntaxError> {
        let mut name = String::new();
        loop {
            match self.next() {
                None => return self.error("expected ']]' at the end of a name"),
                Some(']') if self.chars.peek() == Some(&']') => {
                    self.next();
                    return Ok(Token::Escaped(name));
                }
                Some(c) if c.is_control() => {
                    return self.error("a name has no control characters");
                }
                Some(c) => name.push(c),
            }
        }
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let start = self.position;
        let mut digits = self.take_while(|c| c.is_ascii_digit());
        let number = if digits == "0" && self.next_if(|c| matches!(c, 'x' | 'X')).is_some() {
            self.hexadecimal(start)?
        } else {
            if self.next_if(|c| c == '.').is_some() {
                digits.push('.');
                digits.push_str(&self.digits("a fraction")?);
            }
            if self.next_if(|c| matches!(c, 'e' | 'E')).is_some() {
                digits.push('e');
                digits.extend(self.next_if(|c| matches!(c, '+' | '-')));
                digits.push_str(&self.digits("an exponent")?);
            }
            let number: Option<f64> = digits.parse().ok();
            let finite = number.filter(|number| number.is_finite());
            finite.ok_or_else(|| SyntaxError::new(start, "the number is too large"))?
        };
        if self.chars.peek().copied().is_some_and(is_word_char) {
            return self.error("a number ends with a letter");
        }
        Ok(Token::Number(number))
    }

    fn digits(&mut self, of: &str) -> Result<String, SyntaxError> {
        let digits = self.take_while(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return self.error(format!("expected the digits of {of}"));
        }
        Ok(digits)
    }

    fn hexadecimal(&mut self, start: usize) -> Result<f64, SyntaxError> {
        let digits = self.take_while(|c| c.is_ascii_hexdigit());
        if digits.is_empty() {
            return self.error("expected hexadecimal digits");
        }
        let number = u64::from_str_radix(&digits, 16)
            .map_err(|_| SyntaxError::new(start, "the number is too large"))?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "numbers of the language are the nearest f64"
        )]
        Ok(number as f64)
    }

    fn text(&mut self) -> Result<Token, SyntaxError> {
        let start = self.position;
        let quote = self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(SyntaxError::new(start, "the text has no closing quote")),
                end if end == quote => return Ok(Token::Text(text)),
                Some('\\') => text.push(self.escape()?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.position;
        let unknown = || SyntaxError::new(start, "expected an escape: \\' \\\" \\\\ \\uXXXX");
        match self.next() {
            Some(same @ ('\'' | '"' | '\\' | '/')) => Ok(same),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => self.unicode(start),
            _ => Err(unknown()),
        }
    }

    /// Four hexadecimal digits, or two times four of them for a pair of surrogates.
    fn unicode(&mut self, start: usize) -> Result<char, SyntaxError> {
        let wrong = || SyntaxError::new(start, "\\u is followed by no character of Unicode");
        let first = self.unit().ok_or_else(wrong)?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        let has_second = self.next_if(|c| c == '\\').is_some() && self.next() == Some('u');
        let second = has_second.then(|| self.unit()).flatten();
        let second = second.filter(|second| (0xdc00..0xe000).contains(second) && first < 0xdc00);
        let second = second.ok_or_else(wrong)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or_else(wrong)
    }

    fn unit(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + self.next()?.to_digit(16)?;
        }
        Some(unit)
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}
