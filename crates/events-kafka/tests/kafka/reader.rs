//! A consumer that shares no code with the product: `kcat`.

use std::collections::HashMap;
use std::process::Command;

use serde_json::Value;

/// One record as `kcat` read it.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i64,
    pub offset: i64,
    pub millis: i64,
    pub key: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Record {
    /// The first header of this name.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        &found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }
}

/// Everything in a topic, by partition in the order of the log.
pub async fn read(broker: String, topic: String) -> Vec<Record> {
    let read = tokio::task::spawn_blocking(move || run_kcat(&broker, &topic));
    read.await.expect("the reader does not panic")
}

fn run_kcat(broker: &str, topic: &str) -> Vec<Record> {
    let arguments = ["-C", "-e", "-q", "-J", "-o", "beginning"];
    let output = Command::new("kcat")
        .args(["-b", broker, "-t", topic])
        .args(arguments)
        .output()
        .expect("kcat is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let mut records: Vec<_> = text.lines().map(record).collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

fn record(line: &str) -> Record {
    let json: Value = serde_json::from_str(line).expect("kcat writes JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = json["headers"].as_array().cloned().unwrap_or_default();
    Record {
        partition: json["partition"].as_i64().expect("a partition"),
        offset: json["offset"].as_i64().expect("an offset"),
        millis: json["ts"].as_i64().expect("a time"),
        key: text(&json["key"]),
        headers: headers
            .chunks_exact(2)
            .map(|pair| (text(&pair[0]), text(&pair[1])))
            .collect(),
        body: text(&json["payload"]),
    }
}

/// The bodies under each key, each where its id occurs first.
pub fn first_occurrences(records: &[Record]) -> HashMap<String, Vec<String>> {
    let mut seen = std::collections::HashSet::new();
    let mut bodies: HashMap<String, Vec<String>> = HashMap::new();
    for record in records {
        if seen.insert(record.header("id").to_owned()) {
            let own = bodies.entry(record.key.clone()).or_default();
            own.push(record.body.clone());
        }
    }
    bodies
}
