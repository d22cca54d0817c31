//! The servers start, answer, and come back with what they acknowledged.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use downlink_stack::{Kafka, PgBouncer, Postgres, Redis, RedisCluster, RedisSentinel};

/// Runs one of the servers' own clients and gives what it printed.
#[track_caller]
fn ask(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {complaint}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn sql(url: &str, statement: &str) -> String {
    ask("psql", &["-XAtqv", "ON_ERROR_STOP=1", "-c", statement, url])
}

#[test]
fn postgres_comes_back_with_what_it_committed() {
    let postgres = Postgres::start();
    let (one, other) = (postgres.create_database(), postgres.create_database());
    sql(&one, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    assert_ne!(one, other);
    assert_eq!(
        sql(
            &other,
            "SELECT count(*) FROM pg_tables WHERE tablename = 't'"
        ),
        "0"
    );

    postgres.restart_immediate();

    assert_eq!(sql(&one, "SELECT n FROM t"), "7");
}

#[test]
fn a_pooler_gives_connections_for_one_transaction() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let pooler = PgBouncer::start(postgres, &database);
    let url = pooler.url(&database);
    assert_ne!(url, database);
    assert_eq!(
        sql(&url, "SELECT current_database()"),
        database.rsplit('/').next().unwrap()
    );
}

#[test]
fn redis_comes_back_with_what_it_acknowledged() {
    let redis = Redis::start();
    assert_eq!(
        ask("redis-cli", &["-u", &redis.url(), "SET", "key", "value"]),
        "OK"
    );

    redis.kill();
    redis.start_again();
    assert_eq!(
        ask("redis-cli", &["-u", &redis.url(), "GET", "key"]),
        "value"
    );

    redis.stop();
    redis.start_again();
    assert_eq!(
        ask("redis-cli", &["-u", &redis.url(), "GET", "key"]),
        "value"
    );

    redis.flush_all();
    assert_eq!(ask("redis-cli", &["-u", &redis.url(), "GET", "key"]), "");
}

#[test]
fn sentinels_make_the_replica_the_master_when_it_is_killed() {
    let redis = RedisSentinel::start();
    assert_eq!(redis.sentinel_urls().len(), 3);
    let before = redis.master_port();
    redis.kill_master();
    let started = Instant::now();
    while redis.master_port() == before {
        assert!(started.elapsed().as_secs() < 30, "no fail-over");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cluster_serves_every_key() {
    let redis = RedisCluster::start();
    let urls = redis.urls();
    assert_eq!(urls.len(), 3);
    for key in ["a", "b", "c", "d", "e"] {
        assert_eq!(
            ask("redis-cli", &["-c", "-u", &urls[0], "SET", key, key]),
            "OK"
        );
        assert_eq!(ask("redis-cli", &["-c", "-u", &urls[2], "GET", key]), key);
    }
}

#[test]
fn kafka_comes_back_with_what_it_acknowledged() {
    let kafka = Kafka::start();
    let address = kafka.bootstrap();
    // CreateTopics, version 0: the topic "things" with one partition and one copy, within 10 s.
    let things = [
        b"\x00\x00\x00\x01\x00\x06things".as_slice(),
        b"\x00\x00\x00\x01\x00\x01",
    ]
    .concat();
    let create = [things.as_slice(), &[0; 8], &10_000_u32.to_be_bytes()].concat();
    let made = call_kafka(&address, 19, &create);
    assert_eq!(made, b"\x00\x00\x00\x01\x00\x06things\x00\x00");
    assert!(has_things(&address));

    kafka.kill();
    kafka.start_again();
    assert!(has_things(&address));

    kafka.stop();
    kafka.start_again();
    assert!(has_things(&address));
}

/// Asks for the metadata of every topic, version 0.
fn has_things(address: &str) -> bool {
    let answer = call_kafka(address, 3, &[0; 4]);
    answer.windows(8).any(|bytes| bytes == b"\x00\x06things")
}

/// Sends a request of version 0 and gives the body of the answer.
fn call_kafka(address: &str, api: u8, body: &[u8]) -> Vec<u8> {
    // Api, version, correlation id, no client id.
    let head = [0, api, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let length = u32::try_from(head.len() + body.len()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
        .write_all(&[&length.to_be_bytes(), head.as_slice(), body].concat())
        .unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer.split_off(4)
}
