//! Nothing that was started outlives its owner.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use downlink_stack::{Kafka, PgBouncer, Postgres, Redis};

/// Not a test: the owner that is killed by the test below, which runs it in a process of its own.
///
/// Starts one server of each kind, says where they are, and waits for the end of its input.
#[test]
#[ignore = "the process that `servers_are_gone_after_their_owner_was_killed` kills"]
fn owner() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let pooler = PgBouncer::start(&postgres, &database);
    let redis = Redis::start();
    let kafka = Kafka::start();
    for address in [
        postgres.url(),
        pooler.url("postgres"),
        redis.url(),
        kafka.bootstrap(),
    ] {
        println!("ADDRESS {address}");
    }
    for pid in [
        postgres.process().pid(),
        redis.process().pid(),
        kafka.process().pid(),
    ] {
        println!("PROCESS {}", pid.unwrap());
    }
    println!("READY");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn servers_are_gone_after_their_owner_was_killed() {
    let (mut owner, lines) = start_owner();
    let folders = folders_of(owner.id());
    let ports: Vec<u16> = words_of(&lines, "ADDRESS ").map(port_of).collect();
    let pids: Vec<&str> = words_of(&lines, "PROCESS ").collect();
    assert_eq!(
        (folders.len(), ports.len(), pids.len()),
        (4, 4, 3),
        "{lines:?}"
    );
    assert!(ports.iter().copied().all(listens));

    owner.kill().unwrap();
    owner.wait().unwrap();

    eventually("folders", || folders_of(owner.id()).is_empty());
    eventually("listeners", || !ports.iter().copied().any(listens));
    eventually("processes", || {
        !pids.iter().any(|pid| Path::new("/proc").join(pid).exists())
    });
}

#[test]
fn a_server_and_its_folder_are_gone_when_its_value_is_dropped() {
    let redis = Redis::start();
    let (port, pid) = (redis.port(), redis.process().pid().unwrap());
    assert!(listens(port));
    drop(redis);
    assert!(!listens(port));
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
}

fn start_owner() -> (Child, Vec<String>) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["owner", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    let mut lines = Vec::new();
    for line in output.lines().map_while(Result::ok) {
        if line.ends_with("READY") {
            return (owner, lines);
        }
        lines.push(line);
    }
    let status = owner.wait().unwrap();
    panic!("the owner ended with {status}: {lines:?}");
}

/// What follows `label` in the lines that have it.
fn words_of<'a>(lines: &'a [String], label: &'a str) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        .filter_map(move |line| line.split_once(label).map(|(_, word)| word))
}

/// The folders below the temporary one that carry the number of the process.
fn folders_of(process: u32) -> Vec<String> {
    let mark = format!("-{process}-");
    std::fs::read_dir(std::env::temp_dir())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with("downlink-") && name.contains(&mark))
        .collect()
}

fn port_of(address: &str) -> u16 {
    let port = address.rsplit(':').next().unwrap();
    port.split('/').next().unwrap().parse().unwrap()
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{what} are still there"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
