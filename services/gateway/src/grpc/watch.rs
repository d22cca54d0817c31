//! One watcher of a twin over gRPC.

use std::pin::pin;
use std::sync::Arc;

use downlink_proto::api::v1;
use downlink_runtime::OnError;

use super::answers::{AnswerStream, Answers, Gone, answers};
use super::call::{Call, Ending};
use super::{status, twins};
use crate::https::serve::Activity;
use crate::shared::Shared;
use crate::watching::Watcher;

/// Sends what the watcher shows, first the twin as it is, in a task of its own.
pub(super) fn start(
    shared: &Arc<Shared>,
    call: Arc<Call>,
    watcher: Watcher,
) -> AnswerStream<v1::WatchTwinResponse> {
    let (sender, stream) = answers(shared.options.grpc.write_deadline);
    let of_task = Arc::clone(shared);
    shared
        .lifecycle
        .spawn("grpc.watch", OnError::Log, async move {
            let _held = call.activity.clone().map(Activity::hold);
            // Whoever is gone needs no status.
            let _ = run(&of_task, &call, watcher, sender).await;
        });
    stream
}

async fn run(
    shared: &Shared,
    call: &Call,
    mut watcher: Watcher,
    answers: Answers<v1::WatchTwinResponse>,
) -> Result<(), Gone> {
    let mut ending = pin!(call.ending(shared));
    loop {
        let twin = match watcher.view().await {
            Ok(view) => Some(twins::to_wire(view)),
            Err(error) => {
                answers.fail(error.into());
                return Ok(());
            }
        };
        answers.send(v1::WatchTwinResponse { twin }).await?;
        let changed = tokio::select! {
            ending = &mut ending => Err(match ending {
                Ending::Soft(status) => status,
                Ending::Deadline => status::deadline(),
            }),
            changed = watcher.changed() => changed.map_err(Into::into),
            () = answers.gone() => return Err(Gone),
        };
        if let Err(status) = changed {
            answers.fail(status);
            return Ok(());
        }
    }
}
