//! The embedded stores keep every promise of the ports.

use downlink_ports::testsuite::Subject;
use downlink_runtime::Lifecycle;
use downlink_store_embedded::{Store, StoreOptions};

async fn subject() -> Subject {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let lifecycle = Lifecycle::new();
    let path = folder.path().join("hub.db");
    let store = Store::open(&path, StoreOptions::default(), &lifecycle)
        .await
        .expect("a fresh file");
    Subject::of(store, (folder, lifecycle))
}

downlink_ports::conformance_tests!(subject);
