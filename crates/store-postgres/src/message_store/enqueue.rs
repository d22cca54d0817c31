//! Messages accepted.

use std::collections::BTreeMap;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, SequenceNumber};
use downlink_domain::message::NewMessage;
use downlink_ports::{EnqueueError, EnqueueRules, Enqueued, StoreError};

use super::depths::Name;
use super::properties::StoredProperties;
use super::standing::ack_number;
use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

type Answer = Result<Enqueued, EnqueueError>;

/// Accepts messages in order; answers by position.
pub(super) async fn enqueue(
    store: &PostgresStore,
    messages: Vec<NewMessage>,
    rules: EnqueueRules,
    now: Timestamp,
) -> Result<Vec<Answer>, StoreError> {
    let checked: Vec<_> = messages.iter().map(|message| check(message, now)).collect();
    let insert = Insert::of(store, &messages, &checked, rules, now);
    if insert.items.is_empty() {
        return Ok(checked.into_iter().map(refused).collect());
    }
    let stored = store.run(&insert).await?;
    insert.learn(store, &stored);
    insert.answers(checked, &stored)
}

/// The expiry of a message that may be stored if there is room.
fn check(message: &NewMessage, now: Timestamp) -> Result<Timestamp, EnqueueError> {
    let id = message.properties.message_id.as_deref();
    if id.is_some_and(|id| id.contains('\0')) {
        // Postgres has no such text; one of them must not fail the messages of others.
        let fault = "the message id has a character that cannot be stored".to_owned();
        return Err(EnqueueError::InvalidProperty(fault));
    }
    let expiry = message.expiry.filter(|expiry| *expiry > now);
    expiry.ok_or(EnqueueError::InvalidExpiry)
}

fn refused(checked: Result<Timestamp, EnqueueError>) -> Answer {
    Err(checked.err().unwrap_or(EnqueueError::InvalidExpiry))
}

/// What is asked of one queue.
struct Target {
    name: Name,
    /// What is remembered of it.
    known: Option<(DeviceKey, u64)>,
}

/// A message on its way in.
struct Item<'a> {
    message: &'a NewMessage,
    /// Place of its device among the targets.
    target: usize,
    /// Its number among the messages of its device, from 1 on.
    number: i64,
    expiry: Timestamp,
}

struct Insert<'a> {
    targets: Vec<Target>,
    items: Vec<Item<'a>>,
    max_depth: u32,
    now: Timestamp,
}

/// What the statement answers.
struct Stored {
    /// By target, 0 for an unknown device.
    device_keys: Vec<i64>,
    /// By target, how many of its messages had room; -1 for an unknown or disabled device.
    rooms: Vec<i64>,
    /// Of the messages that had room, in their order.
    sequences: Vec<i64>,
}

impl<'a> Insert<'a> {
    fn of(
        store: &PostgresStore,
        messages: &'a [NewMessage],
        checked: &[Result<Timestamp, EnqueueError>],
        rules: EnqueueRules,
        now: Timestamp,
    ) -> Self {
        let mut demands: BTreeMap<(&str, &str), (Name, u64)> = BTreeMap::new();
        let valid = messages.iter().zip(checked);
        let valid = valid.filter_map(|(message, checked)| Some((message, *checked.as_ref().ok()?)));
        for (message, _) in valid.clone() {
            let name = (message.hub.as_str(), message.device.as_str());
            let demand = demands
                .entry(name)
                .or_insert_with(|| ((message.hub.clone(), message.device.clone()), 0));
            demand.1 += 1;
        }
        let mut places = BTreeMap::new();
        let mut targets = Vec::with_capacity(demands.len());
        for (text, (name, count)) in demands {
            let max_depth = u64::from(rules.max_depth);
            let known = store.depths.recall(&name, count, max_depth, now);
            places.insert(text, (targets.len(), 0));
            targets.push(Target { name, known });
        }
        let mut items = Vec::with_capacity(messages.len());
        for (message, expiry) in valid {
            let name = (message.hub.as_str(), message.device.as_str());
            let Some((target, number)) = places.get_mut(&name) else {
                continue;
            };
            *number += 1;
            items.push(Item {
                message,
                target: *target,
                number: *number,
                expiry,
            });
        }
        Self {
            targets,
            items,
            max_depth: rules.max_depth,
            now,
        }
    }

