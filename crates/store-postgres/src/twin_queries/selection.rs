//! How the rows of a filter are found: by one way that leads to few, and by what else the
//! database can tell of them before their documents are read.

use std::collections::{BTreeMap, BTreeSet};

use downlink_domain::id::HubName;
use downlink_domain::query::{Comparison, Field, Filter, Scalar, Source};

use super::columns::{Pushed, push};
use super::members::{Stretch, Stretches, of_source};
use super::text::{Parameter, Piece, Text};

/// The parts of a filter by who can tell whether they hold.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) source: Source,
    /// Ids of devices; of these one is wanted.
    names: Option<Vec<String>>,
    /// What the index of members tells, all of which are wanted.
    members: Vec<Stretches>,
    /// Which of `members` leads, if one does.
    leader: Option<usize>,
    /// All the rest.
    rest: Filter,
}

/// The pieces of a statement that are the same wherever rows come from.
pub(super) struct Pieces {
    pub(super) hub: Parameter,
    /// `SELECT … AS device_key`, one row for each candidate, in no order.
    keys: Vec<Piece>,
    /// Whether a key can be in one of `keys` only.
    pub(super) are_disjoint: bool,
    /// What else is known of a row; `None` when nothing is.
    pub(super) condition: Option<Piece>,
    /// Whether `condition` leaves nothing of the rest open.
    pub(super) is_exact: bool,
}

impl Selection {
    /// Takes a filter apart.
    pub(super) fn of(filter: &Filter, source: Source) -> Self {
        let parts = match filter {
            Filter::And(parts) => parts.clone(),
            filter => vec![filter.clone()],
        };
        let mut selection = Self {
            source,
            names: None,
            members: Vec::new(),
            leader: None,
            rest: Filter::All,
        };
        let mut rest = Vec::new();
        let (ranges, parts) = ranges(&parts);
        selection.members.extend(ranges);
        for part in parts {
            match (names(&part), Stretches::of(&part)) {
                (Some(ids), _) if selection.names.is_none() => selection.names = Some(ids),
                (_, Some(stretches)) => selection.members.push(stretches),
                _ => rest.push(part),
            }
        }
        if !rest.is_empty() {
            selection.rest = Filter::And(rest);
        }
        if selection.names.is_none() && selection.members.len() == 1 {
            selection.leader = selection.members[0].are_points().then_some(0);
        }
        selection
    }

    /// The statement that tells how much each way leads to, up to `most`, unless one is the best
    /// already.
    pub(super) fn survey(&self, hub: &HubName, most: i64) -> Option<Text> {
        if self.names.is_some() || self.members.is_empty() || self.leader.is_some() {
            return None;
        }
        let mut text = Text::new();
        let hub = text.parameter(hub.as_str().to_owned(), "text");
        let most = text.parameter(most, "bigint");
        let ways: Vec<_> = self
            .members
            .iter()
            .map(|stretches| {
                let counts: Vec<_> = stretches
                    .iter()
                    .map(|stretch| {
                        Piece::of("(SELECT count(*) FROM (SELECT FROM twin_values AS v WHERE ")
                            .and(&stretch.condition(hub, &mut text))
                            .then(of_source(self.source))
                            .then(" LIMIT ")
                            .name(most)
                            .then(") AS few)")
                    })
                    .collect();
                // Nothing at all is the least there is.
                Piece::of("0").and(
                    &counts
                        .iter()
                        .fold(Piece::default(), |sum, count| sum.then(" + ").and(count)),
                )
            })
            .collect();
        let statement = Piece::of("SELECT ARRAY[").and(&Piece::joined(&ways, ", "));
        Some(text.with(statement.then("]::bigint[] AS many")))
    }

    /// Lets the way lead that leads to the least; none when that is more than `most` and would have
    /// to be sorted.
    pub(super) fn lead(&mut self, surveyed: &[i64], most: i64) {
        let ways = surveyed.iter().enumerate().take(self.members.len());
        let least = ways.min_by_key(|(at, many)| (**many, !self.members[*at].are_points()));
        self.leader = least
            .filter(|(at, many)| **many < most || self.members[*at].are_points())
            .map(|(at, _)| at);
    }

    /// The members that lead.
    pub(super) fn leading(&self) -> Option<&Stretches> {
        self.leader.map(|at| &self.members[at])
    }

