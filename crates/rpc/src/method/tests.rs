use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodTimeouts};
use downlink_ports::MethodApi;
use downlink_proto::v1;
use downlink_proto::v1::method_reply::Reply;
use downlink_proto::v1::method_service_client::MethodServiceClient;
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;

use crate::testing::{every_outcome, hub, module_name};
use crate::{GrpcMethodClient, MuxOptions, Services, in_process};

/// Keeps what it was called with and answers from a list.
struct Recorder {
    calls: Mutex<Vec<MethodCall>>,
    outcomes: Mutex<Vec<Result<MethodAnswer, MethodError>>>,
}

#[async_trait]
impl MethodApi for Recorder {
    async fn invoke(&self, call: MethodCall) -> Result<MethodAnswer, MethodError> {
        self.calls.lock().push(call);
        self.outcomes.lock().remove(0)
    }
}

fn recorder(outcomes: Vec<Result<MethodAnswer, MethodError>>) -> Arc<Recorder> {
    Arc::new(Recorder {
        calls: Mutex::default(),
        outcomes: Mutex::new(outcomes),
    })
}

fn call() -> MethodCall {
    MethodCall {
        hub: hub(),
        target: module_name(),
        device: DeviceKey(7),
        name: "reboot".parse().unwrap(),
        payload: Bytes::from(vec![b'7'; 128 * 1024]),
        timeouts: MethodTimeouts::new(Duration::from_millis(1500), Duration::from_mins(5)).unwrap(),
    }
}

#[tokio::test]
async fn a_call_arrives_as_it_was_made_and_every_outcome_comes_back() {
    let recorder = recorder(every_outcome());
    let lifecycle = Lifecycle::new();
    let (endpoint, acceptor) = in_process();
    Services::new(&lifecycle)
        .with_methods(recorder.clone())
        .serve(acceptor);
    let client = GrpcMethodClient::new(&endpoint, MuxOptions::default(), &lifecycle);
    for outcome in every_outcome() {
        assert_eq!(client.invoke(call()).await, outcome);
        assert_eq!(recorder.calls.lock().pop(), Some(call()));
    }
}

#[tokio::test]
async fn a_name_or_timeout_outside_its_rules_is_an_outcome_and_never_reaches_the_service() {
    let recorder = recorder(Vec::new());
    let lifecycle = Lifecycle::new();
    let (endpoint, acceptor) = in_process();
    Services::new(&lifecycle)
        .with_methods(recorder.clone())
        .serve(acceptor);
    let frame = |call_id, name: &str, response_timeout_millis| v1::MethodCall {
        call_id,
        timeout_millis: 10_000,
        call: Some(v1::method_call::Call::Invoke(v1::InvokeMethodCall {
            hub: "hub".to_owned(),
            target: Some(v1::IdentityName {
                device_id: "d".to_owned(),
                module_id: None,
            }),
            name: name.to_owned(),
            response_timeout_millis,
            ..v1::InvokeMethodCall::default()
        })),
    };
    let batch = v1::MethodCalls {
        calls: vec![frame(1, "a b", 5000), frame(2, "ok", 4999)],
        cancelled_call_ids: Vec::new(),
    };
    let mut client = MethodServiceClient::new(endpoint.connect_lazy());
    let calls = futures::stream::iter([batch]);
    let mut replies = client.calls(calls).await.unwrap().into_inner();
    let replies = replies.message().await.unwrap().unwrap().replies;
    let failures: Vec<_> = replies
        .into_iter()
        .map(|reply| (reply.call_id, reply.reply.unwrap()))
        .collect();
    let failure = |failure: v1::MethodFailure| {
        Reply::Invoke(v1::MethodOutcome {
            outcome: Some(v1::method_outcome::Outcome::Failure(failure.into())),
        })
    };
    assert_eq!(failures.len(), 2);
    assert!(failures.contains(&(1, failure(v1::MethodFailure::InvalidName))));
    assert!(failures.contains(&(2, failure(v1::MethodFailure::InvalidTimeouts))));
    assert_eq!(*recorder.calls.lock(), []);
}
