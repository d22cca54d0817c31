//! How often devices may poll.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;

use super::given::noon;
use super::presence::Presence;
use crate::PollTurn;

/// Longer than any test.
const LONG: Duration = Duration::from_mins(2);
/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

async fn ask(presence: &Presence, device: i64, interval: Duration, now: Timestamp) -> PollTurn {
    let taken = presence.polls.take_turn(DeviceKey(device), interval, now);
    taken.await.unwrap()
}

#[doc(hidden)]
pub async fn a_turn_is_taken_once_within_its_interval(presence: Presence) {
    assert_eq!(ask(&presence, 7, LONG, noon()).await, PollTurn::Taken);
    for (later, left) in [(0, 120), (1, 119), (30, 90)] {
        let now = noon() + Duration::from_secs(later);
        let wait = Duration::from_secs(left);
        let turn = ask(&presence, 7, LONG, now).await;
        assert_eq!(turn, PollTurn::TooSoon { wait }, "after {later} s");
    }
    // A node whose clock is behind, or far ahead, tells no wait that cannot be.
    let behind = ask(&presence, 7, LONG, Timestamp::from_millis(0)).await;
    assert_eq!(behind, PollTurn::TooSoon { wait: LONG });
}

#[doc(hidden)]
pub async fn each_device_has_turns_of_its_own(presence: Presence) {
    for device in [7, 8, i64::MAX] {
        assert_eq!(ask(&presence, device, LONG, noon()).await, PollTurn::Taken);
        assert_ne!(ask(&presence, device, LONG, noon()).await, PollTurn::Taken);
    }
}

#[doc(hidden)]
pub async fn a_turn_comes_again_after_its_interval(presence: Presence) {
    let began = Instant::now();
    let now = || noon() + began.elapsed();
    assert_eq!(ask(&presence, 7, SHORT, now()).await, PollTurn::Taken);
    while ask(&presence, 7, SHORT, now()).await != PollTurn::Taken {
        assert!(began.elapsed() < PATIENCE, "the turn does not come again");
    }
    // The clock of a server counts in whole milliseconds.
    assert!(began.elapsed() + Duration::from_millis(2) >= SHORT);
}

#[doc(hidden)]
pub async fn of_many_calls_at_once_one_takes_the_turn(presence: Presence) {
    let mut asked: Vec<_> = (0..64)
        .map(|_| Box::pin(ask(&presence, 7, LONG, noon())))
        .collect();
    let mut taken = 0;
    poll_fn(|context| {
        asked.retain_mut(|asked| match asked.as_mut().poll(context) {
            Poll::Ready(turn) => {
                taken += u32::from(turn == PollTurn::Taken);
                false
            }
            Poll::Pending => true,
        });
        if asked.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    assert_eq!(taken, 1);
}