    /// The pieces of a statement over what the filter selects.
    pub(super) fn pieces(&self, hub: &HubName, text: &mut Text) -> Pieces {
        let hub = text.parameter(hub.as_str().to_owned(), "text");
        let Pushed {
            condition,
            mut is_exact,
        } = push(&self.rest, self.source, text);
        let mut conditions: Vec<_> = condition.into_iter().collect();
        for (at, stretches) in self.members.iter().enumerate() {
            if Some(at) == self.leader {
                continue;
            }
            if stretches.are_points() {
                conditions.push(probe(stretches, hub, text));
            } else {
                is_exact = false;
            }
        }
        let condition = match conditions.as_slice() {
            [] => None,
            conditions => Some(Piece::joined(conditions, " AND ")),
        };
        let (keys, are_disjoint) = self.keys(hub, text);
        Pieces {
            hub,
            keys,
            are_disjoint,
            condition,
            is_exact,
        }
    }

    fn keys(&self, hub: Parameter, text: &mut Text) -> (Vec<Piece>, bool) {
        if let Some(names) = &self.names {
            let names = text.parameter(names.clone(), "text[]");
            let keys = Piece::of("SELECT i.device_key FROM unnest(")
                .name(names)
                .then(
                    ") AS wanted (device_id) CROSS JOIN LATERAL (\
                     SELECT identities.device_key FROM identities WHERE identities.hub = ",
                )
                .name(hub)
                .then(" AND identities.device_id = wanted.device_id")
                .then(match self.source {
                    Source::Devices => " AND identities.module_id = '' OFFSET 0) AS i WHERE TRUE",
                    Source::Modules => " AND identities.module_id <> '' OFFSET 0) AS i WHERE TRUE",
                });
            return (vec![keys], true);
        }
        let Some(leading) = self.leading() else {
            let keys = Piece::of("SELECT i.device_key FROM identities AS i WHERE ");
            return (vec![keys.and(&of_hub(hub, self.source))], true);
        };
        let opaque = Stretch::opaque();
        let stretches = leading.iter().chain([&opaque]);
        let keys = stretches.map(|stretch| {
            Piece::of("SELECT v.device_key FROM twin_values AS v WHERE ")
                .and(&stretch.condition(hub, text))
                .then(of_source(self.source))
        });
        (keys.collect(), leading.are_disjoint())
    }

    /// The stretches whose twins have to be looked at; where they are empty, indexes and columns
    /// have said everything.
    pub(super) fn open(&self) -> Vec<Stretch> {
        let stretches = self.members.iter().flat_map(Stretches::iter);
        let mut open: Vec<_> = stretches
            .filter(|stretch| !stretch.is_exact)
            .cloned()
            .collect();
        if !self.members.is_empty() {
            open.push(Stretch::opaque());
        }
        open
    }

    /// Whether rows are walked, all of the hub.
    pub(super) fn is_walk(&self) -> bool {
        self.names.is_none() && self.leader.is_none()
    }
}

impl Pieces {
    /// The first `most` candidates after a key, in order: `(SELECT … )`.
    pub(super) fn first_keys(&self, after: Parameter, most: Parameter) -> Piece {
        let each: Vec<_> = self
            .keys
            .iter()
            .map(|keys| {
                Piece::of("(")
                    .and(keys)
                    .then(" AND device_key > ")
                    .name(after)
                    .then(" ORDER BY device_key LIMIT ")
                    .name(most)
                    .then(")")
            })
            .collect();
        if let [one] = each.as_slice() {
            return one.clone();
        }
        Piece::of("(SELECT device_key FROM (")
            .and(&Piece::joined(&each, " UNION "))
            .then(") AS found ORDER BY device_key LIMIT ")
            .name(most)
            .then(")")
    }

    /// All candidates: `(SELECT … )`.
    pub(super) fn all_keys(&self) -> Piece {
        let between = if self.are_disjoint {
            " UNION ALL "
        } else {
            " UNION "
        };
        Piece::of("(")
            .and(&Piece::joined(&self.keys, between))
            .then(")")
    }

