//! One watcher of a twin.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::access::{Access, Action};
use downlink_ports::TwinView;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::watches::{Place, Seen};
use crate::authenticate::Principal;
use crate::https::USE_CASE_DEADLINE;
use crate::https::error::ApiError;
use crate::shared::Shared;

/// Pause after a twin could not be read.
const REST: Duration = Duration::from_secs(1);

/// Who waits for changes of one twin. Dropping it makes room for another.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    principal: Principal,
    seen: watch::Receiver<Seen>,
    /// The newest that was shown.
    view: TwinView,
    _place: Place,
}

/// Why a caller is shown no more, although the twin is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The token has run out.
    Expired,
    /// What the token lives by is gone.
    Revoked,
    /// The node goes away.
    GoingAway,
}

impl Watcher {
    /// Watches a twin that was just read.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        principal: Principal,
        view: TwinView,
        place: Place,
    ) -> Self {
        Self {
            seen: shared.watches.subscribe(view.device.key, view.twin.version),
            shared: Arc::clone(shared),
            principal,
            view,
            _place: place,
        }
    }

    /// The twin to be shown now.
    ///
    /// # Errors
    /// A refusal when the caller may see the device no more, since its tags have changed.
    pub(crate) async fn view(&self) -> Result<&TwinView, ApiError> {
        let name = &self.view.device.name;
        let access = Access::to_device(Action::TwinsRead, &name.device);
        let authenticator = &self.shared.authenticator;
        match &name.module {
            None => {
                let (path, tags) = (["twins", name.device.as_str()], &self.view.twin.tags);
                authenticator.authorize_tagged(&self.principal, &access, &path, tags)?;
            }
            Some(module) => {
                // Tags that a policy asks about are those of the device.
                let path = ["twins", name.device.as_str(), "modules", module.as_str()];
                let checking = authenticator.authorize(&self.principal, &access, &path);
                let checked = timeout(USE_CASE_DEADLINE, checking).await;
                checked.map_err(|_| ApiError::deadline())??;
            }
        }
        Ok(&self.view)
    }

    /// Waits for a version above the one that was shown, and takes it.
    ///
    /// # Cancellation
    /// Safe: what was not taken is found again.
    pub(crate) async fn changed(&mut self) -> Result<(), ApiError> {
        loop {
            let seen = *self.seen.borrow_and_update();
            match seen {
                Seen::Gone => return Err(self.gone()),
                Seen::Version(version) if version > self.view.twin.version => {
                    if let Some(view) = self.read().await? {
                        self.view = view;
                        return Ok(());
                    }
                    // Not there yet, or not to be read now: it is looked for again.
                    sleep(REST).await;
                    continue;
                }
                Seen::Version(_) => {}
            }
            if self.seen.changed().await.is_err() {
                // Its sender lives as long as this receiver.
                return Err(ApiError::deadline());
            }
        }
    }

    /// Waits until the caller may be shown no more; `grace` is how long that outlives its token.
    ///
    /// # Cancellation
    /// Safe: it only waits.
    pub(crate) async fn ended(shared: &Shared, principal: &Principal, grace: Duration) -> Ended {
        let grace_ends_at = principal.expires_at() + grace;
        tokio::select! {
            () = shared.peers.clock.sleep_until(grace_ends_at) => Ended::Expired,
            () = shared.access.ended(principal.credential()) => Ended::Revoked,
            () = shared.lifecycle.draining() => Ended::GoingAway,
        }
    }

    /// Reads the twin; `None` when it is not newer, or cannot be read now.
    async fn read(&self) -> Result<Option<TwinView>, ApiError> {
        let _permit = self.shared.watches.reads.acquire().await;
        let (device, twins) = (&self.view.device, &self.shared.peers.twins);
        let reading = twins.get_twin(device.hub.clone(), device.name.clone());
        match timeout(USE_CASE_DEADLINE, reading).await {
            Ok(Ok(view)) if view.device.key != device.key => Err(self.gone()),
            Ok(Ok(view)) => {
                Ok(Some(view).filter(|view| view.twin.version > self.view.twin.version))
            }
            Ok(Err(error)) if error.code() == ErrorCode::DeviceNotFound => Err(self.gone()),
            Ok(Err(error)) => {
                debug!(%error, "a watched twin cannot be read now");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    fn gone(&self) -> ApiError {
        let id = &self.view.device.name;
        let text = format!("device {id} is not registered any more");
        ApiError::new(ErrorCode::DeviceNotFound, text)
    }
}

impl From<Ended> for ApiError {
    fn from(ended: Ended) -> Self {
        let (code, text) = match ended {
            Ended::Expired => (ErrorCode::IotHubUnauthorized, "the token has expired"),
            Ended::Revoked => (
                ErrorCode::IotHubUnauthorized,
                "the key of the token is gone, or its policy has changed",
            ),
            Ended::GoingAway => (ErrorCode::ServiceUnavailable, "the node is going away"),
        };
        Self::new(code, text)
    }
}
