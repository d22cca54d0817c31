//! Credentials of devices and back-ends, checked against the registry and the policies.
//!
//! Every refusal looks the same from outside; what failed goes to the log (auth.md §3.3).

use std::sync::Arc;
use std::time::Duration;

use downlink_auth::SasToken;
use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::policy::{Permission, Permissions, Policy};
use downlink_ports::{Clock, OpenedDevice, PeerError, TwinApi};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::debug;

use crate::device::StampedBy;
use crate::peers::Peers;

/// Why a credential was not taken.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// It does not hold, or names nobody.
    #[error("unauthorized")]
    Unauthorized,
    /// It holds, but the device is disabled.
    #[error("the device is disabled")]
    Disabled,
    /// Whether it holds cannot be told now.
    #[error("credentials cannot be checked now")]
    Unavailable(#[source] PeerError),
}

/// A device that proved itself.
#[derive(Debug)]
pub struct AuthenticatedDevice {
    /// Identity and stored session.
    pub opened: OpenedDevice,
    /// When its token ends.
    pub expires_at: Timestamp,
    /// Whose key signed it.
    pub by: StampedBy,
}

/// A back-end that proved itself.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Name of the policy whose key signed the token.
    pub policy: String,
    /// When the token ends.
    pub expires_at: Timestamp,
    permissions: Permissions,
    token: Arc<SasToken>,
    host_names: Arc<[String]>,
}

impl Principal {
    /// Tells whether the policy grants `permission` and the token's scope covers `path`
    /// (auth.md §3.3 step 4), `/devices/dev1` for example.
    pub fn allows(&self, permission: Permission, path: &str) -> bool {
        self.permissions.grants(permission) && self.token.covers(&self.host_names, path)
    }
}

struct Cached {
    policies: Arc<[Policy]>,
    read_at: Timestamp,
}

/// Checks credentials.
pub struct Authenticator {
    hub: HubName,
    host_names: Arc<[String]>,
    refresh: Duration,
    twins: Arc<dyn TwinApi>,
    clock: Arc<dyn Clock>,
    // An async mutex: whoever finds the policies stale reads them once for all who wait.
    cached: Mutex<Option<Cached>>,
}

impl Authenticator {
    /// Makes an authenticator of `hub`, which clients may call by any of `host_names`; policies
    /// are read again after `refresh`.
    pub fn new(hub: HubName, host_names: Vec<HubName>, refresh: Duration, peers: &Peers) -> Self {
        Self {
            hub,
            host_names: host_names
                .into_iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            refresh,
            twins: Arc::clone(&peers.twins),
            clock: Arc::clone(&peers.clock),
            cached: Mutex::new(None),
        }
    }

    /// Tells whether clients may call the hub `host`.
    pub fn is_our_name(&self, host: &str) -> bool {
        self.host_names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Checks the token of whoever claims to be `name`.
    ///
    /// # Errors
    /// [`Refusal`]; the status of the device is told only to who holds a key.
    pub async fn device(
        &self,
        name: &IdentityName,
        token: &str,
    ) -> Result<AuthenticatedDevice, Refusal> {
        let token = self.parse(token)?;
        let opened = self.twins.open_device(self.hub.clone(), name.clone()).await;
        let opened = opened
            .map_err(Refusal::Unavailable)?
            .ok_or(Refusal::Unauthorized)?;
        let by = match token.policy() {
            None => {
                self.verify_by_identity(&token, &opened.device)?;
                StampedBy::Identity
            }
            Some(policy) => {
                let policy = self.policy(policy).await?;
                self.verify(&token, &device_path(name), &policy.keys)?;
                if !policy.permissions.grants(Permission::DeviceConnect) {
                    return Err(Refusal::Unauthorized);
                }
                StampedBy::Policy
            }
        };
        if opened.device.status == DeviceStatus::Disabled {
            return Err(Refusal::Disabled);
        }
        Ok(AuthenticatedDevice {
            opened,
            expires_at: expiry(&token),
            by,
        })
    }

    /// Checks the token of a back-end. What it may do is asked of the [`Principal`].
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] or [`Refusal::Unavailable`].
    pub async fn service(&self, token: &str) -> Result<Principal, Refusal> {
        let token = self.parse(token)?;
        let name = token.policy().ok_or(Refusal::Unauthorized)?.to_owned();
        let policy = self.policy(&name).await?;
        let now = self.clock.now();
        let [primary, secondary] = &policy.keys;
        token
            .verify_signature(&[primary, secondary], now.as_seconds())
            .map_err(|failure| refuse(&failure))?;
        Ok(Principal {
            policy: policy.name,
            expires_at: expiry(&token),
            permissions: policy.permissions,
            token: Arc::new(token),
            host_names: Arc::clone(&self.host_names),
        })
    }

    fn parse(&self, token: &str) -> Result<SasToken, Refusal> {
        SasToken::parse(token).map_err(|failure| refuse(&failure))
    }

    fn verify_by_identity(&self, token: &SasToken, device: &Device) -> Result<(), Refusal> {
        let Authentication::Sas(keys) = &device.authentication else {
            debug!(device.id = %device.name, "a token for an identity without symmetric keys");
            return Err(Refusal::Unauthorized);
        };
        let keys = [keys.primary.clone(), keys.secondary.clone()];
        self.verify(token, &device_path(&device.name), &keys)
    }

    fn verify(&self, token: &SasToken, path: &str, keys: &[Vec<u8>; 2]) -> Result<(), Refusal> {
        let [primary, secondary] = keys;
        let now = self.clock.now().as_seconds();
        token
            .verify_signature(&[primary, secondary], now)
            .map_err(|failure| refuse(&failure))?;
        if token.covers(&self.host_names, path) {
            Ok(())
        } else {
            Err(Refusal::Unauthorized)
        }
    }

    async fn policy(&self, name: &str) -> Result<Policy, Refusal> {
        let policies = self.policies().await.map_err(Refusal::Unavailable)?;
        let found = policies.iter().find(|policy| policy.name == name).cloned();
        found.ok_or(Refusal::Unauthorized)
    }

    async fn policies(&self) -> Result<Arc<[Policy]>, PeerError> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        if let Some(known) = cached
            .as_ref()
            .filter(|known| now < known.read_at + self.refresh)
        {
            return Ok(Arc::clone(&known.policies));
        }
        let policies: Arc<[Policy]> = self.twins.policies(self.hub.clone()).await?.into();
        *cached = Some(Cached {
            policies: Arc::clone(&policies),
            read_at: now,
        });
        Ok(policies)
    }
}

fn device_path(name: &IdentityName) -> String {
    match &name.module {
        None => format!("/devices/{}", name.device),
        Some(module) => format!("/devices/{}/modules/{module}", name.device),
    }
}

fn expiry(token: &SasToken) -> Timestamp {
    Timestamp::from_millis(token.expires_at_seconds().saturating_mul(1000))
}

fn refuse(failure: &dyn std::fmt::Display) -> Refusal {
    debug!(%failure, "a token was refused");
    Refusal::Unauthorized
}
