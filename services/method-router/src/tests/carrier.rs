//! The service behind a carrier, as gateways see it.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::method::MethodError;
use downlink_ports::MethodApi;
use downlink_presence_memory::MemoryPresence;
use downlink_rpc::{GatewayPool, GrpcMethodClient, MuxOptions, in_process};
use downlink_runtime::telemetry::Metrics;
use downlink_runtime::{Lifecycle, Shutdown};
use downlink_testkit::noon;

use super::support::a_call;
use crate::{MethodDeps, MethodOptions};

#[tokio::test]
async fn an_outcome_crosses_the_carrier_as_it_is() {
    let lifecycle = Lifecycle::new();
    let deps = MethodDeps {
        presence: Arc::new(MemoryPresence::new(noon())),
        gateways: Arc::new(GatewayPool::new()),
        meter: Metrics::new("downlink-method-router")
            .unwrap()
            .meter("method_router"),
    };
    let (endpoint, acceptor) = in_process();
    crate::start(MethodOptions::default(), deps, acceptor, &lifecycle);
    let client = GrpcMethodClient::new(&endpoint, MuxOptions::default(), &lifecycle);
    let outcome = client.invoke(a_call(0, 30)).await;
    assert_eq!(outcome, Err(MethodError::NotOnline));
    drop(client);
    let shutdown = lifecycle.shutdown(Duration::from_secs(5)).await;
    assert_eq!(shutdown, Shutdown::Drained);
}
