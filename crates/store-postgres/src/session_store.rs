//! MQTT sessions.

use std::collections::BTreeMap;

use crate::session::Session;
use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_ports::{SessionStore, StoreError};

use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

#[async_trait]
impl SessionStore for PostgresStore {
    async fn find_session(&self, device: DeviceKey) -> Result<Option<Bytes>, StoreError> {
        self.run(&FindSession { device }).await
    }

    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), StoreError> {
        if sessions.is_empty() {
            return Ok(());
        }
        // The last word on each session counts.
        let sessions = sessions.into_iter().collect();
        self.run(&SaveSessions { sessions }).await
    }

    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), StoreError> {
        if told.is_empty() {
            return Ok(());
        }
        let mut newest = BTreeMap::new();
        for (device, version) in told {
            let known = newest.entry(device).or_insert(version);
            *known = version.max(*known);
        }
        self.run(&NoteTold { newest }).await
    }
}

struct NoteTold {
    newest: BTreeMap<DeviceKey, u64>,
}

#[async_trait]
impl Work for NoteTold {
    type Answer = ();
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        let keys: Vec<i64> = self.newest.keys().map(|device| device.0).collect();
        let told: Vec<i64> = self.newest.values().map(|told| stored(*told)).collect();
        sqlx::query(include_str!("../queries/note_told.sql"))
            .bind(keys)
            .bind(told)
            .execute(connection)
            .await?;
        Ok(())
    }
}

struct FindSession {
    device: DeviceKey,
}

#[async_trait]
impl Work for FindSession {
    type Answer = Option<Bytes>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Option<Bytes>, Failure> {
        let row = sqlx::query("SELECT device_key, body FROM sessions WHERE device_key = $1")
            .bind(self.device.0)
            .fetch_optional(connection)
            .await?;
        let body = row.map(|row| Fields::new(&row, "sessions", "device_key").bytes("body"));
        Ok(body.transpose()?)
    }
}

struct SaveSessions {
    sessions: BTreeMap<DeviceKey, Option<Bytes>>,
}

#[async_trait]
impl Work for SaveSessions {
    type Answer = ();
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        let (mut written, mut bodies, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for (device, session) in &self.sessions {
            match session {
                Some(body) => {
                    written.push(device.0);
                    bodies.push(&body[..]);
                }
                None => removed.push(device.0),
            }
        }
        sqlx::query(include_str!("../queries/save_sessions.sql"))
            .bind(written)
            .bind(bodies)
            .bind(removed)
            .execute(connection)
            .await?;
        Ok(())
    }
}
