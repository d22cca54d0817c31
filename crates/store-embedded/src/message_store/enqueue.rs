//! Messages accepted.

use std::collections::HashMap;
use std::sync::Arc;

use downlink_domain::Timestamp;
use downlink_domain::device::DeviceStatus;
use downlink_domain::id::{DeviceId, DeviceKey, HubName, SequenceNumber};
use downlink_domain::message::{NewMessage, Properties};
use downlink_ports::{EnqueueError, Enqueued, StoreError};
use serde::{Deserialize, Serialize};

use super::standing::ack_number;
use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::statements::{FIND_TARGETS, INSERT_MESSAGES};
use crate::writer::{Scope, Target};

/// The answer to one message.
pub(crate) type Accepted = Result<Enqueued, EnqueueError>;

/// One message to accept.
pub(crate) struct EnqueueItem {
    pub(crate) message: NewMessage,
    pub(crate) max_depth: u64,
    pub(crate) now: Timestamp,
}

type Name = (HubName, DeviceId);

/// A device's queue as a group of messages finds it.
struct Room {
    target: Target,
    /// Messages waiting, or a number above it that is still within the bound.
    waiting: u64,
}

/// A row to be.
struct NewRow {
    key: DeviceKey,
    sequence: SequenceNumber,
    hub: Arc<str>,
    now: Timestamp,
    expiry: Timestamp,
    message: NewMessage,
}

/// Accepts messages in order; answers by position.
pub(crate) async fn enqueue(
    scope: &mut Scope<'_>,
    items: Vec<EnqueueItem>,
) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
    let mut rooms = find_rooms(scope, &items).await?;
    let mut number = scope.take_numbers(items.len()).await?;
    let mut rows: Vec<NewRow> = Vec::with_capacity(items.len());
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        number += 1;
        let sequence = SequenceNumber(number);
        let answer = accept(&mut rooms, item).map(|(key, expiry, item)| {
            scope.memory.on_stored(key);
            let hub = item.message.hub.as_str();
            let hub = match rows.last() {
                Some(row) if *row.hub == *hub => Arc::clone(&row.hub),
                _ => Arc::from(hub),
            };
            rows.push(NewRow {
                key,
                sequence,
                hub,
                now: item.now,
                expiry,
                message: item.message,
            });
            Enqueued {
                device: key,
                sequence,
            }
        });
        answers.push(Ok(answer));
    }
    insert(scope, rows).await?;
    Ok(answers)
}

fn accept(
    rooms: &mut HashMap<Name, Room>,
    item: EnqueueItem,
) -> Result<(DeviceKey, Timestamp, EnqueueItem), EnqueueError> {
    let expiry = item.message.expiry.filter(|expiry| *expiry > item.now);
    let expiry = expiry.ok_or(EnqueueError::InvalidExpiry)?;
    let name = (item.message.hub.clone(), item.message.device.clone());
    let room = rooms
        .get_mut(&name)
        .filter(|room| room.target.is_enabled)
        .ok_or_else(|| EnqueueError::DeviceNotFound(name.1.clone()))?;
    if room.waiting >= item.max_depth {
        return Err(EnqueueError::QueueFull {
            device: name.1,
            max_depth: u32::try_from(item.max_depth).unwrap_or(u32::MAX),
        });
    }
    room.waiting += 1;
    Ok((room.target.key, expiry, item))
}

