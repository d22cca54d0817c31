//! Deliveries of a session that are not settled, in both directions.
//!
//! Whatever range of ids a disposition names, it costs no more than the deliveries whose standing
//! it changes: each is kept apart by its standing, and only the first word of the peer on it
//! counts. A peer that repeats itself repeats nothing here.

use std::{collections::BTreeMap, mem, ops::RangeInclusive};

use super::{DeliveryId, UnsettledDelivery};
use crate::performative::DeliveryTag;

/// Range of ids a disposition names.
pub(super) type Ids = RangeInclusive<u64>;

/// A delivery to the peer that it has not settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) handle: u32,
    pub(super) tag: DeliveryTag,
}

/// Deliveries to the peer, over all links of a session.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// The peer has said nothing yet.
    silent: BTreeMap<u64, Outgoing>,
    /// The peer has told an outcome and waits for the caller to settle.
    told: BTreeMap<u64, Outgoing>,
    /// The caller expects nothing any more, but the peer may still say something.
    lapsed: BTreeMap<u64, Outgoing>,
}

impl Unsettled {
    /// Returns how many take up room.
    pub(super) fn len(&self) -> usize {
        self.silent.len().saturating_add(self.told.len())
    }

    pub(super) fn insert(&mut self, delivery: DeliveryId, outgoing: Outgoing) {
        self.silent.insert(delivery.0, outgoing);
    }

    /// Forgets a delivery the caller settles, and returns whether it was there.
    pub(super) fn settle(&mut self, delivery: DeliveryId) -> bool {
        [&mut self.told, &mut self.silent, &mut self.lapsed]
            .into_iter()
            .any(|deliveries| deliveries.remove(&delivery.0).is_some())
    }

    /// Frees the room of a delivery the peer is silent about. It is remembered while it is among
    /// the `limit` youngest of its kind.
    pub(super) fn lapse(&mut self, delivery: DeliveryId, limit: usize) {
        let Some(outgoing) = self.silent.remove(&delivery.0) else {
            return;
        };
        self.lapsed.insert(delivery.0, outgoing);
        if self.lapsed.len() > limit {
            self.lapsed.pop_first();
        }
    }

    /// Takes the peer's word on a range, and returns the deliveries it is news of, by the handle
    /// of their link and in order.
    pub(super) fn on_disposition(
        &mut self,
        ids: &Ids,
        is_settled: bool,
    ) -> BTreeMap<u32, Vec<UnsettledDelivery>> {
        let mut concerned = extract(&mut self.silent, ids);
        concerned.append(&mut extract(&mut self.lapsed, ids));
        if is_settled {
            concerned.append(&mut extract(&mut self.told, ids));
        } else {
            self.told
                .extend(concerned.iter().map(|(id, outgoing)| (*id, *outgoing)));
        }
        by_handle(concerned)
    }

    /// Takes all deliveries of one link and returns those that had room.
    pub(super) fn take_of(&mut self, handle: u32) -> Vec<UnsettledDelivery> {
        let mut taken: BTreeMap<u64, Outgoing> = BTreeMap::new();
        let is_of_link = |_: &u64, outgoing: &mut Outgoing| outgoing.handle == handle;
        taken.extend(self.silent.extract_if(.., is_of_link));
        taken.extend(self.told.extract_if(.., is_of_link));
        self.lapsed.retain(|_, outgoing| outgoing.handle != handle);
        by_handle(taken).remove(&handle).unwrap_or_default()
    }

    /// Takes all deliveries and returns those that had room, by the handle of their link.
    pub(super) fn take_all(&mut self) -> BTreeMap<u32, Vec<UnsettledDelivery>> {
        let Self {
            mut silent,
            mut told,
            ..
        } = mem::take(self);
        silent.append(&mut told);
        by_handle(silent)
    }
}

fn extract(deliveries: &mut BTreeMap<u64, Outgoing>, ids: &Ids) -> BTreeMap<u64, Outgoing> {
    deliveries.extract_if(ids.clone(), |_, _| true).collect()
}

fn by_handle(deliveries: BTreeMap<u64, Outgoing>) -> BTreeMap<u32, Vec<UnsettledDelivery>> {
    let mut by_handle: BTreeMap<u32, Vec<UnsettledDelivery>> = BTreeMap::new();
    for (id, Outgoing { handle, tag }) in deliveries {
        let delivery = DeliveryId(id);
        by_handle
            .entry(handle)
            .or_default()
            .push(UnsettledDelivery { delivery, tag });
    }
    by_handle
}

/// Deliveries of the peer that the caller has not settled, with the handle of their link.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The peer waits for a disposition.
    owed: BTreeMap<u64, u32>,
    /// The peer has settled.
    settled: BTreeMap<u64, u32>,
}

