//! A back-end's link for messages, which does not wait for one answer before the next message.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{bail, ensure};
use bytes::Bytes;
use downlink_amqp::message::{Body, Message, MessageId, Properties};
use downlink_amqp::performative::{DeliveryState, Disposition, Performative, Role, condition};
use downlink_amqp::types::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::traffic::{Access, Ledger, message_id};
use crate::wire::amqp::{Amqp, sender};

/// Silence that the hub is told not to exceed, and after which the connection is given up.
const IDLE_TIME_OUT_MILLIS: u32 = 4_000;
const SILENCE: Duration = Duration::from_secs(4);
/// How long it may take until the link is attached.
const OPENING: Duration = Duration::from_secs(8);
/// How long answers to the last messages are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(8);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// Messages that are sent at a time.
const BATCH: usize = 3;
/// Messages that may be without an answer.
const IN_FLIGHT: usize = 9;
/// Handle of the link for messages.
const COMMANDS: u32 = 2;

/// Sends to one device.
pub(in crate::traffic) struct Sender {
    access: Access,
    device: String,
    turn: usize,
    pause: Duration,
    next_number: usize,
}

/// A link and what was sent on it.
struct Link<'a> {
    amqp: Amqp,
    /// Messages without an answer, by delivery id.
    in_flight: BTreeMap<u32, String>,
    next_delivery: u32,
    sent: u32,
    /// Messages that may be sent in all.
    limit: u32,
    ledger: &'a Ledger,
}

impl Sender {
    pub(in crate::traffic) fn new(
        access: &Access,
        device: &str,
        turn: usize,
        pause: Duration,
    ) -> Self {
        Self {
            access: access.clone(),
            device: device.to_owned(),
            turn,
            pause,
            next_number: 0,
        }
    }

    /// Sends until told to stop; a message of unknown outcome is not sent again.
    pub(in crate::traffic) async fn run(mut self, ledger: &Ledger, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(Ok(mut link)) = timeout(OPENING, self.open(ledger)).await {
                let _ = self.stay(&mut link, stop).await;
                for (_, id) in link.in_flight {
                    ledger.lose_sight_of(id);
                }
            }
            self.turn += 1;
            let _ = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }

    async fn open<'a>(&self, ledger: &'a Ledger) -> anyhow::Result<Link<'a>> {
        let mut amqp = super::connect(&self.access, self.turn, Some(IDLE_TIME_OUT_MILLIS)).await?;
        amqp.begin(0).await?;
        amqp.attach_tokens().await?;
        amqp.put_token(&self.access.token()).await?;
        amqp.attach(0, sender(COMMANDS, "/messages/devicebound"))
            .await?;
        Ok(Link {
            in_flight: BTreeMap::new(),
            // Those of the tokens come first.
            next_delivery: amqp.next_token,
            amqp,
            sent: 0,
            limit: 0,
            ledger,
        })
    }

    async fn stay(&mut self, link: &mut Link<'_>, stop: &CancellationToken) -> anyhow::Result<()> {
        let (mut turn, mut beat) = (interval(self.pause), interval(HEARTBEAT));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end = None;
        while end.is_none() || !link.in_flight.is_empty() {
            tokio::select! {
                frame = link.amqp.next_frame() => link.on_frame(frame?.1)?,
                _ = turn.tick(), if end.is_none() => {
                    if link.has_room() {
                        let first = self.next_number;
                        self.next_number += BATCH;
                        for number in first..self.next_number {
                            link.send(&self.device, number);
                        }
                    }
                }
                _ = beat.tick() => {
                    let silent = link.amqp.heard_at.elapsed();
                    ensure!(silent < SILENCE, "the hub is silent");
                    let is_late = end.is_some_and(|end| end < Instant::now());
                    ensure!(!is_late, "the last messages have no answer");
                    link.amqp.put_heartbeat();
                }
                () = stop.cancelled(), if end.is_none() => end = Some(Instant::now() + LAST_ANSWERS),
            }
            link.amqp.flush().await?;
        }
        Ok(())
    }
}

impl Link<'_> {
    fn has_room(&self) -> bool {
        let credit = self.limit.wrapping_sub(self.sent) as usize;
        credit >= BATCH && self.in_flight.len() + BATCH <= IN_FLIGHT
    }

    fn send(&mut self, device: &str, number: usize) {
        let id = message_id(device, number);
        let message = Message {
            properties: Properties {
                message_id: Some(MessageId::String(id.clone())),
                to: Some(format!("/devices/{device}/messages/devicebound")),
                ..Properties::default()
            },
            application_properties: vec![("iothub-ack".to_owned(), Value::from("full"))],
            body: Body::Data(Bytes::from(id.clone())),
            ..Message::default()
        };
        let delivery = self.next_delivery;
        self.amqp
            .put_message(0, COMMANDS, delivery, &message.encode());
        self.in_flight.insert(delivery, id);
        self.next_delivery += 1;
        self.sent += 1;
    }

    fn on_frame(&mut self, frame: Performative) -> anyhow::Result<()> {
        match frame {
            Performative::Flow(flow) if flow.handle == Some(COMMANDS) => {
                let count = flow.delivery_count.unwrap_or_default();
                self.limit = count.wrapping_add(flow.link_credit.unwrap_or_default());
            }
            Performative::Disposition(disposition) if disposition.role == Role::Receiver => {
                self.on_disposition(&disposition)?;
            }
            Performative::Detach(detach) => bail!("detached: {:?}", detach.error),
            Performative::End(end) => bail!("ended: {:?}", end.error),
            Performative::Close(close) => bail!("closed: {:?}", close.error),
            _ => {}
        }
        Ok(())
    }

    fn on_disposition(&mut self, disposition: &Disposition) -> anyhow::Result<()> {
        ensure!(disposition.settled, "the hub settles with its word");
        let last = disposition.last.unwrap_or(disposition.first);
        for delivery in disposition.first..=last {
            let Some(id) = self.in_flight.remove(&delivery) else {
                continue;
            };
            match &disposition.state {
                Some(DeliveryState::Accepted) => self.ledger.accept(id),
                Some(DeliveryState::Rejected(Some(error)))
                    if error.condition != condition::TIMEOUT
                        && error.condition != condition::INTERNAL_ERROR =>
                {
                    self.ledger.refuse();
                }
                // Nobody knows.
                _ => self.ledger.lose_sight_of(id),
            }
        }
        Ok(())
    }
}
