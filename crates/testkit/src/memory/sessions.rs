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
                    state.sessions.remove(&device);
                }
            }
        }
        Ok(())
    }
}
