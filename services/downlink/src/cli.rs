//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use downlink_node::Settings;

/// Reach devices from your back-end: messages, direct methods, twins.
#[derive(Debug, Parser)]
#[command(name = "downlink", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything in this process on embedded storage, with a development certificate.
    Dev(DevArgs),
    /// Bring the schema of the Postgres database up to date.
    Migrate(ToolArgs),
    /// Make sure of the hubs in the Postgres database and print the connection strings of one's policies.
    Hub(HubArgs),
    /// Make a development certificate authority and a certificate for the hub's host names.
    Certificate(CertificateArgs),
}

/// Flags of `downlink dev`; each stands above the environment, which stands above the file.
#[derive(Debug, Args)]
// The last of a flag given twice counts, as with most tools.
#[command(args_override_self = true)]
pub struct DevArgs {
    /// Folder of everything that is kept [default: ./.downlink]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Host name that clients use, the first for connection strings; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Address to listen on; may be repeated [default: 127.0.0.1 and, where there is one, `::1`]
    #[arg(long = "listen", value_name = "ADDRESS")]
    pub listen: Vec<IpAddr>,
    /// Port of MQTT over TLS, which the SDKs expect at 8883; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub mqtts_port: Option<u16>,
    /// Port of AMQP over TLS, which the SDKs expect at 5671; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub amqps_port: Option<u16>,
    /// Port of HTTPS, which the SDKs expect at 443; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub https_port: Option<u16>,
    /// Port of the gRPC API over TLS; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub grpc_port: Option<u16>,
    /// Port of metrics and probes, for operators; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: Settings,
    /// Print the merged settings, secrets hidden, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// Flags of a command that works on the shared store.
#[derive(Debug, Args)]
pub struct ToolArgs {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: Settings,
}

/// Flags of `downlink hub`.
#[derive(Debug, Args)]
pub struct HubArgs {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: Settings,
    /// Host name of the hub to print, one of the configuration's; the others are made sure of too [default: the first]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Make sure of a device to try things with, and print its connection string too
    #[arg(long)]
    pub demo_device: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `downlink certificate`.
#[derive(Debug, Args)]
pub struct CertificateArgs {
    /// Folder to put the files in; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: Settings,
}
