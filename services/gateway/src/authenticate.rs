//! Credentials of devices and back-ends, checked against the registry and the policies.
//!
//! Every refusal looks the same from outside; what failed goes to the log (auth.md §3.3).

use std::sync::Arc;
use std::time::Duration;

use downlink_auth::{Resource, SasToken};
use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::policy::{Permission, Policy};
use downlink_ports::{Clock, OpenedDevice, PeerError, TwinApi};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::device::StampedBy;
use crate::peers::Peers;

#[cfg(test)]
mod tests;

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
#[derive(Clone)]
pub struct Principal {
    /// When the token ends.
    pub expires_at: Timestamp,
    policy: Arc<Policy>,
    token: Arc<str>,
    scope: Arc<str>,
    host_names: Arc<[String]>,
}

impl Principal {
    /// Name of the policy whose key signed the token.
    pub fn policy(&self) -> &str {
        &self.policy.name
    }

    /// The scope of the token, as it was signed.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Tells whether the policy grants `permission` and the token's scope covers `path`, given by
    /// its decoded segments (auth.md §3.3 step 4): `["devices", "dev1"]`.
    pub fn allows(&self, permission: Permission, path: &[&str]) -> bool {
        let Ok(token) = SasToken::parse(&self.token) else {
            return false;
        };
        // Its age was checked when it was presented; how long it lasts is the door's matter.
        let then = token.expires_at_seconds();
        self.policy.permissions.grants(permission)
            && verify(
                &token,
                &self.host_names,
                &Resource::Service { path },
                &self.policy.keys,
                then,
            )
            .is_ok()
    }
}

struct Cached {
    policies: Arc<[Policy]>,
    read_at: Timestamp,
}

/// What is known of the policies.
#[derive(Default)]
struct Known {
    cached: Option<Cached>,
    /// The last read that failed, and when.
    failed: Option<(Instant, PeerError)>,
}

/// How long a read of the policies may take.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Checks credentials.
pub struct Authenticator {
    hub: HubName,
    host_names: Arc<[String]>,
    refresh: Duration,
    twins: Arc<dyn TwinApi>,
    clock: Arc<dyn Clock>,
    // An async mutex: whoever finds the policies stale reads them once for all who wait.
    known: Mutex<Known>,
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
            known: Mutex::default(),
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
        let token = SasToken::parse(token).map_err(|failure| refuse(&failure))?;
        let opened = self.twins.open_device(self.hub.clone(), name.clone()).await;
        let opened = opened
            .map_err(Refusal::Unavailable)?
            .ok_or(Refusal::Unauthorized)?;
        let resource = match &name.module {
            None => Resource::Device {
                device_id: name.device.as_str(),
            },
            Some(module) => Resource::Module {
                device_id: name.device.as_str(),
                module_id: module.as_str(),
            },
        };
        let now = self.clock.now().as_seconds();
        let by = match token.policy() {
            None => {
                let keys = identity_keys(&opened.device)?;
                verify(&token, &self.host_names, &resource, &keys, now)?;
                StampedBy::Identity
            }
            Some(policy) => {
                let policy = self.policy(policy).await?;
                verify(&token, &self.host_names, &resource, &policy.keys, now)?;
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

    /// Checks the token of a back-end: signature, hub and age. What it may do is asked of the
    /// [`Principal`].
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] or [`Refusal::Unavailable`].
    pub async fn service(&self, text: &str) -> Result<Principal, Refusal> {
        let token = SasToken::parse(text).map_err(|failure| refuse(&failure))?;
        let policy = self
            .policy(token.policy().ok_or(Refusal::Unauthorized)?)
            .await?;
        // Whatever it opens, it opens its own scope.
        let scope: Vec<_> = token
            .scope()
            .trim_end_matches('/')
            .split('/')
            .skip(1)
            .take(16)
            .collect();
        let now = self.clock.now().as_seconds();
        let resource = Resource::Service { path: &scope };
        verify(&token, &self.host_names, &resource, &policy.keys, now)?;
        Ok(Principal {
            expires_at: expiry(&token),
            policy: Arc::new(policy),
            token: text.into(),
            scope: token.scope().into(),
            host_names: Arc::clone(&self.host_names),
        })
    }

    async fn policy(&self, name: &str) -> Result<Policy, Refusal> {
        let policies = self.policies().await.map_err(Refusal::Unavailable)?;
        let found = policies.iter().find(|policy| policy.name == name).cloned();
        found.ok_or(Refusal::Unauthorized)
    }

    async fn policies(&self) -> Result<Arc<[Policy]>, PeerError> {
        let asked_at = Instant::now();
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some(cached) = known
            .cached
            .as_ref()
            .filter(|cached| now < cached.read_at + self.refresh)
        {
            return Ok(Arc::clone(&cached.policies));
        }
        // A read that failed while this one waited for it answers it too: each trying in its turn,
        // the last of many would wait for all of them.
        if let Some((failed_at, error)) = &known.failed
            && *failed_at > asked_at
        {
            return Err(error.clone());
        }
        match self.read_policies().await {
            Ok(policies) => {
                known.cached = Some(Cached {
                    policies: Arc::clone(&policies),
                    read_at: now,
                });
                Ok(policies)
            }
            Err(error) => {
                known.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn read_policies(&self) -> Result<Arc<[Policy]>, PeerError> {
        let read = timeout(READ_DEADLINE, self.twins.policies(self.hub.clone())).await;
        let late = PeerError::DeadlineExceeded { service: "twin" };
        Ok(read.map_err(|_| late)??.into())
    }
}

fn identity_keys(device: &Device) -> Result<[Vec<u8>; 2], Refusal> {
    match &device.authentication {
        Authentication::Sas(keys) => Ok([keys.primary.clone(), keys.secondary.clone()]),
        Authentication::SelfSigned { .. } | Authentication::CertificateAuthority => {
            debug!(device.id = %device.name, "a token for an identity without symmetric keys");
            Err(Refusal::Unauthorized)
        }
    }
}

fn verify(
    token: &SasToken<'_>,
    host_names: &[String],
    resource: &Resource<'_>,
    keys: &[Vec<u8>; 2],
    now_seconds: i64,
) -> Result<(), Refusal> {
    let names: Vec<&str> = host_names.iter().map(String::as_str).collect();
    let [primary, secondary] = keys;
    token
        .verify(&names, resource, &[primary, secondary], now_seconds)
        .map_err(|failure| refuse(&failure))
}

fn expiry(token: &SasToken<'_>) -> Timestamp {
    Timestamp::from_millis(token.expires_at_seconds().saturating_mul(1000))
}

fn refuse(failure: &dyn std::fmt::Display) -> Refusal {
    debug!(%failure, "a token was refused");
    Refusal::Unauthorized
}
