//! Watching a twin as server-sent events (WHATWG HTML 9.2): the twin as it is, and the newest whenever it has changed.
//!
//! The id of an event is the twin's version. Who comes back with the `Last-Event-ID` of the newest is shown nothing until
//! there is a newer one.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use bytes::Bytes;
use downlink_domain::id::IdentityName;
use downlink_ports::TwinView;
use downlink_runtime::OnError;
use futures::stream;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::IdentityId;
use super::serve::Activity;
use super::twins;
use crate::authenticate::Principal;
use crate::shared::Shared;
use crate::watching::{Place, Watcher};

/// Events that wait to be written; their producer waits beyond.
const MAX_WAITING: usize = 2;
/// Time without an event after which a comment shows that the stream lives; proxies close silent ones after a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The caller has gone, or takes nothing.
struct Gone;

/// Shows a twin and what it changes to, until the caller goes, its token ends, or the twin does.
#[utoipa::path(
    get,
    path = "/twins/{id}/events",
    tag = "twins",
    operation_id = "watchTwin",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("Last-Event-ID" = Option<String>, Header, description = "The version that the caller has; nothing is shown until there is a newer one."),
    ),
    responses((
        status = 200,
        description = "A stream of server-sent events: `twin` with the whole twin, its version as the id, and `end`.",
        body = String,
        content_type = "text/event-stream",
    )),
)]
pub(super) async fn watch(
    shared: &Arc<Shared>,
    name: IdentityName,
    caller: Principal,
    parts: &Parts,
) -> Result<Answer, ApiError> {
    let place = shared.watches.enter()?;
    let hub = shared.options.hub.clone();
    let view = shared.peers.twins.get_twin(hub, name).await?;
    let known = last_event(&parts.headers);
    let activity = parts.extensions.get::<Arc<Activity>>().cloned();
    Ok(Answer::events(follow(
        shared, caller, view, place, known, activity,
    )))
}

fn last_event(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

fn follow(
    shared: &Arc<Shared>,
    caller: Principal,
    view: TwinView,
    place: Place,
    known: Option<u64>,
    activity: Option<Arc<Activity>>,
) -> Body {
    let (sender, mut events) = mpsc::channel::<Bytes>(MAX_WAITING);
    let is_known = known == Some(view.twin.version);
    let watcher = Watcher::new(shared, caller.clone(), view, place);
    let of_task = Arc::clone(shared);
    shared
        .lifecycle
        .spawn("https.watch", OnError::Log, async move {
            let _held = activity.map(Activity::hold);
            let events = Events {
                sender,
                shared: &of_task,
            };
            // Whoever is gone needs no word.
            let _ = events.run(watcher, &caller, is_known).await;
        });
    Body::from_stream(stream::poll_fn(move |context| {
        let next = events.poll_recv(context);
        next.map(|event| event.map(Ok::<_, Infallible>))
    }))
}

struct Events<'a> {
    sender: mpsc::Sender<Bytes>,
    shared: &'a Shared,
}

impl Events<'_> {
    async fn run(
        &self,
        mut watcher: Watcher,
        caller: &Principal,
        is_known: bool,
    ) -> Result<(), Gone> {
        let shared = self.shared;
        let mut ended = pin!(Watcher::ended(
            shared,
            caller,
            shared.options.grpc.token_grace
        ));
        // Names the time after which a client that lost the stream comes back, in milliseconds.
        self.send("retry: 2000\n\n".into()).await?;
        let mut is_shown = is_known;
        loop {
            if !is_shown {
                match self.render(&watcher).await {
                    Ok(event) => self.send(event).await?,
                    Err(error) => return self.end(&error).await,
                }
            }
            tokio::select! {
                ended = &mut ended => return self.end(&ended.into()).await,
                changed = watcher.changed() => match changed {
                    Ok(()) => is_shown = false,
                    Err(error) => return self.end(&error).await,
                },
                () = tokio::time::sleep(HEARTBEAT) => {
                    is_shown = true;
                    self.send(Bytes::from_static(b":\n\n")).await?;
                }
                () = self.sender.closed() => return Err(Gone),
            }
        }
    }

    async fn render(&self, watcher: &Watcher) -> Result<Bytes, ApiError> {
        let view = watcher.view().await?;
        let version = view.twin.version;
        let document = twins::render(self.shared, view).await?;
        // JSON text has no line breaks, so it is one line of the stream.
        let event = format!("id: {version}\nevent: twin\ndata: {document}\n\n");
        Ok(event.into())
    }

    /// The last event says why there are no more.
    async fn end(&self, error: &ApiError) -> Result<(), Gone> {
        let why = json!({ "errorCode": error.code.number(), "message": error.text() });
        self.send(format!("event: end\ndata: {why}\n\n").into())
            .await
    }

    async fn send(&self, event: Bytes) -> Result<(), Gone> {
        let deadline = self.shared.options.https.write_deadline;
        match timeout(deadline, self.sender.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}
