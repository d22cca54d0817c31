//! Starts the binary on free ports and a temporary data folder.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a door.
pub type Stream = TlsStream<TcpStream>;

/// A running hub; killed when dropped.
pub struct Hub {
    process: Child,
    stdout: BufReader<ChildStdout>,
    /// What `connect.json` says.
    pub facts: Value,
    /// Lines printed at the start.
    pub lines: Vec<String>,
    /// From the start of the process to its last start-up line.
    pub ready_after: Duration,
}

/// The command with every port free to choose.
pub fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downlink"));
    command.arg("dev").arg("--data").arg(data);
    for port in ["mqtts", "amqps", "https", "grpc", "metrics"] {
        command.arg(format!("--{port}-port")).arg("0");
    }
    command.args(["--listen", "127.0.0.1"]);
    command
}

impl Hub {
    /// Starts the hub on `data` and waits until it is ready.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_logging(data, more, Stdio::null())
    }

    /// The same, with its log lines going to `log`.
    pub fn start_logging(data: &Path, more: &[&str], log: Stdio) -> Self {
        let began = Instant::now();
        let mut process = command(data)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).expect("stdout is text");
            assert!(read > 0, "the hub ended before it was ready: {lines:?}");
            lines.push(line.trim_end().to_owned());
            if line.contains("README.md") {
                break;
            }
        }
        let ready_after = began.elapsed();
        let text = std::fs::read(data.join("connect.json")).expect("connect.json is written");
        let facts = serde_json::from_slice(&text).expect("connect.json is JSON");
        Self {
            process,
            stdout,
            facts,
            lines,
            ready_after,
        }
    }

    /// The port of a door.
    pub fn port(&self, door: &str) -> u16 {
        let port = self.facts["ports"][door]
            .as_u64()
            .expect("every door has a port");
        u16::try_from(port).expect("a port has 16 bits")
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))
            .expect("the process lives");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS is there");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("a number")
            .parse()
            .expect("a number");
        kib * 1024
    }

    /// The development CA.
    pub fn ca_file(&self) -> PathBuf {
        PathBuf::from(self.facts["caFile"].as_str().expect("caFile is there"))
    }

    /// Opens TLS to a door, checked against the development CA.
    pub async fn tls(&self, door: &str) -> Stream {
        let ca = CertificateDer::from_pem_file(self.ca_file()).expect("the CA is PEM");
        self.tls_as(door, "localhost", ca).await
    }

    /// Opens TLS to a door as to `host`, checked against `ca`.
    pub async fn tls_as(
        &self,
        door: &str,
        host: &'static str,
        ca: CertificateDer<'static>,
    ) -> Stream {
        let mut roots = RootCertStore::empty();
        roots.add(ca).expect("the CA is a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        if door == "grpc" {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let tcp = self.tcp(door).await;
        let name = ServerName::try_from(host).expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .expect("a handshake")
    }

    /// Opens TCP to a door.
    pub async fn tcp(&self, door: &str) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port(door)))
            .await
            .expect("a connection")
    }

    /// Waits until the instrument `name` with `label` has counted something.
    pub async fn metric(&self, name: &str, label: &str) {
        let counting = async {
            loop {
                let mut io = self.tcp("metrics").await;
                let request =
                    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                io.write_all(request).await.expect("the hub reads");
                let mut text = String::new();
                io.read_to_string(&mut text).await.expect("text");
                let mut lines = text.lines();
                let counted = lines.any(|line| {
                    let is_it = line.starts_with(name) && line.contains(label);
                    is_it && !line.ends_with(" 0")
                });
                if counted {
                    return;
                }
            }
        };
        let counted = tokio::time::timeout(PATIENCE, counting).await;
        counted.unwrap_or_else(|_| panic!("{name} with {label} stays 0"));
    }

    /// Sends a signal by name and returns the exit code.
    pub fn signal_and_wait(mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
        let status = self.process.wait().expect("the process ends");
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest).is_ok_and(|read| read > 0) {}
        status.code()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
