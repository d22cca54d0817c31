//! The functions of the language (registry.md §5.2), for every source.
//!
//! A function that is given what it is not for yields undefined; those that ask for a kind always
//! yield true or false.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use downlink_domain::query::{Comparison, Kind, Kinds};
use serde_json::Value;

use crate::evaluate::{number_of, truth_of};
use crate::value::{Found, compare};

/// Most arguments of a function that takes any number.
const MANY: usize = 64;

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident $text:literal $least:literal..=$most:expr,)*) => {
        /// A function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Function {
            $($(#[$doc])* $name,)*
        }

        impl Function {
            /// Every function.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in the language.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// How many arguments it takes.
            pub const fn takes(self) -> RangeInclusive<usize> {
                match self {
                    $(Self::$name => $least..=$most,)*
                }
            }
        }
    };
}

functions! {
    /// The number without its sign.
    Abs "ABS" 1..=1,
    /// The number e to a power.
    Exp "EXP" 1..=1,
    /// The first number to the power of the second one.
    Power "POWER" 2..=2,
    /// The number times itself.
    Square "SQUARE" 1..=1,
    /// The next whole number above.
    Ceiling "CEILING" 1..=1,
    /// The next whole number below.
    Floor "FLOOR" 1..=1,
    /// -1, 0 or 1.
    Sign "SIGN" 1..=1,
    /// The square root.
    Sqrt "SQRT" 1..=1,
    /// The number that a text spells; a number itself.
    AsNumber "AS_NUMBER" 1..=1,
    /// Whether it is an array.
    IsArray "IS_ARRAY" 1..=1,
    /// Whether it is a boolean.
    IsBool "IS_BOOL" 1..=1,
    /// Whether it is there.
    IsDefined "IS_DEFINED" 1..=1,
    /// Whether it is JSON's `null`.
    IsNull "IS_NULL" 1..=1,
    /// Whether it is a number.
    IsNumber "IS_NUMBER" 1..=1,
    /// Whether it is an object.
    IsObject "IS_OBJECT" 1..=1,
    /// Whether it is null, a boolean, a number or text.
    IsPrimitive "IS_PRIMITIVE" 1..=1,
    /// Whether it is text.
    IsString "IS_STRING" 1..=1,
    /// Texts one after the other.
    Concat "CONCAT" 2..=MANY,
    /// How many characters a text has.
    Length "LENGTH" 1..=1,
    /// The text in lower case.
    Lower "LOWER" 1..=1,
    /// The text in upper case.
    Upper "UPPER" 1..=1,
    /// Characters of a text: from where (0 is the first one) and how many; without a number to
    /// its end.
    Substring "SUBSTRING" 2..=3,
    /// Where the second text first is in the first one (0 is the first character), -1 for
    /// nowhere.
    IndexOf "INDEX_OF" 2..=2,
    /// Whether the first text begins with the second one.
    StartsWith "STARTS_WITH" 2..=2,
    /// Whether the first text ends with the second one.
    EndsWith "ENDS_WITH" 2..=2,
    /// Whether the second text is in the first one.
    Contains "CONTAINS" 2..=2,
    /// How many elements an array has.
    ArrayLength "ARRAY_LENGTH" 1..=1,
    /// Whether an array has an element that is equal to the second argument.
    ArrayContains "ARRAY_CONTAINS" 2..=2,
}

impl Function {
    /// Reads a name in any case, with or without underscores.
    pub fn parse(word: &str) -> Option<Self> {
        let bare = |text: &str| text.replace('_', "").to_ascii_uppercase();
        let wanted = bare(word);
        let mut all = Self::ALL.iter().copied();
        all.find(|function| bare(function.name()) == wanted)
    }

    /// The kinds that a function asks for, `None` when it asks for none.
    pub(crate) fn asks_for(self) -> Option<Kinds> {
        let kinds = match self {
            Self::IsArray => Kinds::of(&[Kind::Array]),
            Self::IsBool => Kinds::of(&[Kind::Bool]),
            Self::IsDefined => Kinds::DEFINED,
            Self::IsNull => Kinds::of(&[Kind::Null]),
            Self::IsNumber => Kinds::of(&[Kind::Number]),
            Self::IsObject => Kinds::of(&[Kind::Object]),
            Self::IsPrimitive => Kinds::PRIMITIVE,
            Self::IsString => Kinds::of(&[Kind::Text]),
            _ => return None,
        };
        Some(kinds)
    }
}

