//! The queue service over gRPC.

use downlink_proto::v1::queue_service_client::QueueServiceClient;
use downlink_proto::v1::{
    DeviceMessages, QueueCall, QueueCalls, QueueReplies, QueueReply, queue_call, queue_reply,
};
use prost::Message;

use crate::mux::call_stream;

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::GrpcQueueClient;
pub(crate) use server::QueueServer;

/// Tag and lengths of one message inside its reply, at their longest.
const MESSAGE_OVERHEAD_BYTES: usize = 16;

call_stream!(
    /// The hot calls of the queue service.
    QueueStream,
    "queue",
    QueueServiceClient,
    (QueueCalls, QueueCall, queue_call::Call),
    (QueueReplies, QueueReply, queue_reply::Reply),
    {
        fn take_part(reply: &mut queue_reply::Reply, max_bytes: usize) -> Option<queue_reply::Reply> {
            let queue_reply::Reply::Receive(receive) = reply else {
                return None;
            };
            let devices = take_devices(&mut receive.devices, max_bytes)?;
            let part = downlink_proto::v1::ReceiveReply { devices };
            Some(queue_reply::Reply::Receive(part))
        }

        fn append(reply: &mut queue_reply::Reply, part: queue_reply::Reply) {
            match (reply, part) {
                (queue_reply::Reply::Receive(reply), queue_reply::Reply::Receive(part)) => {
                    reply.devices.extend(part.devices);
                }
                (reply, part) => *reply = part,
            }
        }
    }
);

/// Takes messages off the front, as many as fit but at least one; `None` when all fit.
fn take_devices(
    devices: &mut Vec<DeviceMessages>,
    max_bytes: usize,
) -> Option<Vec<DeviceMessages>> {
    let (device, message) = find_cut(devices, max_bytes)?;
    let rest = devices.split_off(device);
    let mut part = std::mem::replace(devices, rest);
    if message > 0
        && let Some(cut) = devices.first_mut()
    {
        let rest = cut.messages.split_off(message);
        part.push(DeviceMessages {
            position: cut.position,
            messages: std::mem::replace(&mut cut.messages, rest),
        });
    }
    Some(part)
}

/// Index of the device and of its message that the next part begins with.
fn find_cut(devices: &[DeviceMessages], max_bytes: usize) -> Option<(usize, usize)> {
    let mut bytes = 0;
    for (device, messages) in devices.iter().enumerate() {
        for (message, held) in messages.messages.iter().enumerate() {
            let is_first = bytes == 0;
            bytes += held.encoded_len() + MESSAGE_OVERHEAD_BYTES;
            if bytes > max_bytes && !is_first {
                return Some((device, message));
            }
        }
    }
    None
}