impl Received {
    pub(super) fn insert(&mut self, delivery: u64, handle: u32, is_settled: bool) {
        let deliveries = if is_settled {
            &mut self.settled
        } else {
            &mut self.owed
        };
        deliveries.insert(delivery, handle);
    }

    /// Forgets a delivery of a link, and returns whether a disposition is owed; `None` when it was
    /// not there.
    pub(super) fn settle(&mut self, delivery: DeliveryId, handle: u32) -> Option<bool> {
        for (deliveries, is_owed) in [(&mut self.owed, true), (&mut self.settled, false)] {
            if deliveries.get(&delivery.0) == Some(&handle) {
                deliveries.remove(&delivery.0);
                return Some(is_owed);
            }
        }
        None
    }

    /// Notes that the peer has settled a range.
    pub(super) fn on_disposition(&mut self, ids: Ids) {
        let settled = self.owed.extract_if(ids, |_, _| true);
        self.settled.extend(settled);
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.owed.len().saturating_add(self.settled.len())
    }

    pub(super) fn forget(&mut self, handle: u32) {
        self.owed.retain(|_, of| *of != handle);
        self.settled.retain(|_, of| *of != handle);
    }

    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Ids = 0..=u64::MAX;

    fn sent(ids: impl IntoIterator<Item = (u64, u32)>) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for (id, handle) in ids {
            let tag = DeliveryTag::new(&id.to_be_bytes()).unwrap();
            unsettled.insert(DeliveryId(id), Outgoing { handle, tag });
        }
        unsettled
    }

    fn ids(deliveries: Option<&Vec<UnsettledDelivery>>) -> Vec<u64> {
        deliveries
            .into_iter()
            .flatten()
            .map(|delivery| delivery.delivery.0)
            .collect()
    }

    #[test]
    fn outcome_that_is_told_twice_is_news_once() {
        let mut unsettled = sent([(0, 7), (1, 7)]);
        assert_eq!(
            ids(unsettled.on_disposition(&EVERYTHING, false).get(&7)),
            [0, 1]
        );
        assert!(unsettled.on_disposition(&EVERYTHING, false).is_empty());
        assert_eq!(unsettled.len(), 2);
        assert_eq!(
            ids(unsettled.on_disposition(&EVERYTHING, true).get(&7)),
            [0, 1]
        );
        assert_eq!(unsettled.len(), 0);
        assert!(unsettled.on_disposition(&EVERYTHING, true).is_empty());
    }

    #[test]
    fn lapsed_delivery_frees_its_room_and_is_remembered_up_to_the_bound() {
        let mut unsettled = sent([(0, 7), (1, 7), (2, 7)]);
        for id in 0..3 {
            unsettled.lapse(DeliveryId(id), 2);
        }
        assert_eq!(unsettled.len(), 0);
        assert_eq!(
            ids(unsettled.on_disposition(&EVERYTHING, false).get(&7)),
            [1, 2]
        );
        // What was told waits for the caller's answer, whatever its age.
        unsettled.lapse(DeliveryId(1), 2);
        assert!(unsettled.settle(DeliveryId(1)));
        assert!(!unsettled.settle(DeliveryId(1)));
    }

    #[test]
    fn link_takes_its_own_deliveries_along_and_in_order() {
        let mut unsettled = sent([(0, 7), (1, 8), (2, 7), (3, 7), (4, 7)]);
        unsettled.on_disposition(&(2..=2), false);
        unsettled.lapse(DeliveryId(3), 9);
        assert_eq!(ids(Some(&unsettled.take_of(7))), [0, 2, 4]);
        assert_eq!(ids(unsettled.take_all().get(&8)), [1]);
        assert_eq!(unsettled.len(), 0);
    }

    #[test]
    fn delivery_the_peer_has_settled_is_owed_no_disposition() {
        let mut received = Received::default();
        for id in 0..4 {
            received.insert(id, 7, id == 3);
        }
        received.on_disposition(1..=1);
        let owed = (0..5)
            .map(|id| received.settle(DeliveryId(id), 7))
            .collect::<Vec<_>>();
        assert_eq!(
            owed,
            [Some(true), Some(false), Some(true), Some(false), None]
        );
    }

    #[test]
    fn delivery_is_not_settled_in_the_name_of_another_link() {
        let mut received = Received::default();
        received.insert(0, 7, false);
        assert_eq!(received.len(), 1);
        assert_eq!(received.settle(DeliveryId(0), 8), None);
        assert_eq!(received.settle(DeliveryId(0), 7), Some(true));
    }
}