/// Calls a function with as many arguments as it takes.
pub(crate) fn call(function: Function, arguments: &[Found<'_>]) -> Found<'static> {
    let Some(first) = arguments.first() else {
        return Found::Undefined;
    };
    if let Some(kinds) = function.asks_for() {
        return Found::Bool(kinds.contains(first.kind()));
    }
    let second = arguments.get(1);
    match function {
        Function::Abs => math(first, f64::abs),
        Function::Exp => math(first, f64::exp),
        Function::Square => math(first, |x| x * x),
        Function::Ceiling => math(first, f64::ceil),
        Function::Floor => math(first, f64::floor),
        Function::Sqrt => math(first, f64::sqrt),
        Function::Sign => math(first, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        Function::Power => {
            let sides = first.as_number().zip(second.and_then(Found::as_number));
            number_of(sides.map(|(base, exponent)| base.powf(exponent)))
        }
        Function::AsNumber => as_number(first),
        Function::Concat => concat(arguments),
        Function::Length => number_of(first.as_text().map(|text| count(text.chars().count()))),
        Function::Lower => made(first.as_text().map(|text| text.to_lowercase())),
        Function::Upper => made(first.as_text().map(|text| text.to_uppercase())),
        Function::Substring => made(substring(first, second, arguments.get(2))),
        Function::IndexOf => number_of(texts(first, second).map(|(text, part)| {
            let at = text.find(part.as_ref());
            at.map_or(-1.0, |at| count(text[..at].chars().count()))
        })),
        Function::StartsWith => is(first, second, |text, part| text.starts_with(part)),
        Function::EndsWith => is(first, second, |text, part| text.ends_with(part)),
        Function::Contains => is(first, second, |text, part| text.contains(part)),
        Function::ArrayLength => number_of(array(first).map(|array| count(array.len()))),
        Function::ArrayContains => truth_of(array_contains(first, second)),
        Function::IsArray
        | Function::IsBool
        | Function::IsDefined
        | Function::IsNull
        | Function::IsNumber
        | Function::IsObject
        | Function::IsPrimitive
        | Function::IsString => Found::Undefined,
    }
}

fn math(value: &Found<'_>, of: fn(f64) -> f64) -> Found<'static> {
    number_of(value.as_number().map(of))
}

fn made(text: Option<String>) -> Found<'static> {
    text.map_or(Found::Undefined, |text| Found::Text(Cow::Owned(text)))
}

type Texts<'a> = (Cow<'a, str>, Cow<'a, str>);

fn texts<'a>(first: &'a Found<'_>, second: Option<&'a Found<'_>>) -> Option<Texts<'a>> {
    first.as_text().zip(second.and_then(Found::as_text))
}

fn is(
    first: &Found<'_>,
    second: Option<&Found<'_>>,
    holds: fn(&str, &str) -> bool,
) -> Found<'static> {
    truth_of(texts(first, second).map(|(text, part)| holds(&text, &part)))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "texts and arrays have fewer than 2^53 elements"
)]
fn count(number: usize) -> f64 {
    number as f64
}

/// Reads what JSON reads as a number, with spaces around it.
fn as_number(value: &Found<'_>) -> Found<'static> {
    if let Some(number) = value.as_number() {
        return Found::Number(number);
    }
    let text = value.as_text();
    let text = text.as_deref().map(str::trim);
    let spelled = text.filter(|text| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
    });
    number_of(spelled.and_then(|text| text.parse().ok()))
}

fn concat(arguments: &[Found<'_>]) -> Found<'static> {
    let texts: Option<Vec<_>> = arguments.iter().map(Found::as_text).collect();
    made(texts.map(|texts| texts.concat()))
}

fn substring(
    text: &Found<'_>,
    from: Option<&Found<'_>>,
    length: Option<&Found<'_>>,
) -> Option<String> {
    let text = text.as_text()?;
    let from = whole(from?)?;
    let length = length.map_or(Some(usize::MAX), whole)?;
    Some(text.chars().skip(from).take(length).collect())
}

/// A whole number from 0; above four thousand million there is no text.
fn whole(value: &Found<'_>) -> Option<usize> {
    let number = value.as_number()?;
    let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of 32 bits"
    )]
    is_whole.then_some(number as usize)
}

fn array<'a>(value: &'a Found<'_>) -> Option<&'a Vec<Value>> {
    match value {
        Found::Json(value) => value.as_array(),
        _ => None,
    }
}

fn array_contains(first: &Found<'_>, second: Option<&Found<'_>>) -> Option<bool> {
    let wanted = second?;
    wanted.as_scalar()?;
    let array = array(first)?;
    let is_equal = |value| compare(&Found::of(value), Comparison::Eq, wanted) == Some(true);
    Some(array.iter().any(is_equal))
}
