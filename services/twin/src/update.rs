//! The service's writes of a twin: patch and replace.

use downlink_domain::ErrorCode;
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::twin::TwinChange;
use downlink_ports::{PeerError, TwinView};

use crate::error::{not_found, of_submit, of_twin, refused};
use crate::service::TwinService;
use crate::write::Write;

impl TwinService {
    pub(crate) async fn write_twin(
        &self,
        hub: HubName,
        name: IdentityName,
        change: TwinChange,
    ) -> Result<TwinView, PeerError> {
        if matches!(change, TwinChange::Report { .. }) {
            return Err(refused(
                ErrorCode::InvalidOperation,
                "reported properties are written by the device alone",
            ));
        }
        let device = self.get_identity(hub, &name).await?;
        let write = Write {
            device: device.key,
            change,
        };
        let outcome = self.writer.submit(write).await.map_err(of_submit)??;
        let twin = outcome
            .ok_or_else(|| not_found(&name))?
            .map_err(|error| of_twin(&error, &name))?;
        Ok(TwinView { device, twin })
    }
}
