//! The servers start, answer, and come back with what they acknowledged.

use std::process::Command;

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
    let started = std::time::Instant::now();
    while redis.master_port() == before {
        assert!(started.elapsed().as_secs() < 30, "no fail-over");
        std::thread::sleep(std::time::Duration::from_millis(20));
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
    assert!(kafka.bootstrap().starts_with("127.0.0.1:"));
    kafka.kill();
    kafka.start_again();
    kafka.stop();
    kafka.start_again();
}
