//! What is done to one identity of a job.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::device::{Device, DeviceStatus};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::job::{DeviceJobOutcome, JobOrder};
use downlink_domain::method::{MethodCall, MethodError};
use downlink_domain::twin::TwinChange;
use downlink_ports::{MethodApi, PeerError};
use futures::try_join;
use tokio::time::{sleep, timeout};

use crate::error::not_found;
use crate::service::TwinService;
use crate::write::Write;

/// What a router may take beyond the response timeout before the call is given up.
const SLACK: Duration = Duration::from_secs(5);
/// Attempts of a write that the store fails, and the pause after the first; it doubles.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Writes twins and calls methods.
#[async_trait]
pub(crate) trait Hands: Send + Sync {
    /// Patches the twin of that key.
    async fn update(
        &self,
        device: DeviceKey,
        name: &IdentityName,
        change: TwinChange,
    ) -> Result<(), PeerError>;

    /// Calls a method.
    async fn invoke(&self, call: MethodCall) -> DeviceJobOutcome;
}

/// The service's own hands.
pub(crate) struct OwnHands {
    pub(crate) service: Arc<TwinService>,
    pub(crate) methods: Arc<dyn MethodApi>,
}

#[async_trait]
impl Hands for OwnHands {
    async fn update(
        &self,
        device: DeviceKey,
        name: &IdentityName,
        change: TwinChange,
    ) -> Result<(), PeerError> {
        let write = Write { device, change };
        let outcome = self.service.writer.submit(write).await;
        let outcome = outcome.map_err(crate::error::of_submit)??;
        outcome
            .ok_or_else(|| not_found(name))?
            .map_err(|error| crate::error::of_twin(&error, name))?;
        Ok(())
    }

    async fn invoke(&self, call: MethodCall) -> DeviceJobOutcome {
        match self.find_refusal(&call).await {
            Ok(None) => {}
            Ok(Some(error)) => return DeviceJobOutcome::failed(error.code(), &error),
            Err(error) => return DeviceJobOutcome::failed(error.code(), &error),
        }
        let deadline = call.timeouts.response() + SLACK;
        match timeout(deadline, self.methods.invoke(call)).await {
            Ok(Ok(answer)) => DeviceJobOutcome::Answered {
                status: answer.status,
                payload: answer.payload,
            },
            Ok(Err(error)) => DeviceJobOutcome::failed(error.code(), &error),
            Err(_) => DeviceJobOutcome::failed(
                ErrorCode::GatewayTimeout,
                &"timed out waiting for the response from the device",
            ),
        }
    }
}

impl OwnHands {
    /// Why the target may not be called any more: it was found a while ago.
    async fn find_refusal(&self, call: &MethodCall) -> Result<Option<MethodError>, PeerError> {
        let find = |name| self.service.find_identity(call.hub.clone(), name);
        let owner = IdentityName::from(call.target.device.clone());
        let is_module = call.target.module.is_some();
        let (owner, target) = try_join!(find(owner), find(call.target.clone()))?;
        let is_disabled = |device: &Device| device.status == DeviceStatus::Disabled;
        let target = target.filter(|target| target.key == call.device);
        Ok(match (owner, target) {
            (Some(_), None) if is_module => Some(MethodError::ModuleNotFound),
            (None, _) | (Some(_), None) => Some(MethodError::DeviceNotFound),
            (Some(owner), Some(target)) if is_disabled(&owner) || is_disabled(&target) => {
                Some(MethodError::Disabled)
            }
            (Some(_), Some(_)) => None,
        })
    }
}

/// Does what is ordered to one identity.
pub(crate) async fn execute(
    hands: Arc<dyn Hands>,
    hub: HubName,
    order: Arc<JobOrder>,
    (device, target): (DeviceKey, IdentityName),
) -> (DeviceKey, DeviceJobOutcome) {
    let outcome = match &*order {
        JobOrder::UpdateTwin(change) => update(&*hands, device, &target, change).await,
        JobOrder::Invoke {
            name,
            payload,
            timeouts,
        } => {
            let call = MethodCall {
                hub,
                target,
                device,
                name: name.clone(),
                payload: payload.clone(),
                timeouts: *timeouts,
            };
            hands.invoke(call).await
        }
    };
    (device, outcome)
}

async fn update(
    hands: &dyn Hands,
    device: DeviceKey,
    name: &IdentityName,
    change: &TwinChange,
) -> DeviceJobOutcome {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let error = match hands.update(device, name, change.clone()).await {
            Ok(()) => return DeviceJobOutcome::Updated,
            Err(error) => error,
        };
        if attempt == ATTEMPTS || !error.code().is_retryable() {
            return DeviceJobOutcome::failed(error.code(), &error);
        }
        sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}
