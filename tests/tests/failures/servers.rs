//! Servers under the hub that lose everything, stop, or restart.

use crate::support::Run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_redis_is_emptied_and_restarted() {
    let run = Run::start().await;
    run.servers.redis.flush_all();
    run.goes_on().await;
    run.servers.redis.kill();
    // Connections that are there go on; nothing new is to be sent here, and no process ends.
    for node in run.hub.nodes() {
        run.wait_until_readiness_is(node, false).await;
    }
    run.servers.redis.start_again();
    for node in run.hub.nodes() {
        run.wait_until_readiness_is(node, true).await;
    }
    run.goes_on().await;
    run.end().await.assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_kafka_is_away_for_a_while() {
    let run = Run::start().await;
    run.servers.kafka.stop();
    run.goes_on().await;
    run.servers.kafka.start_again();
    run.goes_on().await;
    run.end().await.assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_postgres_is_restarted_at_once() {
    let run = Run::start().await;
    run.servers.postgres.restart_immediate();
    run.goes_on().await;
    run.servers.postgres.stop_immediate();
    for node in run.hub.queues.iter().chain(&run.hub.twins) {
        run.wait_until_readiness_is(node, false).await;
    }
    run.servers.postgres.start_again();
    for node in run.hub.nodes() {
        run.wait_until_readiness_is(node, true).await;
    }
    run.goes_on().await;
    run.end().await.assert_kept();
}
