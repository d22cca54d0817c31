//! Every store port in memory: simple, whole, and lost with the process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, LockToken, SequenceNumber};
use downlink_domain::limits::LimitsSnapshot;
use downlink_domain::message::Message;
use downlink_domain::message::feedback::FeedbackRecord;
use downlink_domain::presence::ConnectionRecord;
use downlink_domain::twin::Twin;
use downlink_ports::AccessSnapshot;
use parking_lot::Mutex;

mod access;
mod connections;
mod feedback;
mod jobs;
mod limits;
mod messages;
mod outbox;
mod policies;
mod queries;
mod registry;
mod relay;
mod sessions;
mod twins;

/// All store ports on one mutex. Each call holds it from start to end, which makes it atomic;
/// nothing is bounded but by what is put in.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

#[derive(Debug, Default)]
struct State {
    hubs: Vec<(HubName, AccessSnapshot)>,
    last_key: i64,
    names: BTreeMap<(HubName, IdentityName), DeviceKey>,
    identities: BTreeMap<DeviceKey, Device>,
    connections: BTreeMap<DeviceKey, ConnectionRecord>,
    twins: HashMap<DeviceKey, Twin>,
    sessions: HashMap<DeviceKey, Bytes>,
    /// Versions of desired that the devices of sessions have been told.
    told: HashMap<DeviceKey, u64>,
    /// Changes of desired that are kept, by version.
    changes: HashMap<DeviceKey, BTreeMap<u64, Bytes>>,
    last_sequence: u64,
    messages: BTreeMap<(DeviceKey, SequenceNumber), Message>,
    last_record: u64,
    feedback: BTreeMap<u64, Report>,
    last_position: u64,
    outbox: BTreeMap<u64, Event>,
    outbox_ids: HashSet<[u8; 16]>,
    relay: relay::Lanes,
    jobs: jobs::Jobs,
    limits: HashMap<HubName, LimitsSnapshot>,
}

/// A record in the feedback queue.
#[derive(Clone, Debug)]
struct Report {
    record: FeedbackRecord,
    expiry: Timestamp,
    delivery_count: u32,
    lock: Option<(LockToken, Timestamp)>,
}

impl State {
    fn find(&self, hub: &HubName, name: &IdentityName) -> Option<&Device> {
        let key = self.names.get(&(hub.clone(), name.clone()))?;
        self.identities.get(key)
    }

    fn append(&mut self, event: Event) {
        if self.outbox_ids.insert(event.id) {
            self.last_position += 1;
            self.outbox.insert(self.last_position, event);
        }
    }
}
