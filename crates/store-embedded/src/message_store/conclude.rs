//! Decisions of transitions made true: rows written or removed, senders told.

use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::event::Event;
use downlink_domain::id::SequenceNumber;
use downlink_domain::message::feedback::{FeedbackRecord, FeedbackStatus};
use downlink_domain::message::transition::Standing;
use downlink_domain::message::{Lock, MessageState};
use downlink_ports::StoreError;
use downlink_ports::events::feedback_event;

use super::standing::{Place, Stored};
use crate::error::store_error;
use crate::fields::stored;
use crate::outbox;
use crate::statements::{DELETE_MESSAGES, INSERT_FEEDBACK, UPDATE_STANDINGS};
use crate::writer::Scope;

/// What a set of decisions comes to; each message stands in it once.
#[derive(Default)]
pub(super) struct Conclusions {
    ended: Vec<Place>,
    standing: Vec<(Place, Standing)>,
    reports: Vec<Report>,
}

struct Report {
    record: FeedbackRecord,
    sequence: SequenceNumber,
    expiry: Timestamp,
}

impl Conclusions {
    /// Notes where a message stands at last; it is written, or removed when it ended.
    pub(super) fn stands(&mut self, place: Place, next: Standing) {
        if next.state.is_terminal() {
            self.ended.push(place);
        } else {
            self.standing.push((place, next));
        }
    }

    /// Notes what the sender is told.
    pub(super) fn report(
        &mut self,
        message: &Stored,
        status: FeedbackStatus,
        feedback_ttl: Duration,
        now: Timestamp,
    ) {
        // No owner means no wish to hear of any outcome, and then no transition asks for a report.
        let Some(owner) = &message.owner else {
            return;
        };
        let record = FeedbackRecord {
            hub: owner.hub.clone(),
            device_key: message.place.0,
            device: owner.device.clone(),
            generation: owner.generation,
            original_message_id: message.message_id.clone(),
            at: now,
            status,
        };
        self.reports.push(Report {
            record,
            sequence: message.place.1,
            expiry: now + feedback_ttl,
        });
    }

    /// Writes everything.
    pub(super) async fn write(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        for (key, _) in &self.ended {
            scope.memory.on_removed(*key);
        }
        DELETE_MESSAGES
            .execute(scope.connection, self.ended, |query, (key, sequence)| {
                query.bind(key.0).bind(stored(sequence.0))
            })
            .await
            .map_err(store_error)?;
        UPDATE_STANDINGS
            .execute(scope.connection, self.standing, |query, (place, next)| {
                let lock = lock_of(&next);
                query
                    .bind(place.0.0)
                    .bind(stored(place.1.0))
                    .bind(i64::from(next.delivery_count))
                    .bind(lock.map(|lock| lock.token.0.to_vec()))
                    .bind(lock.map(|lock| lock.until.as_millis()))
            })
            .await
            .map_err(store_error)?;
        write_reports(scope, self.reports).await
    }
}

fn lock_of(standing: &Standing) -> Option<Lock> {
    match standing.state {
        MessageState::Invisible { lock } => Some(lock),
        MessageState::Enqueued
        | MessageState::Completed { .. }
        | MessageState::DeadLettered { .. } => None,
    }
}

async fn write_reports(scope: &mut Scope<'_>, reports: Vec<Report>) -> Result<(), StoreError> {
    if reports.is_empty() {
        return Ok(());
    }
    let before = scope.take_numbers(reports.len()).await?;
    let events: Vec<Event> = reports
        .iter()
        .map(|report| feedback_event(&report.record, report.sequence))
        .collect();
    let rows: Vec<_> = (before + 1..).zip(reports).collect();
    INSERT_FEEDBACK
        .execute(scope.connection, rows, |query, (number, report)| {
            let record = report.record;
            query
                .bind(record.hub.as_str())
                .bind(stored(number))
                .bind(record.device_key.0)
                .bind(record.device.as_str())
                .bind(stored(record.generation.0))
                .bind(record.original_message_id)
                .bind(record.at.as_millis())
                .bind(record.status.as_str())
                .bind(report.expiry.as_millis())
        })
        .await
        .map_err(store_error)?;
    outbox::insert(scope, events).await
}
