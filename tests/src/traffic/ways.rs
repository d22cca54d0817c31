//! The ways on which back-ends send to devices, one against the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use downlink_amqp::message::{Body, Message, Properties};
use downlink_proto::api::v1 as api;
use downlink_proto::api::v1::cloud_to_device_client::CloudToDeviceClient;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::amqp;
use super::back_end::BackEnd;
use super::{Access, flow};
use crate::wire::amqp::{Answer, sender};
use crate::wire::rest::Rest;

/// Messages of one `SendBatch`, the most it takes.
const BATCH: usize = 500;
/// Calls at once where one call carries one message.
const CALLS: usize = 64;
/// Requests at once over HTTPS, a connection each.
const REQUESTS: usize = 32;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// Handle of the link for messages.
const COMMANDS: u32 = 2;

/// A way from a back-end to devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One AMQP link, sends pipelined as far as its credit goes.
    AmqpLink,
    /// One `SendStream`, 100 messages to a request.
    GrpcStream,
    /// `SendBatch` of 500, one after the other.
    GrpcBatch,
    /// `Send`, a message each, 64 at once.
    GrpcCalls,
    /// A desired property each by `PATCH /twins/{id}`, 32 at once: REST has no request that sends
    /// a message (c2d.md §1), and this is the nearest one it has.
    RestPatches,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 5] = [
        Self::AmqpLink,
        Self::GrpcStream,
        Self::GrpcBatch,
        Self::GrpcCalls,
        Self::RestPatches,
    ];

    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AmqpLink => "amqp, one link",
            Self::GrpcStream => "grpc, one stream",
            Self::GrpcBatch => "grpc, batches of 500",
            Self::GrpcCalls => "grpc, 64 calls at once",
            Self::RestPatches => "rest, 32 twin patches at once",
        }
    }
}

/// A hub with devices to send to.
pub struct Target {
    access: Access,
    names: Arc<[String]>,
}

impl Target {
    /// Registers `devices` devices.
    ///
    /// # Errors
    /// What the hub answers.
    pub async fn new(access: &Access, devices: usize) -> anyhow::Result<Self> {
        let registered = BackEnd::new(access).register_all("way", devices).await?;
        let names = registered.into_iter().map(|(name, _)| name).collect();
        Ok(Self {
            access: access.clone(),
            names,
        })
    }

    /// Sends `count` messages of `body` to the devices in turn, and returns how long it took until
    /// the last was accepted. What was sent is purged afterwards, so that every run finds the
    /// queues empty.
    ///
    /// # Errors
    /// When one is refused, or that takes longer than five minutes.
    pub async fn send(&self, way: Way, count: usize, body: &Bytes) -> anyhow::Result<Duration> {
        let (access, names) = (&self.access, &self.names);
        let began = Instant::now();
        let sending = async {
            match way {
                Way::AmqpLink => by_link(access, names, count, body).await,
                Way::GrpcStream => flow::send(access, names, count, body).await,
                Way::GrpcBatch => by_batches(access, names, count, body).await,
                Way::GrpcCalls => by_calls(access, names, count, body).await,
                Way::RestPatches => by_patches(access, names, count, body).await,
            }
        };
        let sent = tokio::time::timeout(PATIENCE, sending).await;
        sent.context("it took too long")?
            .with_context(|| way.as_str())?;
        let took = began.elapsed();
        BackEnd::new(access).purge_all(names).await?;
        Ok(took)
    }
}

async fn by_link(
    access: &Access,
    names: &[String],
    count: usize,
    body: &Bytes,
) -> anyhow::Result<()> {
    let mut amqp = amqp::connect(access, 0, None).await?;
    amqp.begin(0).await?;
    amqp.attach_tokens().await?;
    amqp.put_token(&access.token()).await?;
    amqp.attach(0, sender(COMMANDS, "/messages/devicebound"))
        .await?;
    // Delivery ids count on from those of the tokens, delivery counts are the link's own.
    let (first, count) = (1, u32::try_from(count)?);
    let (mut sent, mut accepted, mut limit) = (0, 0, 0);
    while accepted < count {
        while sent < count.min(limit) {
            let name = &names[sent as usize % names.len()];
            let message = Message {
                properties: Properties {
                    to: Some(format!("/devices/{name}/messages/devicebound")),
                    ..Properties::default()
                },
                body: Body::Data(body.clone()),
                ..Message::default()
            };
            amqp.put_message(0, COMMANDS, first + sent, &message.encode());
            sent += 1;
        }
        amqp.flush().await?;
        match amqp.answer(COMMANDS).await? {
            Answer::Room {
                delivery_count,
                credit,
            } => limit = delivery_count + credit,
            Answer::Accepted(more) => accepted += more,
        }
    }
    Ok(())
}

fn message(names: &[String], number: usize, body: &Bytes) -> api::OutgoingMessage {
    api::OutgoingMessage {
        device_id: names[number % names.len()].clone(),
        body: body.clone(),
        ..api::OutgoingMessage::default()
    }
}

async fn by_batches(
    access: &Access,
    names: &[String],
    count: usize,
    body: &Bytes,
) -> anyhow::Result<()> {
    let mut client = CloudToDeviceClient::new(access.channel(0));
    for first in (0..count).step_by(BATCH) {
        let numbers = first..count.min(first + BATCH);
        let batch = api::SendBatchRequest {
            messages: numbers.map(|number| message(names, number, body)).collect(),
        };
        let sent = client.send_batch(access.request(batch)?).await?;
        for result in sent.into_inner().results {
            if let Some(failure) = result.failure {
                bail!("refused: {} {}", failure.code, failure.message);
            }
        }
    }
    Ok(())
}

async fn by_calls(
    access: &Access,
    names: &Arc<[String]>,
    count: usize,
    body: &Bytes,
) -> anyhow::Result<()> {
    let client = CloudToDeviceClient::new(access.channel(0));
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLS {
        let (access, names, body) = (access.clone(), Arc::clone(names), body.clone());
        let (mut client, next) = (client.clone(), Arc::clone(&next));
        callers.spawn(async move {
            while let number = next.fetch_add(1, Ordering::Relaxed)
                && number < count
            {
                let message = Some(message(&names, number, &body));
                let request = access.request(api::SendRequest { message })?;
                client.send(request).await?;
            }
            anyhow::Ok(())
        });
    }
    all(callers).await
}

async fn by_patches(
    access: &Access,
    names: &Arc<[String]>,
    count: usize,
    body: &Bytes,
) -> anyhow::Result<()> {
    let text = std::str::from_utf8(body).context("the body is text")?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..REQUESTS {
        let (access, names, text) = (access.clone(), Arc::clone(names), text.to_owned());
        let next = Arc::clone(&next);
        callers.spawn(async move {
            let address = access.door(0, 443);
            let io = access.trust.connect(address, &access.host, None).await?;
            let (mut rest, token) = (Rest::over(io, &access.host), access.token());
            while let number = next.fetch_add(1, Ordering::Relaxed)
                && number < count
            {
                let name = &names[number % names.len()];
                let desired = serde_json::json!({ "number": number, "text": text });
                let change = serde_json::json!({ "properties": { "desired": desired } });
                let path = format!("/twins/{name}?api-version=2021-04-12");
                let body = change.to_string();
                let answer = rest.ask("PATCH", &path, &token, &body).await?;
                ensure!(answer.status == 200, "answered with {}", answer.status);
            }
            anyhow::Ok(())
        });
    }
    all(callers).await
}

/// Waits for every task; the first failure ends them all.
pub(super) async fn all(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
