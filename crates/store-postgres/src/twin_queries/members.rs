//! Filters over members of tags, which `twin_values` finds by index.

use downlink_domain::query::{
    Comparison, Field, Filter, Kind, Kinds, Member, Scalar, Section, Source,
};

use super::columns::operator;
use super::text::{Parameter, Piece, Text};

/// The longest text that `twin_values` holds itself, in bytes; as `twin_members` has it.
const MAX_TEXT_BYTES: usize = 512;
/// Most stretches of the index that one selection is made of; beyond it other ways are better.
const MAX_STRETCHES: usize = 64;

/// Kinds of rows of `twin_values`.
mod kind {
    pub(super) const OPAQUE: i16 = 0;
    pub(super) const NULL: i16 = 1;
    pub(super) const FALSE: i16 = 2;
    pub(super) const TRUE: i16 = 3;
    pub(super) const NUMBER: i16 = 4;
    pub(super) const TEXT: i16 = 5;
    pub(super) const LONG_TEXT: i16 = 6;
    pub(super) const OBJECT: i16 = 7;
    pub(super) const ARRAY: i16 = 8;
}

/// Rows of `twin_values` that stand next to each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretch {
    /// The path as `twin_place` takes it.
    path: String,
    kind: i16,
    range: Range,
    /// Whether all of these rows are wanted; else their twins have to be looked at.
    pub(super) is_exact: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Range {
    /// One value: its rows are in the order of the keys.
    Point(Point),
    /// Numbers within bounds.
    Numbers(Vec<(Comparison, f64)>),
    /// Texts within bounds.
    Texts(Vec<(Comparison, String)>),
    /// Every number, or every text.
    All,
}

#[derive(Clone, Debug, PartialEq)]
enum Point {
    /// The only one of its kind.
    Only,
    Number(f64),
    Text(String),
}

/// Twins with a member that a filter wants, as a few stretches of the index. Together with the twins
/// that are not taken apart ([`Stretch::opaque`]) they are all that the filter can hold for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretches {
    stretches: Vec<Stretch>,
    /// Whether a twin can be in one of them only.
    are_disjoint: bool,
}

impl Stretches {
    /// What a filter selects, if it is all about members of tags and selects little enough.
    pub(super) fn of(filter: &Filter) -> Option<Self> {
        let (stretches, are_disjoint) = match filter {
            Filter::Or(parts) => {
                let parts: Option<Vec<_>> = parts.iter().map(Self::of).collect();
                let parts = parts?.into_iter().flat_map(|part| part.stretches);
                (parts.collect(), false)
            }
            Filter::Compare {
                field,
                comparison,
                value,
            } => (compared(&path(field)?, *comparison, value), true),
            Filter::In { field, values } => (among(&path(field)?, values), true),
            Filter::Is { field, kinds } if !kinds.contains(Kind::Undefined) => {
                (of_kinds(&path(field)?, *kinds), true)
            }
            Filter::All
            | Filter::Nothing
            | Filter::And(_)
            | Filter::NotIn { .. }
            | Filter::Is { .. } => return None,
        };
        (stretches.len() <= MAX_STRETCHES).then_some(Self {
            stretches,
            are_disjoint,
        })
    }

    /// What is within all of `bounds`, which are `<`, `<=`, `>` and `>=` with values of one kind;
    /// as one stretch of the index, where their conjunction would be two with much between them.
    pub(super) fn between(field: &Field, bounds: &[(Comparison, &Scalar)]) -> Option<Self> {
        let path = path(field)?;
        let numbers = bounds.iter().map(|(comparison, value)| match value {
            Scalar::Number(number) => Some((*comparison, *number)),
            _ => None,
        });
        if let Some(numbers) = numbers.collect() {
            let stretches = vec![stretch(&path, kind::NUMBER, Range::Numbers(numbers))];
            return Some(Self {
                stretches,
                are_disjoint: true,
            });
        }
        let texts = bounds.iter().map(|(comparison, value)| match value {
            Scalar::Text(text) => Some((*comparison, text.clone())),
            _ => None,
        });
        let texts = Range::Texts(texts.collect::<Option<_>>()?);
        let stretches = vec![stretch(&path, kind::TEXT, texts), long_texts(&path)];
        Some(Self {
            stretches,
            are_disjoint: true,
        })
    }

    /// Whether each is one value.
    pub(super) fn are_points(&self) -> bool {
        let is_point = |stretch: &Stretch| matches!(stretch.range, Range::Point(_));
        self.stretches.iter().all(is_point)
    }

    /// Whether a twin can be in one of them only.
    pub(super) fn are_disjoint(&self) -> bool {
        self.are_disjoint
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter()
    }
}

/// Where the members are that are equal to one of `values`, each stretch once.
fn among(path: &str, values: &[Scalar]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for stretch in values
        .iter()
        .flat_map(|value| compared(path, Comparison::Eq, value))
    {
        if !stretches.contains(&stretch) {
            stretches.push(stretch);
        }
    }
    stretches
}

impl Stretch {
    /// Twins whose tags are not taken apart: any filter may hold for them.
    pub(super) fn opaque() -> Self {
        Self {
            path: String::new(),
            kind: kind::OPAQUE,
            range: Range::Point(Point::Only),
            is_exact: false,
        }
    }

    /// Twins with a text at `member` that is too long for the index.
    pub(super) fn long_texts(member: &Member) -> Self {
        long_texts(&path_text(member))
    }

