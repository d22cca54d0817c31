//! A small issuer: discovery and keys over HTTP or HTTPS, and whatever else it is told to do.

use std::sync::Arc;

use downlink_runtime::{Lifecycle, OnError};
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a path answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Document(String),
    Redirect(String),
    Status(u16),
    /// Nothing, for as long as it is waited for.
    Silence,
    /// A body without an end.
    Endless,
    /// A body that stops before its end and goes on waiting.
    Stalled,
    Closed,
}

struct State {
    discovery: Answer,
    keys: Answer,
    /// Requests for discovery, and for keys.
    requests: (u64, u64),
}

pub struct TestIssuer {
    pub address: String,
    /// PEM of the authority of its certificate, where it has one.
    pub authority: Option<Vec<u8>>,
    state: Arc<Mutex<State>>,
    lifecycle: Lifecycle,
}

impl TestIssuer {
    pub async fn http(keys: &[Value]) -> Self {
        Self::start("http", None, keys).await
    }

    pub async fn https(keys: &[Value]) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut issuer =
            Self::start("https", Some(TlsAcceptor::from(Arc::new(config))), keys).await;
        issuer.authority = Some(made.cert.pem().into_bytes());
        issuer
    }

    async fn start(scheme: &str, tls: Option<TlsAcceptor>, keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = format!("{scheme}://localhost:{port}");
        let discovery = json!({"issuer": address, "jwks_uri": format!("{address}/keys")});
        let state = Arc::new(Mutex::new(State {
            discovery: Answer::Document(discovery.to_string()),
            keys: document(keys),
            requests: (0, 0),
        }));
        let lifecycle = Lifecycle::new();
        let (served, scope) = (Arc::clone(&state), lifecycle.clone());
        lifecycle.spawn_background("issuer", OnError::Log, async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&served), tls.clone());
                scope.spawn_background("request", OnError::Log, async move {
                    match tls {
                        None => serve(tcp, &state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, &state).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            authority: None,
            state,
            lifecycle,
        }
    }

    /// Publishes other keys.
    pub fn publish(&self, keys: &[Value]) {
        self.answer_keys(document(keys));
    }

    pub fn answer_keys(&self, answer: Answer) {
        self.state.lock().keys = answer;
    }

    pub fn answer_discovery(&self, answer: Answer) {
        self.state.lock().discovery = answer;
    }

    /// How often the keys were asked for.
    pub fn key_requests(&self) -> u64 {
        self.state.lock().requests.1
    }

    /// How often anything was asked for.
    pub fn requests(&self) -> u64 {
        let (discovery, keys) = self.state.lock().requests;
        discovery + keys
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.lifecycle.halt_token().cancel();
    }
}

pub fn document(keys: &[Value]) -> Answer {
    Answer::Document(json!({ "keys": keys }).to_string())
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, state: &Mutex<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let answer = {
        let mut state = state.lock();
        if head.starts_with("GET /.well-known/openid-configuration HTTP/1.1") {
            state.requests.0 += 1;
            state.discovery.clone()
        } else if head.starts_with("GET /keys HTTP/1.1") {
            state.requests.1 += 1;
            state.keys.clone()
        } else {
            Answer::Status(404)
        }
    };
    // A client that had enough closes; that is no error here.
    let _ = respond(&mut stream, answer).await;
    let _ = stream.shutdown().await;
}

async fn respond<S>(stream: &mut S, answer: Answer) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status} X\r\n{more}\r\n");
    match answer {
        Answer::Document(text) => {
            let length = format!("Content-Length: {}\r\n", text.len());
            stream.write_all(head("200", &length).as_bytes()).await?;
            stream.write_all(text.as_bytes()).await
        }
        Answer::Redirect(to) => {
            let more = format!("Location: {to}\r\nContent-Length: 0\r\n");
            stream.write_all(head("302", &more).as_bytes()).await
        }
        Answer::Status(status) => {
            let head = head(&status.to_string(), "Content-Length: 0\r\n");
            stream.write_all(head.as_bytes()).await
        }
        Answer::Silence => hold(stream).await,
        Answer::Endless => {
            stream.write_all(head("200", "").as_bytes()).await?;
            stream.write_all(b"{\"keys\":[").await?;
            loop {
                stream.write_all(&[b' '; 8_192]).await?;
            }
        }
        Answer::Stalled => {
            let head = head("200", "Content-Length: 1000\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(b"{\"keys\":[").await?;
            stream.flush().await?;
            hold(stream).await
        }
        Answer::Closed => Ok(()),
    }
}

/// Says nothing until the client closes.
async fn hold<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<()> {
    let mut sink = [0; 64];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}
