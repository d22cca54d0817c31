//! What the tests of this room share: a gateway whose answers the test gives, and sample values.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device, DeviceStatus, SymmetricKeys};
use downlink_domain::id::{DeviceKey, GenerationId, HubName, IdentityName};
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_domain::twin::{Object, Section, Twin};
use downlink_ports::{Disconnect, GatewayApi, MethodDelivery, Notify, PeerError};
use downlink_runtime::Lifecycle;
use tokio::sync::{mpsc, oneshot};

use crate::{Endpoint, GrpcGatewayClient, MuxOptions, Services, in_process};

/// Longest time that a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the staged gateway was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Wake(Vec<DeviceKey>),
    Invoke(MethodDelivery),
    Notify(Vec<Notify>),
    Disconnect(Vec<Disconnect>),
}

/// A call that waits for the test's answer. Once its caller is gone, `answer` is closed.
pub(crate) struct Staged {
    pub(crate) asked: Asked,
    pub(crate) answer: oneshot::Sender<Answer>,
}

pub(crate) enum Answer {
    Done(Result<(), PeerError>),
    Invoked(Result<MethodAnswer, MethodError>),
}

impl Staged {
    pub(crate) fn succeed(self) {
        let _ = self.answer.send(Answer::Done(Ok(())));
    }

    pub(crate) fn fail(self, error: PeerError) {
        let _ = self.answer.send(Answer::Done(Err(error)));
    }

    pub(crate) fn invoked(self, outcome: Result<MethodAnswer, MethodError>) {
        let _ = self.answer.send(Answer::Invoked(outcome));
    }
}

struct StagedGateway {
    calls: mpsc::Sender<Staged>,
}

impl StagedGateway {
    async fn ask(&self, asked: Asked) -> Answer {
        let (answer, answered) = oneshot::channel();
        let staged = Staged { asked, answer };
        self.calls.send(staged).await.expect("the test listens");
        answered.await.expect("the test answers")
    }

    async fn done(&self, asked: Asked) -> Result<(), PeerError> {
        match self.ask(asked).await {
            Answer::Done(result) => result,
            Answer::Invoked(_) => panic!("not a method call"),
        }
    }
}

#[async_trait]
impl GatewayApi for StagedGateway {
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        self.done(Asked::Wake(devices)).await
    }

    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        match self.ask(Asked::Invoke(delivery)).await {
            Answer::Invoked(outcome) => outcome,
            Answer::Done(_) => panic!("a method call"),
        }
    }

    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError> {
        self.done(Asked::Notify(changes)).await
    }

    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError> {
        self.done(Asked::Disconnect(orders)).await
    }
}

/// Calls as they come in at a staged gateway.
pub(crate) struct Stage {
    calls: mpsc::Receiver<Staged>,
}

impl Stage {
    /// The next call.
    pub(crate) async fn next(&mut self) -> Staged {
        tokio::time::timeout(PATIENCE, self.calls.recv())
            .await
            .expect("a call comes in")
            .expect("the gateway is there")
    }
}

/// A staged gateway and where its calls come in.
pub(crate) fn staged_gateway() -> (Arc<dyn GatewayApi>, Stage) {
    let (sender, calls) = mpsc::channel(4096);
    (Arc::new(StagedGateway { calls: sender }), Stage { calls })
}

/// A staged gateway behind an in-process carrier.
pub(crate) struct Staging {
    pub(crate) stage: Stage,
    pub(crate) endpoint: Endpoint,
    pub(crate) server: Lifecycle,
    pub(crate) caller: Lifecycle,
}

impl Staging {
    pub(crate) fn new() -> Self {
        let (gateway, stage) = staged_gateway();
        let (endpoint, acceptor) = in_process();
        let (server, caller) = (Lifecycle::new(), Lifecycle::new());
        Services::new(&server).with_gateway(gateway).serve(acceptor);
        Self {
            stage,
            endpoint,
            server,
            caller,
        }
    }

    pub(crate) fn client(&self, options: MuxOptions) -> GrpcGatewayClient {
        GrpcGatewayClient::new(&self.endpoint, options, &self.caller)
    }
}

pub(crate) fn hub() -> HubName {
    "hub.example.net".parse().unwrap()
}

pub(crate) fn module_name() -> IdentityName {
    IdentityName {
        device: "boiler-7".parse().unwrap(),
        module: Some("probe".parse().unwrap()),
    }
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_767_604_351_412 + millis)
}

pub(crate) fn keys() -> SymmetricKeys {
    SymmetricKeys {
        primary: vec![1; 32],
        secondary: vec![2; 64],
    }
}

pub(crate) fn device(authentication: Authentication) -> Device {
    Device {
        key: DeviceKey(-5),
        hub: hub(),
        name: module_name(),
        generation: GenerationId(u64::MAX),
        etag: 17,
        status: DeviceStatus::Disabled,
        status_reason: Some("im Keller – außer Betrieb".to_owned()),
        status_updated_at: Timestamp::UNSET,
        authentication,
        is_edge: true,
        connection_state_updated_at: at(1),
        last_activity_at: Timestamp::MAX,
        is_connected: true,
        model_id: "dtmi:example:Pump;1".to_owned(),
        managed_by: Some("jemand".to_owned()),
        device_scope: Some("ms-azure-iot-edge://gw-1".to_owned()),
        parent_scopes: vec!["ms-azure-iot-edge://gw-2".to_owned(), String::new()],
    }
}

pub(crate) fn object(text: &str) -> Object {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn twin() -> Twin {
    let section = |values, version| Section {
        values: object(values),
        metadata: object(r#"{"$lastUpdated":"2026-01-05T09:12:31.4120000Z"}"#),
        version,
    };
    Twin {
        tags: object(r#"{"z":1,"a":{"deep":[1,"x",null]}}"#),
        // Order of members and spelling of numbers are part of the value.
        desired: section(r#"{"t":1.50,"b":4503599627370495,"a":-0.0}"#, 9),
        reported: section("{}", 4),
        etag: 5,
        version: 9,
    }
}

pub(crate) fn answer(text: &'static str) -> MethodAnswer {
    MethodAnswer {
        status: -200,
        payload: Bytes::from_static(text.as_bytes()),
    }
}

/// Every outcome that a method call may have.
pub(crate) fn every_outcome() -> Vec<Result<MethodAnswer, MethodError>> {
    let answers = [answer("{\"ok\":true}"), answer("")].map(Ok);
    let errors = MethodError::ALL.map(Err);
    answers.into_iter().chain(errors).collect()
}
