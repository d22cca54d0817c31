//! Queries over the in-memory store.

use downlink_domain::device::Device;
use downlink_domain::id::IdentityName;
use downlink_domain::twin::TwinChange;
use downlink_ports::{DeviceRegistry, TwinStore};
use downlink_runtime::telemetry::Metrics;
use downlink_testkit::{
    ManualClock, MemoryStore, a_device_spec, a_hub, noon, somebody, twin_rules,
};
use serde_json::{Value, json};

use super::*;

struct World {
    store: Arc<MemoryStore>,
    desk: QueryDesk,
}

impl World {
    fn with(options: QueryOptions) -> Self {
        let store = Arc::new(MemoryStore::new());
        let metrics = Metrics::new("downlink-twin").expect("a new set");
        let stands = (
            Arc::clone(&store) as _,
            Arc::new(ManualClock::default()) as _,
        );
        let desk = QueryDesk::new(stands, None, options, &metrics.meter("twin"));
        Self { store, desk }
    }

    fn new() -> Self {
        Self::with(QueryOptions::default())
    }

    async fn device(&self, name: IdentityName, tags: Value, reported: Value) -> Device {
        let created = self
            .store
            .create(a_hub(), name, a_device_spec(), somebody(), noon());
        let device = created.await.unwrap().unwrap();
        let object = |value: Value| value.as_object().unwrap().clone();
        let patch = TwinChange::Patch {
            tags: Some(object(tags)),
            desired: None,
            if_match: downlink_domain::device::IfMatch::Absent,
        };
        let report = TwinChange::Report {
            patch: object(reported),
            expected_version: None,
        };
        let changes = vec![(device.key, patch), (device.key, report)];
        let written = self.store.update_twins(changes, twin_rules(), noon());
        for written in written.await.unwrap() {
            written.unwrap().unwrap();
        }
        device
    }

    /// Devices `d0` and on, with their numbers in a tag and the number's last digit in another.
    async fn devices(&self, count: u32) {
        for number in 0..count {
            let tags = json!({ "n": number, "digit": number % 10 });
            self.device(named(&format!("d{number}")), tags, json!({ "up": true }))
                .await;
        }
    }

    async fn page(&self, text: &str, page_size: u32, continuation: Option<String>) -> QueryPage {
        let call = call(text, page_size, continuation);
        self.desk.query(call).await.expect(text)
    }

    /// Every row of the result, in pages of `page_size`.
    async fn all(&self, text: &str, page_size: u32) -> Vec<Value> {
        let (mut rows, mut continuation) = (Vec::new(), None);
        loop {
            let page = self.page(text, page_size, continuation).await;
            assert!(page.items.len() <= page_size as usize);
            let is_empty = page.items.is_empty();
            assert!(!is_empty || rows.is_empty(), "a page after others is empty");
            let items = page.items.iter();
            rows.extend(items.map(|row| serde_json::from_slice::<Value>(row).unwrap()));
            let Some(next) = page.continuation else {
                return rows;
            };
            continuation = Some(next);
        }
    }

    async fn refusal(&self, call: QueryCall) -> (ErrorCode, String) {
        let error = self.desk.query(call).await.expect_err("a refusal");
        (error.code(), error.to_string())
    }
}

fn named(device: &str) -> IdentityName {
    IdentityName {
        device: device.parse().unwrap(),
        module: None,
    }
}

fn call(text: &str, page_size: u32, continuation: Option<String>) -> QueryCall {
    QueryCall {
        hub: a_hub(),
        text: text.to_owned(),
        page_size,
        continuation,
    }
}

#[tokio::test]
async fn pages_have_every_row_once_in_the_order_of_registration_and_the_last_one_is_not_empty() {
    let world = World::new();
    world.devices(30).await;
    let numbers = |rows: &[Value]| -> Vec<u64> {
        rows.iter().map(|row| row["n"].as_u64().unwrap()).collect()
    };
    for size in [1, 7, 10, 29, 30, 31, 1000] {
        let rows = world.all("SELECT tags.n FROM devices", size).await;
        assert_eq!(
            numbers(&rows),
            (0..30).collect::<Vec<_>>(),
            "pages of {size}"
        );
        // What no store decides is decided by the evaluator, over as many pages.
        let odd = "SELECT tags.n FROM devices WHERE tags.n % 2 = 1 AND LENGTH(deviceId) = 3";
        let rows = world.all(odd, size).await;
        let expected: Vec<_> = (10..30).filter(|n| n % 2 == 1).collect();
        assert_eq!(numbers(&rows), expected, "pages of {size}");
    }
    assert_eq!(
        world.all("SELECT * FROM devices WHERE false", 5).await,
        [] as [Value; 0]
    );
}

