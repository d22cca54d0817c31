//! Events.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::event::{Event, EventKind};

use super::Subject;
use super::given::{an_event, noon};
use crate::OutboxBounds;

const UNBOUNDED: OutboxBounds = OutboxBounds {
    retention: Duration::from_hours(24),
    max_events: u64::MAX,
};

async fn append(subject: &Subject, events: Vec<Event>) {
    let appended = subject.outbox.append(events).await;
    appended.expect("a store that works");
}

async fn read(subject: &Subject, after: u64, limit: u32) -> Vec<(u64, Event)> {
    let read = subject.outbox.read_after(after, limit).await;
    read.expect("a store that works")
}

async fn ids(subject: &Subject) -> Vec<u8> {
    let events = read(subject, 0, 100).await;
    events.iter().map(|(_, event)| event.id[0]).collect()
}

#[doc(hidden)]
pub async fn events_are_read_in_the_order_of_their_append(subject: Subject) {
    append(&subject, vec![an_event("dev-1", 3), an_event("dev-2", 1)]).await;
    append(&subject, vec![an_event("dev-1", 2)]).await;
    let first = read(&subject, 0, 2).await;
    assert_eq!(first.len(), 2);
    assert!(0 < first[0].0 && first[0].0 < first[1].0);
    assert_eq!((first[0].1.id[0], first[1].1.id[0]), (3, 1));
    let rest = read(&subject, first[1].0, 10).await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].1.id[0], 2);
    assert!(read(&subject, rest[0].0, 10).await.is_empty());
}

#[doc(hidden)]
pub async fn an_event_that_is_there_already_is_skipped(subject: Subject) {
    append(&subject, vec![an_event("dev-1", 1), an_event("dev-1", 1)]).await;
    append(&subject, vec![an_event("dev-1", 2), an_event("dev-1", 1)]).await;
    assert_eq!(ids(&subject).await, [1, 2]);
}

#[doc(hidden)]
pub async fn events_read_back_whole(subject: Subject) {
    let events = EventKind::ALL
        .into_iter()
        .zip(1..)
        .map(|(kind, number)| Event {
            kind,
            module: (number % 2 == 0).then(|| "mod-1".parse().unwrap()),
            properties: vec![
                ("b".to_owned(), "\u{1f321} \"hot\"".to_owned()),
                ("a".to_owned(), String::new()),
            ],
            body: Bytes::from(vec![0, 255, number]),
            ..an_event("dev-1", number)
        });
    let events: Vec<_> = events.collect();
    append(&subject, events.clone()).await;
    let read = read(&subject, 0, 10).await;
    let read: Vec<_> = read.into_iter().map(|(_, event)| event).collect();
    assert_eq!(read, events);
}

#[doc(hidden)]
pub async fn events_beyond_the_age_are_shed(subject: Subject) {
    let aged = |number: u8| Event {
        at: noon() + Duration::from_secs(u64::from(number)),
        ..an_event("dev-1", number)
    };
    append(&subject, (1..=4).map(aged).collect()).await;
    let bounds = OutboxBounds {
        retention: Duration::from_secs(10),
        ..UNBOUNDED
    };
    let shed = async |seconds| {
        let now = noon() + Duration::from_secs(seconds);
        subject.outbox.trim(bounds, now).await.unwrap()
    };
    assert_eq!(shed(11).await, 0);
    assert_eq!(shed(13).await, 2);
    assert_eq!(ids(&subject).await, [3, 4]);
}

#[doc(hidden)]
pub async fn events_beyond_the_number_are_shed_oldest_first(subject: Subject) {
    let bounds = OutboxBounds {
        max_events: 2,
        ..UNBOUNDED
    };
    for number in 1..=5 {
        let repeated = an_event("dev-1", number.min(4));
        append(&subject, vec![repeated]).await;
    }
    assert_eq!(subject.outbox.trim(bounds, noon()).await.unwrap(), 2);
    assert_eq!(ids(&subject).await, [3, 4]);
    assert_eq!(subject.outbox.trim(bounds, noon()).await.unwrap(), 0);
    append(&subject, vec![an_event("dev-1", 9)]).await;
    assert_eq!(subject.outbox.trim(bounds, noon()).await.unwrap(), 1);
    assert_eq!(ids(&subject).await, [4, 9]);
}

#[doc(hidden)]
pub async fn positions_rise_also_after_everything_was_shed(subject: Subject) {
    append(&subject, vec![an_event("dev-1", 1), an_event("dev-1", 2)]).await;
    let last = read(&subject, 0, 10).await[1].0;
    let bounds = OutboxBounds {
        max_events: 0,
        ..UNBOUNDED
    };
    assert_eq!(subject.outbox.trim(bounds, noon()).await.unwrap(), 2);
    append(&subject, vec![an_event("dev-1", 1)]).await;
    let events = read(&subject, 0, 10).await;
    assert_eq!(events.len(), 1);
    assert!(events[0].0 > last);
}
