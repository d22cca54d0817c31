//! The calls by which a unit begins and ends.

use std::sync::Arc;
use std::time::Duration;

use downlink_auth::ClientChain;
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::IdentityName;
use downlink_domain::presence::{Protocol, Subscriptions};
use downlink_ports::PeerError;
use tokio::time::timeout;

use super::certificate;
use super::unit::{Connected, Tag, UnitId};
use crate::amqp::grants::DeviceGrant;
use crate::amqp::work::{Done, Work};
use crate::authenticate::{Principal, Refusal};
use crate::device::{Departing, DeviceSession, OpenError, Stamp, StampedBy};
use crate::shared::Shared;

/// How long a unit may take to open; clients give up on an attach after 20 seconds at the least.
const OPENING: Duration = Duration::from_secs(15);
/// How long leaving the hub may take.
const LEAVING: Duration = Duration::from_secs(10);

/// How a call for a device or module ended.
pub(in crate::amqp) enum DeviceDone {
    /// A unit was opened, or not.
    Opened(UnitId, Result<Opened, NotOpened>),
    /// A unit has left the hub; nothing when that took too long, and locks and presence lapse.
    Closed(Ended, Option<Departing>),
}

/// A unit that was opened.
pub(in crate::amqp) struct Opened {
    pub(super) session: Box<DeviceSession<Tag>>,
    /// What the certificates of the connection have proved, if that is what opened it.
    pub(super) grant: Option<Box<DeviceGrant>>,
}

/// Why a unit was not opened.
#[derive(Debug)]
pub(in crate::amqp) enum NotOpened {
    /// There is no such device or module.
    NotFound,
    /// It is disabled.
    Disabled,
    /// No policy may speak for it: none is allowed to, or it proves itself by certificates.
    Denied,
    /// The certificates of the connection are not its own, or it cannot be told.
    Unproved(Refusal),
    /// The hub did not let it in.
    Refused(OpenError),
}

/// What is told of a unit at its end.
pub(in crate::amqp) struct Ended {
    pub(super) name: IdentityName,
    pub(super) cause: &'static str,
    pub(super) duration: Duration,
    pub(super) connected: Connected,
}

/// What lets a client speak for an identity.
pub(super) enum Claim {
    /// A token of its own.
    Own(Box<Device>, StampedBy),
    /// A token of a policy, one of these; the identity has one of these names.
    Policy(Vec<IdentityName>, Vec<Principal>),
    /// The certificates of the connection; the identity has one of these names.
    Certificate(Vec<IdentityName>, ClientChain),
}

/// What a unit is opened with.
pub(super) struct Opener {
    pub(super) unit: UnitId,
    pub(super) claim: Claim,
    pub(super) protocol: Protocol,
    pub(super) subscriptions: Subscriptions,
    pub(super) model_id: Option<Box<str>>,
}

/// Opens the session of a unit. What is cut off leaves nothing behind.
pub(super) fn open(shared: Arc<Shared>, opener: Opener) -> Work {
    Box::pin(async move {
        let unit = opener.unit;
        let outcome = timeout(OPENING, open_session(shared, opener)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let late = PeerError::DeadlineExceeded { service: "gateway" };
            Err(NotOpened::Refused(OpenError::Unavailable(late)))
        });
        Done::Device(DeviceDone::Opened(unit, outcome))
    })
}

async fn open_session(shared: Arc<Shared>, opener: Opener) -> Result<Opened, NotOpened> {
    let mut grant = None;
    let (device, by) = match opener.claim {
        Claim::Certificate(names, chain) => {
            let proved = certificate::prove(&shared, &names, &chain).await;
            let proved = proved.map_err(NotOpened::Unproved)?;
            let proved = grant.insert(Box::new(proved));
            (proved.device.clone(), proved.by)
        }
        Claim::Own(device, by) => (*device, by),
        Claim::Policy(names, principals) => {
            let by_name = |name| {
                let speaks = |principal| shared.authenticator.speaks_for(principal, name);
                principals.iter().any(speaks)
            };
            // Whose right depends on tags learns nothing of devices that have them not.
            let is_told = names.iter().any(by_name);
            let Some(device) = find(&shared, names).await? else {
                let not_found = NotOpened::NotFound;
                return Err(if is_told {
                    not_found
                } else {
                    NotOpened::Denied
                });
            };
            let by = speaker(&shared, &device, &principals).await?;
            if device.status == DeviceStatus::Disabled {
                return Err(NotOpened::Disabled);
            }
            (device, by)
        }
    };
    let stamp = Stamp::new(&device, by, opener.model_id);
    let (protocol, subscriptions) = (opener.protocol, opener.subscriptions);
    let session = DeviceSession::open(shared, device, protocol, subscriptions, stamp).await;
    let session = Box::new(session.map_err(NotOpened::Refused)?);
    Ok(Opened { session, grant })
}

/// Finds out which policy speaks for the identity.
async fn speaker(
    shared: &Shared,
    device: &Device,
    principals: &[Principal],
) -> Result<StampedBy, NotOpened> {
    if !matches!(device.authentication, Authentication::Sas(_)) {
        return Err(NotOpened::Denied);
    }
    let authenticator = &shared.authenticator;
    let mut verdict = NotOpened::Denied;
    // They are few, and the tags of the device are looked up once for all.
    for principal in principals {
        match authenticator
            .authorize_device(principal, &device.name)
            .await
        {
            Ok(()) => return Ok(StampedBy::Policy(principal.credential())),
            Err(refusal) => {
                if let Some(error) = refusal.peer_error() {
                    verdict = NotOpened::Refused(OpenError::Unavailable(error.clone()));
                }
            }
        }
    }
    Err(verdict)
}

/// Finds the identity by its name as it stands in the address, or else decoded.
async fn find(shared: &Shared, names: Vec<IdentityName>) -> Result<Option<Device>, NotOpened> {
    // Two readings at most.
    for name in names {
        let hub = shared.options.hub.clone();
        let found = shared.peers.twins.find_device(hub, name).await;
        let found = found.map_err(|error| NotOpened::Refused(OpenError::Unavailable(error)))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Has the session of a unit leave the hub.
pub(super) fn close(session: DeviceSession<Tag>, ended: Ended) -> Work {
    Box::pin(async move {
        let departing = timeout(LEAVING, session.close()).await.ok();
        Done::Device(DeviceDone::Closed(ended, departing))
    })
}
