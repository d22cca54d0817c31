//! What a connection may take, and how it ends.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;

/// The preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn hurried() -> Site {
    let hub = TestHub::with(|options| {
        options.grpc.preface_deadline = Duration::from_millis(300);
        options.grpc.write_deadline = Duration::from_millis(300);
        options.grpc.idle_timeout = Duration::from_millis(600);
    });
    Site::of(hub.await)
}

#[tokio::test]
async fn strangers_that_say_little_or_nothing_are_given_up() {
    let site = hurried().await;
    for sent in [&b""[..], b"PRI * HTTP/2", PREFACE] {
        let mut socket = site.socket().await;
        socket.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        // Cut off without a farewell of TLS where nothing was asked.
        let _ = soon(socket.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn http_1_is_not_spoken() {
    let site = Site::new().await;
    let mut socket = site.socket().await;
    let request = b"GET / HTTP/1.1\r\nhost: hub.test\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(socket.read_to_end(&mut rest)).await;
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{rest:?}");
}

#[tokio::test]
async fn a_stream_keeps_its_connection_though_nothing_is_said_on_it() {
    let site = hurried().await;
    let device = site.hub.device("dev-1").await;
    let back = site.with("service").await;
    let request = v1::WatchTwinRequest {
        device_id: "dev-1".to_owned(),
    };
    let mut watcher = back.twins().watch(request).await.unwrap().into_inner();
    soon(watcher.message()).await.unwrap().unwrap();
    let quiet = tokio::time::timeout(Duration::from_secs(2), watcher.message()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    drop(device);
}

#[tokio::test]
async fn a_drain_lets_a_call_under_way_be_answered_and_ends_the_connection() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let back = site.with("service").await;
    let request = v1::WatchTwinRequest {
        device_id: "dev-1".to_owned(),
    };
    let mut watcher = back.twins().watch(request).await.unwrap().into_inner();
    soon(watcher.message()).await.unwrap().unwrap();
    let began = Instant::now();
    let lifecycle = site.hub.shared.lifecycle.clone();
    let draining = lifecycle.shutdown(Duration::from_secs(25));
    let (drained, ended) = soon(async { tokio::join!(draining, watcher.message()) }).await;
    let expected = refused(Code::Unavailable, ErrorCode::ServiceUnavailable);
    assert_eq!(refusal(ended), expected);
    assert_eq!(drained, downlink_runtime::Shutdown::Drained);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(connect(site.address, site.tls.clone()).await.is_err());
}