/// Finds the queues that the messages are for, without asking the file where what the writer
/// remembers shows that all of them fit.
async fn find_rooms(
    scope: &mut Scope<'_>,
    items: &[EnqueueItem],
) -> Result<HashMap<Name, Room>, StoreError> {
    let mut demands: HashMap<Name, Demand> = HashMap::new();
    for item in items {
        let name = (item.message.hub.clone(), item.message.device.clone());
        let demand = demands.entry(name).or_insert(Demand {
            count: 0,
            max_depth: item.max_depth,
            now: item.now,
        });
        demand.count += 1;
        demand.max_depth = demand.max_depth.min(item.max_depth);
        // The earliest counts the most as waiting.
        demand.now = demand.now.min(item.now);
    }
    let mut rooms = HashMap::with_capacity(demands.len());
    let mut unsure = Vec::new();
    for (name, demand) in demands {
        let (target, stored) = scope.memory.target(&name).unzip();
        match (target, stored) {
            (Some(target), Some(waiting)) if waiting + demand.count <= demand.max_depth => {
                rooms.insert(name, Room { target, waiting });
            }
            _ => unsure.push((name, demand.now, stored)),
        }
    }
    read_rooms(scope, unsure, &mut rooms).await?;
    Ok(rooms)
}

/// What a group of messages asks of one queue.
struct Demand {
    count: u64,
    max_depth: u64,
    now: Timestamp,
}

/// Reads queues; each with the earliest instant of its messages and how many are stored, if that
/// is remembered.
async fn read_rooms(
    scope: &mut Scope<'_>,
    names: Vec<(Name, Timestamp, Option<u64>)>,
    rooms: &mut HashMap<Name, Room>,
) -> Result<(), StoreError> {
    let wanted: Vec<_> = (0_i64..).zip(names.iter().cloned()).collect();
    let found = FIND_TARGETS
        .fetch(
            scope.connection,
            None,
            wanted,
            |query, (position, (name, now, remembered))| {
                query
                    .bind(position)
                    .bind(name.0.as_str())
                    .bind(name.1.as_str())
                    .bind(now.as_millis())
                    .bind(remembered.map(stored))
            },
        )
        .await
        .map_err(store_error)?;
    for row in &found {
        let row = Fields::new(row, "identities", "device_key");
        let position: usize = row.number("position")?;
        let name = names[position].0.clone();
        let status = row.parse("status", DeviceStatus::parse)?;
        let target = Target {
            key: DeviceKey(row.get("device_key")?),
            is_enabled: status == DeviceStatus::Enabled,
        };
        scope
            .memory
            .learn(name.clone(), target, row.number("stored")?);
        let waiting = row.number("waiting")?;
        rooms.insert(name, Room { target, waiting });
    }
    Ok(())
}

async fn insert(scope: &mut Scope<'_>, rows: Vec<NewRow>) -> Result<(), StoreError> {
    INSERT_MESSAGES
        .execute(scope.connection, rows, |query, row| {
            let properties = StoredProperties::text(&row.message.properties);
            query
                .bind(row.key.0)
                .bind(stored(row.sequence.0))
                .bind(row.hub)
                .bind(row.now.as_millis())
                .bind(row.expiry.as_millis())
                .bind(ack_number(row.message.ack))
                .bind(row.message.properties.message_id)
                .bind(properties)
                .bind(&row.message.body[..])
        })
        .await
        .map_err(store_error)?;
    Ok(())
}

/// The properties besides the message id, as they are stored.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ct: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    app: Vec<(String, String)>,
}

impl StoredProperties {
    /// The JSON text, `None` when there is nothing to say.
    fn text(properties: &Properties) -> Option<String> {
        let own = Self {
            cid: properties.correlation_id.clone(),
            to: properties.to.clone(),
            uid: properties.user_id.clone(),
            ct: properties.content_type.clone(),
            ce: properties.content_encoding.clone(),
            exp: properties.expiry.map(Timestamp::as_millis),
            app: properties.application.clone(),
        };
        let text = || serde_json::to_string(&own).expect("texts are always JSON");
        (own != Self::default()).then(text)
    }

    /// The properties together with the message id.
    pub(super) fn into_properties(self, message_id: Option<String>) -> Properties {
        Properties {
            message_id,
            correlation_id: self.cid,
            to: self.to,
            user_id: self.uid,
            content_type: self.ct,
            content_encoding: self.ce,
            expiry: self.exp.map(Timestamp::from_millis),
            application: self.app,
        }
    }
}
