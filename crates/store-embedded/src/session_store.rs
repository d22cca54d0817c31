//! MQTT sessions.

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_ports::{SessionStore, StoreError};
use std::collections::HashMap;

use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::statements::{DELETE_SESSIONS, NOTE_TOLD, WRITE_SESSIONS};
use crate::store::Store;
use crate::writer::{Scope, Work};

#[async_trait]
impl SessionStore for Store {
    async fn find_session(&self, device: DeviceKey) -> Result<Option<Bytes>, StoreError> {
        let mut reader = self.reader().await?;
        let row = sqlx::query("SELECT device_key, body FROM sessions WHERE device_key = ?")
            .bind(device.0)
            .fetch_optional(&mut *reader)
            .await
            .map_err(store_error)?;
        row.map(|row| Fields::new(&row, "sessions", "device_key").bytes("body"))
            .transpose()
    }

    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), StoreError> {
        self.queue.call(SaveSessions { sessions }).await
    }

    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), StoreError> {
        self.queue.call(NoteTold { told }).await
    }
}

struct NoteTold {
    told: Vec<(DeviceKey, u64)>,
}

#[async_trait]
impl Work for NoteTold {
    type Answer = ();

    fn bytes(&self) -> usize {
        self.told.len() * size_of::<(DeviceKey, u64)>()
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        let mut newest: HashMap<DeviceKey, u64> = HashMap::new();
        for (device, version) in self.told {
            let known = newest.entry(device).or_insert(version);
            *known = version.max(*known);
        }
        NOTE_TOLD
            .execute(
                scope.connection,
                newest.into_iter().collect(),
                |query, (device, told)| query.bind(device.0).bind(stored(told)),
            )
            .await
            .map_err(store_error)?;
        Ok(())
    }
}

struct SaveSessions {
    sessions: Vec<(DeviceKey, Option<Bytes>)>,
}

#[async_trait]
impl Work for SaveSessions {
    type Answer = ();

    fn bytes(&self) -> usize {
        let bodies = self.sessions.iter().flat_map(|(_, body)| body);
        bodies.map(Bytes::len).sum()
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        // The last word on each session counts.
        let last: HashMap<_, _> = self.sessions.into_iter().collect();
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for (device, session) in last {
            match session {
                Some(body) => written.push((device, body)),
                None => removed.push(device),
            }
        }
        WRITE_SESSIONS
            .execute(scope.connection, written, |query, (device, body)| {
                query.bind(device.0).bind(&body[..])
            })
            .await
            .map_err(store_error)?;
        DELETE_SESSIONS
            .execute(scope.connection, removed, |query, device| {
                query.bind(device.0)
            })
            .await
            .map_err(store_error)?;
        Ok(())
    }
}
