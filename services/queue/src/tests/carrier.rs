//! The service behind a carrier, as gateways see it.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::FeedbackStatus;
use downlink_ports::DeviceRegistry;
use downlink_ports::{EnqueueError, QueueApi, ReceiveCall};
use downlink_presence_memory::MemoryPresence;
use downlink_rpc::{GatewayPool, GrpcQueueClient, MuxOptions, in_process};
use downlink_runtime::telemetry::Metrics;
use downlink_runtime::{Lifecycle, Shutdown};
use downlink_testkit::{
    CountingIds, ManualClock, MemoryStore, a_hub, a_message_to, noon, somebody,
};
use downlink_testkit::{a_device_spec, an_identity};

use super::support::{DEVICE, settlement, watched};
use crate::{QueueDeps, QueueOptions};

#[tokio::test]
async fn a_message_goes_its_whole_way_over_the_carrier() {
    let lifecycle = Lifecycle::new();
    let store = Arc::new(MemoryStore::new());
    let (name, spec) = (an_identity(DEVICE), a_device_spec());
    let created = store.create(a_hub(), name, spec, somebody(), noon()).await;
    let device = created.unwrap().unwrap().key;
    let deps = QueueDeps {
        messages: store.clone(),
        feedback: store.clone(),
        outbox: store,
        relay: None,
        presence: Arc::new(MemoryPresence::new(noon())),
        gateways: Arc::new(GatewayPool::new()),
        clock: Arc::new(ManualClock::default()),
        ids: Arc::new(CountingIds::default()),
        meter: Metrics::new("downlink-queue").unwrap().meter("queue"),
    };
    let mut options = QueueOptions::default();
    options.feedback.flush_count = 1;
    let (endpoint, acceptor) = in_process();
    crate::start(options, deps, acceptor, &lifecycle);
    let client = GrpcQueueClient::new(&endpoint, MuxOptions::default(), &lifecycle);

    let messages = vec![watched("open"), a_message_to("nobody", "open")];
    let answers = client.enqueue(messages).await.unwrap();
    let sequence = answers[0].clone().unwrap().sequence;
    let unknown = EnqueueError::DeviceNotFound("nobody".parse().unwrap());
    assert_eq!(answers[1], Err(unknown));
    let call = ReceiveCall {
        device,
        limit: 16,
        lock_duration: None,
    };
    let held = client.receive(vec![call]).await.unwrap().remove(0);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].message.sequence, sequence);
    assert_eq!(held[0].message.body, "open");
    let done = settlement(&held[0].message, held[0].lock.token, Verdict::Complete);
    assert_eq!(client.settle(vec![done]).await.unwrap(), [Ok(())]);
    let batch = client
        .receive_feedback(a_hub(), Duration::from_secs(1))
        .await;
    let records = batch.unwrap().unwrap().records;
    assert_eq!(records[0].status, FeedbackStatus::Success);
    assert_eq!(client.count(vec![device]).await.unwrap(), [0]);

    drop(client);
    let shutdown = lifecycle.shutdown(Duration::from_secs(5)).await;
    assert_eq!(shutdown, Shutdown::Drained);
}
