//! Messages in memory.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::device::DeviceStatus;
use downlink_domain::id::{DeviceKey, SequenceNumber};
use downlink_domain::message::feedback::{FeedbackRecord, FeedbackStatus};
use downlink_domain::message::transition::{self, Decision, NotReceivable};
use downlink_domain::message::{
    DeadLetterReason, Lock, Message, MessageState, NewMessage, QueueRules, Settlement,
};
use downlink_ports::events::feedback_event;
use downlink_ports::events::{AuditRecord, audit_event};
use downlink_ports::{
    EnqueueError, EnqueueRules, Enqueued, LockedMessage, MessageStore, PurgeOrder, PurgeOutcome,
    Receive, SettleError, StoreError, Swept,
};

use super::{MemoryStore, Report, State};

type Place = (DeviceKey, SequenceNumber);

#[async_trait]
impl MessageStore for MemoryStore {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
        rules: EnqueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, StoreError> {
        let mut state = self.state.lock();
        let accepted = messages
            .into_iter()
            .map(|message| state.enqueue(message, rules, now));
        Ok(accepted.collect())
    }

    async fn receive(
        &self,
        requests: Vec<Receive>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Vec<LockedMessage>>, StoreError> {
        let mut state = self.state.lock();
        let locked = requests
            .iter()
            .map(|request| state.receive(request, &rules, now));
        Ok(locked.collect())
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<(), SettleError>>, StoreError> {
        let mut state = self.state.lock();
        let settled = settlements
            .iter()
            .map(|settlement| state.settle(settlement, &rules, now));
        Ok(settled.collect())
    }

    async fn purge(
        &self,
        order: PurgeOrder,
        rules: QueueRules,
    ) -> Result<Option<PurgeOutcome>, StoreError> {
        let mut state = self.state.lock();
        let (name, now) = (order.device.clone().into(), order.at);
        let Some(key) = state.find(&order.hub, &name).map(|device| device.key) else {
            return Ok(None);
        };
        let mut removed = 0;
        for place in state.places(key) {
            if let Some(decision) = transition::purge(state.messages[&place].standing(), now) {
                state.conclude(place, decision, rules.feedback_ttl, now);
                removed += 1;
            }
        }
        state.append(audit_event(&AuditRecord::of_purge(&order, key, removed)));
        Ok(Some(PurgeOutcome { removed }))
    }

    async fn count(&self, devices: Vec<DeviceKey>, now: Timestamp) -> Result<Vec<u64>, StoreError> {
        let state = self.state.lock();
        Ok(devices.iter().map(|key| state.depth(*key, now)).collect())
    }

    async fn sweep(
        &self,
        limit: u32,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Swept, StoreError> {
        Ok(self.state.lock().sweep(limit, &rules, now))
    }
}

impl State {
    fn places(&self, device: DeviceKey) -> Vec<Place> {
        let all = (device, SequenceNumber(0))..=(device, SequenceNumber(u64::MAX));
        self.messages.range(all).map(|(place, _)| *place).collect()
    }

    pub(super) fn depth(&self, device: DeviceKey, now: Timestamp) -> u64 {
        let waiting = self.places(device);
        let waiting = waiting
            .iter()
            .filter(|place| self.messages[place].standing().is_waiting(now));
        waiting.map(|_| 1).sum()
    }

    fn enqueue(
        &mut self,
        message: NewMessage,
        rules: EnqueueRules,
        now: Timestamp,
    ) -> Result<Enqueued, EnqueueError> {
        let expiry = message.expiry.filter(|expiry| *expiry > now);
        let expiry = expiry.ok_or(EnqueueError::InvalidExpiry)?;
        let key = self
            .find(&message.hub, &message.device.clone().into())
            .filter(|device| device.status == DeviceStatus::Enabled)
            .map(|device| device.key)
            .ok_or_else(|| EnqueueError::DeviceNotFound(message.device.clone()))?;
        if self.depth(key, now) >= u64::from(rules.max_depth) {
            return Err(EnqueueError::QueueFull {
                device: message.device,
                max_depth: rules.max_depth,
            });
        }
        self.last_sequence += 1;
        let sequence = SequenceNumber(self.last_sequence);
        let stored = Message {
            device: key,
            sequence,
            enqueued_at: now,
            expiry,
            delivery_count: 0,
            ack: message.ack,
            properties: message.properties,
            body: message.body,
            state: MessageState::Enqueued,
        };
        self.messages.insert((key, sequence), stored);
        Ok(Enqueued {
            device: key,
            sequence,
        })
    }

    fn receive(
        &mut self,
        request: &Receive,
        rules: &QueueRules,
        now: Timestamp,
    ) -> Vec<LockedMessage> {
        let mut tokens = request.tokens.iter();
        let mut locked = Vec::new();
        for place in self.places(request.device) {
            let Some(token) = tokens.as_slice().first() else {
                break;
            };
            let lock = Lock {
                token: *token,
                until: request.locked_until,
            };
            let standing = self.messages[&place].standing();
            match transition::receive(standing, lock, rules, now) {
                Ok(decision) => {
                    tokens.next();
                    self.conclude(place, decision, rules.feedback_ttl, now);
                    let mut message = self.messages[&place].clone();
                    message.delivery_count = decision.next.seen_delivery_count(rules.counting);
                    locked.push(LockedMessage { message, lock });
                }
                Err(
                    NotReceivable::Held
                    | NotReceivable::Expired
                    | NotReceivable::Exhausted
                    | NotReceivable::Ended,
                ) => {}
            }
        }
        locked
    }

    fn settle(
        &mut self,
        settlement: &Settlement,
        rules: &QueueRules,
        now: Timestamp,
    ) -> Result<(), SettleError> {
        let place = (settlement.device, settlement.sequence);
        let standing = self.messages.get(&place).map(Message::standing);
        let standing = standing.ok_or(SettleError::LockLost)?;
        let (token, verdict) = (settlement.token, settlement.verdict);
        let decision = transition::settle(standing, token, verdict, rules, now)
            .map_err(|_| SettleError::LockLost)?;
        self.conclude(place, decision, rules.feedback_ttl, now);
        Ok(())
    }

    fn sweep(&mut self, limit: u32, rules: &QueueRules, now: Timestamp) -> Swept {
        let mut due: Vec<(Timestamp, Place)> = self
            .messages
            .iter()
            .map(|(place, message)| (due_at(message), *place))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_unstable();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut swept = Swept {
            more: due.len() > limit,
            ..Swept::default()
        };
        for (_, place) in due.into_iter().take(limit) {
            let standing = self.messages[&place].standing();
            let Some(decision) = transition::due(standing, rules, now) else {
                continue;
            };
            match decision.next.state {
                MessageState::DeadLettered {
                    reason: DeadLetterReason::Expired,
                    ..
                } => swept.expired += 1,
                MessageState::DeadLettered { .. } => swept.exhausted += 1,
                MessageState::Enqueued
                | MessageState::Invisible { .. }
                | MessageState::Completed { .. } => {
                    if !swept.lapsed.contains(&place.0) {
                        swept.lapsed.push(place.0);
                    }
                }
            }
            self.conclude(place, decision, rules.feedback_ttl, now);
        }
        swept
    }

    /// Makes a decision true: the message stands where it says or is gone, and its sender is told.
    fn conclude(
        &mut self,
        place: Place,
        decision: Decision,
        feedback_ttl: Duration,
        now: Timestamp,
    ) {
        let Some(message) = self.messages.remove(&place) else {
            return;
        };
        if let Some(status) = decision.feedback {
            self.report(&message, status, feedback_ttl, now);
        }
        if !decision.next.state.is_terminal() {
            self.messages.insert(place, message.at(decision.next));
        }
    }

    fn report(&mut self, message: &Message, status: FeedbackStatus, ttl: Duration, now: Timestamp) {
        let device = &self.identities[&message.device];
        let record = FeedbackRecord {
            hub: device.hub.clone(),
            device_key: device.key,
            device: device.name.device.clone(),
            generation: device.generation,
            original_message_id: message.properties.message_id.clone(),
            at: now,
            status,
        };
        self.append(feedback_event(&record, message.sequence));
        self.last_record += 1;
        let report = Report {
            record,
            expiry: now + ttl,
            delivery_count: 0,
            lock: None,
        };
        self.feedback.insert(self.last_record, report);
    }
}

/// When time alone changes where the message stands.
fn due_at(message: &Message) -> Timestamp {
    match message.state {
        MessageState::Invisible { lock } => lock.until.min(message.expiry),
        MessageState::Enqueued
        | MessageState::Completed { .. }
        | MessageState::DeadLettered { .. } => message.expiry,
    }
}
