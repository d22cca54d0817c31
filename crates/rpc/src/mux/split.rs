//! Spreads the items of a call over lanes and over calls of bounded size.

use std::hash::Hash;

use prost::Message;

use super::{MAX_BATCH_BYTES, MAX_CALL_ITEMS};
use crate::wire::ToWire;

/// Tag and length of an item inside its call, at their longest.
const ITEM_OVERHEAD_BYTES: usize = 6;

/// One item of a batched call.
pub(crate) trait Item: ToWire<Wire: Message> {
    /// What keeps its order: items of one key go over one lane of one node.
    fn lane_key(&self) -> impl Hash + '_;
}

/// Where an item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which lane of which node, counted through.
    pub(crate) slot: usize,
    /// Hash of the item's key.
    pub(crate) hash: u64,
}

/// The items of one call.
pub(crate) struct Part<W> {
    /// The place of its first item.
    pub(crate) place: Place,
    /// Where each item stood.
    pub(crate) positions: Vec<usize>,
    pub(crate) items: Vec<W>,
    bytes: usize,
}

/// Groups items by slot and cuts groups that grow too large. Items of one slot keep their order
/// across the parts.
pub(crate) fn split<T: Item>(
    items: Vec<T>,
    slots: usize,
    place: impl Fn(&T) -> Place,
) -> Vec<Part<T::Wire>> {
    let mut parts: Vec<Part<T::Wire>> = Vec::new();
    // Index of the part of each slot that takes more.
    let mut open: Vec<Option<usize>> = vec![None; slots];
    let count = items.len();
    for (position, item) in items.into_iter().enumerate() {
        let place = place(&item);
        let wire = item.to_wire();
        let bytes = wire.encoded_len() + ITEM_OVERHEAD_BYTES;
        let roomy = open[place.slot].filter(|index| parts[*index].has_room_for(bytes));
        let index = roomy.unwrap_or_else(|| {
            let expected = if parts.is_empty() { count } else { 0 };
            parts.push(Part::new(place, expected));
            parts.len() - 1
        });
        open[place.slot] = Some(index);
        parts[index].push(position, wire, bytes);
    }
    parts
}

impl<W> Part<W> {
    fn new(place: Place, expected: usize) -> Self {
        Self {
            place,
            positions: Vec::with_capacity(expected),
            items: Vec::with_capacity(expected),
            bytes: 0,
        }
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.items.len() < MAX_CALL_ITEMS && self.bytes + bytes <= MAX_BATCH_BYTES
    }

    fn push(&mut self, position: usize, item: W, bytes: usize) {
        self.positions.push(position);
        self.items.push(item);
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Keyed(u8, usize);

    impl Item for Keyed {
        fn lane_key(&self) -> impl Hash + '_ {
            self.0
        }
    }

    impl ToWire for Keyed {
        type Wire = Vec<u8>;

        fn to_wire(self) -> Vec<u8> {
            vec![self.0; self.1]
        }
    }

    fn place(item: &Keyed, slots: usize) -> Place {
        Place {
            slot: usize::from(item.0) % slots,
            hash: item.0.into(),
        }
    }

    proptest! {
        #[test]
        fn every_item_goes_out_once_in_the_order_of_its_lane_and_within_bounds(
            items in prop::collection::vec((0..8_u8, 0..400_000_usize), 0..40),
            lanes in 1..5_usize,
        ) {
            let keyed = items.iter().map(|(key, size)| Keyed(*key, *size)).collect();
            let parts = split(keyed, lanes, |item| place(item, lanes));
            let mut seen = vec![0; items.len()];
            let mut last = vec![None; lanes];
            for part in &parts {
                prop_assert_eq!(part.positions.len(), part.items.len());
                prop_assert!(part.bytes <= MAX_BATCH_BYTES);
                for (position, item) in part.positions.iter().zip(&part.items) {
                    let (key, size) = items[*position];
                    prop_assert_eq!(item, &vec![key; size]);
                    let slot = part.place.slot;
                    prop_assert_eq!(usize::from(key) % lanes, slot);
                    prop_assert!(last[slot] < Some(*position));
                    last[slot] = Some(*position);
                    seen[*position] += 1;
                }
            }
            prop_assert!(seen.iter().all(|times| *times == 1));
        }
    }

    #[test]
    fn an_item_above_the_bound_goes_alone() {
        let items = vec![Keyed(1, 10), Keyed(1, 2 * MAX_BATCH_BYTES), Keyed(1, 10)];
        let sizes: Vec<_> = split(items, 1, |item| place(item, 1))
            .iter()
            .map(|part| part.items.len())
            .collect();
        assert_eq!(sizes, [1, 1, 1]);
    }
}
