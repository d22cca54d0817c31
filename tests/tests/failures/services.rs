//! Processes of the hub that die, stand still, or go.

use std::time::Duration;

use downlink_stack::Signal;
use downlink_tests::split::{Kind, Node, SplitHub};

use crate::support::{PATIENCE, Run};

fn nodes_of(hub: &SplitHub, kind: Kind) -> &[Node] {
    match kind {
        Kind::Gateway => &hub.gateways,
        Kind::Queue => &hub.queues,
        Kind::MethodRouter => &hub.routers,
        Kind::Twin => &hub.twins,
    }
}

/// Kills each node of a service in turn under traffic and starts it again.
async fn survives_the_death_of_each(kind: Kind) {
    let run = Run::start().await;
    for node in nodes_of(&run.hub, kind) {
        node.process().kill().unwrap();
        run.goes_on().await;
        node.process().start_again().unwrap();
        node.wait_until_ready(PATIENCE).unwrap();
        run.goes_on().await;
    }
    run.end().await.assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_gateways_are_killed() {
    survives_the_death_of_each(Kind::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nodes_of_the_queue_service_are_killed() {
    survives_the_death_of_each(Kind::Queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nodes_of_the_twin_service_are_killed() {
    survives_the_death_of_each(Kind::Twin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nodes_of_the_method_router_are_killed() {
    survives_the_death_of_each(Kind::MethodRouter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_gateway_stands_still_past_its_lease_and_goes_on() {
    let run = Run::start().await;
    let gateway = &run.hub.gateways[0];
    gateway.process().signal(Signal::Stop).unwrap();
    // Its devices notice the silence and go to the other gateway.
    run.goes_on().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    gateway.process().signal(Signal::Cont).unwrap();
    run.goes_on().await;
    gateway.wait_until_ready(PATIENCE).unwrap();
    run.end().await.assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_gateway_is_told_to_go_under_load() {
    let run = Run::start().await;
    let gateway = &run.hub.gateways[0];
    gateway.ask_to_stop().unwrap();
    assert_eq!(gateway.wait().unwrap(), 0, "{}", gateway.last_words());
    run.goes_on().await;
    gateway.process().start_again().unwrap();
    gateway.wait_until_ready(PATIENCE).unwrap();
    run.goes_on().await;
    run.end().await.assert_kept();
}