    /// `FROM … WHERE …` of all candidates that the condition lets through, with what `tables` says
    /// beside `i`. Each table is looked up for each row of the one before it: no statistics make a
    /// plan of it that begins with all twins.
    pub(super) fn all_rows(&self, source: Source, is_walk: bool, tables: Tables) -> Piece {
        let mut from = if is_walk {
            Piece::of(" FROM identities AS i")
        } else {
            Piece::of(" FROM ")
                .and(&self.all_keys())
                .then(" AS keys")
                .then(IDENTITY)
        };
        if tables.device_of_module {
            from = from.then(device_of_module(source));
        }
        if tables.twin {
            from = from.then(TWIN);
        }
        let mut conditions: Vec<_> = self.condition.iter().cloned().collect();
        if is_walk {
            conditions.push(of_hub(self.hub, source));
        }
        if conditions.is_empty() {
            return from;
        }
        from.then(" WHERE ")
            .and(&Piece::joined(&conditions, " AND "))
    }
}

/// Tables that a statement reads beside `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) device_of_module: bool,
    pub(super) twin: bool,
}

/// The join from `keys` to the identity.
pub(super) const IDENTITY: &str = " CROSS JOIN LATERAL (\
     SELECT * FROM identities WHERE identities.device_key = keys.device_key LIMIT 1) AS i";

/// The join from the identity to its twin.
pub(super) const TWIN: &str = " CROSS JOIN LATERAL (\
     SELECT * FROM twins WHERE twins.device_key = i.device_key LIMIT 1) AS t";

/// The join that brings the device of a module.
pub(super) fn device_of_module(source: Source) -> &'static str {
    match source {
        Source::Devices => "",
        Source::Modules => {
            " CROSS JOIN LATERAL (\
             SELECT * FROM identities WHERE identities.hub = i.hub \
             AND identities.device_id = i.device_id AND identities.module_id = '' LIMIT 1) AS p"
        }
    }
}

/// The condition on `i` to be of the hub and the source, as the indexes for walks have it.
fn of_hub(hub: Parameter, source: Source) -> Piece {
    Piece::of("i.hub = ").name(hub).then(match source {
        Source::Devices => " AND length(i.module_id) = 0",
        Source::Modules => " AND length(i.module_id) > 0",
    })
}

/// The condition on `i` to have a member in one of the stretches, or tags that are not taken apart.
fn probe(stretches: &Stretches, hub: Parameter, text: &mut Text) -> Piece {
    let opaque = Stretch::opaque();
    let stretches = stretches.iter().chain([&opaque]);
    let probes: Vec<_> = stretches
        .map(|stretch| {
            Piece::of("EXISTS (SELECT FROM twin_values AS v WHERE ")
                .and(&stretch.condition(hub, text))
                .then(" AND v.device_key = i.device_key)")
        })
        .collect();
    Piece::of("(")
        .and(&Piece::joined(&probes, " OR "))
        .then(")")
}

/// Takes those parts out that bound one member from two sides, as beginnings of texts do.
fn ranges(parts: &[Filter]) -> (Vec<Stretches>, Vec<Filter>) {
    let mut bounds: BTreeMap<&Field, Vec<(Comparison, &Scalar)>> = BTreeMap::new();
    for part in parts {
        if let Some((field, bound)) = bound(part) {
            bounds.entry(field).or_default().push(bound);
        }
    }
    bounds.retain(|_, bounds| bounds.len() > 1);
    let mut ranges = Vec::new();
    bounds.retain(|field, bounds| {
        let range = Stretches::between(field, bounds);
        let is_range = range.is_some();
        ranges.extend(range);
        is_range
    });
    let is_taken = |part: &Filter| bound(part).is_some_and(|(field, _)| bounds.contains_key(field));
    let left = parts.iter().filter(|part| !is_taken(part)).cloned();
    (ranges, left.collect())
}

fn bound(part: &Filter) -> Option<(&Field, (Comparison, &Scalar))> {
    match part {
        Filter::Compare {
            field,
            comparison:
                comparison @ (Comparison::Lt | Comparison::Le | Comparison::Gt | Comparison::Ge),
            value,
        } => Some((field, (*comparison, value))),
        _ => None,
    }
}

/// The ids of devices of which a part of a filter wants one.
fn names(part: &Filter) -> Option<Vec<String>> {
    let values = match part {
        Filter::Compare {
            field: Field::DeviceId,
            comparison: Comparison::Eq,
            value,
        } => std::slice::from_ref(value),
        Filter::In {
            field: Field::DeviceId,
            values,
        } => values,
        _ => return None,
    };
    let ids = values.iter().filter_map(|value| match value {
        Scalar::Text(id) => Some(id.clone()),
        _ => None,
    });
    // Each is looked up once.
    let ids: BTreeSet<String> = ids.collect();
    Some(ids.into_iter().collect())
}
