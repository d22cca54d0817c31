//! A body that tells how its call ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tonic::Code;

use super::rpc::Rpc;
use super::status;
use crate::shared::Shared;

/// Counts its call once: by the status that ends the body, or as cancelled when it is dropped
/// before.
pub struct Counted<B> {
    body: B,
    rpc: Rpc,
    shared: Arc<Shared>,
    is_told: bool,
}

impl<B> Counted<B> {
    pub fn new(body: B, rpc: Rpc, shared: Arc<Shared>) -> Self {
        Self {
            body,
            rpc,
            shared,
            is_told: false,
        }
    }

    fn count(&mut self, code: Code) {
        if !self.is_told {
            self.is_told = true;
            self.shared.metrics.rpcs.ended(self.rpc, code);
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(status::code_in) {
                    self.count(code);
                }
            }
            Poll::Ready(Some(Err(_)) | None) => self.count(Code::Unknown),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        if !self.is_told {
            self.is_told = true;
            self.shared.metrics.rpcs.ended(self.rpc, Code::Cancelled);
        }
    }
}
