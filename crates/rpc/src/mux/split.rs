//! Spreads the items of a call over lanes and over calls of bounded size.

use std::hash::{DefaultHasher, Hash, Hasher};

use prost::Message;

use super::{MAX_BATCH_BYTES, MAX_CALL_ITEMS};
use crate::wire::ToWire;

/// Tag and length of an item inside its call, at their longest.
const ITEM_OVERHEAD_BYTES: usize = 6;

/// One item of a batched call.
pub(crate) trait Item: ToWire<Wire: Message> {
    /// What keeps its order: items of one key go over one lane.
    fn lane_key(&self) -> impl Hash + '_;
}

/// The items of one call.
pub(crate) struct Part<W> {
    pub(crate) lane: usize,
    /// Where each item stood.
    pub(crate) positions: Vec<usize>,
    pub(crate) items: Vec<W>,
    bytes: usize,
}

/// The lane of a key, the same for equal keys.
pub(crate) fn lane_of(key: &impl Hash, lanes: usize) -> usize {
    if lanes <= 1 {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let hash = usize::try_from(hasher.finish() >> 32).unwrap_or(0);
    hash % lanes
}

/// Groups items by lane and cuts groups that grow too large. Items of one lane keep their order
/// across the parts.
pub(super) fn split<T: Item>(items: Vec<T>, lanes: usize) -> Vec<Part<T::Wire>> {
    let mut parts: Vec<Part<T::Wire>> = Vec::new();
    // Index of the part of each lane that takes more.
    let mut open: Vec<Option<usize>> = vec![None; lanes];
    let count = items.len();
    for (position, item) in items.into_iter().enumerate() {
        let lane = lane_of(&item.lane_key(), lanes);
        let wire = item.to_wire();
        let bytes = wire.encoded_len() + ITEM_OVERHEAD_BYTES;
        let roomy = open[lane].filter(|index| parts[*index].has_room_for(bytes));
        let index = roomy.unwrap_or_else(|| {
            let expected = if parts.is_empty() { count } else { 0 };
            parts.push(Part::new(lane, expected));
            parts.len() - 1
        });
        open[lane] = Some(index);
        parts[index].push(position, wire, bytes);
    }
    parts
}

impl<W> Part<W> {
    fn new(lane: usize, expected: usize) -> Self {
        Self {
            lane,
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

    proptest! {
        #[test]
        fn every_item_goes_out_once_in_the_order_of_its_lane_and_within_bounds(
            items in prop::collection::vec((0..8_u8, 0..400_000_usize), 0..40),
            lanes in 1..5_usize,
        ) {
            let keyed = items.iter().map(|(key, size)| Keyed(*key, *size)).collect();
            let parts = split(keyed, lanes);
            let mut seen = vec![0; items.len()];
            let mut last = vec![None; lanes];
            for part in &parts {
                prop_assert_eq!(part.positions.len(), part.items.len());
                prop_assert!(part.bytes <= MAX_BATCH_BYTES);
                for (position, item) in part.positions.iter().zip(&part.items) {
                    let (key, size) = items[*position];
                    prop_assert_eq!(item, &vec![key; size]);
                    prop_assert_eq!(lane_of(&key, lanes), part.lane);
                    prop_assert!(last[part.lane] < Some(*position));
                    last[part.lane] = Some(*position);
                    seen[*position] += 1;
                }
            }
            prop_assert!(seen.iter().all(|times| *times == 1));
        }
    }

    #[test]
    fn an_item_above_the_bound_goes_alone() {
        let items = vec![Keyed(1, 10), Keyed(1, 2 * MAX_BATCH_BYTES), Keyed(1, 10)];
        let sizes: Vec<_> = split(items, 1)
            .iter()
            .map(|part| part.items.len())
            .collect();
        assert_eq!(sizes, [1, 1, 1]);
    }
}
