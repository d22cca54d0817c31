//! Senders, and the receiver of feedback, over the public gRPC API.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use downlink_proto::api::v1 as api;
use downlink_proto::api::v1::cloud_to_device_client::CloudToDeviceClient;
use downlink_proto::api::v1::feedback_client::FeedbackClient;
use downlink_proto::api::v1::registry_client::RegistryClient;
use downlink_proto::api::v1::twins_client::TwinsClient;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::{Access, Ledger, message, message_id};

/// Longest wait for the answer to a call.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// Messages of one call.
const BATCH: usize = 3;
/// Attempts at a call that a test depends on.
const ATTEMPTS: usize = 50;
/// Calls at once where many are made.
const AT_ONCE: usize = 16;

/// Calls that a test depends on: tried again until they succeed.
#[derive(Clone)]
pub(super) struct BackEnd {
    access: Access,
    registry: Channel,
}

impl BackEnd {
    pub(super) fn new(access: &Access) -> Self {
        Self {
            access: access.clone(),
            registry: access.channel(0),
        }
    }

    /// Registers a device; returns its primary key.
    pub(super) async fn register(&self, device: &str) -> anyhow::Result<Vec<u8>> {
        let mut registry = RegistryClient::new(self.registry.clone());
        let create = api::CreateDeviceRequest {
            device_id: device.to_owned(),
            spec: None,
        };
        let made = registry.create(self.access.request(create)?).await?;
        let authentication = made
            .into_inner()
            .device
            .and_then(|device| device.authentication);
        let way = authentication.and_then(|authentication| authentication.way);
        let Some(api::authentication::Way::SymmetricKeys(keys)) = way else {
            bail!("the hub chose no keys");
        };
        crate::wire::tls::decode_key(&keys.primary)
    }

    /// Registers `count` devices; returns their names and primary keys.
    pub(super) async fn register_all(
        &self,
        prefix: &str,
        count: usize,
    ) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let mut tasks = JoinSet::new();
        for first in 0..AT_ONCE.min(count) {
            let (back_end, prefix) = (self.clone(), prefix.to_owned());
            tasks.spawn(async move {
                let mut devices = Vec::new();
                for number in (first..count).step_by(AT_ONCE) {
                    let name = format!("{prefix}-{count}-{number}");
                    let key = back_end.register(&name).await?;
                    devices.push((name, key));
                }
                anyhow::Ok(devices)
            });
        }
        let mut devices = Vec::with_capacity(count);
        while let Some(registered) = tasks.join_next().await {
            devices.append(&mut registered??);
        }
        Ok(devices)
    }

    /// Removes what waits for devices.
    pub(super) async fn purge_all(&self, devices: &Arc<[String]>) -> anyhow::Result<()> {
        let client = CloudToDeviceClient::new(self.access.channel(0));
        let mut tasks = JoinSet::new();
        for first in 0..AT_ONCE {
            let (access, devices) = (self.access.clone(), Arc::clone(devices));
            let mut client = client.clone();
            tasks.spawn(async move {
                for device_id in devices.iter().skip(first).step_by(AT_ONCE).cloned() {
                    let purge = access.request(api::PurgeRequest { device_id })?;
                    client.purge(purge).await?;
                }
                anyhow::Ok(())
            });
        }
        super::ways::all(tasks).await
    }

    /// Messages that wait for a device.
    pub(super) async fn count(&self, device: &str) -> anyhow::Result<u64> {
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let mut client = CloudToDeviceClient::new(self.access.channel(attempt));
            let count = api::CountRequest {
                device_id: device.to_owned(),
            };
            match client.count(self.access.request(count)?).await {
                Ok(counted) => return Ok(counted.into_inner().waiting),
                Err(status) => last = Some(status),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(last.context("no attempt")?.into())
    }
}

/// Sends to one device, one call after the other.
pub(super) struct Sender {
    access: Access,
    device: String,
    turn: usize,
    pause: Duration,
}

impl Sender {
    pub(super) fn new(access: &Access, device: &str, turn: usize, pause: Duration) -> Self {
        Self {
            access: access.clone(),
            device: device.to_owned(),
            turn,
            pause,
        }
    }

