//! Conversations of back-ends with the door, the services behind it in memory.

mod client;
mod commands;
mod feedback;
mod life;
mod receivers;
mod tokens;

use downlink_domain::device::Device;
use downlink_domain::message::{Settlement, Verdict};
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
