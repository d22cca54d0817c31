//! What a consumer outside the project reads from Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, Rest, Run};

/// One record, as `kcat` prints it.
#[derive(Debug)]
struct Record {
    key: String,
    id: String,
    message: String,
}

/// Every record of the hub's feedback topic, partition by partition.
fn feedback_of(rest: &Rest) -> Vec<Record> {
    let output = Command::new("kcat")
        .args([
            "-C",
            "-q",
            "-e",
            "-o",
            "beginning",
            "-b",
            &rest.servers.kafka.bootstrap(),
        ])
        .args(["-t", &format!("{}.feedback", rest.prefix)])
        .args(["-f", "%k\\t%h\\t%s\\n"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let record = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let key = fields.next()?.to_owned();
        let id = fields
            .next()?
            .split(',')
            .find_map(|header| header.strip_prefix("id="))?;
        let body: Value = serde_json::from_str(fields.next()?).ok()?;
        let body = body.get(0).unwrap_or(&body);
        Some(Record {
            key,
            id: id.to_owned(),
            message: body["originalMessageId"].as_str()?.to_owned(),
        })
    };
    text.lines()
        .map(|line| record(line).unwrap_or_else(|| panic!("not a record: {line}")))
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
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for record in &records {
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
