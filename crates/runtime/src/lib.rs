//! Lifecycle, listeners, TLS, telemetry, batching.
//!
//! The machinery every service of Downlink stands on and no rule of the product: tasks are spawned and ended by
//! [`Lifecycle`], sockets are opened by [`Listener`], and so on. Services, binaries and adapters may enter; the
//! domain and the protocol machines may not, they know neither sockets nor tasks.
//!
//! ```
//! use std::time::Duration;
//! use downlink_runtime::{Lifecycle, OnError, Shutdown};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let lifecycle = Lifecycle::new();
//! let drain = lifecycle.drain_token();
//! lifecycle.spawn("worker", OnError::Shutdown, async move { drain.cancelled().await });
//! lifecycle.set_ready(true);
//! assert_eq!(lifecycle.shutdown(Duration::from_secs(1)).await, Shutdown::Drained);
//! # });
//! ```

pub mod batcher;
pub mod clock;
pub mod dev_certificate;
pub mod lifecycle;
pub mod listener;
pub mod telemetry;
pub mod tls;

pub use batcher::{BatchItem, Batcher, BatcherOptions, Reply, SubmitError, TryEnqueueError};
pub use clock::{RandomIds, SystemClock};
pub use lifecycle::{Lifecycle, OnError, RunError, Shutdown, Signals, TaskFailure};
pub use listener::{BindError, Listener, ListenerOptions};
pub use tls::{
    CertificateFiles, ClientCertificates, HandshakeError, HandshakeLimit, ServerCertificates,
    TlsAcceptor, TlsIdentity, TlsStream,
};
