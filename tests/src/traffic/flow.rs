//! How many messages pass a hub in a second: accepted, delivered, completed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use downlink_proto::api::v1 as api;
use downlink_proto::api::v1::cloud_to_device_client::CloudToDeviceClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::back_end::BackEnd;
use super::idle::Form;
use super::{Access, Ledger, Load, clients};

/// Messages of one request of the stream.
const BATCH: usize = 100;
/// Requests that wait in this process to be written.
const QUEUED: usize = 4;
const BODY_BYTES: usize = 100;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Messages that passed.
    pub messages: usize,
    /// From the first send until the last was accepted.
    pub accepted: Duration,
    /// From the first send until the last was completed.
    pub completed: Duration,
}

impl Figures {
    /// Messages accepted in a second.
    pub fn accepted_rate(&self) -> f64 {
        rate(self.messages, self.accepted)
    }

    /// Messages accepted, delivered and completed in a second.
    pub fn completed_rate(&self) -> f64 {
        rate(self.messages, self.completed)
    }
}

fn rate(messages: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(messages).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// Sends `messages` over one stream to `devices` connected devices in turn, and waits until none of
/// them waits any more.
///
/// # Errors
/// When one is refused, or that takes longer than five minutes.
pub async fn pass(
    access: &Access,
    form: Form,
    devices: usize,
    messages: usize,
) -> anyhow::Result<Figures> {
    let back_end = BackEnd::new(access);
    let ledger = Arc::new(Ledger::default());
    let prefix = format!("flow-{form:?}");
    let registered = back_end.register_all(&prefix, devices).await?;
    let of = |this| if form == this { devices } else { 0 };
    let load = Load {
        mqtt: of(Form::Mqtt),
        amqp: of(Form::Amqp),
        multiplexed: of(Form::Multiplexed),
        claimants: 1,
        pause: Duration::ZERO,
    };
    let mut receivers = JoinSet::new();
    for client in clients(access, &registered, load, 0) {
        let ledger = Arc::clone(&ledger);
        receivers.spawn(async move { client.run(&ledger).await });
    }
    let names: Vec<String> = registered.into_iter().map(|(name, _)| name).collect();
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    // One message each: everybody is there when the clock starts.
    send(access, &names, devices, &body).await?;
    wait_for(&ledger, &names, devices).await?;
    let began = Instant::now();
    send(access, &names, messages, &body).await?;
    let accepted = began.elapsed();
    wait_for(&ledger, &names, devices + messages).await?;
    for name in &names {
        while back_end.count(name).await? > 0 {}
    }
    let completed = began.elapsed();
    receivers.shutdown().await;
    Ok(Figures {
        messages,
        accepted,
        completed,
    })
}

async fn wait_for(ledger: &Ledger, names: &[String], wanted: usize) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let taken: usize = names.iter().map(|name| ledger.taken(name)).sum();
        if taken >= wanted {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{}", ledger.summary());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends and waits until all are accepted.
pub(super) async fn send(
    access: &Access,
    names: &[String],
    count: usize,
    body: &Bytes,
) -> anyhow::Result<()> {
    let (requests, stream) = mpsc::channel(QUEUED);
    let mut request = access.request(ReceiverStream::new(stream))?;
    request.metadata_mut().remove("grpc-timeout");
    let mut client = CloudToDeviceClient::new(access.channel(0));
    let writing = async {
        for first in (0..count).step_by(BATCH) {
            let numbers = first..count.min(first + BATCH);
            let messages = numbers.map(|number| api::StreamedMessage {
                id: number as u64,
                message: Some(api::OutgoingMessage {
                    device_id: names[number % names.len()].clone(),
                    body: body.clone(),
                    ..api::OutgoingMessage::default()
                }),
            });
            let messages = messages.collect();
            requests.send(api::SendStreamRequest { messages }).await?;
        }
        drop(requests);
        anyhow::Ok(())
    };
    let reading = async {
        let mut answers = client.send_stream(request).await?.into_inner();
        let mut answered = 0;
        while let Some(answer) = answers.message().await? {
            for result in answer.results {
                if let Some(failure) = result.failure {
                    anyhow::bail!("refused: {} {}", failure.code, failure.message);
                }
                answered += 1;
            }
        }
        ensure!(answered == count, "{answered} of {count} were answered");
        Ok(())
    };
    let both = async { tokio::try_join!(writing, reading) };
    let done = tokio::time::timeout(PATIENCE, both).await;
    done.context("the stream took too long")??;
    Ok(())
}
