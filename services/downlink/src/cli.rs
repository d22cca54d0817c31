//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    /// Port of gRPC health and reflection, for operators; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub grpc_port: Option<u16>,
    /// Port of metrics and probes, for operators; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, as in the file, such as `queue.max_depth=100`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Print the merged settings, secrets hidden, and exit
    #[arg(long)]
    pub print_config: bool,
}
