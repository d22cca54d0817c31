//! How the rows of a filter are found: by one way that leads to few, and by what else the
//! database can tell of them before their documents are read.

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
                Piece::of("0").then(" + ").and(&match counts.is_empty() {
                    true => Piece::of("0"),
                    false => Piece::joined(&counts, " + "),
                })
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
        let of_hub = match self.source {
            Source::Devices => " AND i.module_id = ''",
            Source::Modules => " AND i.module_id <> ''",
        };
        let identities = Piece::of("SELECT i.device_key FROM identities AS i WHERE i.hub = ")
            .name(hub)
            .then(of_hub);
        if let Some(names) = &self.names {
            let names = text.parameter(names.clone(), "text[]");
            let keys = identities.then(" AND i.device_id = ANY (").name(names);
            return (vec![keys.then(")")], true);
        }
        let Some(leading) = self.leading() else {
            return (vec![identities], true);
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
    Some(ids.collect())
}