    /// Remembers how deep the queues are now.
    fn learn(&self, store: &PostgresStore, stored: &Stored) {
        let mut counts = vec![0_i64; self.targets.len()];
        for item in &self.items {
            counts[item.target] = item.number;
        }
        for (place, target) in self.targets.iter().enumerate() {
            let (key, room) = (stored.device_keys[place], stored.rooms[place]);
            if room < 0 {
                continue;
            }
            let stored = counts[place].min(room).unsigned_abs();
            let key = DeviceKey(key);
            if target.known.is_some_and(|(known, _)| known == key) {
                store.depths.on_stored(key, stored);
                continue;
            }
            let counted = u64::from(self.max_depth).saturating_sub(room.unsigned_abs());
            let waiting = counted + stored;
            store.depths.learn(&target.name, key, waiting, self.now);
        }
    }

    fn answers(
        &self,
        checked: Vec<Result<Timestamp, EnqueueError>>,
        stored: &Stored,
    ) -> Result<Vec<Answer>, StoreError> {
        let mut items = self.items.iter();
        let mut sequences = stored.sequences.iter();
        let mut answers = Vec::with_capacity(checked.len());
        for checked in checked {
            let item = match checked {
                Ok(_) => items.next(),
                Err(error) => {
                    answers.push(Err(error));
                    continue;
                }
            };
            let item = item.expect("an item was made of each message that passed the check");
            let device = || self.targets[item.target].name.1.clone();
            let room = stored.rooms[item.target];
            answers.push(if room < 0 {
                Err(EnqueueError::DeviceNotFound(device()))
            } else if item.number > room {
                Err(EnqueueError::QueueFull {
                    device: device(),
                    max_depth: self.max_depth,
                })
            } else {
                let sequence = sequences
                    .next()
                    .and_then(|number| u64::try_from(*number).ok());
                let sequence = sequence.ok_or_else(|| StoreError::Corrupt {
                    table: "messages",
                    column: "sequence",
                    row: stored.device_keys[item.target].to_string(),
                })?;
                Ok(Enqueued {
                    device: DeviceKey(stored.device_keys[item.target]),
                    sequence: SequenceNumber(sequence),
                })
            });
        }
        Ok(answers)
    }
}

#[async_trait]
impl Work for Insert<'_> {
    type Answer = Stored;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Stored, Failure> {
        let targets = || self.targets.iter();
        let items = || self.items.iter();
        let hubs: Vec<_> = targets().map(|target| target.name.0.as_str()).collect();
        let devices: Vec<_> = targets().map(|target| target.name.1.as_str()).collect();
        let known: Vec<_> = targets()
            .map(|target| target.known.map(|(key, _)| key.0))
            .collect();
        let depths: Vec<_> = targets()
            .map(|target| target.known.map(|(_, waiting)| stored(waiting)))
            .collect();
        let places: Vec<_> = items()
            .map(|item| i32::try_from(item.target + 1).unwrap_or(i32::MAX))
            .collect();
        let numbers: Vec<_> = items().map(|item| item.number).collect();
        let item_hubs: Vec<_> = items().map(|item| item.message.hub.as_str()).collect();
        let expiries: Vec<_> = items().map(|item| item.expiry.as_millis()).collect();
        let acks: Vec<_> = items().map(|item| ack_number(item.message.ack)).collect();
        let ids: Vec<_> = items()
            .map(|item| item.message.properties.message_id.as_deref())
            .collect();
        let properties: Vec<_> = items()
            .map(|item| StoredProperties::text(&item.message.properties))
            .collect();
        let bodies: Vec<&[u8]> = items().map(|item| &item.message.body[..]).collect();
        let row = sqlx::query(include_str!("../../queries/enqueue_messages.sql"))
            .bind(hubs)
            .bind(devices)
            .bind(known)
            .bind(depths)
            .bind(i64::from(self.max_depth))
            .bind(self.now.as_millis())
            .bind(places)
            .bind(numbers)
            .bind(item_hubs)
            .bind(expiries)
            .bind(acks)
            .bind(ids)
            .bind(properties)
            .bind(bodies)
            .fetch_one(connection)
            .await?;
        let row = Fields::new(&row, "messages", "device_key");
        let sequences: Option<Vec<i64>> = row.get("sequences")?;
        Ok(Stored {
            device_keys: row.get("device_keys")?,
            rooms: row.get("rooms")?,
            sequences: sequences.unwrap_or_default(),
        })
    }
}
