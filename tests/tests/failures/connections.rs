//! Who is connected, as a consumer outside the project reads it, when gateways and Redis are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use downlink_tests::traffic::idle::{Fleet, Form};

use crate::events::lines_of;
use crate::support::{PATIENCE, Run, Servers};

/// One change of a device's connection.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    number: String,
    is_connected: bool,
    reason: Option<String>,
}

/// The changes of each device in the order of their records, each record once: a relay that dies may
/// publish one twice, under the same id.
fn changes(servers: &Servers, prefix: &str) -> BTreeMap<String, Vec<Change>> {
    let mut seen = BTreeSet::new();
    let mut changes: BTreeMap<_, Vec<Change>> = BTreeMap::new();
    for (key, headers, body) in lines_of(servers, prefix, "connection-events") {
        let header = |name: &str| {
            let mut headers = headers.split(',');
            let found = headers.find_map(|header| header.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned)
        };
        if !seen.insert(header("id").unwrap()) {
            continue;
        }
        let number = body["sequenceNumber"].as_str().unwrap().to_owned();
        assert_eq!(number.len(), 64);
        let is_connected = header("opType").unwrap() == "deviceConnected";
        changes.entry(key).or_default().push(Change {
            number,
            is_connected,
            reason: header("downlink-reason"),
        });
    }
    changes
}

/// Checks that numbers rise, and that connects and disconnects alternate.
fn assert_told_once_and_in_order(device: &str, changes: &[Change]) {
    assert!(changes[0].is_connected, "{device}: {changes:#?}");
    for pair in changes.windows(2) {
        assert!(pair[0].number < pair[1].number, "{device}: {changes:#?}");
        assert_ne!(
            pair[0].is_connected, pair[1].is_connected,
            "{device}: {changes:#?}"
        );
    }
    for change in changes {
        assert_eq!(change.is_connected, change.reason.is_none(), "{device}");
    }
}

/// Reads until the last change of each of `count` devices is as `wanted` says.
fn wait_until_last(
    servers: &Servers,
    prefix: &str,
    (devices, count): (&str, usize),
    wanted: impl Fn(&Change) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    loop {
        let changes = changes(servers, prefix);
        let those = changes
            .iter()
            .filter(|(device, _)| *device == devices || device.starts_with(&format!("{devices}-")));
        let last = those.filter_map(|(_, changes)| changes.last());
        if last.filter(|change| wanted(change)).count() == count {
            return;
        }
        assert!(Instant::now() < end, "{changes:#?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connect_and_disconnect_is_told_once_and_in_order_though_gateways_and_redis_are_lost()
{
    const SILENT: usize = 20;
    let run = Run::start().await;
    let fleet = Fleet::new(&run.access, SILENT).await.unwrap();
    let _held = fleet.connect(Form::Mqtt).await.unwrap();
    let silent = ("idle", SILENT);
    wait_until_last(&run.servers, &run.prefix, silent, |change| {
        change.is_connected
    });
    // Every lease is gone with it for a moment, and nobody is taken for lost.
    run.servers.redis.kill();
    run.servers.redis.start_again();
    run.goes_on().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    wait_until_last(&run.servers, &run.prefix, silent, |change| {
        change.is_connected
    });
    // They do not come back; the devices of the traffic do, elsewhere.
    let gateway = &run.hub.gateways[0];
    gateway.process().kill().unwrap();
    let is_lost = |change: &Change| change.reason.as_deref() == Some("gatewayLost");
    wait_until_last(&run.servers, &run.prefix, silent, is_lost);
    run.goes_on().await;
    gateway.process().start_again().unwrap();
    gateway.wait_until_ready(PATIENCE).unwrap();
    for node in &run.hub.twins {
        node.process().kill().unwrap();
        node.process().start_again().unwrap();
        node.wait_until_ready(PATIENCE).unwrap();
    }
    run.goes_on().await;
    let others = run.devices().to_vec();
    let (verdict, rest) = run.end_traffic().await;
    verdict.assert_kept();
    for device in &others {
        let all_gone = (device.as_str(), 1);
        wait_until_last(&rest.servers, &rest.prefix, all_gone, |change| {
            !change.is_connected
        });
    }
    for (device, changes) in changes(&rest.servers, &rest.prefix) {
        assert_told_once_and_in_order(&device, &changes);
    }
    rest.hub.stop().unwrap();
}
