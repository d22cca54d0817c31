//! Prints how many messages a second a back-end sends over AMQP, gRPC and REST, on the split form
//! and on the embedded form, and what an idle device connection costs the embedded form in memory,
//! over MQTT and over AMQP.
//!
//! `cargo build --release --workspace --bins`, then
//! `cargo run --release --example backends -p downlink-tests -- [messages] [devices] [idle]
//! [Postgres URL]`. Without a URL the split form has a Postgres of its own, which runs without
//! `fsync`; the embedded form always syncs. Clients and all processes share this machine. No device
//! is connected while messages are sent.
#![expect(
    clippy::print_stdout,
    reason = "what it finds is for whoever started it"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use downlink_stack::{Postgres, Redis};
use downlink_tests::split::{AllInOne, Layout, Options, Programs, SplitHub};
use downlink_tests::traffic::Access;
use downlink_tests::traffic::idle::{Fleet, Form};
use downlink_tests::traffic::ways::{Target, Way};

const HOST: &str = "hub.backends.test";
const BODY_BYTES: usize = 100;
/// Runs of each way, in turn, so that all see the machine at the same moods.
const ROUNDS: usize = 3;
/// Devices on one connection, as many as Java puts there.
const MULTIPLEXED: usize = 1_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let messages: usize = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let devices: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let idle: usize = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    let postgres_url = arguments.next();

    if messages > 0 {
        compare_split(messages, devices, postgres_url).await?;
        compare_embedded(messages, devices).await?;
    }
    if idle > 0 {
        println!("memory of the embedded form for an idle device connection");
        weigh(Form::Mqtt, idle).await?;
        weigh(Form::Amqp, idle).await?;
        weigh(Form::Multiplexed, MULTIPLEXED.min(idle)).await?;
    }
    Ok(())
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 79, 0, last).into()
}

/// The hub as it is, but for the depth of queues: nobody takes what is sent.
fn settings() -> Vec<String> {
    vec!["queue.max_depth=100000".to_owned()]
}

async fn compare_split(
    messages: usize,
    devices: usize,
    postgres_url: Option<String>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let gateways = [address(1), address(2)];
    let hub = SplitHub::start(&Options {
        programs: Programs::beside_this_one()?,
        folder: folder.path().to_owned(),
        hosts: vec![HOST.to_owned()],
        layout: Layout::whole(&gateways),
        nodes: 2,
        postgres_url: postgres_url.unwrap_or_else(|| Postgres::shared().create_database()),
        redis_url: Redis::shared().url(),
        kafka: None,
        prefix: "backends".to_owned(),
        settings: settings(),
    })?;
    let access = Access::to(&hub.credentials, &hub.ca_file, HOST, &gateways)?;
    compare("split", &access, messages, devices).await?;
    hub.stop()
}

async fn compare_embedded(messages: usize, devices: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let gateways = [address(3)];
    let programs = Programs::beside_this_one()?;
    let hub = AllInOne::start(&programs, folder.path(), HOST, gateways[0], &settings())?;
    let access = Access::to(&hub.credentials, &hub.ca_file, HOST, &gateways)?;
    compare("embedded", &access, messages, devices).await?;
    hub.stop()
}

/// Sends the same messages to the same devices on every way, in turn.
async fn compare(
    form: &str,
    access: &Access,
    messages: usize,
    devices: usize,
) -> anyhow::Result<()> {
    let target = Target::new(access, devices).await?;
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    // The first run of each is for caches and connections.
    for way in Way::ALL {
        target.send(way, messages / 10, &body).await?;
    }
    let mut took = [Duration::ZERO; Way::ALL.len()];
    for _ in 0..ROUNDS {
        for (way, took) in Way::ALL.into_iter().zip(&mut took) {
            *took += target.send(way, messages, &body).await?;
        }
    }
    println!("{form}: {ROUNDS} × {messages} messages of {BODY_BYTES} bytes to {devices} devices");
    let rates = took.map(|took| rate(messages * ROUNDS, took));
    for (way, rate) in Way::ALL.into_iter().zip(rates) {
        let ratio = rate / rates[0];
        println!("  {:<30} {rate:>8.0} a second  {ratio:>5.2}", way.as_str());
    }
    Ok(())
}

fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// Connects devices to a hub of their own and says how much its process grew.
async fn weigh(form: Form, devices: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let gateways = [address(4)];
    let programs = Programs::beside_this_one()?;
    let hub = AllInOne::start(&programs, folder.path(), HOST, gateways[0], &[])?;
    let access = Access::to(&hub.credentials, &hub.ca_file, HOST, &gateways)?;
    // What the first connections build for all is not theirs.
    let warm = Fleet::new(&access, 20).await?.connect(form).await?;
    drop(warm);
    let fleet = Fleet::new(&access, devices).await?;
    let pid = hub.process().pid().context("the hub runs")?;
    let before = resident_bytes(pid)?;
    let held = fleet.connect(form).await?;
    let after = resident_bytes(pid)?;
    drop(held);
    let each = after.saturating_sub(before) / devices as u64;
    println!(
        "  {:<12} {devices} devices: {:.1} KiB each ({:.1} → {:.1} MiB)",
        format!("{form:?}"),
        kib(each),
        kib(before) / 1024.0,
        kib(after) / 1024.0
    );
    hub.stop()
}

fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1024.0
}

/// Memory of a process that is in use, in bytes.
fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kib: u64 = number.context("the size of the process")?.parse()?;
    Ok(kib * 1024)
}
