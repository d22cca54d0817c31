//! MQTT sessions in memory.

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_ports::{SessionStore, StoreError};

use super::MemoryStore;

#[async_trait]
impl SessionStore for MemoryStore {
    async fn find_session(&self, device: DeviceKey) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state.lock().sessions.get(&device).cloned())
    }

    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for (device, session) in sessions {
            match session {
                Some(session) if state.identities.contains_key(&device) => {
                    state.sessions.insert(device, session);
                }
                Some(_) => {}
                None => {
                    state.told.remove(&device);
                    state.sessions.remove(&device);
                }
            }
        }
        Ok(())
    }

    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for (device, version) in told {
            if state.sessions.contains_key(&device) {
                let known = state.told.entry(device).or_insert(version);
                *known = version.max(*known);
            }
        }
        Ok(())
    }
}
