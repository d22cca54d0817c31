//! Starting and stopping.

use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use crate::support::{Hub, command};

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_second_start_on_the_same_data_keeps_keys_and_device() {
    let data = tempfile::tempdir().unwrap();
    let first = Hub::start(data.path(), &[]);
    let before = first.facts.clone();
    assert_eq!(first.signal_and_wait("INT"), Some(0));
    let second = Hub::start(data.path(), &[]);
    assert_eq!(second.facts["policies"], before["policies"]);
    assert_eq!(second.facts["device"], before["device"]);
    assert_eq!(second.facts["hostName"], before["hostName"]);
}

#[test]
fn connect_json_names_doors_policies_device_and_the_ca() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &[]);
    let names: Vec<_> = hub.facts["policies"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    for name in [
        "iothubowner",
        "service",
        "device",
        "registryRead",
        "registryReadWrite",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
        let text = hub.facts["policies"][name].as_str().unwrap();
        assert!(text.starts_with("HostName="), "{text}");
        assert!(
            text.contains(&format!("SharedAccessKeyName={name};")),
            "{text}"
        );
    }
    let device = &hub.facts["device"];
    let id = device["id"].as_str().unwrap();
    assert!(
        device["connectionString"]
            .as_str()
            .unwrap()
            .contains(&format!("DeviceId={id};"))
    );
    assert!(std::fs::exists(hub.facts["caFile"].as_str().unwrap()).unwrap());
    for door in ["mqtts", "amqps", "https", "grpc", "metrics"] {
        assert_ne!(hub.port(door), 0, "{door}");
    }
    let printed = hub.lines.join("\n");
    for word in [
        device["connectionString"].as_str().unwrap(),
        hub.facts["policies"]["iothubowner"].as_str().unwrap(),
        hub.facts["caFile"].as_str().unwrap(),
    ] {
        assert!(printed.contains(word), "{word} is not in {printed}");
    }
}

#[test]
fn a_taken_port_gives_one_line_that_names_it_and_the_cure() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = command(data.path())
        .args(["--mqtts-port", &port])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = error.lines().filter(|line| line.contains(&port)).collect();
    assert_eq!(lines.len(), 1, "{error}");
    assert!(lines[0].contains("--mqtts-port"), "{error}");
}

#[test]
fn print_config_shows_the_merged_configuration_without_secrets() {
    let data = tempfile::tempdir().unwrap();
    let output = command(data.path())
        .args(["--set", "queue.max_depth=77", "--print-config"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("max_depth = 77"),
        "{}",
        text(&output)
    );
    assert!(
        !data.path().join("connect.json").exists(),
        "printing starts nothing"
    );
}

#[test]
fn an_unknown_setting_is_refused_with_its_name() {
    let data = tempfile::tempdir().unwrap();
    let output = command(data.path())
        .args(["--set", "queue.max_dept=1"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("max_dept"), "{}", text(&output));
}

#[test]
fn a_second_hub_on_the_same_data_is_refused_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let _first = Hub::start(data.path(), &[]);
    let output = command(data.path()).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).lines().count(),
        1,
        "{}",
        text(&output)
    );
}

#[test]
fn termination_drains_and_exits_with_zero() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(
        Hub::start(data.path(), &[]).signal_and_wait("TERM"),
        Some(0)
    );
}

#[test]
fn a_later_start_is_quick_and_an_idle_hub_is_small() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(Hub::start(data.path(), &[]).signal_and_wait("INT"), Some(0));
    let hub = Hub::start(data.path(), &[]);
    // The promise is 300 ms for the release build on a machine of its own.
    assert!(
        hub.ready_after < Duration::from_secs(2),
        "{:?}",
        hub.ready_after
    );
    let resident = hub.resident_bytes();
    assert!(resident < 60 * 1024 * 1024, "{resident} bytes");
}
