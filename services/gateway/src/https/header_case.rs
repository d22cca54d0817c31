//! The case of header names on HTTP/1.1. Devices look at it (http-device.md §1), and the HTTP library keeps it in an
//! extension of requests and responses that it alone can read and make.
//!
//! So the library is asked to: its client, whose server is a few bytes in memory, writes the names of a request as they
//! came, and reads the names that a response is to have. Nothing in it waits, and each use takes some microseconds.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::http::{Extensions, HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use parking_lot::Mutex;

/// How often the client is asked to go on before it is given up; it needs two turns.
const TURNS: usize = 8;
/// Bytes of a head: more than a request or a response of the door has.
const MAX_HEAD_BYTES: usize = 1024 * 1024;

/// Names and values of `headers` as they were sent in the request that came with these extensions, in no order but
/// that of one name's values. `None` where the case is not known: a version of HTTP that has none.
pub(super) fn sent(headers: HeaderMap, extensions: &Extensions) -> Option<Vec<(String, Bytes)>> {
    let expected = headers.len();
    let mut request = Request::new(Empty::new());
    *request.headers_mut() = headers;
    *request.extensions_mut() = extensions.clone();
    let wire = Wire::default();
    let written = Arc::clone(&wire.written);
    // There is no answer to this one.
    let _ = exchange(wire, request, 0);
    let head = Bytes::from(std::mem::take(&mut *written.lock()));
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let names: Vec<_> = lines.filter_map(|line| split(&head, line)).collect();
    (names.len() == expected).then_some(names)
}

fn split(head: &Bytes, line: &[u8]) -> Option<(String, Bytes)> {
    let line = line.strip_suffix(b"\r")?;
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.get(1..)?.trim_ascii_start();
    let name = std::str::from_utf8(name).ok()?;
    Some((name.to_owned(), head.slice_ref(value)))
}

/// The extensions with which a response goes out with its names in this case, each once; others go in lower case.
/// `None` when one of them is no name of a header.
pub(super) fn spelled(names: &HashSet<&str>) -> Option<Extensions> {
    let mut answer = b"HTTP/1.1 204 No Content\r\n".to_vec();
    for name in names {
        answer.extend_from_slice(name.as_bytes());
        answer.extend_from_slice(b": x\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    let wire = Wire {
        unread: answer.into(),
        ..Wire::default()
    };
    let answered = exchange(wire, Request::new(Empty::new()), names.len())?;
    Some(answered.into_parts().0.extensions)
}

/// Sends a request into memory and gives the answer that lies there, of so many headers.
fn exchange(
    wire: Wire,
    request: Request<Empty<Bytes>>,
    headers: usize,
) -> Option<Response<Incoming>> {
    let exchange = async {
        let mut client = http1::Builder::new();
        client
            .preserve_header_case(true)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(headers + 1);
        let (mut sender, connection) = client.handshake(wire).await.ok()?;
        let mut connection = pin!(connection);
        let mut answered = pin!(sender.send_request(request));
        poll_fn(|context| {
            for _ in 0..TURNS {
                let has_ended = connection.as_mut().poll(context).is_ready();
                if let Poll::Ready(answered) = answered.as_mut().poll(context) {
                    return Poll::Ready(answered.ok());
                }
                if has_ended {
                    break;
                }
            }
            Poll::Ready(None)
        })
        .await
    };
    // In a task that has used up its turn, the runtime would have the channels inside wait.
    let exchange = pin!(tokio::task::unconstrained(exchange));
    match exchange.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answered) => answered,
        Poll::Pending => None,
    }
}

/// A connection whose other end is this memory.
#[derive(Default)]
struct Wire {
    unread: Bytes,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // An answer before its question is an error.
        if self.unread.is_empty() || self.written.lock().is_empty() {
            return Poll::Pending;
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.lock().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn map(names: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_static(value))
        };
        names.iter().map(header).collect()
    }

    #[test]
    fn names_that_were_spelled_are_those_that_were_sent() {
        let names = ["ETag", "iothub-app-Color", "X", "iothub-app-lower"];
        let extensions = spelled(&names.into()).unwrap();
        let headers = map(&[
            ("etag", "\"1\""),
            ("iothub-app-color", ""),
            ("other", "a b"),
        ]);
        let mut sent = sent(headers, &extensions).unwrap();
        sent.sort_unstable();
        let expected = [
            ("ETag", "\"1\""),
            ("iothub-app-Color", ""),
            ("other", "a b"),
        ];
        assert_eq!(
            sent,
            expected.map(|(name, value)| (name.to_owned(), Bytes::from(value)))
        );
    }

    #[test]
    fn a_thousand_long_names_are_spelled_and_nonsense_is_not() {
        let names: Vec<String> = (0..1000)
            .map(|n| format!("iothub-app-{}{n}", "Ab".repeat(30)))
            .collect();
        assert!(spelled(&names.iter().map(String::as_str).collect()).is_some());
        assert!(spelled(&HashSet::new()).is_some());
        assert!(spelled(&HashSet::from(["a b"])).is_none());
    }

    #[tokio::test]
    async fn a_task_that_has_used_up_its_turn_is_answered_all_the_same() {
        for _ in 0..1000 {
            assert!(spelled(&HashSet::from(["ETag"])).is_some());
        }
    }
}
