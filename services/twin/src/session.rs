//! What a gateway asks for and stores as devices connect and go.

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_ports::{OpenedDevice, PeerError};

use crate::error::refused;
use crate::service::TwinService;

/// Largest stored session, in bytes (`SessionStore::save_sessions`).
const MAX_SESSION_BYTES: usize = 64 * 1024;

impl TwinService {
    pub(crate) async fn open(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<OpenedDevice>, PeerError> {
        let Some(device) = self.find_identity(hub, name).await? else {
            return Ok(None);
        };
        let session = self.deps.sessions.find_session(device.key).await?;
        Ok(Some(OpenedDevice { device, session }))
    }

    pub(crate) async fn write_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), PeerError> {
        let is_sized = |session: &Option<Bytes>| {
            session
                .as_ref()
                .is_none_or(|bytes| bytes.len() <= MAX_SESSION_BYTES)
        };
        if !sessions.iter().all(|(_, session)| is_sized(session)) {
            return Err(refused(
                ErrorCode::MessageTooLarge,
                "a session has more than 65536 bytes",
            ));
        }
        Ok(self.deps.sessions.save_sessions(sessions).await?)
    }
}
