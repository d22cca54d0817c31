//! Messages delivered at quality of service 1 and not yet acknowledged.

use std::collections::VecDeque;

use crate::packet::PacketId;

/// The window of unacknowledged deliveries of one connection.
///
/// Bounded by the window given at the start; a message over it is not placed and stays in its queue. Clients
/// acknowledge in order for the most part, so entries are searched from the oldest.
#[derive(Debug)]
pub struct InFlight<T> {
    entries: VecDeque<Entry<T>>,
    window: u16,
}

#[derive(Debug)]
struct Entry<T> {
    packet_id: PacketId,
    sequence: u64,
    token: T,
}

/// Where a message was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The identifier it goes out with.
    pub packet_id: PacketId,
    /// Whether this message was in flight already, under this identifier.
    pub is_repeat: bool,
}

impl<T> InFlight<T> {
    /// Makes an empty window; a window of 0 counts as 1.
    pub fn new(window: u16) -> Self {
        Self {
            entries: VecDeque::new(),
            window: window.max(1),
        }
    }

    /// Returns the size of the window.
    pub fn window(&self) -> usize {
        usize::from(self.window)
    }

    /// Returns how many deliveries await their acknowledgement.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether no delivery awaits its acknowledgement.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many more messages fit.
    pub fn free(&self) -> usize {
        self.window().saturating_sub(self.entries.len())
    }

    /// Places a message under an identifier that no other message in flight has.
    ///
    /// The identifier follows from `sequence`, so a redelivery keeps it across connections unless another
    /// message holds it. A message in flight already takes the new token and keeps its place.
    ///
    /// # Errors
    /// The token, when the window is full.
    pub fn place(&mut self, sequence: u64, token: T) -> Result<Placement, T> {
        if let Some(entry) = self
            .entries
            .iter_mut()
            .find(|entry| entry.sequence == sequence)
        {
            entry.token = token;
            return Ok(Placement {
                packet_id: entry.packet_id,
                is_repeat: true,
            });
        }
        if self.free() == 0 {
            return Err(token);
        }
        let packet_id = self.free_id(PacketId::preferred_for(sequence));
        self.entries.push_back(Entry {
            packet_id,
            sequence,
            token,
        });
        Ok(Placement {
            packet_id,
            is_repeat: false,
        })
    }

    /// Takes out the message with this identifier; nothing for an identifier that is not in flight.
    pub fn acknowledge(&mut self, packet_id: PacketId) -> Option<T> {
        self.take(|entry| entry.packet_id == packet_id)
    }

    /// Takes out the message with this sequence number.
    pub fn withdraw(&mut self, sequence: u64) -> Option<T> {
        self.take(|entry| entry.sequence == sequence)
    }

    /// Takes out the message whose token has the least key, the oldest of equals.
    pub fn withdraw_least<K: Ord>(&mut self, key: impl Fn(&T) -> K) -> Option<T> {
        let least = self
            .entries
            .iter()
            .min_by_key(|entry| key(&entry.token))?
            .packet_id;
        self.acknowledge(least)
    }

    /// Returns the tokens of all messages in flight, oldest first.
    pub fn into_tokens(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().map(|entry| entry.token)
    }

    fn take(&mut self, is_wanted: impl Fn(&Entry<T>) -> bool) -> Option<T> {
        let position = self.entries.iter().position(is_wanted)?;
        let entry = self.entries.remove(position)?;
        if self.entries.is_empty() {
            // An idle connection keeps no room for a burst that is over.
            self.entries = VecDeque::new();
        }
        Some(entry.token)
    }

    /// Finds the first identifier from `preferred` on that is not in flight.
    ///
    /// Fewer messages than identifiers are in flight (the window is at most 65,535 and not full here), so the
    /// search ends, and after one step per message in flight at most.
    fn free_id(&self, preferred: PacketId) -> PacketId {
        let mut id = preferred;
        while self.entries.iter().any(|entry| entry.packet_id == id) {
            id = id.next();
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_keeps_its_identifier_when_it_is_placed_again() {
        let mut window = InFlight::new(4);
        let first = window.place(70, "old lock").unwrap();
        let again = window.place(70, "new lock").unwrap();
        assert_eq!(
            again,
            Placement {
                packet_id: first.packet_id,
                is_repeat: true
            }
        );
        assert_eq!(window.len(), 1);
        assert_eq!(window.acknowledge(first.packet_id), Some("new lock"));
        assert_eq!(window.acknowledge(first.packet_id), None);
    }

    #[test]
    fn identifiers_that_collide_move_on_to_the_next_free_one() {
        let mut window = InFlight::new(3);
        assert_eq!(window.place(65_534, 1).unwrap().packet_id.get(), 65_535);
        assert_eq!(window.place(131_069, 2).unwrap().packet_id.get(), 1);
        assert_eq!(window.place(196_604, 3).unwrap().packet_id.get(), 2);
    }

    #[test]
    fn a_full_window_gives_the_token_back() {
        let mut window = InFlight::new(0);
        assert_eq!(
            window.free(),
            1,
            "a window of nothing would deliver nothing"
        );
        window.place(1, 'a').unwrap();
        assert_eq!(window.place(2, 'b'), Err('b'));
        assert_eq!(window.withdraw(1), Some('a'));
        assert_eq!(window.free(), 1);
    }

    #[test]
    fn the_least_message_makes_room() {
        let mut window = InFlight::new(3);
        for (sequence, until) in [(1, 30), (2, 10), (3, 20)] {
            window.place(sequence, until).unwrap();
        }
        assert_eq!(window.withdraw_least(|until| *until), Some(10));
        assert_eq!(window.withdraw_least(|until| *until), Some(20));
        assert_eq!(window.len(), 1);
    }

    proptest! {
        #[test]
        fn identifiers_in_flight_are_unique_and_the_window_holds(
            commands in prop::collection::vec((any::<bool>(), 0_u64..140_000), 1..200),
            window in 1_u16..24,
        ) {
            let mut in_flight = InFlight::new(window);
            let mut held: Vec<(PacketId, u64)> = Vec::new();
            for (is_delivery, sequence) in commands {
                if is_delivery {
                    let was_held = held.iter().any(|(_, other)| *other == sequence);
                    if let Ok(placement) = in_flight.place(sequence, sequence) {
                        prop_assert_eq!(placement.is_repeat, was_held);
                        if !was_held {
                            held.push((placement.packet_id, sequence));
                        }
                    } else {
                        prop_assert_eq!(held.len(), usize::from(window));
                    }
                } else if !held.is_empty() {
                    let index = usize::try_from(sequence).unwrap() % held.len();
                    let (id, sequence) = held.remove(index);
                    prop_assert_eq!(in_flight.acknowledge(id), Some(sequence));
                }
                let ids: HashSet<_> = held.iter().map(|(id, _)| *id).collect();
                prop_assert_eq!(ids.len(), held.len());
                prop_assert_eq!(in_flight.len(), held.len());
            }
            let left: Vec<_> = in_flight.into_tokens().collect();
            let expected: Vec<_> = held.into_iter().map(|(_, sequence)| sequence).collect();
            prop_assert_eq!(left, expected);
        }
    }
}