    /// Sends until told to stop; a message of unknown outcome is not sent again.
    pub(super) async fn run(mut self, ledger: &Ledger, stop: &CancellationToken) {
        let mut client = CloudToDeviceClient::new(self.access.channel(self.turn));
        let mut next = 0;
        while !stop.is_cancelled() {
            let numbers = next..next + BATCH;
            next = numbers.end;
            let messages = numbers.clone().map(|number| message(&self.device, number));
            let batch = api::SendBatchRequest {
                messages: messages.collect(),
            };
            let ids = numbers.map(|number| message_id(&self.device, number));
            let Ok(request) = self.access.request(batch) else {
                return;
            };
            match client.send_batch(request).await {
                Ok(sent) => note(ledger, ids, sent.into_inner().results),
                Err(status) => {
                    // Nothing was done when it says so; else nobody knows.
                    let is_certain = matches!(
                        status.code(),
                        Code::ResourceExhausted | Code::Unauthenticated | Code::InvalidArgument
                    );
                    for id in ids {
                        if is_certain {
                            ledger.refuse();
                        } else {
                            ledger.lose_sight_of(id);
                        }
                    }
                    self.turn += 1;
                    client = CloudToDeviceClient::new(self.access.channel(self.turn));
                    tokio::time::sleep(PAUSE).await;
                }
            }
            tokio::time::sleep(self.pause).await;
        }
    }
}

fn note(ledger: &Ledger, ids: impl Iterator<Item = String>, results: Vec<api::SendResult>) {
    for (id, result) in ids.zip(results) {
        match result.failure {
            None => ledger.accept(id),
            Some(failure) if failure.grpc_code == Code::Unavailable as u32 => {
                ledger.lose_sight_of(id);
            }
            Some(_) => ledger.refuse(),
        }
    }
}

/// Reads the hub's feedback and completes every batch.
pub(super) struct FeedbackReader {
    access: Access,
    turn: usize,
}

impl FeedbackReader {
    pub(super) fn new(access: &Access) -> Self {
        Self {
            access: access.clone(),
            turn: 0,
        }
    }

    /// Reads for ever.
    pub(super) async fn run(mut self, ledger: &Ledger) {
        loop {
            let _ = self.read(ledger).await;
            self.turn += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(&self, ledger: &Ledger) -> anyhow::Result<()> {
        let mut client = FeedbackClient::new(self.access.channel(self.turn));
        // Room for the credit and for the words on the batches that are granted.
        let (words, stream) = mpsc::channel(16);
        let grant = |credit, acknowledgements| api::ReceiveRequest {
            credit,
            acknowledgements,
        };
        words.send(grant(8, Vec::new())).await?;
        let mut request = self
            .access
            .request(tokio_stream::wrappers::ReceiverStream::new(stream))?;
        request.metadata_mut().remove("grpc-timeout");
        let mut answers = client.receive(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            let Some(api::receive_response::Response::Batch(batch)) = answer.response else {
                continue;
            };
            for record in batch.records {
                let status = record.status();
                if let Some(id) = record.original_message_id {
                    ledger.report(id, status);
                }
            }
            let done = api::Acknowledgement {
                token: batch.token,
                verdict: api::Verdict::Complete.into(),
            };
            words.send(grant(1, vec![done])).await?;
        }
        Ok(())
    }
}

impl Access {
    /// Sets the desired property `step` of a device, through the gateway whose turn it is.
    ///
    /// # Errors
    /// What the hub answers.
    pub async fn set_step(&self, device: &str, step: usize, turn: usize) -> anyhow::Result<()> {
        let mut twins = TwinsClient::new(self.channel(turn));
        let patch = api::PatchTwinRequest {
            device_id: device.to_owned(),
            desired_json: Some(format!("{{\"step\":{step}}}")),
            ..api::PatchTwinRequest::default()
        };
        twins.patch(self.request(patch)?).await?;
        Ok(())
    }

    /// A channel to the gateway whose turn it is; it connects when it is first used.
    pub(super) fn channel(&self, turn: usize) -> Channel {
        let (access, address) = (self.clone(), self.door(turn, 5180));
        let connector = tower::service_fn(move |_| {
            let access = access.clone();
            async move {
                let stream = access
                    .trust
                    .connect(address, &access.host, Some(b"h2"))
                    .await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let endpoint = format!("https://{}", self.host);
        Endpoint::from_shared(endpoint)
            .expect("a host name makes a uri")
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector)
    }

    /// A request with the hub owner's token and a deadline.
    pub(super) fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        let value = MetadataValue::try_from(self.token())?;
        request.metadata_mut().insert("authorization", value);
        request.set_timeout(PATIENCE);
        Ok(request)
    }
}
