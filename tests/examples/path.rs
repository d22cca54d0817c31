//! Prints how many messages a second pass the split form and the embedded form, from a sender on
//! gRPC to devices on MQTT that complete them, then to devices on AMQP, with a connection each and
//! all on one.
//!
//! `cargo build --release --workspace --bins`, then
//! `cargo run --release --example path -p downlink-tests -- [messages] [devices] [Postgres URL]`.
//! Without a URL the split form has a Postgres of its own, which runs without `fsync`; the embedded
//! form always syncs. Clients and all processes share this machine.
#![expect(
    clippy::print_stdout,
    reason = "what it finds is for whoever started it"
)]

use std::net::{IpAddr, Ipv4Addr};

use downlink_stack::{Kafka, Postgres, Redis};
use downlink_tests::split::{AllInOne, Layout, Options, Programs, SplitHub};
use downlink_tests::traffic::idle::Form;
use downlink_tests::traffic::{Access, flow};

const HOST: &str = "hub.path.test";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let messages: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let devices: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let postgres_url = match arguments.next() {
        Some(url) => url,
        None => Postgres::shared().create_database(),
    };
    let settings = vec!["queue.max_depth=100000".to_owned()];
    let address = |last| IpAddr::from(Ipv4Addr::new(127, 78, 0, last));

    let folder = tempfile::tempdir()?;
    let gateways = [address(1), address(2)];
    let split = SplitHub::start(&Options {
        programs: Programs::beside_this_one()?,
        folder: folder.path().to_owned(),
        hosts: vec![HOST.to_owned()],
        layout: Layout::whole(&gateways),
        nodes: 2,
        postgres_url,
        redis_url: Redis::shared().url(),
        kafka: Some(Kafka::shared().bootstrap()),
        prefix: "path".to_owned(),
        settings: settings.clone(),
    })?;
    let access = Access::to(&split.credentials, &split.ca_file, HOST, &gateways)?;
    measure("split", &access, devices, messages).await?;
    split.stop()?;

    let folder = tempfile::tempdir()?;
    let gateways = [address(3)];
    let hub = AllInOne::start(
        &Programs::beside_this_one()?,
        folder.path(),
        HOST,
        gateways[0],
        &settings,
    )?;
    let access = Access::to(&hub.credentials, &hub.ca_file, HOST, &gateways)?;
    measure("embedded", &access, devices, messages).await?;
    hub.stop()
}

async fn measure(
    name: &str,
    access: &Access,
    devices: usize,
    messages: usize,
) -> anyhow::Result<()> {
    for form in [Form::Mqtt, Form::Amqp, Form::Multiplexed] {
        let figures = flow::pass(access, form, devices, messages).await?;
        let form = format!("{form:?}");
        println!(
            "{name:<9} {form:<12} {} messages: accepted {:.0} a second, completed {:.0} a second",
            figures.messages,
            figures.accepted_rate(),
            figures.completed_rate()
        );
    }
    Ok(())
}
