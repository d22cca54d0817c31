//! What the audit says after a hub was asked for what it refused.

use downlink_domain::event::EventKind;
use downlink_ports::EventOutbox as _;
use downlink_runtime::Lifecycle;
use downlink_store_embedded::{Store, StoreOptions};

use super::hub::Hub;

/// Records of a run, at most: kinds of refusals are told once a minute, however many there were.
const MOST: usize = 4_096;

/// Stops the hub and reads its audit: every cause is there, no secret is.
pub(crate) async fn check(hub: Hub, causes: &[&str], secrets: &[String]) {
    let folder = hub.stop();
    let scope = Lifecycle::new();
    let store = Store::open(
        &folder.path().join("hub.db"),
        StoreOptions::default(),
        &scope,
    )
    .await
    .unwrap();
    let (mut after, mut records) = (0, Vec::new());
    loop {
        let read = store.read_after(after, 1_000).await.unwrap();
        let Some((last, _)) = read.last() else { break };
        after = *last;
        let audit = read.into_iter().map(|(_, event)| event);
        let audit = audit.filter(|event| event.kind == EventKind::Audit);
        records.extend(audit.map(|event| String::from_utf8(event.body.to_vec()).unwrap()));
    }
    assert!(records.len() <= MOST, "{} records", records.len());
    let text = records.join("\n");
    for cause in causes {
        let told = records.iter().any(|record| record.contains(cause));
        assert!(told, "nothing is told of {cause}:\n{text}");
    }
    let long = secrets.iter().filter(|secret| secret.len() > 16);
    for secret in long {
        let is_told = text.contains(secret.as_str());
        assert!(!is_told, "the audit repeats a credential");
    }
    // What the process makes at its start comes from nowhere.
    let mut asked = records
        .iter()
        .filter(|record| !record.contains("\"operator\""));
    assert!(asked.all(|record| record.contains("127.0.0.1")), "{text}");
    scope.shutdown(std::time::Duration::from_secs(10)).await;
}
