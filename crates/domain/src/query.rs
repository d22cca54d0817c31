//! What a store is asked of a hub's twins: the selections that a query's text is planned into
//! (registry.md §5).
//!
//! The language has three truth values and is evaluated by `downlink-query` alone. What reaches a
//! store is simpler: a [`Filter`] has no negation, and each leaf of it either holds or does not.
//! A store answers a filter exactly, whatever the documents look like.

use crate::time::Timestamp;

/// Longest path of a [`Member`], in names: deeper members do not exist (twins.md §4.5).
pub const MAX_PATH: usize = 10;
/// Most nodes of one [`Filter`], its leaves and the elements of its lists counted; so a filter
/// fits well into one statement's parameters.
pub const MAX_FILTER_NODES: usize = 1024;
/// Most levels of [`Filter::And`] and [`Filter::Or`] within each other.
pub const MAX_FILTER_DEPTH: usize = 64;

/// Which identities are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Devices, without their modules.
    Devices,
    /// Modules of devices.
    Modules,
}

/// A part of a twin that is a JSON object of the user's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// `tags`.
    Tags,
    /// `properties.desired` without its `$` members.
    Desired,
    /// `properties.reported` without its `$` members.
    Reported,
    /// `configurations`: per configuration that targets the identity its id and an object
    /// `{"status": "Targeted" | "Applied"}`.
    Configurations,
}

/// A member somewhere within a [`Section`], reached through objects only: an array has no members,
/// and neither has a scalar.
///
/// Names are compared by code points, case counts. A name is not empty by necessity and holds no
/// control character, but may hold anything else: quotes, dots, spaces, backslashes, `$`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Where it begins.
    pub section: Section,
    /// The names on the way, 1 to [`MAX_PATH`].
    pub path: Vec<String>,
}

/// What a leaf of a [`Filter`] looks at, with the kind of value it has.
///
/// Of a module, `Status`, `StatusReason` and `StatusUpdateTime` are those of its device
/// (twins.md §2); all else is the module's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Id of the device, of a module that of its device. Text.
    DeviceId,
    /// Id of the module. Text; undefined on devices.
    ModuleId,
    /// `enabled` or `disabled`. Text.
    Status,
    /// Text; undefined when there is none.
    StatusReason,
    /// Time; [`Timestamp::UNSET`] when the status never changed.
    StatusUpdateTime,
    /// `Connected` or `Disconnected`. Text.
    ConnectionState,
    /// Time; [`Timestamp::UNSET`] when it never connected.
    ConnectionStateUpdatedTime,
    /// Time; [`Timestamp::UNSET`] when there was none.
    LastActivityTime,
    /// `sas`, `selfSigned`, `certificateAuthority` or `none`. Text.
    AuthenticationType,
    /// Whether it is an Edge gateway (`capabilities.iotEdge`). Boolean.
    IsEdge,
    /// Text; undefined when there is none.
    DeviceScope,
    /// Text, empty when none was announced.
    ModelId,
    /// Version of the twin. Number.
    Version,
    /// `properties.desired.$version`. Number.
    DesiredVersion,
    /// `properties.reported.$version`. Number.
    ReportedVersion,
    /// Any kind of value, or undefined.
    Member(Member),
}

/// A value that can be compared.
///
/// Text holds no U+0000. Text is ordered by code points, which is the order of its UTF-8 bytes.
/// A number is finite; a JSON number stands for the `f64` nearest to it, so that
/// `9007199254740993` and `9007199254740992` are equal, as are `1`, `1.0` and `1e0`.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// JSON's `null`, which is not the same as undefined.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A point in time, milliseconds; for the fields whose kind is time and for no others.
    Time(Timestamp),
}

/// How two values of one kind compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// The kinds that a member can be of; what is not there is of the kind `Undefined`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// There is no such member, or something on the way to it is no object.
    Undefined = 1,
    /// JSON's `null`.
    Null = 1 << 1,
    /// A boolean.
    Bool = 1 << 2,
    /// A number.
    Number = 1 << 3,
    /// Text; the times of identities too.
    Text = 1 << 4,
    /// An object.
    Object = 1 << 5,
    /// An array.
    Array = 1 << 6,
}

/// A set of [`Kind`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

