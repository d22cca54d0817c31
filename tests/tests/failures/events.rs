//! What a consumer outside the project reads from Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, Rest, Run, Servers};

/// One record, as `kcat` prints it.
#[derive(Debug)]
struct Record {
    key: String,
    id: String,
    message: String,
}

/// Every line of a topic of the hub, partition by partition: key, headers, body.
pub(crate) fn lines_of(
    servers: &Servers,
    prefix: &str,
    topic: &str,
) -> Vec<(String, String, Value)> {
    let output = Command::new("kcat")
        .args([
            "-C",
            "-q",
            "-e",
            "-o",
            "beginning",
            "-b",
            &servers.kafka.bootstrap(),
        ])
        .args(["-t", &format!("{prefix}.{topic}")])
        .args(["-f", "%k\\t%h\\t%s\\n"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let fields = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let (key, headers) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        Some((key, headers, serde_json::from_str(fields.next()?).ok()?))
    };
    text.lines()
        .map(|line| fields(line).unwrap_or_else(|| panic!("not a record: {line}")))
        .collect()
}

/// Every record of the hub's feedback topic.
fn feedback_of(rest: &Rest) -> Vec<Record> {
    let lines = lines_of(&rest.servers, &rest.prefix, "feedback").into_iter();
    lines
        .map(|(key, headers, body)| {
            let mut headers = headers.split(',');
            let id = headers
                .find_map(|header| header.strip_prefix("id="))
                .unwrap();
            let body = body.get(0).unwrap_or(&body);
            Record {
                key,
                id: id.to_owned(),
                message: body["originalMessageId"].as_str().unwrap().to_owned(),
            }
        })
        .collect()
}

/// Reads until every accepted message was reported.
fn wait_for_all(rest: &Rest, accepted: &BTreeSet<String>) -> Vec<Record> {
    let end = Instant::now() + PATIENCE;
    loop {
        let records = feedback_of(rest);
        let reported: BTreeSet<_> = records.iter().map(|record| &record.message).collect();
        let missing = accepted.iter().filter(|id| !reported.contains(id)).count();
        if missing == 0 {
            return records;
        }
        assert!(
            Instant::now() < end,
            "{missing} messages are not reported in Kafka"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Checks that each message has one report and that those of a device are in one partition.
fn assert_one_report_each(records: &[Record]) {
    let mut events: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in records {
        events
            .entry(&record.message)
            .or_default()
            .insert(&record.id);
        assert!(
            record.message.starts_with(&format!("{}:", record.key)),
            "{record:?}"
        );
    }
    let twice: Vec<_> = events.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(twice.is_empty(), "ended more than once: {twice:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_is_read_in_order_for_each_device_by_a_consumer_outside_the_project() {
    let run = Run::start().await;
    run.goes_on().await;
    let (verdict, rest) = run.end_traffic().await;
    verdict.assert_kept();
    let records = wait_for_all(&rest, &verdict.accepted);
    assert_one_report_each(&records);
    // What a device has abandoned ends after messages that were sent later.
    let straight = records
        .iter()
        .filter(|record| !verdict.abandoned.contains(&record.message));
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for record in straight {
        let before = last.insert(&record.key, &record.message);
        assert!(
            before.is_none_or(|before| before < record.message.as_str()),
            "{record:?} after {before:?}"
        );
    }
    rest.hub.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_has_one_report_in_kafka_though_kafka_and_the_relays_were_killed() {
    let run = Run::start().await;
    run.servers.kafka.kill();
    run.goes_on().await;
    for node in &run.hub.queues {
        node.process().kill().unwrap();
        node.process().start_again().unwrap();
        node.wait_until_ready(PATIENCE).unwrap();
    }
    run.servers.kafka.start_again();
    run.goes_on().await;
    let (verdict, rest) = run.end_traffic().await;
    verdict.assert_kept();
    let records = wait_for_all(&rest, &verdict.accepted);
    assert_one_report_each(&records);
    rest.hub.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_changes_are_read_in_order_for_each_device_by_a_consumer_outside_the_project() {
    const STEPS: usize = 10;
    let run = Run::start().await;
    for step in 1..=STEPS {
        // Every other step through the other gateway, and so perhaps another twin node.
        let steps = run
            .devices()
            .iter()
            .map(|device| run.access.set_step(device, step, step));
        for set in futures::future::join_all(steps).await {
            set.unwrap();
        }
    }
    let devices = run.devices().to_vec();
    let (_, rest) = run.end_traffic().await;
    let end = Instant::now() + PATIENCE;
    let seen = loop {
        let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (key, _, body) in lines_of(&rest.servers, &rest.prefix, "twin-changes") {
            if let Some(step) = body["properties"]["desired"]["step"].as_u64() {
                seen.entry(key).or_default().push(step);
            }
        }
        if seen.values().map(Vec::len).sum::<usize>() >= STEPS * devices.len() {
            break seen;
        }
        assert!(Instant::now() < end, "only these came: {seen:?}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let wanted: Vec<u64> = (1..).take(STEPS).collect();
    for device in &devices {
        assert_eq!(seen.get(device), Some(&wanted), "{device}");
    }
    rest.hub.stop().unwrap();
}
