//! Whole connections, byte for byte.

use std::time::Duration;

use downlink_runtime::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::arrival::Arrival;
use crate::https::serve;

/// Opens a connection; its far end and the task that serves it.
#[expect(
    clippy::disallowed_methods,
    reason = "a bare task, so that the test can await the end of the connection"
)]
pub(super) fn open(hub: &TestHub) -> (DuplexStream, JoinHandle<()>) {
    let (peer, io) = duplex(64 * 1024);
    let router = router(Arc::clone(&hub.shared));
    let served = tokio::spawn(serve(
        Arc::clone(&hub.shared),
        router,
        io,
        Arrival::over_tls(None),
    ));
    (peer, served)
}

fn get(hub: &TestHub, path: &str) -> String {
    let token = hub.policy_token("iothubowner");
    format!("GET {path}?{VERSION} HTTP/1.1\r\nhost: hub.test\r\nauthorization: {token}\r\n\r\n")
}

/// Reads one answer with a `content-length`.
pub(super) async fn read_answer(peer: &mut DuplexStream) -> String {
    let mut text = String::new();
    loop {
        let byte = peer.read_u8().await.unwrap();
        text.push(char::from(byte));
        let Some(head) = text.strip_suffix("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        peer.read_exact(&mut body).await.unwrap();
        return text + std::str::from_utf8(&body).unwrap();
    }
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let (mut peer, _served) = open(&hub);
    for path in ["/devices/dev-1", "/twins/dev-1", "/devices/nobody"] {
        peer.write_all(get(&hub, path).as_bytes()).await.unwrap();
        let answer = read_answer(&mut peer).await;
        let expected = if path.ends_with("nobody") {
            "404"
        } else {
            "200"
        };
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{answer}"
        );
    }
}

/// A request with a body that is refused because of its credential.
fn unauthorized(length: usize) -> String {
    format!(
        "PUT /devices/dev-1?{VERSION} HTTP/1.1\r\nhost: hub.test\r\nauthorization: none\r\n\
         content-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_refused_body_leaves_the_connection_usable() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let (mut peer, _served) = open(&hub);
    let body = vec![b'x'; 2 * hub.shared.options.https.max_body_bytes];
    let request = unauthorized(body.len()).into_bytes();
    peer.write_all(&[request, body].concat()).await.unwrap();
    let refused = read_answer(&mut peer).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    peer.write_all(get(&hub, "/devices/dev-1").as_bytes())
        .await
        .unwrap();
    let answer = read_answer(&mut peer).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_that_will_not_be_read_ends_the_connection_and_says_so() {
    let hub = TestHub::new().await;
    let endless = unauthorized(1024 * 1024 * 1024);
    let slow = unauthorized(1024) + "some of it";
    let asking = unauthorized(1024).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    for request in [endless, slow, asking] {
        let (mut peer, _served) = open(&hub);
        peer.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut peer).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn draining_ends_an_idle_connection() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let (mut peer, served) = open(&hub);
    peer.write_all(get(&hub, "/devices/dev-1").as_bytes())
        .await
        .unwrap();
    read_answer(&mut peer).await;
    assert_eq!(
        hub.shared.lifecycle.shutdown(Duration::from_secs(5)).await,
        Shutdown::Drained
    );
    served.await.unwrap();
    assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn draining_does_not_wait_out_the_deadlines_of_slow_peers() {
    for is_reading in [true, false] {
        let hub = TestHub::new().await;
        hub.device("dev-1").await;
        let sent = if is_reading {
            let token = hub.policy_token("iothubowner");
            unauthorized(100).replace("none", &token) + "{"
        } else {
            get(&hub, "/devices/dev-1").repeat(1000)
        };
        let (mut peer, served) = open(&hub);
        // The door stops reading once nobody takes its answers.
        let sending = peer.write_all(sent.as_bytes());
        let _ = tokio::time::timeout(Duration::from_secs(1), sending).await;
        let began = Instant::now();
        hub.shared.lifecycle.shutdown(Duration::from_secs(25)).await;
        served.await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(10), "{is_reading}");
    }
}

/// A method router that never answers.
struct Silent;

#[async_trait]
impl MethodApi for Silent {
    async fn invoke(&self, _: MethodCall) -> Result<MethodAnswer, MethodError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_is_answered_when_the_gateway_drains() {
    let hub = TestHub::with_peers(|peers| peers.methods = Arc::new(Silent)).await;
    hub.device("dev-1").await;
    let (mut peer, served) = open(&hub);
    let body = r#"{"methodName":"m","responseTimeoutInSeconds":300}"#;
    let request = unauthorized(body.len())
        .replace("PUT /devices/dev-1", "POST /twins/dev-1/methods")
        .replace("none", &hub.policy_token("service"));
    peer.write_all((request + body).as_bytes()).await.unwrap();
    // Time stands still while anything can be done: after this the call waits.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    hub.shared.lifecycle.shutdown(Duration::from_secs(25)).await;
    let answer = read_answer(&mut peer).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    served.await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_that_asks_for_nothing_is_ended() {
    let hub = TestHub::with(|options| {
        options.https.header_deadline = Duration::from_secs(5);
        options.https.write_deadline = Duration::from_secs(5);
    })
    .await;
    let (mut peer, served) = open(&hub);
    let began = Instant::now();
    // The preface and an empty SETTINGS frame.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    peer.write_all(preface).await.unwrap();
    served.await.unwrap();
    // Ten seconds of nothing, ten for its end; unanswered pings would take eighty.
    assert!(began.elapsed() <= Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn silence_and_half_a_head_are_given_up() {
    let hub = TestHub::new().await;
    for sent in [
        "",
        "P",
        "GET /devices/dev-1?api-version=2021-04-12 HTTP/1.1\r\nhost:",
    ] {
        let (mut peer, served) = open(&hub);
        peer.write_all(sent.as_bytes()).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_mins(2), served).await;
        assert!(ended.is_ok(), "{sent:?}");
    }
}

#[tokio::test]
async fn garbage_and_an_endless_head_end_the_connection() {
    let hub = TestHub::new().await;
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(256 * 1024));
    for sent in [
        "\x16\x03\x01\x02\x00 this is no request at all\r\n\r\n",
        endless.as_str(),
    ] {
        let (mut peer, served) = open(&hub);
        // The far end may close while this is still writing.
        let _ = peer.write_all(sent.as_bytes()).await;
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest).await;
        served.await.unwrap();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"));
    }
}
