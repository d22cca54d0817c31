//! Devices and modules.

use downlink_auth::{Resource, SasToken};
use downlink_domain::Timestamp;
use downlink_domain::access::{Access, Action};
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::IdentityName;
use downlink_domain::twin::Object;
use downlink_ports::OpenedDevice;

use super::{Authenticator, Cause, Credential, Denied, Principal, Refusal, expiry};
use crate::device::StampedBy;

/// A device or module that proved itself.
#[derive(Debug)]
pub struct AuthenticatedDevice {
    /// Identity and stored session.
    pub opened: OpenedDevice,
    /// When its token ends, or the first of its certificates.
    pub expires_at: Timestamp,
    /// By what it proved itself, and so by what its connection lives.
    pub by: StampedBy,
}

/// That a credential holds, and until when.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) expires_at: Timestamp,
    pub(super) by: StampedBy,
}

impl Authenticator {
    /// Checks the credential of whoever claims to be `name`.
    ///
    /// # Errors
    /// [`Refusal`]; the status of the device is told only to who holds a key.
    pub async fn device(
        &self,
        name: &IdentityName,
        credential: Credential<'_>,
    ) -> Result<AuthenticatedDevice, Refusal> {
        // What is no token at all costs no look-up.
        let token = match credential {
            Credential::Token(text) => Some(SasToken::parse(text).map_err(Refusal::from)?),
            Credential::Certificate(_) => None,
        };
        let opened = self.twins.open_device(self.hub.clone(), name.clone()).await;
        let Some(opened) = opened.map_err(Refusal::unavailable)? else {
            if let Some(token) = &token {
                // As long as for a device that is there.
                let _ = self.verify(token, &resource(name), &[]);
            }
            return Err(Refusal::of(Cause::UnknownIdentity));
        };
        let proved = match (&token, credential) {
            (Some(token), _) => self.check_token(&opened.device, token).await?,
            (None, Credential::Certificate(chain)) => self.check_chain(&opened.device, chain)?,
            (None, Credential::Token(_)) => return Err(Refusal::of(Cause::Malformed)),
        };
        if opened.device.status == DeviceStatus::Disabled {
            return Err(Refusal::of(Cause::Disabled));
        }
        let Proved { expires_at, by } = proved;
        Ok(AuthenticatedDevice {
            opened,
            expires_at,
            by,
        })
    }

    async fn check_token(&self, device: &Device, token: &SasToken<'_>) -> Result<Proved, Refusal> {
        let name = &device.name;
        let Authentication::Sas(keys) = &device.authentication else {
            let _ = self.verify(token, &resource(name), &[]);
            return Err(Refusal::of(Cause::TokenForCertificateIdentity));
        };
        let expires_at = expiry(token);
        let Some(policy) = token.policy() else {
            let is_off = match name.module {
                None => self.sas.is_device_off,
                Some(_) => self.sas.is_module_off,
            };
            self.verify(token, &resource(name), &[&keys.primary, &keys.secondary])?;
            if is_off {
                return Err(Refusal::of(Cause::SasSwitchedOff));
            }
            let by = StampedBy::Identity;
            return Ok(Proved { expires_at, by });
        };
        let principal = self.policy_principal(token, policy)?;
        self.authorize_device(&principal, name).await?;
        let by = StampedBy::Policy(principal.credential());
        Ok(Proved { expires_at, by })
    }

    /// Tells whether a policy lets its holder speak for an identity of this name, whatever its tags are.
    pub fn speaks_for(&self, principal: &Principal, name: &IdentityName) -> bool {
        let access = Access::to_device(Action::ActAsDevice, &name.device);
        let path = device_path(name);
        let untagged = self.authorize_tagged(principal, &access, &path, &Object::default());
        untagged.is_ok()
    }

    /// Checks that a policy lets its holder speak for an identity.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn authorize_device(
        &self,
        principal: &Principal,
        name: &IdentityName,
    ) -> Result<(), Refusal> {
        let access = Access::to_device(Action::ActAsDevice, &name.device);
        let path = device_path(name);
        let allowed = self.authorize(principal, &access, &path).await;
        allowed.map_err(|denied| match denied {
            Denied::Policy | Denied::Bearer => Refusal::of(Cause::Right),
            Denied::Unavailable(error) => Refusal::unavailable(error),
        })
    }
}

/// The path of an identity, by which tokens are scoped.
fn device_path(name: &IdentityName) -> Vec<&str> {
    let mut path = vec!["devices", name.device.as_str()];
    if let Some(module) = &name.module {
        path.extend(["modules", module.as_str()]);
    }
    path
}

fn resource(name: &IdentityName) -> Resource<'_> {
    let device_id = name.device.as_str();
    match &name.module {
        None => Resource::Device { device_id },
        Some(module) => Resource::Module {
            device_id,
            module_id: module.as_str(),
        },
    }
}
