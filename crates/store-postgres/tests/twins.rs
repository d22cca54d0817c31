//! Twins that several nodes write at once.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/orphans.rs"]
mod orphans;

use std::collections::HashMap;

use downlink_domain::device::IfMatch;
use downlink_domain::event::EventKind;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::{TwinChange, TwinError};
use downlink_ports::{EventOutbox, TwinStore};
use downlink_testkit::{noon, twin_rules};
use futures::future::join_all;
use sqlx::{Connection, PgConnection};

use self::nodes::{Nodes, keys, number};
use self::orphans::orphans;

fn report(value: usize) -> TwinChange {
    TwinChange::Report {
        patch: serde_json::from_str(&format!("{{\"value\": {value}}}")).unwrap(),
        expected_version: None,
    }
}

fn patch(value: usize, if_match: IfMatch) -> TwinChange {
    TwinChange::Patch {
        tags: None,
        desired: Some(serde_json::from_str(&format!("{{\"value\": {value}}}")).unwrap()),
        if_match,
    }
}

/// Waits until that many sessions of the database wait for a lock.
async fn until_waiting(connection: &mut PgConnection, sessions: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..100_000 {
        if number(connection, waiting).await >= sessions {
            return;
        }
    }
    panic!("nobody waits for a lock");
}

async fn devices(nodes: &Nodes, count: usize) -> Vec<DeviceKey> {
    let mut devices = Vec::new();
    for number in 0..count {
        devices.push(nodes.register(&format!("dev-{number}")).await);
    }
    keys(&devices)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_two_nodes_is_lost_and_events_follow_the_versions() {
    let nodes = Nodes::open().await;
    let devices = devices(&nodes, 8).await;
    let racing = (0..8).map(async |racer: usize| {
        for round in 0..10 {
            let mut changes: Vec<_> = devices.iter().map(|key| (*key, report(round))).collect();
            if racer.is_multiple_of(2) {
                changes.reverse();
            }
            let node = nodes.node(racer);
            let answers = node.update_twins(changes, twin_rules(), noon()).await;
            assert!(
                answers
                    .unwrap()
                    .iter()
                    .all(|answer| matches!(answer, Some(Ok(_))))
            );
        }
    });
    join_all(racing).await;
    let versions = nodes.stores[1].find_twin_versions(devices.clone()).await;
    assert_eq!(versions.unwrap(), vec![Some(2 + 80); 8]);

    let events = nodes.stores[0].read_after(0, 10_000).await.unwrap();
    let mut last: HashMap<DeviceKey, u64> = HashMap::new();
    for (_, event) in events {
        if event.kind == EventKind::TwinChange {
            let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
            let version = body["version"].as_u64().unwrap();
            let before = last.insert(event.device_key, version).unwrap_or(2);
            assert_eq!(version, before + 1, "of {}", event.device_key);
        }
    }
    assert_eq!(last.len(), 8);
    assert!(last.values().all(|version| *version == 82));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_patch_the_same_etag_one_succeeds() {
    let nodes = Nodes::open().await;
    let device = devices(&nodes, 1).await[0];
    for _ in 0..10 {
        let twin = nodes.stores[0]
            .find_twins(vec![device])
            .await
            .unwrap()
            .remove(0);
        let etag = twin.unwrap().etag_text();
        let racing = (0..6).map(|racer| {
            let change = patch(racer, IfMatch::Etag(etag.clone()));
            nodes
                .node(racer)
                .update_twins(vec![(device, change)], twin_rules(), noon())
        });
        let answers = join_all(racing).await;
        let answers = answers
            .into_iter()
            .map(|answer| answer.unwrap().remove(0).unwrap());
        let (written, refused): (Vec<_>, Vec<_>) = answers.partition(Result::is_ok);
        assert_eq!(written.len(), 1);
        for answer in refused {
            assert_eq!(answer.unwrap_err(), TwinError::PreconditionFailed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_ends_in_a_deadlock_is_made_again() {
    let nodes = Nodes::open().await;
    let devices = devices(&nodes, 2).await;
    let (mut rival, mut watcher) = (nodes.connect().await, nodes.connect().await);
    let lock = "SELECT 1 FROM twins WHERE device_key = $1 FOR UPDATE";
    let mut held = rival.begin().await.unwrap();
    // The rival never gives way: the store has to.
    sqlx::query("SET LOCAL deadlock_timeout = '1h'")
        .execute(&mut *held)
        .await
        .unwrap();
    sqlx::query(lock)
        .bind(devices[1].0)
        .execute(&mut *held)
        .await
        .unwrap();
    let changes = devices.iter().map(|key| (*key, report(1))).collect();
    let update = nodes.stores[0].update_twins(changes, twin_rules(), noon());
    let cross = async {
        until_waiting(&mut watcher, 1).await;
        sqlx::query(lock)
            .bind(devices[0].0)
            .execute(&mut *held)
            .await
            .unwrap();
        held.commit().await.unwrap();
    };
    let (answers, ()) = tokio::join!(update, cross);
    assert!(
        answers
            .unwrap()
            .iter()
            .all(|answer| matches!(answer, Some(Ok(_))))
    );
    let mut connection = nodes.connect().await;
    let sql = "SELECT count(*) FROM outbox WHERE kind = 'twin-changes'";
    assert_eq!(number(&mut connection, sql).await, 2);
    assert_eq!(orphans(&mut connection).await, 0);
}
