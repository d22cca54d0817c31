//! Events on their way out.
//!
//! An adapter chooses how many lanes it has and how it spreads devices over them; the suite asks
//! for no more than that 64 devices do not all share one. Nothing here holds more than two claims
//! at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use downlink_domain::event::Event;
use downlink_domain::id::DeviceKey;

use super::Subject;
use super::given::{an_event, noon};
use crate::{Backlog, ClaimedEvents, OutboxBounds};

type Claim = Box<dyn ClaimedEvents>;

/// Longer than any test holds a claim.
const HOLD: Duration = Duration::from_mins(1);
/// How long a store may take to give back the lane of a dropped claim.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most claims before every lane had its turn; more than any adapter has lanes.
const MOST_TURNS: usize = 256;
/// Devices that do not all share a lane.
const DEVICES: u8 = 64;

/// The event `number` of the device with the key `device`.
fn event_of(device: i64, number: u8) -> Event {
    let mut event = an_event(&format!("dev-{device}"), number);
    event.device_key = DeviceKey(device);
    event.id[..8].copy_from_slice(&device.to_be_bytes());
    event
}

fn numbers(events: &[Event]) -> Vec<u8> {
    events.iter().map(|event| event.id[15]).collect()
}

fn devices(events: &[Event]) -> BTreeSet<DeviceKey> {
    events.iter().map(|event| event.device_key).collect()
}

async fn append(subject: &Subject, events: impl IntoIterator<Item = Event>) {
    let appended = subject.outbox.append(events.into_iter().collect()).await;
    appended.expect("a store that works");
}

async fn claim(subject: &Subject, limit: u32) -> Option<Claim> {
    let claimed = subject.relay.claim(limit, HOLD).await;
    claimed.expect("a store that works")
}

/// Claims events that must be there, perhaps only once the store took note of a dropped claim.
async fn claim_soon(subject: &Subject, limit: u32) -> Claim {
    let started = Instant::now();
    loop {
        if let Some(claimed) = claim(subject, limit).await {
            return claimed;
        }
        assert!(started.elapsed() < PATIENCE, "no claim was given");
    }
}

async fn finish(claimed: Claim, sent: usize) {
    claimed.finish(sent).await.expect("a store that works");
}

/// Sends everything that can be claimed, `limit` events at a time.
async fn send_all(subject: &Subject, limit: u32) -> Vec<Event> {
    let mut sent = Vec::new();
    while let Some(claimed) = claim(subject, limit).await {
        let events = claimed.events().to_vec();
        assert!(!events.is_empty(), "a claim without events");
        finish(claimed, events.len()).await;
        sent.extend(events);
    }
    sent
}

/// Two devices in different lanes; the outbox is empty before and after.
async fn apart(subject: &Subject) -> (i64, i64) {
    append(subject, (1..=DEVICES).map(|at| event_of(at.into(), 255))).await;
    let first = claim(subject, 1_000).await.expect("events wait");
    let second = claim(subject, 1_000).await.expect("a second lane");
    let both = (
        first.events()[0].device_key.0,
        second.events()[0].device_key.0,
    );
    for claimed in [first, second] {
        let all = claimed.events().len();
        finish(claimed, all).await;
    }
    send_all(subject, 1_000).await;
    both
}

#[doc(hidden)]
pub async fn nothing_to_claim_is_none(subject: Subject) {
    assert!(claim(&subject, 10).await.is_none());
}

#[doc(hidden)]
pub async fn an_appended_event_is_found_whole(subject: Subject) {
    let mut event = event_of(7, 1);
    event.module = Some("mod-1".parse().expect("a valid id"));
    event
        .properties
        .push(("b".to_owned(), "\u{1f321}".to_owned()));
    append(&subject, [event.clone()]).await;
    let claimed = claim(&subject, 10).await.expect("an event waits");
    assert_eq!(claimed.events(), [event]);
}

#[doc(hidden)]
pub async fn an_event_written_with_its_cause_is_found(subject: Subject) {
    let device = subject.register("dev-1").await;
    let claimed = claim(&subject, 10).await.expect("an event waits");
    assert_eq!(devices(claimed.events()), [device.key].into());
}

#[doc(hidden)]
pub async fn claimed_events_come_in_order_for_each_device(subject: Subject) {
    for number in 0..5 {
        let round = (1..=DEVICES).map(|device| event_of(device.into(), number));
        append(&subject, round).await;
    }
    let sent = send_all(&subject, 7).await;
    assert_eq!(sent.len(), usize::from(DEVICES) * 5);
    for device in 1..=i64::from(DEVICES) {
        let own = sent.iter().filter(|event| event.device_key.0 == device);
        let own: Vec<_> = own.cloned().collect();
        assert_eq!(numbers(&own), [0, 1, 2, 3, 4], "device {device}");
    }
}

#[doc(hidden)]
pub async fn a_claim_holds_at_most_its_limit(subject: Subject) {
    append(&subject, (0..9).map(|number| event_of(1, number))).await;
    let claimed = claim(&subject, 4).await.expect("events wait");
    assert_eq!(numbers(claimed.events()), [0, 1, 2, 3]);
}

#[doc(hidden)]
pub async fn a_claim_holds_its_lane_alone(subject: Subject) {
    let all = (0..3).flat_map(|number| (1..=DEVICES).map(move |at| event_of(at.into(), number)));
    append(&subject, all).await;
    let held = claim(&subject, 2).await.expect("events wait");
    let held_device = held.events()[0].device_key;
    let others = send_all(&subject, 1_000).await;
    assert!(!others.is_empty(), "one lane for all devices");
    assert!(devices(&others).is_disjoint(&devices(held.events())));
    append(&subject, [event_of(held_device.0, 3)]).await;
    assert!(claim(&subject, 10).await.is_none(), "the lane is held");
    finish(held, 0).await;
    let rest = send_all(&subject, 1_000).await;
    let own = rest
        .into_iter()
        .filter(|event| event.device_key == held_device);
    assert_eq!(numbers(&own.collect::<Vec<_>>()), [0, 1, 2, 3]);
}

