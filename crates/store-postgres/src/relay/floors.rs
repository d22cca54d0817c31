//! From where on a lane is read.
//!
//! The head of a lane is where rows die, and an index that is read from its very beginning passes
//! all of those that vacuum has not removed yet. So each lane has a floor: no event of the lane is
//! below it, and none will ever be.
//!
//! The second half of that is the harder one, because a transaction that drew a low position may
//! commit late. It follows from transaction ids. A writer has its id before it draws a position
//! (`queries/insert_events.sql`), so:
//!
//! 1. positions up to `drawn` have been drawn, as one claim has read;
//! 2. after that, an id `m` is given: whoever drew one of them has an id below `m`;
//! 3. a later claim finds that all transactions below `m` are over: every event up to `drawn` is
//!    there for its next statement to see, or never will be. `drawn` is *settled*.
//!
//! A lane read from its floor after that, up to its first event, has a new floor there, or above
//! what is settled, whichever is lower.
//!
//! A floor is a hint all the same: it is dropped every few minutes, after each failure, and when
//! the server is another one. A standby that took over without the last transactions draws
//! positions anew, and a schema that is split over several servers counts transactions on each.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::LANES;

/// How long floors are kept.
const LIFE: Duration = Duration::from_mins(5);
/// Least time between two marks, each of which uses up a transaction id.
const MARK_INTERVAL: Duration = Duration::from_secs(5);

/// The floors of all lanes.
#[derive(Debug, Default)]
pub(super) struct Floors {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rises when everything is dropped; what was read before that is of no use.
    age: u64,
    since: Option<Instant>,
    server: Option<i64>,
    floors: [i64; LANES],
    /// Every position up to this one is decided.
    settled: i64,
    /// The highest position known to be drawn.
    drawn: i64,
    mark: Option<Mark>,
    marked_at: Option<Instant>,
}

/// Positions that were drawn by transactions whose ids are below another.
#[derive(Clone, Copy, Debug)]
struct Mark {
    drawn: i64,
    below: i64,
}

/// The floors as a claim finds them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) floors: [i64; LANES],
    pub(super) settled: i64,
    drawn: i64,
    age: u64,
}

/// What the statement that takes a lane reads besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The last position drawn, 0 when there is none.
    pub(super) drawn: i64,
    /// All transactions with ids below this one are over.
    pub(super) over_below: i64,
    /// Tells one run of the server from another.
    pub(super) server: i64,
}

impl Floors {
    /// The floors now.
    pub(super) fn look(&self) -> Look {
        let mut state = self.state.lock();
        let now = Instant::now();
        let since = *state.since.get_or_insert(now);
        if now - since >= LIFE {
            state.drop_all();
        }
        state.look()
    }

    /// Tells whether it is time for a mark: an id, asked for after this look.
    pub(super) fn wants_mark(&self, look: &Look) -> bool {
        let state = self.state.lock();
        let is_due = state
            .marked_at
            .is_none_or(|at| at.elapsed() >= MARK_INTERVAL);
        is_due && state.mark.is_none() && look.drawn > state.settled && look.age == state.age
    }

    /// Notes a transaction id that was given after `look`.
    pub(super) fn on_mark(&self, look: &Look, below: i64) {
        let mut state = self.state.lock();
        if look.age == state.age {
            state.marked_at = Some(Instant::now());
            let drawn = look.drawn;
            state.mark = Some(Mark { drawn, below });
        }
    }

    /// Notes what a statement after `look` has read; what holds for the next statement.
    pub(super) fn on_reading(&self, look: &Look, reading: Reading) -> Look {
        let mut state = self.state.lock();
        if state
            .server
            .replace(reading.server)
            .is_some_and(|server| server != reading.server)
        {
            state.drop_all();
            state.server = Some(reading.server);
        }
        if look.age == state.age {
            state.drawn = state.drawn.max(reading.drawn);
            if let Some(mark) = state.mark.take_if(|mark| mark.below <= reading.over_below) {
                state.settled = state.settled.max(mark.drawn);
            }
        }
        state.look()
    }

    /// Notes the position of the first event of a lane that was read from its floor, under `look`.
    pub(super) fn on_read(&self, look: &Look, lane: usize, first: Option<i64>) {
        let mut state = self.state.lock();
        if look.age == state.age {
            let undecided = look.settled + 1;
            let floor = first.map_or(undecided, |first| first.min(undecided));
            state.floors[lane] = state.floors[lane].max(floor);
        }
    }

    /// Drops everything.
    pub(super) fn forget(&self) {
        self.state.lock().drop_all();
    }
}

impl State {
    fn look(&self) -> Look {
        Look {
            floors: self.floors,
            settled: self.settled,
            drawn: self.drawn,
            age: self.age,
        }
    }

    fn drop_all(&mut self) {
        *self = Self {
            age: self.age + 1,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: i64 = 1;

    fn reading(drawn: i64, over_below: i64) -> Reading {
        Reading {
            drawn,
            over_below,
            server: SERVER,
        }
    }

    /// A claim of lane 0 that sees no transaction below `over_below` running.
    fn claim(floors: &Floors, drawn: i64, over_below: i64, first: Option<i64>) -> i64 {
        let look = floors.look();
        let look = floors.on_reading(&look, reading(drawn, over_below));
        floors.on_read(&look, 0, first);
        floors.look().floors[0]
    }

    fn mark(floors: &Floors, below: i64) {
        let look = floors.look();
        assert!(floors.wants_mark(&look));
        floors.on_mark(&look, below);
    }

    #[test]
    fn a_floor_waits_for_those_who_may_still_commit_below_it() {
        let floors = Floors::default();
        assert_eq!(claim(&floors, 100, 7, Some(50)), 1);
        mark(&floors, 9);
        // Transaction 8 may have drawn a position below 50.
        assert_eq!(claim(&floors, 120, 8, Some(60)), 1);
        assert_eq!(claim(&floors, 120, 9, Some(70)), 70);
    }

    #[test]
    fn a_floor_does_not_pass_what_is_settled() {
        let floors = Floors::default();
        claim(&floors, 100, 7, None);
        mark(&floors, 9);
        assert_eq!(claim(&floors, 200, 9, None), 101);
        assert_eq!(claim(&floors, 200, 20, Some(150)), 101);
    }

    #[test]
    fn a_claim_that_began_before_everything_was_dropped_sets_no_floor() {
        let floors = Floors::default();
        claim(&floors, 100, 7, None);
        mark(&floors, 9);
        let look = floors.look();
        let look = floors.on_reading(&look, reading(200, 9));
        floors.forget();
        floors.on_read(&look, 0, Some(90));
        assert_eq!(floors.look().floors, [0; LANES]);
        assert_eq!(floors.look().settled, 0);
    }

    #[test]
    fn another_server_drops_the_floors() {
        let floors = Floors::default();
        claim(&floors, 100, 7, None);
        mark(&floors, 9);
        assert_eq!(claim(&floors, 200, 9, Some(80)), 80);
        let look = floors.look();
        let other = Reading {
            server: SERVER + 1,
            ..reading(60, 9)
        };
        let look = floors.on_reading(&look, other);
        assert_eq!(look.floors, [0; LANES]);
        assert_eq!(floors.look().drawn, 0);
    }
}
