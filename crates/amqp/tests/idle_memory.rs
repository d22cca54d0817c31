//! What a device costs that is connected and silent, which most are most of the time.
#![cfg(target_os = "linux")]

#[path = "support/line.rs"]
mod line;

use std::{fs, sync::Arc, time::Instant};

use downlink_amqp::{engine::Options, performative::Role};
use line::Line;

const DEVICES: usize = 4_000;

/// Most an idle device may cost, in bytes: two thirds above what it costs.
const MOST_BYTES: usize = 2_560;

/// Bytes of anonymous memory the process has resident.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the process' own status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.expect("a line").trim().trim_end_matches(" kB");
    kibibytes.parse::<usize>().expect("a number") * 1024
}

/// Opens what a device has that waits for messages: a session, the token's links, telemetry and
/// messages to it.
fn connect(options: &Arc<Options>) -> Line {
    let mut line = Line::open(options, Instant::now());
    line.begin(0);
    line.attach(0, 0, Role::Sender, "$cbs", 32);
    line.attach(0, 1, Role::Receiver, "$cbs", 100);
    let device = "/devices/device-1/messages";
    line.attach(0, 2, Role::Sender, &format!("{device}/events"), 100);
    line.attach(
        0,
        3,
        Role::Receiver,
        &format!("{device}/devicebound"),
        1_000,
    );
    line
}

#[test]
fn idle_device_costs_no_more_than_2_and_a_half_kib() {
    let options = Arc::new(Options::default());
    // What the allocator keeps for itself is there before the count begins.
    drop((0..100).map(|_| connect(&options)).collect::<Vec<_>>());
    let mut devices = Vec::with_capacity(DEVICES);
    let before = resident_bytes();
    devices.extend((0..DEVICES).map(|_| connect(&options)));
    let each = (resident_bytes() - before) / devices.len();
    println!("an idle device costs {each} bytes");
    assert!(each <= MOST_BYTES, "an idle device costs {each} bytes");
}
