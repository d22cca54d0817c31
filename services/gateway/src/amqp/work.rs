//! What a connection asks of the services, and what comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use downlink_amqp::engine::{DeliveryId, LinkId};
use downlink_amqp::message::MessageId;
use downlink_amqp::sasl::PlainCredential;
use downlink_auth::{PlainUser, SasToken};
use downlink_domain::id::{DeviceId, IdentityName};

use super::address::parse_scope;
use super::back_end::BackEndDone;
use super::device::DeviceDone;
use super::grants::{DeviceGrant, Grant};
use crate::audit::Origin;
use crate::authenticate::{Cause, Credential, Refusal};
use crate::shared::Shared;

/// A call on its way.
pub(super) type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// How a call ended.
pub(super) enum Done {
    /// A SASL PLAIN credential was checked.
    Plain(Result<Grant, Refusal>),
    /// A token was checked.
    Token {
        /// Link and delivery of the request.
        request: (LinkId, DeliveryId),
        /// Id to repeat in the reply.
        request_id: Option<MessageId>,
        /// Bytes of the token.
        length: usize,
        /// What the token stands for.
        outcome: Result<Grant, Refusal>,
    },
    /// A call for a link of a back-end.
    BackEnd(BackEndDone),
    /// A call for a device or module.
    Device(DeviceDone),
}

/// Checks a SASL PLAIN credential (auth.md §4).
pub(super) fn check_plain(
    shared: Arc<Shared>,
    origin: Origin,
    credential: PlainCredential,
) -> Work {
    Box::pin(async move {
        let PlainCredential { authcid, password } = credential;
        let user = PlainUser::parse(&authcid);
        let outcome = match user {
            Some(user) if is_ours(&shared, user) => plain(&shared, user, &password).await,
            _ => Err(Refusal::of(Cause::Malformed)),
        };
        if let Err(refusal) = &outcome {
            match user.and_then(device_of) {
                Some(name) => shared.audit.refused_device(origin, &name, refusal),
                None => shared.audit.refused_service(origin, &password, refusal),
            }
        }
        Done::Plain(outcome)
    })
}

fn device_of(user: PlainUser<'_>) -> Option<IdentityName> {
    match user {
        PlainUser::Policy { .. } => None,
        PlainUser::Device { device_id, .. } => {
            let device: Option<DeviceId> = device_id.parse().ok();
            device.map(Into::into)
        }
    }
}

fn is_ours(shared: &Shared, user: PlainUser<'_>) -> bool {
    shared
        .options
        .host_names
        .iter()
        .any(|name| user.is_at(name.as_str()))
}

async fn plain(shared: &Shared, user: PlainUser<'_>, token: &str) -> Result<Grant, Refusal> {
    match user {
        PlainUser::Policy { policy, .. } => {
            let principal = shared.authenticator.service(token).await?;
            if principal.policy() == Some(policy) {
                Ok(Grant::Service(principal))
            } else {
                Err(Refusal::of(Cause::UnknownPolicy))
            }
        }
        PlainUser::Device { device_id, .. } => {
            let device: DeviceId = device_id
                .parse()
                .map_err(|_| Refusal::of(Cause::UnknownIdentity))?;
            device_grant(shared, &device.into(), token).await
        }
    }
}

async fn device_grant(shared: &Shared, name: &IdentityName, token: &str) -> Result<Grant, Refusal> {
    let device = shared
        .authenticator
        .device(name, Credential::Token(token))
        .await?;
    Ok(Grant::Device(Box::new(DeviceGrant {
        device: device.opened.device,
        by: device.by,
        expires_at: device.expires_at,
    })))
}

/// Checks a token put on the `$cbs` link.
///
/// What it grants follows from the token alone; the name the client gives it comes in six forms
/// and counts for nothing (amqp.md §3.2).
pub(super) fn check_token(
    shared: Arc<Shared>,
    origin: Origin,
    request: (LinkId, DeliveryId),
    request_id: Option<MessageId>,
    token: String,
) -> Work {
    Box::pin(async move {
        let outcome = token_grant(&shared, &token).await;
        if let Err(refusal) = &outcome {
            note(&shared, origin, &token, refusal);
        }
        Done::Token {
            request,
            request_id,
            length: token.len(),
            outcome,
        }
    })
}

/// Notes that a token put on `$cbs` was refused: one of a device is known by its scope.
fn note(shared: &Shared, origin: Origin, token: &str, refusal: &Refusal) {
    let parsed = SasToken::parse(token).ok();
    let parsed = parsed.filter(|parsed| parsed.policy().is_none());
    let name = parsed.and_then(|parsed| parse_scope(parsed.scope()).into_iter().next());
    match name {
        Some(name) => shared.audit.refused_device(origin, &name, refusal),
        None => shared.audit.refused_service(origin, token, refusal),
    }
}

async fn token_grant(shared: &Shared, token: &str) -> Result<Grant, Refusal> {
    // By its value, whatever the client calls it (auth.md §6.1): tokens of issuers and of policies here, those of
    // devices below.
    let parsed = SasToken::parse(token).ok();
    let Some(parsed) = parsed.filter(|parsed| parsed.policy().is_none()) else {
        let principal = shared.authenticator.service(token).await;
        return principal.map(Grant::Service);
    };
    let mut last = Refusal::of(Cause::UnknownIdentity);
    // Two readings at most: the id as it stands in the scope, and decoded once more.
    for name in parse_scope(parsed.scope()) {
        match device_grant(shared, &name, token).await {
            Ok(grant) => return Ok(grant),
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}
