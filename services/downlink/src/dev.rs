//! `downlink dev`: from flags to a running hub.

use std::io::Write as _;

use anyhow::Context as _;
use downlink_config::sections::{Config, PresenceKind};
use downlink_config::{Process, to_toml};
use downlink_domain::id::{GatewayId, HubName};
use downlink_gateway::{FurtherHub, Gateway, GatewayOptions, Sockets};
use downlink_node::certificate::{Certificates, handshake_limit};
use downlink_node::doors::{Bound, PortNames, Wanted};
use downlink_node::hub::ensure_hubs;
use downlink_node::stores::make_private_folder;
use downlink_node::{Ground, events, open_issuers, open_presence, open_stores, run_until_stopped};
use downlink_runtime::ClientCertificates::{NotAsked, Requested};
use downlink_runtime::telemetry::serve_operations;

use crate::cli::DevArgs;
use crate::facts::{Credentials, Facts};
use crate::first_start::{Start, demo_device, find_or_make_hub, further_credentials, policies};
use crate::wiring::{self, Adapters};

/// Runs until it is told to stop.
///
/// # Errors
/// Whatever kept the hub from starting or from ending in order, as one line.
pub fn run(args: &DevArgs) -> anyhow::Result<()> {
    let config = load(args)?;
    if args.print_config {
        write!(std::io::stdout(), "{}", to_toml(&config))?;
        return Ok(());
    }
    run_until_stopped(config, async |ground| {
        let facts = start(&ground).await?;
        ground.readiness.started();
        writeln!(std::io::stdout(), "{}", facts.to_text())?;
        Ok(())
    })
}

/// Merges defaults, file, environment and flags.
fn load(args: &DevArgs) -> anyhow::Result<Config> {
    let addresses: Vec<_> = args.listen.iter().map(ToString::to_string).collect();
    let (first_host, more_hosts) = match args.hosts.split_first() {
        Some((first, more)) => (Some(first), more.join(",")),
        None => (None, String::new()),
    };
    let given = |list: String| (!list.is_empty()).then_some(list);
    let layers = args
        .settings
        .lower_layers()
        .flag(
            "--data",
            "storage.path",
            args.data.as_ref().map(|path| path.display()),
        )
        .flag("--host", "hub.host_name", first_host)
        .flag("--host", "hub.extra_host_names", given(more_hosts))
        .flag("--listen", "listen.addresses", given(addresses.join(",")))
        .flag("--mqtts-port", "listen.mqtts_port", args.mqtts_port)
        .flag("--amqps-port", "listen.amqps_port", args.amqps_port)
        .flag("--https-port", "listen.https_port", args.https_port)
        .flag("--grpc-port", "listen.grpc_port", args.grpc_port)
        .flag("--metrics-port", "listen.metrics_port", args.metrics_port);
    let config = args.settings.load(layers, Process::AllInOne)?;
    anyhow::ensure!(
        config.presence.kind == PresenceKind::Memory,
        "presence.kind: `downlink dev` is one process, which keeps presence in memory; to share it, run the services \
         as processes of their own"
    );
    Ok(config)
}

async fn start(ground: &Ground) -> anyhow::Result<Facts> {
    let config = &ground.config;
    // Sockets first: a port that is taken must not leave a new data folder behind.
    let bound = Wanted::from_config(config, PortNames::Flags).bind()?;
    let folder = &config.storage.path;
    make_private_folder(folder)?;
    let now = ground.clock.now();
    let certificates = Certificates::load(config, folder, now.as_seconds())?;
    certificates.keep_current(ground);
    let names: Vec<HubName> = config
        .hub
        .host_names()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let adapters = Adapters {
        stores: open_stores(ground).await?,
        presence: open_presence(ground).await?,
        issuers: open_issuers(ground, &names)?,
        sink: events::open_sink(ground)?,
    };
    let stores = &adapters.stores;
    let ids = ground.ids.as_ref();
    let further = FurtherHub::from_config(config, |names| open_issuers(ground, names))?;
    let others: Vec<HubName> = further.iter().map(|other| other.hub.clone()).collect();
    let is_first = stores.policies.hubs().await?.is_empty();
    let hub = find_or_make_hub(stores.policies.as_ref(), ids, (&names[0], &others), now).await?;
    ensure_hubs(stores.policies.as_ref(), ids, &others, now).await?;
    let start = if is_first { Start::First } else { Start::Later };
    let device = demo_device(stores.registry.as_ref(), ids, &hub, start, now).await?;
    let facts = Facts {
        credentials: Credentials {
            host_name: names[0].to_string(),
            policies: policies(stores, &hub).await?,
            device,
        },
        further: further_credentials(stores, &others).await?,
        ca_file: certificates.ca.display().to_string(),
        ports: bound.ports(),
    };
    let id: GatewayId = format!("gateway-{:016x}", ids.connection_number()).parse()?;
    let taken = further.iter().flat_map(|other| &other.host_names);
    let all_names = wiring::host_names(&hub, &names, &taken.collect::<Vec<_>>());
    let gateway = Gateway::new().with_further_hubs(further);
    let peers = wiring::start_services(ground, adapters, (&id, &gateway));
    let sockets = open_operator_doors(bound, &certificates, ground)?;
    let meter = ground.metrics.meter("downlink.gateway");
    let options = GatewayOptions::from_config(config, id, hub, all_names);
    let scope = ground.lifecycle.child("gateway");
    gateway.start(options, peers, sockets, &meter, &scope);
    facts
        .write(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    Ok(facts)
}

/// Serves metrics and probes; returns the doors that are the gateway's.
fn open_operator_doors(
    bound: Bound,
    certificates: &Certificates,
    ground: &Ground,
) -> anyhow::Result<Sockets> {
    serve_operations(bound.metrics, &ground.lifecycle, ground.metrics.clone());
    let limit = handshake_limit(&ground.config);
    Ok(Sockets {
        mqtts: bound.mqtts,
        amqps: bound.amqps,
        https: bound.https,
        grpc: bound.grpc,
        tls: certificates.acceptor(&[], Requested, &limit)?,
        https_tls: certificates.acceptor(&[b"h2", b"http/1.1"], Requested, &limit)?,
        grpc_tls: certificates.acceptor(&[b"h2"], NotAsked, &limit)?,
    })
}
