//! Shared access policies.

use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::PeerError;

use crate::service::TwinService;

impl TwinService {
    pub(crate) async fn read_policies(&self, hub: HubName) -> Result<Vec<Policy>, PeerError> {
        Ok(self.deps.policies.policies(hub).await?)
    }
}