#[tokio::test]
async fn rows_keep_their_place_while_others_come_change_and_go() {
    let world = World::new();
    world.devices(6).await;
    let text = "SELECT deviceId FROM devices";
    let first = world.page(text, 3, None).await;
    let gone = named("d1");
    let any = downlink_domain::device::IfMatch::Any;
    let deleted = world.store.delete(a_hub(), gone, any, somebody(), noon());
    deleted.await.unwrap().unwrap();
    world.device(named("new"), json!({}), json!({})).await;
    let second = world.page(text, 3, first.continuation).await;
    let third = world.page(text, 3, second.continuation.clone()).await;
    let ids = |page: &QueryPage| -> Vec<_> {
        page.items
            .iter()
            .map(|row| String::from_utf8(row.to_vec()).unwrap())
            .collect()
    };
    assert_eq!(
        ids(&second),
        [3, 4, 5].map(|n| json!({ "deviceId": format!("d{n}") }).to_string()),
    );
    assert_eq!(ids(&third), [json!({ "deviceId": "new" }).to_string()]);
    assert_eq!(third.continuation, None);
}

#[tokio::test]
async fn top_bounds_the_whole_result_over_all_its_pages() {
    let world = World::new();
    world.devices(20).await;
    for (top, size, expected) in [(7, 3, 7), (6, 3, 6), (0, 3, 0), (50, 6, 20)] {
        let rows = world
            .all(&format!("SELECT TOP {top} deviceId FROM devices"), size)
            .await;
        assert_eq!(rows.len(), expected, "TOP {top}");
    }
}

#[tokio::test]
async fn groups_are_the_same_whether_the_store_counts_or_the_evaluator_and_whatever_the_pages() {
    let world = World::new();
    world.devices(35).await;
    let sorted = |mut rows: Vec<Value>| {
        rows.sort_by_key(Value::to_string);
        rows
    };
    let counted = "SELECT tags.digit, COUNT() AS n FROM devices GROUP BY tags.digit";
    let expected: Vec<_> = (0..10)
        .map(|digit| json!({ "digit": digit, "n": if digit < 5 { 4 } else { 3 } }))
        .collect();
    for size in [3, 5, 10, 100] {
        assert_eq!(sorted(world.all(counted, size).await), expected);
        let evaluated = counted.replace(" GROUP", " WHERE LENGTH(deviceId) > 0 GROUP");
        assert_eq!(sorted(world.all(&evaluated, size).await), expected);
    }
    let sums = "SELECT COUNT() AS n, SUM(tags.n) AS sum, MAX(tags.n) AS most FROM devices";
    assert_eq!(
        world.all(sums, 5).await,
        [json!({ "n": 35, "sum": 595, "most": 34 })]
    );
    let none = "SELECT COUNT() AS n FROM devices WHERE false";
    assert_eq!(world.all(none, 5).await, [json!({ "n": 0 })]);
    assert_eq!(
        world
            .all(
                "SELECT TOP 4 tags.digit FROM devices GROUP BY tags.digit",
                3
            )
            .await
            .len(),
        4
    );
}

#[tokio::test]
async fn groups_that_are_objects_are_told_apart() {
    let world = World::new();
    for (number, place) in ["Oslo", "Bern", "Oslo"].iter().enumerate() {
        let tags = json!({ "place": { "city": place } });
        world
            .device(named(&format!("d{number}")), tags, json!({}))
            .await;
    }
    let text = "SELECT tags.place, COUNT() AS n FROM devices GROUP BY tags.place";
    let mut rows = world.all(text, 10).await;
    rows.sort_by_key(Value::to_string);
    assert_eq!(
        rows,
        [
            json!({ "place": { "city": "Bern" }, "n": 1 }),
            json!({ "place": { "city": "Oslo" }, "n": 2 }),
        ]
    );
}

