//! What a gateway asks for and stores as devices connect and go.

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::device::Device;
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
        let Some(device) = self.find_connecting(hub, name).await? else {
            return Ok(None);
        };
        let session = self.deps.sessions.find_session(device.key).await?;
        Ok(Some(OpenedDevice { device, session }))
    }

    /// The identity with the status that counts; a module follows its device (registry.md §2.2).
    pub(crate) async fn find_connecting(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<Device>, PeerError> {
        if name.module.is_none() {
            return self.find_identity(hub, name).await;
        }
        let of_device = IdentityName::from(name.device.clone());
        let (module, device) = futures::join!(
            self.find_identity(hub.clone(), name),
            self.find_identity(hub, of_device),
        );
        Ok(module?.zip(device?).map(|(module, device)| Device {
            status: device.status,
            ..module
        }))
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
