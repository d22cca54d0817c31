//! One watcher of a twin.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::access::{Access, Action};
use downlink_ports::TwinView;
use downlink_proto::api::v1;
use downlink_runtime::OnError;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::answers::{AnswerStream, Answers, Gone, answers};
use super::call::{Call, Ending};
use super::watches::{Place, Seen, Watches};
use super::{status, twins};
use crate::https::USE_CASE_DEADLINE;
use crate::https::error::ApiError;
use crate::https::serve::Activity;
use crate::shared::Shared;

/// Pause after a twin could not be read.
const REST: Duration = Duration::from_secs(1);

struct Watcher {
    shared: Arc<Shared>,
    watches: Arc<Watches>,
    seen: watch::Receiver<Seen>,
    /// The newest that was sent.
    view: TwinView,
}

/// Sends `view` and then what it changes to, in a task of its own.
pub(super) fn start(
    shared: &Arc<Shared>,
    watches: &Arc<Watches>,
    call: Arc<Call>,
    view: TwinView,
    place: Place,
) -> AnswerStream<v1::WatchTwinResponse> {
    let (sender, stream) = answers(shared.options.grpc.write_deadline);
    let following = Watcher {
        seen: watches.subscribe(view.device.key, view.twin.version),
        shared: Arc::clone(shared),
        watches: Arc::clone(watches),
        view,
    };
    shared
        .lifecycle
        .spawn("grpc.watch", OnError::Log, async move {
            let _held = call.activity.clone().map(Activity::hold);
            let _place = place;
            // Whoever is gone needs no status.
            let _ = following.run(&call, sender).await;
        });
    stream
}

impl Watcher {
    async fn run(
        mut self,
        call: &Call,
        answers: Answers<v1::WatchTwinResponse>,
    ) -> Result<(), Gone> {
        let shared = Arc::clone(&self.shared);
        let mut ending = pin!(call.ending(&shared));
        loop {
            if let Err(error) = self.check_right(call) {
                answers.fail(error.into());
                return Ok(());
            }
            let twin = Some(twins::to_wire(&self.view));
            answers.send(v1::WatchTwinResponse { twin }).await?;
            let next = tokio::select! {
                ending = &mut ending => Err(match ending {
                    Ending::Soft(status) => status,
                    Ending::Deadline => status::deadline(),
                }),
                next = self.next() => next.map_err(Into::into),
                () = answers.gone() => return Err(Gone),
            };
            match next {
                Ok(view) => self.view = view,
                Err(status) => {
                    answers.fail(status);
                    return Ok(());
                }
            }
        }
    }

    /// Refuses who may see the device no more, since its tags have changed.
    fn check_right(&self, call: &Call) -> Result<(), ApiError> {
        let device = &self.view.device.name.device;
        let access = Access::to_device(Action::TwinsRead, device);
        let (path, tags) = (["twins", device.as_str()], &self.view.twin.tags);
        let authenticator = &self.shared.authenticator;
        Ok(authenticator.authorize_tagged(&call.principal, &access, &path, tags)?)
    }

    /// Waits for a version above the one that was sent.
    async fn next(&mut self) -> Result<TwinView, ApiError> {
        loop {
            let seen = *self.seen.borrow_and_update();
            match seen {
                Seen::Gone => return Err(self.gone()),
                Seen::Version(version) if version > self.view.twin.version => {
                    if let Some(view) = self.read().await? {
                        return Ok(view);
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

    /// Reads the twin; `None` when it is not newer, or cannot be read now.
    async fn read(&self) -> Result<Option<TwinView>, ApiError> {
        let _permit = self.watches.reads.acquire().await;
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