#[tokio::test]
async fn whole_twins_modules_and_selections_have_their_types() {
    let world = World::new();
    world.device(named("d"), json!({ "a": 1 }), json!({})).await;
    let module = IdentityName {
        device: "d".parse().unwrap(),
        module: Some("m".parse().unwrap()),
    };
    world.device(module, json!({ "b": 2 }), json!({})).await;
    let page = world.page("SELECT * FROM devices", 5, None).await;
    assert_eq!((page.item_type, page.items.len()), (ItemType::Twin, 1));
    let twin: Value = serde_json::from_slice(&page.items[0]).unwrap();
    assert_eq!(
        (&twin["deviceId"], &twin["tags"]),
        (&json!("d"), &json!({ "a": 1 }))
    );
    let page = world.page("SELECT * FROM devices.modules", 5, None).await;
    assert_eq!((page.item_type, page.items.len()), (ItemType::Twin, 1));
    let twin: Value = serde_json::from_slice(&page.items[0]).unwrap();
    assert_eq!(
        (&twin["moduleId"], &twin["tags"]),
        (&json!("m"), &json!({ "b": 2 }))
    );
    let page = world
        .page("SELECT COUNT() AS n FROM devices.modules", 5, None)
        .await;
    assert_eq!(
        (page.item_type, page.items[0].as_ref()),
        (ItemType::Raw, &br#"{"n":1}"#[..])
    );
    let page = world.page("SELECT * FROM devices.jobs", 5, None).await;
    assert_eq!((page.item_type, page.items.len()), (ItemType::DeviceJob, 0));
}

#[tokio::test]
async fn errors_name_their_place_and_continuations_their_query() {
    let world = World::new();
    world.devices(3).await;
    let (code, text) = world.refusal(call("SELECT * FRO devices", 5, None)).await;
    assert_eq!(code, ErrorCode::ArgumentInvalid);
    assert_eq!(
        text,
        "syntax error at character 10: expected FROM, found 'FRO'"
    );
    let first = world.page("SELECT * FROM devices", 1, None).await;
    assert!(first.continuation.is_some());
    let other = call("SELECT  * FROM devices", 1, first.continuation);
    assert_eq!(
        world.refusal(other).await,
        (
            ErrorCode::ArgumentInvalid,
            "the continuation is not one of this query".to_owned()
        )
    );
    // An empty one is none (registry.md §5.1).
    let page = world
        .page("SELECT * FROM devices", 5, Some(String::new()))
        .await;
    assert_eq!(page.items.len(), 3);
}

#[tokio::test]
async fn a_query_that_has_to_look_at_too_much_is_refused_with_advice() {
    let world = World::with(QueryOptions {
        max_scanned: 300,
        ..QueryOptions::default()
    });
    world.devices(600).await;
    for text in [
        "SELECT * FROM devices WHERE LENGTH(deviceId) = 99",
        "SELECT SUM(tags.n) AS sum FROM devices",
    ] {
        let (code, advice) = world.refusal(call(text, 5, None)).await;
        assert_eq!(code, ErrorCode::ArgumentInvalid);
        assert!(
            advice.contains("more than 300 twins: narrow it"),
            "{advice}"
        );
    }
    // What the store finds or counts is not looked at.
    assert_eq!(
        world
            .all("SELECT deviceId FROM devices WHERE tags.n = 599", 5)
            .await
            .len(),
        1
    );
    assert_eq!(
        world.all("SELECT COUNT() AS n FROM devices", 5).await,
        [json!({ "n": 600 })]
    );
}

#[tokio::test]
async fn a_page_ends_before_it_grows_too_long_and_a_row_too_long_is_refused() {
    let world = World::new();
    let long = "x".repeat(4000);
    let reported = json!({ "a": long, "b": long, "c": long, "d": long, "e": long, "f": long });
    for number in 0..200 {
        let name = named(&format!("d{number}"));
        world.device(name, json!({}), reported.clone()).await;
    }
    let text = "SELECT deviceId, properties.reported FROM devices";
    let page = world.page(text, 1000, None).await;
    let bytes: usize = page.items.iter().map(bytes::Bytes::len).sum();
    assert!(
        (3 * 1024 * 1024..4 * 1024 * 1024).contains(&bytes),
        "{bytes}"
    );
    assert!(page.continuation.is_some());
    assert_eq!(world.all(text, 1000).await.len(), 200);
    // Both sections as long as they may be, as often as a query can name them.
    let full: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|name| (name.to_owned(), Value::from("x".repeat(4080))))
        .into();
    let full = Value::Object(full.into_iter().collect());
    let device = world.device(named("full"), json!({}), full.clone()).await;
    let patch = TwinChange::Patch {
        tags: None,
        desired: full.as_object().cloned(),
        if_match: downlink_domain::device::IfMatch::Any,
    };
    let changes = vec![(device.key, patch)];
    let written = world.store.update_twins(changes, twin_rules(), noon());
    assert!(matches!(written.await.unwrap()[0], Some(Ok(_))));
    let items: Vec<_> = (0..64).map(|n| format!("properties AS c{n}")).collect();
    let text = format!(
        "SELECT {} FROM devices WHERE deviceId = 'full'",
        items.join(",")
    );
    let (code, advice) = world.refusal(call(&text, 1, None)).await;
    assert_eq!(code, ErrorCode::ArgumentInvalid);
    assert!(advice.contains("longer than 4 MiB"), "{advice}");
}

#[tokio::test]
async fn more_queries_than_may_run_wait_and_are_then_throttled() {
    let world = World::with(QueryOptions {
        concurrent: NonZeroUsize::MIN,
        ..QueryOptions::default()
    });
    world.devices(1).await;
    let taken = world.desk.permits.acquire().await.unwrap();
    tokio::time::pause();
    let refused = world.refusal(call("SELECT * FROM devices", 5, None)).await;
    assert_eq!(refused.0, ErrorCode::ThrottlingException);
    drop(taken);
    tokio::time::resume();
    assert_eq!(world.all("SELECT * FROM devices", 5).await.len(), 1);
}