/// Which rows are wanted. Every leaf holds or does not hold; there is nothing between.
///
/// At most [`MAX_FILTER_NODES`] nodes and [`MAX_FILTER_DEPTH`] levels. The kinds of
/// [`Scalar::Null`], [`Scalar::Bool`], [`Scalar::Number`] and [`Scalar::Text`] are those of the
/// same name; [`Scalar::Time`] goes with the time fields alone and those with nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every row.
    All,
    /// No row.
    Nothing,
    /// Rows that all of these want; not empty.
    And(Vec<Filter>),
    /// Rows that any of these wants; not empty.
    Or(Vec<Filter>),
    /// Holds exactly when the field is defined, is of the kind of `value`, and
    /// `field comparison value` is so. [`Comparison::Ne`] too wants the same kind: it does not
    /// hold for what is undefined or of another kind.
    ///
    /// `value` is a number, text or a time with any comparison, a boolean with
    /// [`Comparison::Eq`] and [`Comparison::Ne`], `null` with [`Comparison::Eq`].
    Compare {
        /// The left side.
        field: Field,
        /// How.
        comparison: Comparison,
        /// The right side.
        value: Scalar,
    },
    /// Holds exactly when the field is defined and is one of `values` (of its kind and equal to
    /// it); not empty, kinds may be mixed.
    In {
        /// What is looked for.
        field: Field,
        /// Where.
        values: Vec<Scalar>,
    },
    /// Holds exactly when the field is defined, is neither object nor array, and is none of
    /// `values`; not empty, kinds may be mixed.
    NotIn {
        /// What is looked for.
        field: Field,
        /// Where.
        values: Vec<Scalar>,
    },
    /// Holds exactly when the field is of one of `kinds`, [`Kind::Undefined`] among them.
    Is {
        /// What is looked at.
        field: Field,
        /// What it may be.
        kinds: Kinds,
    },
}

/// What a group of a count has in common for one of the fields that it is grouped by.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupValue {
    /// The field is undefined.
    Undefined,
    /// The field is this. A number stands for all JSON numbers nearest to it.
    Scalar(Scalar),
    /// The field is some object or some array: all of them are one group, and the one who asked
    /// counts those rows by other means.
    Composite,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Undefined,
        Self::Null,
        Self::Bool,
        Self::Number,
        Self::Text,
        Self::Object,
        Self::Array,
    ];
}

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Every kind but [`Kind::Undefined`].
    pub const DEFINED: Self = Self::of(&[Kind::Undefined]).complement();
    /// What can be compared: null, booleans, numbers, text.
    pub const PRIMITIVE: Self = Self::of(&[Kind::Null, Kind::Bool, Kind::Number, Kind::Text]);

    /// The set of these.
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < kinds.len() {
            bits |= kinds[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// All others.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(!self.0 & 0x7f)
    }

    /// Tells whether `kind` is one of them.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind as u8 != 0
    }
}

impl Comparison {
    /// The comparison that holds for two values of one kind exactly when this one does not.
    #[must_use]
    pub const fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }

    /// The comparison with its sides exchanged.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Eq | Self::Ne => self,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// Tells whether two values in this order compare so.
    pub const fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

impl Scalar {
    /// Its kind; a time is text to whoever asks for kinds.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) | Self::Time(_) => Kind::Text,
        }
    }
}

impl Field {
    /// Tells whether its values are times.
    pub const fn is_time(&self) -> bool {
        matches!(
            self,
            Self::StatusUpdateTime | Self::ConnectionStateUpdatedTime | Self::LastActivityTime
        )
    }
}

impl Filter {
    /// How many nodes it has, lists with each of their elements.
    pub fn nodes(&self) -> usize {
        1 + match self {
            Self::All | Self::Nothing | Self::Compare { .. } | Self::Is { .. } => 0,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::nodes).sum(),
            Self::In { values, .. } | Self::NotIn { values, .. } => values.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn a_set_of_kinds_and_its_complement_share_nothing_and_leave_nothing_out() {
        let sets = [Kinds::NONE, Kinds::DEFINED, Kinds::PRIMITIVE];
        for set in sets {
            for kind in Kind::ALL {
                assert_ne!(set.contains(kind), set.complement().contains(kind));
            }
        }
        assert!(!Kinds::DEFINED.contains(Kind::Undefined));
        assert!(Kinds::PRIMITIVE.contains(Kind::Null));
    }

    #[test]
    fn a_negated_comparison_holds_when_it_does_not_and_a_mirrored_one_from_the_other_side() {
        use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
        for comparison in [Eq, Ne, Lt, Le, Gt, Ge] {
            for order in [Ordering::Less, Ordering::Equal, Ordering::Greater] {
                let holds = comparison.holds(order);
                assert_ne!(holds, comparison.negated().holds(order));
                assert_eq!(holds, comparison.mirrored().holds(order.reverse()));
            }
        }
    }

    #[test]
    fn nodes_of_a_filter_are_counted_with_the_elements_of_lists() {
        let list = Filter::In {
            field: Field::DeviceId,
            values: vec![Scalar::Null, Scalar::Bool(true)],
        };
        let filter = Filter::And(vec![list, Filter::Or(vec![Filter::All])]);
        assert_eq!(filter.nodes(), 6);
    }
}
