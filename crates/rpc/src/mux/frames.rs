//! What the mux needs to know of a service's frames.

use std::time::Duration;

use downlink_proto::v1::CallFailure;
use futures::future::BoxFuture;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::Outbound;

/// The stream of one service: its batches, frames and bodies.
///
/// Implemented by [`call_stream!`] for the generated types, which all have the same shape.
pub(crate) trait CallStream: Sized + Send + Sync + 'static {
    /// The service, as errors name it.
    const SERVICE: &'static str;

    /// Body of a call.
    type Call: Clone + Send + Sync + Unpin + 'static;
    /// A call with id and timeout.
    type CallFrame: Message + Unpin + 'static;
    /// A batch of calls.
    type Calls: Message + Default + Unpin + 'static;
    /// Body of a reply.
    type Reply: Send + Unpin + 'static;
    /// A reply, or a part of one, with the id of its call.
    type ReplyFrame: Message + Unpin + 'static;
    /// A batch of replies.
    type Replies: Message + Default + Unpin + 'static;

    /// Wraps a call; id and timeout are set later.
    fn call_frame(call: Self::Call) -> Self::CallFrame;
    /// Sets the id.
    fn set_call_id(frame: &mut Self::CallFrame, call_id: u64);
    /// Sets what is left of the call's time.
    fn set_timeout(frame: &mut Self::CallFrame, millis: u32);
    /// Makes a batch.
    fn calls(frames: Vec<Self::CallFrame>, cancelled_call_ids: Vec<u64>) -> Self::Calls;
    /// Takes a batch apart into calls and ids of cancelled calls.
    fn open_calls(calls: Self::Calls) -> (Vec<Self::CallFrame>, Vec<u64>);
    /// Takes a call apart into id, timeout in milliseconds and body.
    fn open_call(frame: Self::CallFrame) -> (u64, u32, Option<Self::Call>);

    /// Wraps a reply or a part of one.
    fn reply_frame(call_id: u64, has_more: bool, reply: Self::Reply) -> Self::ReplyFrame;
    /// Makes a batch.
    fn replies(frames: Vec<Self::ReplyFrame>) -> Self::Replies;
    /// Takes a batch apart.
    fn open_replies(replies: Self::Replies) -> Vec<Self::ReplyFrame>;
    /// Takes a reply apart into id, whether parts follow, and body.
    fn open_reply(frame: Self::ReplyFrame) -> (u64, bool, Option<Self::Reply>);
    /// The reply that tells of a failure.
    fn failure(failure: CallFailure) -> Self::Reply;
    /// Tells a failure from an ordinary reply.
    fn into_result(reply: Self::Reply) -> Result<Self::Reply, CallFailure>;

    /// Takes a first part of at most about `max_bytes` off a reply that is larger; `None` when
    /// the reply may go as it is. Replies stay whole unless the service says otherwise.
    fn take_part(_reply: &mut Self::Reply, _max_bytes: usize) -> Option<Self::Reply> {
        None
    }

    /// Appends a later part of a reply.
    fn append(reply: &mut Self::Reply, part: Self::Reply) {
        *reply = part;
    }

    /// Whether the reply says that the node took nothing of the call on, so that another may.
    fn is_untaken(_reply: &Self::Reply) -> bool {
        false
    }

    /// Prepares a call for another node after `elapsed`.
    fn on_repeat(_call: &mut Self::Call, _elapsed: Duration) {}

    /// Opens the stream.
    fn open(
        channel: Channel,
        outbound: Outbound<Self>,
    ) -> BoxFuture<'static, Result<Streaming<Self::Replies>, Status>>;
}

/// Implements [`CallStream`] for the generated types of one service. Items in braces at the end
/// take the place of default methods.
macro_rules! call_stream {
    (
        $(#[$doc:meta])*
        $name:ident, $service:literal, $client:path,
        ($calls:ident, $call_frame:ident, $call:path),
        ($replies:ident, $reply_frame:ident, $reply:path)
        $(, { $($method:item)* })?
    ) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl $crate::mux::CallStream for $name {
            const SERVICE: &'static str = $service;

            type Call = $call;
            type CallFrame = $call_frame;
            type Calls = $calls;
            type Reply = $reply;
            type ReplyFrame = $reply_frame;
            type Replies = $replies;

            fn call_frame(call: Self::Call) -> Self::CallFrame {
                $call_frame { call_id: 0, timeout_millis: 0, call: Some(call) }
            }

            fn set_call_id(frame: &mut Self::CallFrame, call_id: u64) {
                frame.call_id = call_id;
            }

            fn set_timeout(frame: &mut Self::CallFrame, millis: u32) {
                frame.timeout_millis = millis;
            }

            fn calls(calls: Vec<Self::CallFrame>, cancelled_call_ids: Vec<u64>) -> Self::Calls {
                $calls { calls, cancelled_call_ids }
            }

            fn open_calls(batch: Self::Calls) -> (Vec<Self::CallFrame>, Vec<u64>) {
                (batch.calls, batch.cancelled_call_ids)
            }

            fn open_call(frame: Self::CallFrame) -> (u64, u32, Option<Self::Call>) {
                (frame.call_id, frame.timeout_millis, frame.call)
            }

            fn reply_frame(call_id: u64, has_more: bool, reply: Self::Reply) -> Self::ReplyFrame {
                $reply_frame { call_id, has_more, reply: Some(reply) }
            }

            fn replies(replies: Vec<Self::ReplyFrame>) -> Self::Replies {
                $replies { replies }
            }

            fn open_replies(batch: Self::Replies) -> Vec<Self::ReplyFrame> {
                batch.replies
            }

            fn open_reply(frame: Self::ReplyFrame) -> (u64, bool, Option<Self::Reply>) {
                (frame.call_id, frame.has_more, frame.reply)
            }

            fn failure(failure: ::downlink_proto::v1::CallFailure) -> Self::Reply {
                use $reply as Reply;
                Reply::Failure(failure)
            }

            fn into_result(
                reply: Self::Reply,
            ) -> Result<Self::Reply, ::downlink_proto::v1::CallFailure> {
                use $reply as Reply;
                match reply {
                    Reply::Failure(failure) => Err(failure),
                    reply => Ok(reply),
                }
            }

            fn open(
                channel: ::tonic::transport::Channel,
                outbound: $crate::mux::Outbound<Self>,
            ) -> ::futures::future::BoxFuture<
                'static,
                Result<::tonic::Streaming<Self::Replies>, ::tonic::Status>,
            > {
                use $client as Client;
                Box::pin(async move {
                    let mut client = Client::new(channel)
                        .max_decoding_message_size($crate::carrier::MAX_FRAME_BYTES)
                        .max_encoding_message_size($crate::carrier::MAX_FRAME_BYTES);
                    Ok(client.calls(outbound).await?.into_inner())
                })
            }

            $($($method)*)?
        }
    };
}
pub(crate) use call_stream;
