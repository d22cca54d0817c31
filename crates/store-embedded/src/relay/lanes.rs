//! Which lanes have events, and which of them are held.

/// Lanes that devices are spread over, by the last bits of their keys. The statements have the
/// same number in them.
pub(super) const LANES: usize = 16;

/// What is known of each lane. One process works on the file, so it is known here alone.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: [Lane; LANES],
    last_given: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    is_held: bool,
    waiting: Option<Span>,
}

/// Positions between which a lane may have events, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Lanes {
    /// Takes note of events.
    pub(super) fn learn(&mut self, lane: usize, found: Span) {
        let waiting = &mut self.lanes[lane].waiting;
        *waiting = Some(waiting.map_or(found, |known| Span {
            first: known.first.min(found.first),
            last: known.last.max(found.last),
        }));
    }

    /// Holds the lane whose turn it is among those that are free and may have events.
    pub(super) fn hold(&mut self) -> Option<(usize, Span)> {
        let in_turn = (1..=LANES).map(|step| (self.last_given + step) % LANES);
        let free = in_turn
            .filter(|lane| !self.lanes[*lane].is_held)
            .find_map(|lane| self.lanes[lane].waiting.map(|span| (lane, span)));
        if let Some((lane, _)) = free {
            self.lanes[lane].is_held = true;
            self.last_given = lane;
        }
        free
    }

    /// Takes note that a held lane has nothing left up to `position`.
    pub(super) fn pass(&mut self, lane: usize, position: i64) {
        let waiting = &mut self.lanes[lane].waiting;
        *waiting = waiting
            .map(|known| Span {
                first: known.first.max(position.saturating_add(1)),
                ..known
            })
            .filter(|known| known.first <= known.last);
    }

    /// Gives a lane back.
    pub(super) fn free(&mut self, lane: usize) {
        self.lanes[lane].is_held = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: i64, last: i64) -> Span {
        Span { first, last }
    }

    #[test]
    fn lanes_with_events_are_held_in_turn() {
        let mut lanes = Lanes::default();
        lanes.learn(3, span(1, 9));
        lanes.learn(7, span(2, 2));
        assert_eq!(lanes.hold(), Some((3, span(1, 9))));
        assert_eq!(lanes.hold(), Some((7, span(2, 2))));
        assert_eq!(lanes.hold(), None);
        lanes.free(7);
        lanes.free(3);
        assert_eq!(lanes.hold(), Some((3, span(1, 9))));
    }

    #[test]
    fn what_was_passed_is_not_looked_at_again_and_what_came_meanwhile_is() {
        let mut lanes = Lanes::default();
        lanes.learn(0, span(1, 5));
        assert_eq!(lanes.hold(), Some((0, span(1, 5))));
        lanes.learn(0, span(8, 9));
        lanes.pass(0, 5);
        lanes.free(0);
        assert_eq!(lanes.hold(), Some((0, span(6, 9))));
        lanes.pass(0, 9);
        lanes.free(0);
        assert_eq!(lanes.hold(), None);
    }
}
