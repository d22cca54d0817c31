//! Devices that show no token but the certificates of their TLS handshake (amqp.md §1.2, auth.md §5).
//!
//! Nothing but the address of a link says whose they are, so they are checked when a unit opens.
//! From then on they count as a token of that identity which ends with the first of them. Until
//! one has been good the client is a stranger: its units open one by one, and after a few that are
//! not its own it has to go.

use downlink_amqp::performative::AmqpError;
use downlink_auth::ClientChain;
use downlink_domain::ErrorCode;
use downlink_domain::id::IdentityName;
use tokio::time::Instant;

use crate::amqp::condition::error_of;
use crate::amqp::conversation::Conversation;
use crate::amqp::grants::{DeviceGrant, Grant};
use crate::authenticate::{Cause, Credential, Refusal, RefusalKind};
use crate::metrics::RefusedFor;
use crate::shared::Shared;

/// Units of strangers that may turn out to be somebody else's.
const MAX_UNPROVED: u32 = 8;

/// Checks the certificates of a connection against the identity that has one of these names: the
/// id as it stands in the address, or decoded.
pub(super) async fn prove(
    shared: &Shared,
    names: &[IdentityName],
    chain: &ClientChain,
) -> Result<DeviceGrant, Refusal> {
    let mut last = Refusal::of(Cause::UnknownIdentity);
    // Two readings at most.
    for name in names {
        let credential = Credential::Certificate(chain);
        match shared.authenticator.device(name, credential).await {
            Ok(device) => {
                return Ok(DeviceGrant {
                    device: device.opened.device,
                    by: device.by,
                    expires_at: device.expires_at,
                });
            }
            Err(refusal) if refusal.cause() == Cause::UnknownIdentity => {}
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

impl Conversation {
    /// Takes note that the certificates of the connection are those of an identity.
    ///
    /// # Errors
    /// The connection speaks for as many as it may.
    pub(super) fn on_proved(&mut self, grant: Box<DeviceGrant>) -> Result<(), AmqpError> {
        self.is_admitted = true;
        self.engine.admit();
        let added = self.grants.add(Grant::Device(grant));
        added.map_err(|error| error_of(ErrorCode::IotHubQuotaExceeded, error.to_string()))
    }

    /// What links are told of a unit whose identity the certificates are not, and what is counted.
    pub(super) fn on_unproved(&mut self, refusal: &Refusal) -> (AmqpError, Option<RefusedFor>) {
        match refusal.kind() {
            RefusalKind::Unavailable => {
                let text = "the certificate cannot be checked now";
                let error = error_of(ErrorCode::ServiceUnavailable, text);
                (error, Some(RefusedFor::Unavailable))
            }
            RefusalKind::Disabled => {
                let error = error_of(ErrorCode::DeviceDisabled, "the device is disabled");
                (error, Some(RefusedFor::Disabled))
            }
            RefusalKind::Unauthorized => {
                let text = "the certificate is not that of the device";
                let error = error_of(ErrorCode::IotHubUnauthorized, text);
                self.unproved += 1;
                if !self.is_admitted && self.unproved >= MAX_UNPROVED {
                    let now = Instant::now().into_std();
                    self.engine.close(Some(error.clone()), now);
                }
                (error, Some(RefusedFor::Unauthorized))
            }
        }
    }
}
