//! What is done once beside the services: schema, policies, certificates.

use std::io::Write as _;

use anyhow::Context as _;
use downlink_config::{Config, Process};
use downlink_domain::id::HubName;
use downlink_node::certificate::Certificate;
use downlink_node::hub::{configured, ensure_hubs};
use downlink_node::stores::make_private_folder;
use downlink_node::{Ground, migrate_store, open_stores};
use downlink_ports::Clock as _;
use downlink_runtime::Lifecycle;
use downlink_runtime::clock::SystemClock;

use crate::cli::{CertificateArgs, HubArgs, ToolArgs};
use crate::facts::Credentials;
use crate::first_start::{Start, demo_device, policies};

/// `downlink migrate`.
///
/// # Errors
/// One line that says what is wrong.
pub fn migrate(args: &ToolArgs) -> anyhow::Result<()> {
    let config = load(&args.settings)?;
    block_on(migrate_store(&config))??;
    writeln!(std::io::stdout(), "the schema is up to date")?;
    Ok(())
}

/// `downlink hub`.
///
/// # Errors
/// One line that says what is wrong.
pub fn hub(args: &HubArgs) -> anyhow::Result<()> {
    let config = load(&args.settings)?;
    let hubs = configured(&config)?;
    let name = match &args.host {
        None => hubs[0].clone(),
        Some(name) => {
            let name: HubName = name.parse()?;
            anyhow::ensure!(
                hubs.contains(&name),
                "--host: there is no hub {name} in the configuration"
            );
            name
        }
    };
    let credentials = block_on(find_credentials(config, (&name, &hubs), args.demo_device))??;
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{}", credentials.to_json())?;
    } else {
        write!(out, "{}", credentials.to_text())?;
    }
    Ok(())
}

async fn find_credentials(
    config: Config,
    (name, hubs): (&HubName, &[HubName]),
    wants_device: bool,
) -> anyhow::Result<Credentials> {
    let lifecycle = Lifecycle::new();
    let grace = config.shutdown.grace.get();
    let ground = Ground::new(config.into(), lifecycle.clone())?;
    let found = async {
        let stores = open_stores(&ground).await?;
        let (now, ids) = (ground.clock.now(), ground.ids.as_ref());
        ensure_hubs(stores.policies.as_ref(), ids, hubs, now).await?;
        let device = if wants_device {
            let registry = stores.registry.as_ref();
            demo_device(registry, ids, name, Start::First, now).await?
        } else {
            None
        };
        Ok(Credentials {
            policies: policies(&stores, name).await?,
            host_name: name.to_string(),
            device,
        })
    };
    let found = found.await;
    lifecycle.shutdown(grace).await;
    found
}

/// `downlink certificate`.
///
/// # Errors
/// What the file system answers.
pub fn certificate(args: &CertificateArgs) -> anyhow::Result<()> {
    let layers = args.settings.lower_layers();
    let mut config = args.settings.load(layers, Process::AllInOne)?;
    config.tls.certificate_file = None;
    config.tls.key_file = None;
    make_private_folder(&args.folder)?;
    let now = SystemClock.now().as_seconds();
    let made = Certificate::find(&config, &args.folder, now)?;
    let mut out = std::io::stdout();
    writeln!(out, "ca           {}", made.ca.display())?;
    writeln!(out, "certificate  {}", made.chain.display())?;
    writeln!(out, "key          {}", made.key.display())?;
    Ok(())
}

fn load(settings: &downlink_node::Settings) -> anyhow::Result<Config> {
    settings.load(settings.lower_layers(), Process::StoreTool)
}

fn block_on<F: Future>(work: F) -> anyhow::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    Ok(runtime.block_on(work))
}
