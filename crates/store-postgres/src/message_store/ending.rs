//! Messages that end with something to tell.

use std::time::Duration;

use crate::session::Session;
use downlink_domain::Timestamp;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::message::feedback::{FeedbackRecord, FeedbackStatus};
use downlink_ports::events::feedback_event;

use super::standing::{Stored, count_number, token};
use crate::error::Failure;
use crate::fields::{Fields, stored};

/// Messages that end together; each stands in it once.
pub(super) struct Endings {
    at: Timestamp,
    feedback_ttl: Duration,
    /// In the order of the reports.
    messages: Vec<Ending>,
}

struct Ending {
    message: Stored,
    report: Option<(FeedbackRecord, Event)>,
}

impl Endings {
    /// Endings at `at`, whose records live for `feedback_ttl`.
    pub(super) fn at(at: Timestamp, feedback_ttl: Duration) -> Self {
        Self {
            at,
            feedback_ttl,
            messages: Vec::new(),
        }
    }

    /// Notes that a message, which was read as it is here, ends; `status` is what its sender wants
    /// to be told. There is nobody to tell once the device is gone.
    pub(super) fn add(&mut self, message: Stored, status: Option<FeedbackStatus>) {
        let report = message.owner.as_ref().zip(status).map(|(owner, status)| {
            let record = FeedbackRecord {
                hub: owner.hub.clone(),
                device_key: message.place.0,
                device: owner.device.clone(),
                generation: owner.generation,
                original_message_id: message.message_id.clone(),
                at: self.at,
                status,
            };
            let event = feedback_event(&record, message.place.1);
            (record, event)
        });
        self.messages.push(Ending { message, report });
    }

    /// Whether nothing ends.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Brings the endings into the order in which rows are locked; each keeps the place of its
    /// report among the reports.
    pub(super) fn in_lock_order(self) -> Ordered {
        let mut endings: Vec<_> = (0..).zip(self.messages).collect();
        endings.sort_unstable_by_key(|(_, ending)| ending.message.place);
        Ordered {
            at: self.at,
            expiry: self.at + self.feedback_ttl,
            endings,
        }
    }
}

/// Endings in the order in which rows are locked.
pub(super) struct Ordered {
    at: Timestamp,
    expiry: Timestamp,
    endings: Vec<(i32, Ending)>,
}

impl Ordered {
    /// Ends those that still stand as they were read; returns these.
    #[expect(
        clippy::too_many_lines,
        reason = "one line or two for each of sixteen columns"
    )]
    pub(super) async fn write(
        &self,
        connection: &mut Session<'_>,
    ) -> Result<Vec<&Stored>, Failure> {
        let endings = || self.endings.iter().map(|(_, ending)| ending);
        let messages = || endings().map(|ending| &ending.message);
        let records = || endings().map(|ending| ending.report.as_ref().map(|report| &report.0));
        let events = || endings().map(|ending| ending.report.as_ref().map(|report| &report.1));
        let devices: Vec<_> = messages().map(|message| message.place.0.0).collect();
        let sequences: Vec<_> = messages()
            .map(|message| stored(message.place.1.0))
            .collect();
        let tokens: Vec<Option<Vec<u8>>> = messages()
            .map(|message| token(&message.standing).map(|token| token.0.to_vec()))
            .collect();
        let counts: Vec<_> = messages()
            .map(|message| count_number(message.standing.delivery_count))
            .collect();
        let reports: Vec<_> = self
            .endings
            .iter()
            .map(|(report, ending)| ending.report.as_ref().map(|_| *report))
            .collect();
        let hubs: Vec<_> = records().map(|it| it.map(|it| it.hub.as_str())).collect();
        let names: Vec<_> = records()
            .map(|it| it.map(|it| it.device.as_str()))
            .collect();
        let generations: Vec<_> = records()
            .map(|it| it.map(|it| stored(it.generation.0)))
            .collect();
        let ids: Vec<_> = records()
            .map(|it| it.and_then(|it| it.original_message_id.as_deref()))
            .collect();
        let statuses: Vec<_> = records()
            .map(|it| it.map(|it| it.status.as_str()))
            .collect();
        let event_ids: Vec<_> = events().map(|it| it.map(|it| it.id.to_vec())).collect();
        let properties: Vec<_> = events().map(|it| it.map(properties)).collect();
        let bodies: Vec<_> = events().map(|it| it.map(|it| it.body.to_vec())).collect();
        let rows = sqlx::query(include_str!("../../queries/end_messages.sql"))
            .bind(devices)
            .bind(sequences)
            .bind(tokens)
            .bind(counts)
            .bind(reports)
            .bind(hubs)
            .bind(names)
            .bind(generations)
            .bind(ids)
            .bind(statuses)
            .bind(event_ids)
            .bind(properties)
            .bind(bodies)
            .bind(self.at.as_millis())
            .bind(self.expiry.as_millis())
            .bind(EventKind::Feedback.as_str())
            .fetch_all(connection)
            .await?;
        let mut ended = Vec::with_capacity(rows.len());
        for row in &rows {
            let place: usize = Fields::new(row, "messages", "place").number("place")?;
            ended.push(&self.endings[place - 1].1.message);
        }
        Ok(ended)
    }
}

fn properties(event: &Event) -> String {
    serde_json::to_string(&event.properties).expect("texts are always JSON")
}
