//! The device's own write of its twin.

use downlink_domain::ErrorCode;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::TwinChange;
use downlink_ports::PeerError;

use crate::error::{of_report, of_submit, refused};
use crate::get::gone;
use crate::service::TwinService;
use crate::write::Write;

impl TwinService {
    /// Returns the reported version after the write.
    pub(crate) async fn write_report(
        &self,
        device: DeviceKey,
        change: TwinChange,
    ) -> Result<u64, PeerError> {
        if !matches!(change, TwinChange::Report { .. }) {
            return Err(refused(
                ErrorCode::InvalidOperation,
                "a device writes its reported properties alone",
            ));
        }
        let outcome = self.writer.submit(Write { device, change }).await;
        let written = outcome.map_err(of_submit)??.ok_or_else(gone)?;
        let twin = written.map_err(|error| of_report(&error))?;
        Ok(twin.reported.version)
    }
}