    /// The condition on `v` to be one of these rows.
    pub(super) fn condition(&self, hub: Parameter, text: &mut Text) -> Piece {
        let path = text.parameter(self.path.clone(), "text");
        let kind = text.parameter(self.kind, "smallint");
        let piece = Piece::of("v.place = twin_place(")
            .name(hub)
            .then(", 'tags', ")
            .name(path)
            .then(") AND v.kind = ")
            .name(kind);
        match &self.range {
            Range::Point(Point::Only) => piece.then(" AND v.number = 0 AND v.text = ''"),
            Range::Point(Point::Number(number)) => {
                let number = text.parameter(*number, "double precision");
                piece
                    .then(" AND v.number = ")
                    .name(number)
                    .then(" AND v.text = ''")
            }
            Range::Point(Point::Text(value)) => {
                let value = text.parameter(value.clone(), "text");
                piece.then(" AND v.number = 0 AND v.text = ").name(value)
            }
            Range::Numbers(bounds) => bounds.iter().fold(piece, |piece, (comparison, number)| {
                let number = text.parameter(*number, "double precision");
                piece
                    .then(" AND v.number")
                    .then(operator(*comparison))
                    .name(number)
            }),
            Range::Texts(bounds) => {
                let piece = piece.then(" AND v.number = 0");
                bounds.iter().fold(piece, |piece, (comparison, value)| {
                    let value = text.parameter(value.clone(), "text");
                    piece
                        .then(" AND v.text")
                        .then(operator(*comparison))
                        .name(value)
                })
            }
            Range::All => piece,
        }
    }
}

/// Whether a module's or a device's.
pub(super) fn of_source(source: Source) -> &'static str {
    match source {
        Source::Devices => " AND NOT v.is_module",
        Source::Modules => " AND v.is_module",
    }
}

/// The path of a member of tags that documents can have.
fn path(field: &Field) -> Option<String> {
    let Field::Member(member) = field else {
        return None;
    };
    let is_possible = |name: &String| !name.contains(char::is_control);
    (member.section == Section::Tags && member.path.iter().all(is_possible))
        .then(|| path_text(member))
}

/// Names with a character before each that no name has.
pub(super) fn path_text(member: &Member) -> String {
    let names = member.path.iter();
    names.fold(String::new(), |path, name| path + "\u{1f}" + name)
}

fn of_kinds(path: &str, kinds: Kinds) -> Vec<Stretch> {
    let only = Range::Point(Point::Only);
    let rows = [
        (Kind::Null, kind::NULL, only.clone()),
        (Kind::Bool, kind::FALSE, only.clone()),
        (Kind::Bool, kind::TRUE, only.clone()),
        (Kind::Number, kind::NUMBER, Range::All),
        (Kind::Text, kind::TEXT, Range::All),
        (Kind::Text, kind::LONG_TEXT, only.clone()),
        (Kind::Object, kind::OBJECT, only.clone()),
        (Kind::Array, kind::ARRAY, only),
    ];
    let wanted = rows.into_iter().filter(|(kind, ..)| kinds.contains(*kind));
    wanted
        .map(|(_, kind, range)| stretch(path, kind, range))
        .collect()
}

fn stretch(path: &str, kind: i16, range: Range) -> Stretch {
    Stretch {
        path: path.to_owned(),
        kind,
        range,
        is_exact: true,
    }
}

/// Where the values are that compare so with `value`.
fn compared(path: &str, comparison: Comparison, value: &Scalar) -> Vec<Stretch> {
    match value {
        Scalar::Null if comparison == Comparison::Eq => {
            vec![stretch(path, kind::NULL, Range::Point(Point::Only))]
        }
        // No member of a document is a time; nothing but null is equal to it.
        Scalar::Null | Scalar::Time(_) => Vec::new(),
        Scalar::Bool(value) => {
            let of_bool = |value| if value { kind::TRUE } else { kind::FALSE };
            let rows = [(false, of_bool(false)), (true, of_bool(true))];
            let rows = rows
                .into_iter()
                .filter(|(found, _)| comparison.holds(found.cmp(value)));
            rows.map(|(_, kind)| stretch(path, kind, Range::Point(Point::Only)))
                .collect()
        }
        Scalar::Number(number) => {
            let ranges = match comparison {
                Comparison::Eq => vec![Range::Point(Point::Number(*number))],
                Comparison::Ne => vec![
                    Range::Numbers(vec![(Comparison::Lt, *number)]),
                    Range::Numbers(vec![(Comparison::Gt, *number)]),
                ],
                Comparison::Lt | Comparison::Le | Comparison::Gt | Comparison::Ge => {
                    vec![Range::Numbers(vec![(comparison, *number)])]
                }
            };
            let ranges = ranges.into_iter();
            ranges
                .map(|range| stretch(path, kind::NUMBER, range))
                .collect()
        }
        Scalar::Text(value) => compared_text(path, comparison, value),
    }
}

/// Texts that have to be looked at.
fn long_texts(path: &str) -> Stretch {
    Stretch {
        is_exact: false,
        ..stretch(path, kind::LONG_TEXT, Range::Point(Point::Only))
    }
}

fn compared_text(path: &str, comparison: Comparison, value: &str) -> Vec<Stretch> {
    let long = long_texts(path);
    let is_long = value.len() > MAX_TEXT_BYTES;
    let text = |range| stretch(path, kind::TEXT, range);
    let ranges = match comparison {
        Comparison::Eq if is_long => return vec![long],
        Comparison::Eq => return vec![text(Range::Point(Point::Text(value.to_owned())))],
        Comparison::Ne if is_long => vec![Range::All],
        Comparison::Ne => vec![
            Range::Texts(vec![(Comparison::Lt, value.to_owned())]),
            Range::Texts(vec![(Comparison::Gt, value.to_owned())]),
        ],
        Comparison::Lt | Comparison::Le | Comparison::Gt | Comparison::Ge => {
            vec![Range::Texts(vec![(comparison, value.to_owned())])]
        }
    };
    let mut stretches: Vec<_> = ranges.into_iter().map(text).collect();
    stretches.push(long);
    stretches
}
