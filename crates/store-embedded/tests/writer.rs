//! The writer: what it merges, what it refuses, and how it keeps failures apart.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::message::{NewMessage, Properties};
use downlink_ports::testsuite::Subject;
use downlink_ports::{EnqueueRules, EventOutbox, MessageStore, SessionStore, StoreError};
use downlink_runtime::Lifecycle;
use downlink_store_embedded::{OpenError, Store, StoreOptions};
use downlink_testkit::{a_message, a_message_to, an_event, noon, queue_rules};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;

const RULES: EnqueueRules = EnqueueRules { max_depth: 1_000 };

async fn open(options: StoreOptions) -> (Arc<Store>, Subject, Arc<TempDir>) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let lifecycle = Lifecycle::new();
    let path = folder.path().join("hub.db");
    let store = Store::open(&path, options, &lifecycle).await.unwrap();
    let subject = Subject::of(Arc::clone(&store), (Arc::clone(&folder), lifecycle));
    (store, subject, folder)
}

/// Does something to the file behind the store's back.
async fn tamper(folder: &Path, sql: &'static str) {
    let path = folder.join("hub.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn many_callers_at_once_are_all_answered_in_their_own_order() {
    let (store, subject, _folder) = open(StoreOptions::default()).await;
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let device = subject.register(&format!("dev-{caller}")).await;
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let body = |number: usize| Bytes::from(number.to_string());
            for first in [0, 10, 20] {
                let batch = (first..first + 10).map(|number| NewMessage {
                    device: device.name.device.clone(),
                    body: body(number),
                    ..a_message()
                });
                let accepted = store.enqueue(batch.collect(), RULES, noon()).await.unwrap();
                assert!(accepted.iter().all(Result::is_ok));
                let keys: Vec<_> = accepted.iter().flatten().map(|a| a.device).collect();
                assert_eq!(keys, [device.key; 10]);
            }
            (device.key, body)
        });
    }
    for (key, body) in callers.join_all().await {
        let received = subject.receive(key, 100, noon()).await;
        let received: Vec<_> = received.into_iter().map(|held| held.message.body).collect();
        assert_eq!(received, (0..30).map(body).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (store, _subject, _folder) = open(StoreOptions {
        max_queued_jobs: 2,
        ..StoreOptions::default()
    })
    .await;
    // All three are asked before the writer gets its turn on this one thread.
    let (a, b, c) = tokio::join!(
        store.append(vec![an_event("dev-1", 1)]),
        store.append(vec![an_event("dev-1", 2)]),
        store.append(vec![an_event("dev-1", 3)]),
    );
    assert_eq!((a, b, c), (Ok(()), Ok(()), Err(StoreError::Overloaded)));
    let again = store.append(vec![an_event("dev-1", 3)]).await;
    assert_eq!(again, Ok(()));
}

#[tokio::test]
async fn payloads_that_wait_are_bounded_in_bytes() {
    let (store, subject, _folder) = open(StoreOptions {
        max_queued_bytes: 100 * 1_024,
        ..StoreOptions::default()
    })
    .await;
    subject.register("dev-1").await;
    let large = |bytes: usize| NewMessage {
        body: Bytes::from(vec![0; bytes]),
        ..a_message()
    };
    let enqueue = |bytes| store.enqueue(vec![large(bytes)], RULES, noon());
    let (a, b) = tokio::join!(enqueue(60 * 1_024), enqueue(60 * 1_024));
    assert!(a.unwrap()[0].is_ok());
    assert_eq!(b, Err(StoreError::Overloaded));
    let alone = enqueue(200 * 1_024).await;
    assert!(alone.unwrap()[0].is_ok(), "one call may exceed the bound");
}

#[tokio::test]
async fn groups_keep_to_their_size() {
    let (store, subject, _folder) = open(StoreOptions {
        max_group_jobs: 3,
        max_group_items: 4,
        ..StoreOptions::default()
    })
    .await;
    let device = subject.register("dev-1").await;
    let enqueue = |count| store.enqueue(vec![a_message(); count], RULES, noon());
    let (three, two, nine, one, other) =
        tokio::join!(enqueue(3), enqueue(2), enqueue(9), enqueue(1), enqueue(1));
    let answers = [three, two, nine, one, other].map(Result::unwrap);
    let counts: Vec<_> = answers.iter().map(Vec::len).collect();
    assert_eq!(counts, [3, 2, 9, 1, 1]);
    let sequences: Vec<_> = answers
        .iter()
        .flatten()
        .flatten()
        .map(|a| a.sequence)
        .collect();
    assert!(sequences.is_sorted(), "in the order of arrival");
    assert_eq!(subject.count(device.key, noon()).await, 16);
}

#[tokio::test]
async fn a_deep_queue_has_room_for_as_many_as_expired() {
    let (store, subject, folder) = open(StoreOptions::default()).await;
    let device = subject.register("dev-1").await;
    let later = noon() + Duration::from_secs(1);
    let brief = NewMessage {
        expiry: Some(later),
        ..a_message()
    };
    let messages = [vec![brief; 300], vec![a_message(); 1_300]].concat();
    let fits = async |store: &Store, count: usize, now| {
        let rules = EnqueueRules { max_depth: 1_500 };
        let accepted = store.enqueue(vec![a_message(); count], rules, now).await;
        accepted.unwrap().iter().filter(|a| a.is_ok()).count()
    };
    let rules = EnqueueRules { max_depth: 1_500 };
    let accepted = store.enqueue(messages, rules, noon()).await.unwrap();
    assert_eq!(accepted.iter().filter(|a| a.is_ok()).count(), 1_500);
    assert_eq!(fits(&store, 10, noon()).await, 0);
    assert_eq!(fits(&store, 200, later).await, 200);
    store.close().await;
    drop(subject);

    // Another life of the process remembers nothing.
    let path = folder.path().join("hub.db");
    let lifecycle = Lifecycle::new();
    let store = Store::open(&path, StoreOptions::default(), &lifecycle).await;
    let store = store.unwrap();
    assert_eq!(fits(&store, 200, later).await, 100);
    let swept = store.sweep(1_000, queue_rules(), later).await.unwrap();
    assert_eq!(swept.expired, 300);
    assert_eq!(fits(&store, 10, later).await, 0);
    let waiting = store.count(vec![device.key], later).await;
    assert_eq!(waiting.unwrap(), [1_500]);
}

#[tokio::test]
async fn an_empty_call_is_answered_without_the_writer() {
    let (store, _subject, _folder) = open(StoreOptions::default()).await;
    store.close().await;
    let none = store.enqueue(Vec::new(), RULES, noon()).await;
    assert_eq!(none, Ok(Vec::new()));
}

#[tokio::test]
async fn a_call_that_fails_leaves_the_others_of_its_group_alone() {
    let (store, subject, folder) = open(StoreOptions::default()).await;
    let device = subject.register("dev-1").await;
    tamper(folder.path(), "ALTER TABLE sessions RENAME TO away").await;
    let session = vec![(device.key, Some(Bytes::from_static(b"session")))];
    let (failed, accepted, appended) = tokio::join!(
        store.save_sessions(session.clone()),
        store.enqueue(vec![a_message()], RULES, noon()),
        store.append(vec![an_event("dev-1", 1)]),
    );
    assert!(matches!(failed, Err(StoreError::Unavailable(_))));
    assert!(accepted.unwrap()[0].is_ok());
    assert_eq!(appended, Ok(()));
    tamper(folder.path(), "ALTER TABLE away RENAME TO sessions").await;
    store.save_sessions(session).await.unwrap();
}

#[tokio::test]
async fn a_group_that_fails_is_not_made_and_the_next_one_is() {
    let (store, subject, folder) = open(StoreOptions::default()).await;
    let device = subject.register("dev-1").await;
    let before = subject.enqueue(a_message(), noon()).await.unwrap();
    tamper(folder.path(), "ALTER TABLE messages RENAME TO away").await;
    let failed = store.enqueue(vec![a_message()], RULES, noon()).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))));
    tamper(folder.path(), "ALTER TABLE away RENAME TO messages").await;
    let after = subject.enqueue(a_message(), noon()).await.unwrap();
    assert!(after.sequence > before.sequence);
    assert_eq!(subject.count(device.key, noon()).await, 2);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_to_the_one_who_asked_for_it() {
    let (store, subject, folder) = open(StoreOptions::default()).await;
    let bad = subject.register("dev-1").await;
    let good = subject.register("dev-2").await;
    let message = NewMessage {
        properties: Properties {
            application: vec![("a".to_owned(), "b".to_owned())],
            ..Properties::default()
        },
        ..a_message()
    };
    let messages = vec![message, a_message_to("dev-2", "well")];
    let accepted = subject.enqueue_all(messages, 50, noon()).await;
    tamper(
        folder.path(),
        "UPDATE messages SET properties = '{' WHERE properties IS NOT NULL",
    )
    .await;
    let receive = |key| {
        let request = subject.request(key, 1, noon());
        store.receive(vec![request], queue_rules(), noon())
    };
    let (refused, received) = tokio::join!(receive(bad.key), receive(good.key));
    let corrupt = StoreError::Corrupt {
        table: "messages",
        column: "properties",
        row: accepted[0].as_ref().unwrap().sequence.to_string(),
    };
    assert_eq!(refused, Err(corrupt));
    assert_eq!(&received.unwrap()[0][0].message.body[..], b"well");
}

#[tokio::test]
async fn a_schema_of_a_later_version_is_refused() {
    let (store, subject, folder) = open(StoreOptions::default()).await;
    store.close().await;
    drop(subject);
    tamper(
        folder.path(),
        "INSERT INTO _sqlx_migrations VALUES (99990101000000, 'later', 0, TRUE, x'00', 0)",
    )
    .await;
    let path = folder.path().join("hub.db");
    let opened = Store::open(&path, StoreOptions::default(), &Lifecycle::new()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Schema { .. }), "{error:?}");
}
