use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::{ErrorCode, Timestamp};
use downlink_ports::{ConnectionApi, PeerError};
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;

use crate::{GrpcTwinClient, MuxOptions, Services, in_process};

/// Remembers what it was told.
#[derive(Default)]
struct Desk {
    seen: Mutex<Vec<(DeviceKey, Timestamp)>>,
}

#[async_trait]
impl ConnectionApi for Desk {
    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), PeerError> {
        self.seen.lock().extend(seen);
        Ok(())
    }

    async fn count_connected(&self, hub: HubName) -> Result<u64, PeerError> {
        match hub.as_str() {
            "hub.example" => Ok(self.seen.lock().len() as u64),
            _ => Err(PeerError::refused(ErrorCode::ArgumentInvalid, &"elsewhere")),
        }
    }
}

fn connected(lifecycle: &Lifecycle) -> (Arc<Desk>, GrpcTwinClient) {
    let desk = Arc::new(Desk::default());
    let (endpoint, acceptor) = in_process();
    Services::new(lifecycle)
        .with_connections(Arc::clone(&desk) as _)
        .serve(acceptor);
    let client = GrpcTwinClient::new(&endpoint, MuxOptions::default(), lifecycle);
    (desk, client)
}

#[tokio::test]
async fn activity_and_counts_cross_the_wire() {
    let lifecycle = Lifecycle::new();
    let (desk, client) = connected(&lifecycle);
    let seen: Vec<_> = (0..10_000)
        .map(|n| (DeviceKey(n - 1), Timestamp::from_millis(n * 1_000)))
        .collect();
    client.record_activity(seen.clone()).await.unwrap();
    assert_eq!(*desk.seen.lock(), seen);
    let hub: HubName = "hub.example".parse().unwrap();
    assert_eq!(client.count_connected(hub).await, Ok(10_000));
    let other: HubName = "other.example".parse().unwrap();
    let refused = client.count_connected(other).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::ArgumentInvalid);
    let beyond = vec![(DeviceKey(1), Timestamp::from_millis(0)); 10_001];
    assert!(client.record_activity(beyond).await.is_err());
    assert_eq!(desk.seen.lock().len(), 10_000);
}
