//! Credentials of devices and back-ends, checked against the registry, the policies and the authorities, and what
//! each of them lets its holder do.
//!
//! Every refusal looks the same from outside; what failed goes to log, metric and audit (auth.md §3.3).

mod authorize;
mod back_end;
mod certificate;
mod credential;
mod device;
mod principal;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use downlink_auth::{Resource, SasToken};
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_oidc::Issuers;
use downlink_ports::{Clock, TwinApi};

use crate::access::{AccessView, AccessWatch, TagCache};
use crate::options::{GatewayOptions, SasSwitches};
use crate::peers::Peers;

pub use self::credential::{Credential, CredentialId};
pub use self::device::AuthenticatedDevice;
pub use self::principal::{Principal, PrincipalKey};
pub use self::refusal::{Cause, Denied, Refusal, RefusalKind};

/// Checks credentials and rights.
pub struct Authenticator {
    hub: HubName,
    host_names: Box<[String]>,
    sas: SasSwitches,
    twins: Arc<dyn TwinApi>,
    clock: Arc<dyn Clock>,
    access: Arc<AccessWatch>,
    tags: TagCache,
    issuers: Arc<Issuers>,
}

impl Authenticator {
    /// Makes an authenticator of the hub that `options` name; it believes what `access` knows.
    pub fn new(options: &GatewayOptions, access: Arc<AccessWatch>, peers: &Peers) -> Self {
        let names = options.host_names.iter();
        Self {
            hub: options.hub.clone(),
            host_names: names.map(|name| name.as_str().to_owned()).collect(),
            sas: options.sas,
            twins: Arc::clone(&peers.twins),
            clock: Arc::clone(&peers.clock),
            access,
            tags: TagCache::new(options.hub.clone(), Arc::clone(&peers.twins)),
            issuers: Arc::clone(&peers.issuers),
        }
    }

    /// Tells whether clients may call the hub `host`.
    pub fn is_our_name(&self, host: &str) -> bool {
        self.host_names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(host))
    }

    fn host_names(&self) -> Vec<&str> {
        self.host_names.iter().map(String::as_str).collect()
    }

    fn now_seconds(&self) -> i64 {
        self.clock.now().as_seconds()
    }

    fn view(&self) -> Result<Arc<AccessView>, Refusal> {
        self.access.current().map_err(|_| Refusal::stale())
    }

    fn verify(
        &self,
        token: &SasToken<'_>,
        resource: &Resource<'_>,
        keys: &[&[u8]],
    ) -> Result<usize, Refusal> {
        let names = self.host_names();
        let verified = token.verify(&names, resource, keys, self.now_seconds());
        verified.map_err(Refusal::from)
    }
}

fn expiry(token: &SasToken<'_>) -> Timestamp {
    Timestamp::from_millis(token.expires_at_seconds().saturating_mul(1000))
}
