//! `downlink dev`: from flags to a running hub.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use downlink_domain::id::GatewayId;
use downlink_gateway::{Gateway, Sockets};
use downlink_ports::{Clock, PolicyStore};
use downlink_rpc::{Acceptor, Services};
use downlink_runtime::clock::{RandomIds, SystemClock};
use downlink_runtime::dev_certificate;
use downlink_runtime::telemetry::{Metrics, init_logging, serve_operations};
use downlink_runtime::{Lifecycle, Shutdown, Signals, TlsAcceptor, TlsIdentity};

use crate::cli::DevArgs;
use crate::facts::Facts;
use crate::first_start::{Start, demo_device, ensure_hub};
use crate::ports::Bound;
use crate::settings::Settings;
use crate::wiring::{self, Ground};

/// Runs until it is told to stop.
///
/// # Errors
/// Whatever kept the hub from starting or from ending in order, as one line.
pub fn run(args: &DevArgs) -> anyhow::Result<()> {
    let settings = Settings::load(args)?;
    if args.print_config {
        write!(std::io::stdout(), "{}", settings.printed())?;
        return Ok(());
    }
    let (filter, format) = settings.log();
    init_logging(filter, format)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    // Before anything is said to be ready: whoever reads that may stop it at once.
    let signals = Signals::install().context("cannot listen for stop signals")?;
    let lifecycle = Lifecycle::new();
    let grace = settings.grace();
    let started = start(&settings, &lifecycle).await;
    let facts = match started {
        Ok(facts) => facts,
        Err(error) => {
            lifecycle.shutdown(grace).await;
            return Err(error);
        }
    };
    lifecycle.set_ready(true);
    writeln!(std::io::stdout(), "{}", facts.to_text())?;
    match lifecycle.run_until_signal(signals, grace).await? {
        Shutdown::Drained => Ok(()),
        Shutdown::Halted { unfinished } => {
            anyhow::bail!("stopped with unfinished tasks: {unfinished:?}")
        }
    }
}

async fn start(settings: &Settings, lifecycle: &Lifecycle) -> anyhow::Result<Facts> {
    // Sockets first: a port that is taken must not leave a new data folder behind.
    let bound = settings.wanted().bind()?;
    let folder = settings.folder();
    make_private_folder(&folder)?;
    let options = settings.services();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let certificate = Certificate::find(settings, &folder, now.as_seconds())?;
    let ground = Ground {
        store: wiring::open_store(&folder, options.store.clone(), lifecycle).await?,
        clock,
        ids: Arc::new(RandomIds),
        metrics: Metrics::new("downlink")?,
    };
    let (store, ids) = (ground.store.as_ref(), ground.ids.as_ref());
    let is_first = store.hubs().await?.is_empty();
    let hub = ensure_hub(store, ids, &settings.hub(), now).await?;
    let start = if is_first { Start::First } else { Start::Later };
    let device = demo_device(store, ids, &hub, start, now).await?;
    let facts = Facts {
        host_name: settings.hub().to_string(),
        ca_file: certificate.ca.display().to_string(),
        ports: bound.ports(),
        policies: store.policies(hub.clone()).await?,
        device,
    };
    let id: GatewayId = format!("gateway-{:016x}", ids.connection_number()).parse()?;
    let names = wiring::host_names(&hub, settings.names());
    let gateway = Gateway::new();
    let peers = wiring::start_services(&ground, options, (&id, &gateway), lifecycle);
    let sockets = open_operator_doors(bound, &certificate, &ground, settings, lifecycle)?;
    let meter = ground.metrics.meter("downlink.gateway");
    let scope = lifecycle.child("gateway");
    gateway.start(
        settings.gateway(id, hub, names),
        peers,
        sockets,
        &meter,
        &scope,
    );
    facts
        .write(&folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    Ok(facts)
}

/// Serves metrics, probes, gRPC health and reflection; returns the doors that are the gateway's.
fn open_operator_doors(
    bound: Bound,
    certificate: &Certificate,
    ground: &Ground,
    settings: &Settings,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Sockets> {
    serve_operations(bound.metrics, lifecycle, ground.metrics.clone());
    let (grpc, max_connections) = bound.grpc.into_socket();
    Services::new(lifecycle).serve(Acceptor::tcp(grpc, max_connections));
    let identity = TlsIdentity::from_pem_files(&certificate.chain, &certificate.key)?;
    let limit = settings.handshake_limit();
    Ok(Sockets {
        mqtts: bound.mqtts,
        amqps: bound.amqps,
        https: bound.https,
        tls: TlsAcceptor::new(&identity, &[], limit.clone())?,
        grpc: Vec::new(),
        grpc_tls: TlsAcceptor::new(&identity, &[b"h2"], limit.clone())?,
        https_tls: TlsAcceptor::new(&identity, &[b"h2", b"http/1.1"], limit)?,
    })
}

/// The files TLS is served with.
struct Certificate {
    /// What clients must trust.
    ca: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Takes the given certificate, else makes sure of a development one in the data folder.
    fn find(settings: &Settings, folder: &Path, now_seconds: i64) -> anyhow::Result<Self> {
        if let Some((chain, key)) = settings.certificate_files() {
            return Ok(Self {
                ca: chain.clone(),
                chain,
                key,
            });
        }
        let names: Vec<String> = settings.names().iter().map(ToString::to_string).collect();
        let made = dev_certificate::ensure(folder, &names, now_seconds)?;
        // Clients are started elsewhere: they need the whole path.
        let ca = std::path::absolute(&made.ca_file)?;
        Ok(Self {
            ca,
            chain: made.certificate_file,
            key: made.key_file,
        })
    }
}

/// Makes the data folder, for its owner only: it will hold keys.
fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))
}

/// Every connection is a descriptor, and the usual limit of 1,024 is for other kinds of programs.
fn raise_descriptor_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
