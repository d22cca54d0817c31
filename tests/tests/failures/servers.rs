//! Servers under the hub that lose everything, stop, or restart.

use std::time::Duration;

use crate::support::Run;

#[tokio::test]
async fn nothing_is_lost_when_redis_is_emptied_and_restarted() {
    let run = Run::start().await;
    run.servers.redis.flush_all();
    run.goes_on().await;
    run.servers.redis.kill();
    // The hub does without for a while; connections that are there go on.
    tokio::time::sleep(Duration::from_secs(2)).await;
    run.servers.redis.start_again();
    run.goes_on().await;
    run.end().await.assert_kept();
}

#[tokio::test]
async fn nothing_is_lost_when_kafka_is_away_for_a_while() {
    let run = Run::start().await;
    run.servers.kafka.stop();
    run.goes_on().await;
    run.servers.kafka.start_again();
    run.goes_on().await;
    run.end().await.assert_kept();
}

#[tokio::test]
async fn nothing_is_lost_when_postgres_is_restarted_at_once() {
    let run = Run::start().await;
    run.servers.postgres.restart_immediate();
    run.goes_on().await;
    run.servers.postgres.restart_immediate();
    run.goes_on().await;
    run.end().await.assert_kept();
}
