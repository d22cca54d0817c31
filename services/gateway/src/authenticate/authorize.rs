//! The one check of rights, for every door.

use std::collections::{HashMap, HashSet};

use downlink_domain::access::{Access, Action};
use downlink_domain::id::DeviceId;
use downlink_domain::policy::Coverage;
use downlink_domain::twin::Object;
use futures::{StreamExt as _, stream};
use tracing::debug;

use super::{Authenticator, Denied, Principal};

/// Devices of one batch whose tags are looked up at a time.
const MAX_LOOK_UPS: usize = 16;

impl Authenticator {
    /// Checks that `principal` may do what `access` asks to what `path` names by its decoded segments, which is the
    /// path of the same thing over HTTPS or AMQP. Waits only where the limits of a policy name tags.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn authorize(
        &self,
        principal: &Principal,
        access: &Access<'_>,
        path: &[&str],
    ) -> Result<(), Denied> {
        match (principal.coverage(access, path), access.device) {
            (Coverage::Yes, _) => Ok(()),
            (Coverage::IfTagged, Some(device)) => {
                let tags = self.tags.find(device).await.map_err(Denied::Unavailable)?;
                judge(principal, access.action, principal.covers_tags(&tags))
            }
            (Coverage::No | Coverage::IfTagged, _) => judge(principal, access.action, false),
        }
    }

    /// As [`Self::authorize`], for a device whose tags are at hand.
    ///
    /// # Errors
    /// [`Denied`].
    #[expect(
        clippy::unused_self,
        reason = "every check of a right is asked of one place"
    )]
    pub fn authorize_tagged(
        &self,
        principal: &Principal,
        access: &Access<'_>,
        path: &[&str],
        tags: &Object,
    ) -> Result<(), Denied> {
        let is_covered = match principal.coverage(access, path) {
            Coverage::Yes => true,
            Coverage::IfTagged => principal.covers_tags(tags),
            Coverage::No => false,
        };
        judge(principal, access.action, is_covered)
    }

    /// Finds those of `devices` that none of `senders` may send messages to through `path`; one of them is enough. What
    /// is asked of twin is asked once for each device, and for several at a time.
    pub async fn denied_devices(
        &self,
        senders: &[Principal],
        devices: HashSet<DeviceId>,
        path: &[&str],
    ) -> HashMap<DeviceId, Denied> {
        let checks: Vec<_> = devices
            .into_iter()
            .map(|device| self.find_denial(senders, device, path))
            .collect();
        let checked = stream::iter(checks).buffer_unordered(MAX_LOOK_UPS);
        let checked: Vec<Option<(DeviceId, Denied)>> = checked.collect().await;
        checked.into_iter().flatten().collect()
    }

    async fn find_denial(
        &self,
        senders: &[Principal],
        device: DeviceId,
        path: &[&str],
    ) -> Option<(DeviceId, Denied)> {
        let denied = self.may_send(senders, &device, path).await.err()?;
        Some((device, denied))
    }

    async fn may_send(
        &self,
        senders: &[Principal],
        device: &DeviceId,
        path: &[&str],
    ) -> Result<(), Denied> {
        let access = Access::to_device(Action::SendMessage, device);
        let mut verdict = Err(Denied::Policy);
        // The tokens of a connection are few, and the tags of one device are looked up once for all.
        for sender in senders {
            let checked = self.authorize(sender, &access, path).await;
            match checked {
                Ok(()) => return Ok(()),
                Err(denied @ Denied::Unavailable(_)) => verdict = Err(denied),
                Err(denied) if verdict == Err(Denied::Policy) => verdict = Err(denied),
                Err(_) => {}
            }
        }
        verdict
    }

    /// Checks that `principal` may do `action` to some device by some method through `path`; which, is to be checked
    /// once that is known.
    ///
    /// # Errors
    /// [`Denied`].
    #[expect(
        clippy::unused_self,
        reason = "every check of a right is asked of one place"
    )]
    pub fn authorize_any(
        &self,
        principal: &Principal,
        action: Action,
        path: &[&str],
    ) -> Result<(), Denied> {
        judge(principal, action, principal.may_ever(action, path))
    }
}

fn judge(principal: &Principal, action: Action, is_covered: bool) -> Result<(), Denied> {
    if is_covered {
        return Ok(());
    }
    debug!(
        actor = principal.actor_name(),
        ?action,
        "a right is missing"
    );
    Err(principal.denied())
}
