//! The units of a connection.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use downlink_domain::id::IdentityName;

use super::ready::{Ready, UnitWaker};
use super::unit::{Open, Opening, Phase, Unit, UnitId};

/// Sessions of units that begin or end at a time; further ones wait before they begin. It keeps a
/// client that attaches and detaches in a loop from piling up work, and a thousand devices that
/// come at once from asking for everything at once.
const MAX_PASSING: usize = 64;

/// The units of a connection, bounded by its links: each has one at least.
#[derive(Default)]
pub(in crate::amqp) struct Units {
    all: HashMap<UnitId, Box<Unit>>,
    names: BTreeMap<(u16, IdentityName), UnitId>,
    next: u64,
    /// Units to look at: links came or went.
    touched: BTreeSet<UnitId>,
    /// Units whose session is to be opened, the oldest first.
    queued: BTreeSet<UnitId>,
    /// Sessions that begin or end now.
    passing: usize,
    pub(super) ready: Arc<Ready>,
}

impl Units {
    /// Enters a unit that is to be opened.
    pub(super) fn enter(
        &mut self,
        channel: u16,
        name: IdentityName,
        opening: Box<Opening>,
    ) -> UnitId {
        self.next += 1;
        let id = UnitId(self.next);
        self.names.insert((channel, name.clone()), id);
        let unit = Unit {
            name,
            channel,
            phase: Phase::Opening(opening),
        };
        self.all.insert(id, Box::new(unit));
        self.queued.insert(id);
        id
    }

    pub(super) fn find(&self, channel: u16, name: &IdentityName) -> Option<UnitId> {
        // An empty map does without the key.
        if self.names.is_empty() {
            return None;
        }
        self.names.get(&(channel, name.clone())).copied()
    }

    pub(super) fn get_mut(&mut self, id: UnitId) -> Option<&mut Unit> {
        self.all.get_mut(&id).map(AsMut::as_mut)
    }

    /// The unit, once it is open.
    pub(super) fn open_mut(&mut self, id: UnitId) -> Option<&mut Open> {
        match &mut self.get_mut(id)?.phase {
            Phase::Open(open) => Some(open),
            Phase::Opening(_) => None,
        }
    }

    /// Takes a unit out; whatever is still on its way for it finds nobody.
    pub(super) fn remove(&mut self, id: UnitId) -> Option<Box<Unit>> {
        let unit = self.all.remove(&id)?;
        let key = (unit.channel, unit.name.clone());
        // Another may have come under the same name by a different reading of its address.
        if self.names.get(&key) == Some(&id) {
            self.names.remove(&key);
        }
        self.touched.remove(&id);
        self.queued.remove(&id);
        Some(unit)
    }

    /// Gives a unit the name its identity turned out to have.
    pub(super) fn rename(&mut self, id: UnitId, name: &IdentityName) {
        let Some(unit) = self.all.get_mut(&id).filter(|unit| unit.name != *name) else {
            return;
        };
        self.names.remove(&(unit.channel, unit.name.clone()));
        unit.name = name.clone();
        self.names.insert((unit.channel, name.clone()), id);
    }

    /// Whether any link is attached to the unit or waits for it.
    pub(super) fn has_links(&self, id: UnitId) -> bool {
        self.all.get(&id).is_some_and(|unit| match &unit.phase {
            Phase::Opening(opening) => !opening.waiting.is_empty(),
            Phase::Open(open) => !open.links.is_empty(),
        })
    }

    /// Every unit with its name, in no order; for what is rare.
    pub(super) fn names(&self) -> impl Iterator<Item = (UnitId, &IdentityName)> {
        self.all.iter().map(|(id, unit)| (*id, &unit.name))
    }

    /// Has a unit looked at: links came or went.
    pub(super) fn touch(&mut self, id: UnitId) {
        self.touched.insert(id);
    }

    pub(super) fn take_touched(&mut self) -> Option<UnitId> {
        self.touched.pop_first()
    }

    /// Takes the next unit whose session may be opened now; those of a stranger one by one.
    pub(super) fn take_queued(&mut self, is_stranger: bool) -> Option<UnitId> {
        let most = if is_stranger { 1 } else { MAX_PASSING };
        if self.passing >= most {
            return None;
        }
        self.queued.pop_first()
    }

    /// Notes that a session begins or ends.
    pub(super) fn begin_passing(&mut self) {
        self.passing += 1;
    }

    /// Notes that a session has begun or ended.
    pub(super) fn end_passing(&mut self) {
        self.passing = self.passing.saturating_sub(1);
    }

    pub(super) fn waker_of(&self, id: UnitId) -> Arc<UnitWaker> {
        UnitWaker::new(id, &self.ready)
    }
}
