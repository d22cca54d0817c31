//! Conversations of back-ends with the door, the services behind it in memory.

mod catalogue;
mod certificates;
mod client;
mod commands;
mod device_hostile;
mod device_messages;
mod device_methods;
mod device_twins;
mod device_units;
mod feedback;
mod life;
mod limits;
mod policies;
mod receivers;
mod tokens;

use downlink_domain::device::Device;
use downlink_domain::message::{Settlement, Verdict};
use downlink_domain::presence::Subscriptions;
use downlink_ports::{LockedMessage, ReceiveCall};

use crate::fakes::TestHub;

/// Takes the next messages of a device, as its own connection would.
async fn take(hub: &TestHub, device: &Device, limit: u16) -> Vec<LockedMessage> {
    let call = ReceiveCall {
        device: device.key,
        limit,
        lock_duration: None,
    };
    let mut answers = hub.shared.peers.queue.receive(vec![call]).await.unwrap();
    answers.remove(0)
}

/// Completes a message, as its device would.
async fn complete(hub: &TestHub, device: &Device, locked: &LockedMessage) {
    let settlement = Settlement {
        device: device.key,
        sequence: locked.message.sequence,
        token: locked.lock.token,
        verdict: Verdict::Complete,
    };
    hub.shared
        .peers
        .queue
        .settle(vec![settlement])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
}

/// Sends messages with these bodies to a device.
async fn send(hub: &TestHub, device: &Device, bodies: &[&str]) {
    let messages = bodies.iter().map(|body| {
        let mut message = downlink_testkit::a_message_to(device.name.device.as_str(), "m");
        message.hub = device.hub.clone();
        message.expiry = None;
        message.body = bytes::Bytes::copy_from_slice(body.as_bytes());
        message
    });
    let queue = &hub.shared.peers.queue;
    let accepted = queue.enqueue(messages.collect()).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
}

/// Waits until the device has this many messages in its queue.
async fn until_count(hub: &TestHub, device: &Device, expected: u64) {
    let looking = async {
        while hub
            .shared
            .peers
            .queue
            .count(vec![device.key])
            .await
            .unwrap()
            != [expected]
        {
            tokio::task::yield_now().await;
        }
    };
    let looked = tokio::time::timeout(std::time::Duration::from_secs(10), looking).await;
    looked.expect("the queue has that many messages");
}

/// Waits until the connection of the device has asked for what `is_wanted` tells.
async fn until_subscribed(
    hub: &TestHub,
    device: &Device,
    is_wanted: impl Fn(Subscriptions) -> bool,
) {
    let looking = async {
        loop {
            let handle = hub.shared.connections.find(device.key);
            if handle.is_some_and(|handle| is_wanted(handle.subscriptions())) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let looked = tokio::time::timeout(std::time::Duration::from_secs(10), looking).await;
    looked.expect("the connection has asked for it");
}
