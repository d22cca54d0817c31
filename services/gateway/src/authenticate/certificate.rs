//! Devices that prove themselves by certificates (auth.md §5).

use downlink_auth::x509::{TrustedAuthority, verify_path, verify_thumbprint};
use downlink_auth::{CertificateError, ClientChain};
use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device};
use downlink_domain::id::ModuleId;
use tracing::debug;

use super::device::Proved;
use super::{Authenticator, Cause, Refusal};
use crate::device::StampedBy;

#[cfg(test)]
mod tests;

impl Authenticator {
    /// Checks the chain of whoever claims to be `device`.
    pub(super) fn check_chain(
        &self,
        device: &Device,
        chain: &ClientChain,
    ) -> Result<Proved, Refusal> {
        match &device.authentication {
            Authentication::Sas(_) | Authentication::None => {
                Err(Refusal::of(Cause::CertificateForTokenIdentity))
            }
            Authentication::SelfSigned { primary, secondary } => {
                let registered = [primary.as_deref(), secondary.as_deref()];
                let not_after = verify_thumbprint(chain, registered, self.now_seconds())?;
                Ok(proved(not_after, StampedBy::Identity))
            }
            Authentication::CertificateAuthority => self.check_path(device, chain),
        }
    }

    fn check_path(&self, device: &Device, chain: &ClientChain) -> Result<Proved, Refusal> {
        let view = self.view()?;
        let now = self.clock.now();
        let known: Vec<_> = view.trusted(now).collect();
        let authorities: Vec<_> = known
            .iter()
            .map(|known| TrustedAuthority {
                certificate: &known.authority.certificate,
                not_after_seconds: known.authority.not_after.as_seconds(),
            })
            .collect();
        let name = &device.name;
        let module = name.module.as_ref().map(ModuleId::as_str);
        let identity = (name.device.as_str(), module);
        let anchored = verify_path(chain, identity, &authorities, now.as_seconds())?;
        let credential = known[anchored.authority].credential;
        let by = StampedBy::Authority(credential);
        Ok(proved(anchored.not_after_seconds, by))
    }
}

fn proved(not_after_seconds: i64, by: StampedBy) -> Proved {
    Proved {
        expires_at: Timestamp::from_millis(not_after_seconds.saturating_mul(1000)),
        by,
    }
}

impl From<CertificateError> for Refusal {
    fn from(error: CertificateError) -> Self {
        debug!(%error, "a certificate is not taken");
        Self::of(match error {
            CertificateError::Thumbprint => Cause::Thumbprint,
            CertificateError::NoCommonName
            | CertificateError::SeveralCommonNames
            | CertificateError::CommonNameAlphabet
            | CertificateError::OtherCommonName => Cause::Subject,
            CertificateError::NotYetValid
            | CertificateError::Expired
            | CertificateError::PathDates => Cause::CertificateDates,
            CertificateError::UnknownAuthority
            | CertificateError::Signature
            | CertificateError::NotAnAuthority
            | CertificateError::PathLength
            | CertificateError::NameConstraints
            | CertificateError::TooMuchWork => Cause::Authority,
            CertificateError::TooLarge
            | CertificateError::Unreadable
            | CertificateError::Text
            | CertificateError::Form
            | CertificateError::AuthorityAsDevice
            | CertificateError::Usage => Cause::Certificate,
        })
    }
}
