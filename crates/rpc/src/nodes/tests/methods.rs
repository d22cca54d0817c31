//! Method calls, which are made again only when nothing was handed over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodTimeouts};
use downlink_ports::MethodApi;
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::fixture::options;
use crate::testing::{answer, hub, module_name};
use crate::{Acceptor, Services, method_nodes};

type Outcome = Result<MethodAnswer, MethodError>;

/// Routers that share their calls: whichever is asked first takes the first outcome.
struct Router {
    calls: Arc<Mutex<Vec<MethodCall>>>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    pause: Duration,
}

#[async_trait]
impl MethodApi for Router {
    async fn invoke(&self, call: MethodCall) -> Outcome {
        self.calls.lock().push(call);
        let outcome = self.outcomes.lock().remove(0);
        tokio::time::sleep(self.pause).await;
        outcome
    }
}

fn call() -> MethodCall {
    MethodCall {
        hub: hub(),
        target: module_name(),
        device: DeviceKey(7),
        name: "reboot".parse().unwrap(),
        payload: Bytes::from_static(b"1"),
        timeouts: MethodTimeouts::new(Duration::from_secs(10), Duration::from_secs(20)).unwrap(),
    }
}

/// What a call comes to when `nodes` routers answer `outcomes` in turn, and the calls they got.
async fn invoke(nodes: usize, outcomes: Vec<Outcome>) -> (Outcome, Vec<MethodCall>) {
    let (server, caller) = (Lifecycle::new(), Lifecycle::new());
    let (calls, outcomes) = (Arc::default(), Arc::new(Mutex::new(outcomes)));
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for _ in 0..nodes {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let router = Router {
            calls: Arc::clone(&calls),
            outcomes: Arc::clone(&outcomes),
            pause: Duration::from_millis(50),
        };
        Services::new(&server)
            .with_methods(Arc::new(router))
            .serve(Acceptor::tcp(listener, 8));
    }
    let methods = method_nodes(options(&addresses), &caller);
    let outcome = methods.invoke(call()).await;
    let calls = std::mem::take(&mut *calls.lock());
    (outcome, calls)
}

#[tokio::test]
async fn a_call_that_a_router_did_not_take_on_goes_to_the_next_with_what_is_left_of_its_time() {
    let outcomes = vec![Err(MethodError::Unavailable), Ok(answer("1"))];
    let (outcome, calls) = invoke(2, outcomes).await;
    assert_eq!(outcome, Ok(answer("1")));
    assert_eq!(calls[0], call());
    let (first, second) = (calls[0].timeouts, calls[1].timeouts);
    let spent = first.response().saturating_sub(second.response());
    assert_eq!(first.connect().saturating_sub(second.connect()), spent);
    assert!(spent >= Duration::from_millis(50) && spent < Duration::from_secs(5));
}

#[tokio::test]
async fn a_call_that_no_router_takes_on_is_not_made_a_third_time() {
    let outcomes = vec![Err(MethodError::Unavailable); 2];
    let (outcome, calls) = invoke(3, outcomes).await;
    assert_eq!(outcome, Err(MethodError::Unavailable));
    assert_eq!(calls.len(), 2);
}

#[tokio::test]
async fn a_call_that_may_have_been_handed_over_is_not_made_again() {
    let lost = MethodError::ConnectionLost;
    let (outcome, calls) = invoke(2, vec![Err(lost)]).await;
    assert_eq!((outcome, calls.len()), (Err(lost), 1));
}

#[tokio::test]
async fn a_single_router_that_is_unavailable_is_asked_once() {
    let unavailable = MethodError::Unavailable;
    let (outcome, calls) = invoke(1, vec![Err(unavailable)]).await;
    assert_eq!((outcome, calls.len()), (Err(unavailable), 1));
}
