//! Which master holds which part of the keys.

use std::sync::Arc;

use crate::address::Address;
use crate::link::Link;
use crate::slot::{SLOTS, slot_of};

/// A master, and the connection to it if there is one.
pub(crate) struct Master {
    pub(crate) link: Option<Arc<Link>>,
    /// A hash tag whose slot this master holds.
    pub(crate) tag: u32,
}

/// All masters at one time.
#[derive(Default)]
pub(crate) struct Map {
    pub(crate) masters: Vec<Master>,
    /// The master of each slot by its place, `NOBODY` where there is none; `None` when the first
    /// master holds everything.
    slots: Option<Box<[u16]>>,
}

/// The place of no master.
const NOBODY: u16 = u16::MAX;

/// A master and the slots it holds, first and last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) at: Address,
    pub(crate) ranges: Vec<(u16, u16)>,
}

impl Map {
    /// The map of one master that holds everything.
    pub(crate) fn single(link: Arc<Link>) -> Self {
        Self {
            masters: vec![Master {
                link: Some(link),
                tag: 0,
            }],
            slots: None,
        }
    }

    /// The map of a cluster; `find` has the connections there are.
    pub(crate) fn cluster(
        holdings: &[Holding],
        find: impl Fn(&Address) -> Option<Arc<Link>>,
    ) -> Self {
        let mut slots = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
        let mut masters = Vec::with_capacity(holdings.len());
        for (place, holding) in holdings.iter().take(usize::from(SLOTS)).enumerate() {
            let place = u16::try_from(place).unwrap_or(NOBODY);
            for (first, last) in &holding.ranges {
                for slot in *first..=*last {
                    if let Some(entry) = slots.get_mut(usize::from(slot)) {
                        *entry = place;
                    }
                }
            }
            let is_held = |slot: u16| {
                let mut ranges = holding.ranges.iter();
                ranges.any(|(first, last)| (*first..=*last).contains(&slot))
            };
            // Some tag below lands in every slot: a few hundred thousand cover all of them.
            let tag = (0..1_000_000_u32)
                .find(|tag| is_held(slot_of(&tag.to_string())))
                .unwrap_or_default();
            masters.push(Master {
                link: find(&holding.at),
                tag,
            });
        }
        Self {
            masters,
            slots: Some(slots),
        }
    }

    fn master(&self, slot: u16) -> Option<&Master> {
        let place = match &self.slots {
            None => 0,
            Some(slots) => usize::from(*slots.get(usize::from(slot))?),
        };
        self.masters.get(place)
    }

    /// The usable connection to the master of a slot.
    pub(crate) fn link(&self, slot: u16) -> Option<&Arc<Link>> {
        let link = self.master(slot)?.link.as_ref()?;
        link.is_usable().then_some(link)
    }

    /// The usable connection to a server.
    pub(crate) fn link_to(&self, at: &Address) -> Option<&Arc<Link>> {
        self.links().find(|link| link.at == *at)
    }

    /// All usable connections.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        let links = self
            .masters
            .iter()
            .filter_map(|master| master.link.as_ref());
        links.filter(|link| link.is_usable())
    }

    /// Tells whether every master there is can be asked, and every slot has one.
    pub(crate) fn is_whole(&self) -> bool {
        let is_covered = match &self.slots {
            None => !self.masters.is_empty(),
            Some(slots) => slots.iter().all(|place| *place != NOBODY),
        };
        is_covered && self.links().count() == self.masters.len()
    }
}
