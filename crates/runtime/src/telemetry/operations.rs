//! The listener for operators: `/metrics`, `/livez`, `/readyz`.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::warn;

use super::Metrics;
use crate::lifecycle::{Lifecycle, OnError};
use crate::listener::{Accepted, Listener};

/// One request and its answer take milliseconds; whoever takes longer is not a probe.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves metrics and probes, plain HTTP/1.1, one request a connection, until the scope halts.
///
/// `/livez` answers 200 while the process runs. `/readyz` answers 200 while new work should be sent here, else 503;
/// it turns when stopping begins, and goes on answering through the drain. Bind with a small
/// [`max_connections`](crate::ListenerOptions::max_connections): each is closed after ten seconds at the latest.
pub fn serve_operations(listener: Listener, lifecycle: &Lifecycle, metrics: Metrics) {
    let connections = serve_connections(listener, lifecycle.clone(), metrics);
    lifecycle.spawn_background("operations", OnError::Shutdown, connections);
}

async fn serve_connections(listener: Listener, lifecycle: Lifecycle, metrics: Metrics) {
    let mut acceptor = listener.into_acceptor();
    loop {
        let accepted = acceptor.accept().await;
        let connection = serve_connection(accepted, lifecycle.clone(), metrics.clone());
        lifecycle.spawn_background("operations", OnError::Log, connection);
    }
}

async fn serve_connection(accepted: Accepted, lifecycle: Lifecycle, metrics: Metrics) {
    let Accepted { stream, slot, .. } = accepted;
    let service = service_fn(|request: Request<Incoming>| {
        std::future::ready(Ok::<_, Infallible>(answer(&request, &lifecycle, &metrics)))
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A probe that hangs up or stalls concerns nobody but itself.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
    drop(slot);
}

fn answer<B>(
    request: &Request<B>,
    lifecycle: &Lifecycle,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if lifecycle.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/metrics" => match metrics.render() {
            Ok(rendered) => response(StatusCode::OK, PROMETHEUS, rendered.into()),
            Err(error) => {
                warn!(%error, "cannot render metrics");
                text(StatusCode::INTERNAL_SERVER_ERROR, "cannot render metrics\n")
            }
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /livez and /readyz\n",
        ),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, TEXT, Bytes::from_static(body.as_bytes()))
}

fn response(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::serve_operations;
    use crate::lifecycle::{Lifecycle, OnError, Shutdown};
    use crate::listener::{Listener, ListenerOptions};
    use crate::telemetry::Metrics;

    fn start(lifecycle: &Lifecycle) -> SocketAddr {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = Listener::bind(&ListenerOptions::new(address, "--metrics-port")).unwrap();
        let address = listener.local_address();
        serve_operations(listener, lifecycle, Metrics::new("downlink-test").unwrap());
        address
    }

    /// Sends one request and returns the whole answer.
    async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_path_answers_its_question() {
        let lifecycle = Lifecycle::new();
        let address = start(&lifecycle);
        assert!(
            ask(address, "GET", "/livez")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
        assert!(
            ask(address, "GET", "/readyz")
                .await
                .starts_with("HTTP/1.1 503 ")
        );
        lifecycle.set_ready(true);
        assert!(
            ask(address, "GET", "/readyz?verbose")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
        let metrics = ask(address, "GET", "/metrics").await;
        assert!(
            metrics.contains("target_info{service_name=\"downlink-test\"} 1"),
            "{metrics}"
        );
        assert!(metrics.contains("version=0.0.4"), "{metrics}");
        assert!(
            ask(address, "GET", "/else")
                .await
                .starts_with("HTTP/1.1 404 ")
        );
        assert!(
            ask(address, "POST", "/livez")
                .await
                .starts_with("HTTP/1.1 405 ")
        );
        lifecycle.shutdown(Duration::from_secs(5)).await;
    }

    #[tokio::test]
    async fn readiness_is_refused_while_draining_and_the_process_is_still_alive() {
        let lifecycle = Lifecycle::new();
        let address = start(&lifecycle);
        lifecycle.set_ready(true);
        let (finish, finished) = oneshot::channel::<()>();
        lifecycle.spawn("worker", OnError::Log, finished);
        let shutdown = lifecycle.shutdown(Duration::from_mins(1));
        let probe = async {
            lifecycle.draining().await;
            assert!(
                ask(address, "GET", "/readyz")
                    .await
                    .starts_with("HTTP/1.1 503 ")
            );
            assert!(
                ask(address, "GET", "/livez")
                    .await
                    .starts_with("HTTP/1.1 200 ")
            );
            finish.send(()).unwrap();
        };
        let (outcome, ()) = tokio::join!(shutdown, probe);
        assert_eq!(outcome, Shutdown::Drained);
        TcpStream::connect(address)
            .await
            .expect_err("closed with the process");
    }

    #[tokio::test]
    async fn client_that_never_asks_is_closed() {
        let lifecycle = Lifecycle::new();
        let address = start(&lifecycle);
        let mut silent = TcpStream::connect(address).await.unwrap();
        tokio::time::pause();
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        lifecycle.shutdown(Duration::from_secs(5)).await;
    }
}
