//! Identities that several nodes write at once.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/orphans.rs"]
mod orphans;

use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceKey, GatewayId, IdentityName};
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, LeaseEpoch};
use downlink_domain::twin::TwinChange;
use downlink_ports::{
    ConnectionChange, ConnectionStore, DeviceRegistry, EnqueueRules, EventOutbox, MessageStore,
    RegistryError, SessionStore, TwinStore,
};
use downlink_testkit::{a_device_spec, a_hub, a_message_to, an_identity, noon, twin_rules};
use futures::future::join_all;

use self::nodes::{Nodes, keys, number};
use self::orphans::orphans;

fn module_of(device: &str, module: &str) -> IdentityName {
    IdentityName {
        module: Some(module.parse().unwrap()),
        ..an_identity(device)
    }
}

fn op_type(event: &Event) -> &str {
    let found = event.properties.iter().find(|(name, _)| name == "opType");
    &found.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_one_name_at_once_one_succeeds() {
    let nodes = Nodes::open().await;
    for round in 0..10 {
        let name = an_identity(&format!("dev-{round}"));
        let racing = (0..8).map(|racer| {
            let node = nodes.node(racer);
            node.create(
                a_hub(),
                name.clone(),
                a_device_spec(),
                Actor::operator(),
                noon(),
            )
        });
        let outcomes = join_all(racing).await;
        let mut created = Vec::new();
        for outcome in outcomes {
            match outcome.unwrap() {
                Ok(device) => created.push(device),
                Err(error) => assert_eq!(error, RegistryError::AlreadyExists(name.clone())),
            }
        }
        assert_eq!(created.len(), 1);
        let found = nodes.node(round).find(a_hub(), vec![name]).await.unwrap();
        assert_eq!(found, [created.pop()]);
    }
    let mut connection = nodes.connect().await;
    assert_eq!(orphans(&mut connection).await, 0);
    assert_eq!(
        number(&mut connection, "SELECT count(*) FROM twins").await,
        10
    );
    assert_eq!(
        number(&mut connection, "SELECT count(*) FROM outbox").await,
        20,
        "each creation has an event and an audit record, and nobody else has any"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_replace_the_same_etag_one_succeeds() {
    let nodes = Nodes::open().await;
    let mut current = nodes.register("dev-1").await;
    for _ in 0..10 {
        let racing = (0..6).map(|racer| {
            let etag = IfMatch::Etag(current.etag_text());
            let name = current.name.clone();
            nodes.node(racer).replace(
                a_hub(),
                name,
                a_device_spec(),
                etag,
                Actor::operator(),
                noon(),
            )
        });
        let mut replaced = Vec::new();
        for outcome in join_all(racing).await {
            match outcome.unwrap() {
                Ok(device) => replaced.push(device),
                Err(error) => assert!(matches!(error, RegistryError::PreconditionFailed(_))),
            }
        }
        assert_eq!(replaced.len(), 1);
        let next = replaced.remove(0);
        assert_eq!(next.etag, current.etag + 1);
        current = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_leaves_no_module_behind_that_was_being_created() {
    let nodes = Nodes::open().await;
    let mut refused = 0;
    for round in 0..30 {
        let device = nodes.register(&format!("dev-{round}")).await;
        let id = device.name.device.as_str();
        let create = |module: &str, racer| {
            let name = module_of(id, module);
            nodes
                .node(racer)
                .create(a_hub(), name, a_device_spec(), Actor::operator(), noon())
        };
        let delete = nodes.node(round).delete(
            a_hub(),
            device.name.clone(),
            IfMatch::Any,
            Actor::operator(),
            noon(),
        );
        let (first, deleted, second) = tokio::join!(create("m", 0), delete, create("n", 1));
        deleted.unwrap().unwrap();
        for module in [first, second] {
            match module.unwrap() {
                Ok(_) => {}
                Err(error) => {
                    refused += 1;
                    assert_eq!(error, RegistryError::NotFound(device.name.clone()));
                }
            }
        }
    }
    let mut connection = nodes.connect().await;
    assert_eq!(orphans(&mut connection).await, 0);
    let left = number(&mut connection, "SELECT count(*) FROM identities").await;
    assert_eq!(left, 0, "{refused} creations were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_leaves_nothing_behind_that_was_being_written() {
    let nodes = Nodes::open().await;
    for round in 0..30 {
        let id = format!("dev-{round}");
        let device = nodes.register(&id).await;
        let (here, there) = (nodes.node(round), nodes.node(round + 1));
        let report = TwinChange::Report {
            patch: serde_json::from_str("{\"seen\": 1}").unwrap(),
            expected_version: None,
        };
        let update = there.update_twins(vec![(device.key, report)], twin_rules(), noon());
        let session = Some(Bytes::from_static(b"session"));
        let save = there.save_sessions(vec![(device.key, session)]);
        let message = a_message_to(&id, "go");
        let rules = EnqueueRules { max_depth: 50 };
        let enqueue = there.enqueue(vec![message.clone(), message], rules, noon());
        let delete = here.delete(
            a_hub(),
            device.name.clone(),
            IfMatch::Any,
            Actor::operator(),
            noon(),
        );
        let (updated, saved, deleted, enqueued) = tokio::join!(update, save, delete, enqueue);
        deleted.unwrap().unwrap();
        saved.unwrap();
        updated.unwrap();
        enqueued.unwrap();
        let again = TwinChange::Report {
            patch: serde_json::from_str("{\"seen\": 2}").unwrap(),
            expected_version: None,
        };
        let updated = there.update_twins(vec![(device.key, again)], twin_rules(), noon());
        assert_eq!(updated.await.unwrap(), [None]);
    }
    let mut connection = nodes.connect().await;
    assert_eq!(orphans(&mut connection).await, 0);
    let events = nodes.stores[0].read_after(0, 1_000).await.unwrap();
    for round in 0..30 {
        let id = format!("dev-{round}");
        let own = events.iter().filter(|(_, event)| {
            event.kind != EventKind::Audit && event.device == Some(id.parse().unwrap())
        });
        let own: Vec<_> = own.map(|(_, event)| op_type(event)).collect();
        assert_eq!(own.first(), Some(&"createDeviceIdentity"));
        assert_eq!(own.last(), Some(&"deleteDeviceIdentity"), "{own:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lives_of_one_name_follow_each_other_in_the_outbox() {
    let nodes = Nodes::open().await;
    let name = an_identity("dev-1");
    let racing = (0..4).map(async |racer| {
        for _ in 0..15 {
            let node = nodes.node(racer);
            let created = node.create(
                a_hub(),
                name.clone(),
                a_device_spec(),
                Actor::operator(),
                noon(),
            );
            let _ = created.await.unwrap();
            let deleted = node.delete(
                a_hub(),
                name.clone(),
                IfMatch::Any,
                Actor::operator(),
                noon(),
            );
            let _ = deleted.await.unwrap();
        }
    });
    join_all(racing).await;
    let events = nodes.stores[0].read_after(0, 1_000).await.unwrap();
    assert!(events.len() >= 4);
    // Each write has an event and an audit record of the same name.
    for (place, (_, event)) in events.iter().enumerate() {
        let expected = ["createDeviceIdentity", "deleteDeviceIdentity"][place / 2 % 2];
        assert_eq!(op_type(event), expected);
    }
    for life in events.chunks(4) {
        assert!(
            life.iter()
                .all(|(_, event)| event.device_key == life[0].1.device_key)
        );
    }
    let mut connection = nodes.connect().await;
    let lanes = number(&mut connection, "SELECT count(DISTINCT lane) FROM outbox").await;
    assert_eq!(lanes, 1, "all lives of one name leave through one lane");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_reported_in_any_order_through_two_nodes_are_told_once_and_in_order() {
    let nodes = Nodes::open().await;
    let mut devices = Vec::new();
    for number in 0..20 {
        devices.push(nodes.register(&format!("dev-{number}")).await);
    }
    let gateway: GatewayId = "gateway-1".parse().unwrap();
    let change = |device: usize, round: u8, report| ConnectionChange {
        device: devices[device].key,
        epoch: LeaseEpoch(u64::from(round) + 1),
        gateway: gateway.clone(),
        report,
        at: noon() + std::time::Duration::from_secs(u64::from(round)),
        active_at: noon() + std::time::Duration::from_secs(u64::from(round)),
    };
    let lost = ConnectionReport::Ended(ConnectionEnd::Lost);
    // Everybody says everything, in one order or the other, while a sweeper ends what it finds.
    let reporting = (0..8_u8).map(async |racer| {
        for round in 0..5 {
            for report in [ConnectionReport::Began, ConnectionReport::Stands, lost] {
                let mut changes: Vec<_> = (0..20).map(|at| change(at, round, report)).collect();
                if racer.is_multiple_of(2) {
                    changes.reverse();
                }
                let node = nodes.node(usize::from(racer));
                node.record_connections(changes).await.unwrap();
            }
        }
    });
    let sweeping = async {
        let node = nodes.node(1);
        for _ in 0..20 {
            let left = node.list_connected(gateway.clone(), DeviceKey(0), 100);
            let left = left.await.unwrap();
            let lost = ConnectionEnd::GatewayLost;
            node.presume_ended(left, lost, noon()).await.unwrap();
        }
    };
    futures::future::join(join_all(reporting), sweeping).await;
    let names = devices.iter().map(|device| device.name.clone()).collect();
    let found = nodes.stores[0].find(a_hub(), names).await.unwrap();
    let latest = noon() + std::time::Duration::from_secs(4);
    for device in found.into_iter().map(Option::unwrap) {
        assert!(!device.is_connected);
        assert_eq!(device.last_activity_at, latest);
    }
    let events = nodes.stores[0].read_after(0, 10_000).await.unwrap();
    let events = events.into_iter().map(|(_, event)| event);
    let events: Vec<_> = events.filter(|e| e.kind == EventKind::Connection).collect();
    for key in keys(&devices) {
        let own: Vec<_> = events.iter().filter(|e| e.device_key == key).collect();
        assert!(own.len() >= 10, "{}", own.len());
        assert!(own.is_sorted_by(|a, b| a.body < b.body));
        for (place, event) in own.iter().enumerate() {
            let expected = ["deviceConnected", "deviceDisconnected"][place % 2];
            assert_eq!(op_type(event), expected);
        }
    }
}