#[doc(hidden)]
pub async fn a_dropped_claim_gives_all_back(subject: Subject) {
    append(&subject, (0..4).map(|number| event_of(1, number))).await;
    drop(claim(&subject, 3).await.expect("events wait"));
    let again = claim_soon(&subject, 10).await;
    assert_eq!(numbers(again.events()), [0, 1, 2, 3]);
}

#[doc(hidden)]
pub async fn a_finish_removes_exactly_what_was_sent(subject: Subject) {
    append(&subject, (0..4).map(|number| event_of(1, number))).await;
    let claimed = claim(&subject, 3).await.expect("events wait");
    // What comes while a claim is held is no part of it.
    append(&subject, [event_of(1, 4)]).await;
    finish(claimed, 3).await;
    let left = subject.outbox.read_after(0, 10).await;
    let left = left.expect("a store that works").into_iter();
    let left: Vec<_> = left.map(|(_, event)| event).collect();
    assert_eq!(numbers(&left), [3, 4]);
    let rest = claim(&subject, 10).await.expect("events wait");
    assert_eq!(numbers(rest.events()), [3, 4]);
    finish(rest, 2).await;
    assert!(claim(&subject, 10).await.is_none());
}

#[doc(hidden)]
pub async fn a_partial_finish_leaves_the_rest_first(subject: Subject) {
    append(&subject, (0..5).map(|number| event_of(1, number))).await;
    let claimed = claim(&subject, 4).await.expect("events wait");
    finish(claimed, 2).await;
    let rest = claim(&subject, 10).await.expect("events wait");
    assert_eq!(numbers(rest.events()), [2, 3, 4]);
    finish(rest, 0).await;
    let rest = claim(&subject, 10).await.expect("events wait");
    assert_eq!(numbers(rest.events()), [2, 3, 4]);
}

#[doc(hidden)]
pub async fn a_full_lane_does_not_starve_the_others(subject: Subject) {
    let (busy, quiet) = apart(&subject).await;
    append(&subject, (0..2).map(|number| event_of(busy, number))).await;
    append(&subject, [event_of(quiet, 0)]).await;
    for number in 2..MOST_TURNS {
        let claimed = claim(&subject, 1).await.expect("the busy lane has events");
        if claimed.events()[0].device_key.0 == quiet {
            return;
        }
        finish(claimed, 1).await;
        let number = u8::try_from(number).expect("fewer than 256 turns");
        append(&subject, [event_of(busy, number)]).await;
    }
    panic!("the quiet lane had no turn");
}

#[doc(hidden)]
pub async fn a_lane_given_back_unsent_does_not_starve_the_others(subject: Subject) {
    let (stuck, moving) = apart(&subject).await;
    append(&subject, [event_of(stuck, 0), event_of(moving, 0)]).await;
    let mut seen = BTreeSet::new();
    for _ in 0..MOST_TURNS {
        let claimed = claim(&subject, 1).await.expect("events wait");
        seen.extend(devices(claimed.events()));
        finish(claimed, 0).await;
    }
    assert_eq!(seen, [DeviceKey(stuck), DeviceKey(moving)].into());
}

#[doc(hidden)]
pub async fn a_trim_waits_for_no_claim_and_brings_nothing_back(subject: Subject) {
    append(&subject, (0..6).map(|number| event_of(1, number))).await;
    let claimed = claim(&subject, 3).await.expect("events wait");
    let bounds = OutboxBounds {
        retention: Duration::from_hours(24),
        max_events: 1,
    };
    let shed = subject.outbox.trim(bounds, noon()).await;
    shed.expect("a trim beside a claim");
    assert_eq!(numbers(claimed.events()), [0, 1, 2]);
    finish(claimed, 3).await;
    append(&subject, [event_of(1, 6)]).await;
    let rest = claim(&subject, 10).await.expect("events wait");
    let rest = numbers(rest.events());
    let mut in_order = rest.clone();
    in_order.sort_unstable();
    assert_eq!(rest, in_order);
    assert!(rest[0] >= 3, "what was sent came back: {rest:?}");
    assert_eq!(rest.last(), Some(&6));
}

#[doc(hidden)]
pub async fn an_event_of_an_earlier_time_does_not_overtake(subject: Subject) {
    let mut late = event_of(1, 1);
    late.at = noon() - Duration::from_hours(1);
    append(&subject, [event_of(1, 0), late, event_of(1, 2)]).await;
    let claimed = claim(&subject, 10).await.expect("events wait");
    assert_eq!(numbers(claimed.events()), [0, 1, 2]);
}

#[doc(hidden)]
pub async fn an_empty_outbox_has_no_backlog(subject: Subject) {
    let backlog = subject.relay.backlog().await.expect("a store that works");
    assert_eq!(backlog, Backlog::default());
}

/// The first look at a store is no old one.
#[doc(hidden)]
pub async fn a_backlog_is_counted_from_its_oldest_event_on(subject: Subject) {
    let mut later = event_of(2, 0);
    later.at = noon() + Duration::from_mins(1);
    append(&subject, [event_of(1, 0), event_of(1, 1), later]).await;
    let backlog = subject.relay.backlog().await.expect("a store that works");
    let expected = Backlog {
        events: 3,
        oldest: Some(noon()),
    };
    assert_eq!(backlog, expected);
}
