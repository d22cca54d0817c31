//! Jobs over a store in memory; whom they find and what is done to them is the test's to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::job::{
    DeviceJob, DeviceJobOutcome, DeviceJobState, Job, JobKind, JobSpec, JobState,
};
use downlink_domain::method::MethodCall;
use downlink_domain::twin::{Object, TwinChange};
use downlink_ports::{Clock, FleetApi, FoundTargets, JobStore, PeerError, PolicyStore, StoreError};
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_testkit::{CountingIds, ManualClock, MemoryStore, a_hub, somebody, twin_rules};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::execute::Hands;
use super::metrics::JobMetrics;
use super::targets::{TargetError, Targets};
use super::{Fleet, JobDeps, JobOptions};

/// Longest time that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Finds as many devices as the condition says, three a page; fails the first time for `shaky`.
#[derive(Default)]
struct Numbers {
    failures: Mutex<u32>,
}

#[async_trait]
impl Targets for Numbers {
    async fn find(
        &self,
        _hub: &HubName,
        condition: &str,
        after: Option<DeviceKey>,
    ) -> Result<FoundTargets, TargetError> {
        if let Some(reason) = condition.strip_prefix('!') {
            return Err(TargetError::Invalid(reason.to_owned()));
        }
        {
            let mut failures = self.failures.lock();
            if *failures > 0 {
                *failures -= 1;
                return Err(StoreError::Unavailable("gone".to_owned()).into());
            }
        }
        let count: i64 = condition.parse().expect("a number");
        let first = after.map_or(1, |key| key.0 + 1);
        let last = (first + 2).min(count);
        let targets = (first..=last).map(|number| (DeviceKey(number), name(number)));
        Ok(FoundTargets {
            targets: targets.collect(),
            next: (last < count).then_some(DeviceKey(last)),
        })
    }
}

fn name(number: i64) -> IdentityName {
    let device: downlink_domain::id::DeviceId = format!("dev-{number}").parse().expect("an id");
    device.into()
}

/// Counts what it does to each; does it while there are permits.
struct Counting {
    updates: Mutex<BTreeMap<i64, u32>>,
    calls: Mutex<BTreeMap<i64, u32>>,
    permits: Semaphore,
    begun: Semaphore,
    /// What updates of these are refused with, each once.
    refusals: Mutex<BTreeMap<i64, PeerError>>,
}

impl Counting {
    fn with(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            updates: Mutex::default(),
            calls: Mutex::default(),
            permits: Semaphore::new(permits),
            begun: Semaphore::new(0),
            refusals: Mutex::default(),
        })
    }

    async fn permit(&self) {
        self.begun.add_permits(1);
        let permit = self.permits.acquire().await;
        permit.expect("it is never closed").forget();
    }
}

#[async_trait]
impl Hands for Counting {
    async fn update(
        &self,
        device: DeviceKey,
        _name: &IdentityName,
        _change: TwinChange,
    ) -> Result<(), PeerError> {
        self.permit().await;
        *self.updates.lock().entry(device.0).or_default() += 1;
        match self.refusals.lock().remove(&device.0) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn invoke(&self, call: MethodCall) -> DeviceJobOutcome {
        *self.calls.lock().entry(call.device.0).or_default() += 1;
        self.permit().await;
        if call.device.0 % 2 == 0 {
            return DeviceJobOutcome::failed(ErrorCode::DeviceNotOnline, &"not online");
        }
        DeviceJobOutcome::Answered {
            status: 200,
            payload: call.payload,
        }
    }
}

/// A store with its clock, for nodes that come and go.
struct World {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    targets: Arc<Numbers>,
}

/// One node of the service.
struct Node {
    fleet: Fleet,
    lifecycle: Lifecycle,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::default());
        let ensured = store.ensure_hub(a_hub(), Vec::new(), clock.now());
        ensured.await.expect("memory does not fail");
        Self {
            store,
            clock,
            targets: Arc::default(),
        }
    }

    fn node(&self, options: JobOptions, hands: &Arc<Counting>) -> Node {
        let lifecycle = Lifecycle::new();
        let meter = Metrics::new("downlink-twin")
            .expect("a new set")
            .meter("twin");
        let deps = JobDeps {
            store: self.store.clone(),
            targets: self.targets.clone(),
            hands: hands.clone(),
            clock: self.clock.clone(),
            ids: Arc::new(CountingIds::default()),
            metrics: JobMetrics::new(&meter),
        };
        let fleet = Fleet::start(options, twin_rules(), deps, &lifecycle);
        Node { fleet, lifecycle }
    }

    async fn find(&self, id: &str) -> Job {
        let id = id.parse().expect("an id");
        let found = self.store.find_job(a_hub(), id).await;
        found.expect("memory does not fail").expect("it is there")
    }

    /// Waits until the job is over, an hour of the clock at most.
    async fn end_of(&self, id: &str) -> Job {
        let waiting = async {
            loop {
                let job = self.find(id).await;
                if job.state.is_ended() {
                    return job;
                }
                // Real time passes for the steps of a runner, the clock's for leases and looks.
                self.clock.advance(Duration::from_millis(200));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it ends in time")
    }

    async fn rows(&self) -> Vec<DeviceJob> {
        let rows = self.store.list_device_jobs(a_hub(), None, None, 1000);
        rows.await.expect("memory does not fail")
    }
}

fn fast() -> JobOptions {
    JobOptions {
        device_rate: 10_000.try_into().expect("not zero"),
        ..JobOptions::default()
    }
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn update(id: &str, condition: &str, world: &World) -> JobSpec {
    JobSpec {
        id: id.parse().expect("an id"),
        kind: JobKind::UpdateTwin,
        condition: condition.to_owned(),
        work: object(json!({ "tags": { "ring": 1 } })),
        start_at: world.clock.now(),
        max_execution: Duration::from_hours(1),
    }
}

fn call(id: &str, condition: &str, world: &World) -> JobSpec {
    JobSpec {
        kind: JobKind::DeviceMethod,
        work: object(json!({ "methodName": "m", "payload": [1.5] })),
        ..update(id, condition, world)
    }
}

fn counts(job: &Job) -> [u64; 5] {
    let counts = &job.statistics;
    [
        counts.devices,
        counts.pending,
        counts.running,
        counts.succeeded,
        counts.failed,
    ]
}

#[tokio::test]
async fn a_job_does_its_work_once_to_each_that_is_found() {
    let world = World::new().await;
    let hands = Counting::with(1000);
    let node = world.node(fast(), &hands);
    let created = node
        .fleet
        .create_job(a_hub(), update("job-1", "10", &world), somebody())
        .await;
    assert_eq!(created.expect("it is new").state, JobState::Queued);
    let job = world.end_of("job-1").await;
    assert_eq!(
        (job.state, counts(&job)),
        (JobState::Completed, [10, 0, 0, 10, 0])
    );
    let expected: BTreeMap<i64, u32> = (1..=10).map(|number| (number, 1)).collect();
    assert_eq!(*hands.updates.lock(), expected);
    let rows = world.rows().await;
    assert!(
        rows.iter()
            .all(|row| row.state == DeviceJobState::Completed)
    );
}

#[tokio::test]
async fn answers_and_failures_of_methods_are_kept_for_each() {
    let world = World::new().await;
    let hands = Counting::with(1000);
    let node = world.node(fast(), &hands);
    let spec = call("job-1", "4", &world);
    let created = node.fleet.create_job(a_hub(), spec, somebody()).await;
    created.expect("it is new");
    let job = world.end_of("job-1").await;
    assert_eq!(
        (job.state, counts(&job)),
        (JobState::Completed, [4, 0, 0, 2, 2])
    );
    let rows = world.rows().await;
    let answer = DeviceJobOutcome::Answered {
        status: 200,
        payload: "[1.5]".into(),
    };
    assert_eq!(rows[0].outcome, Some(answer));
    let failure = DeviceJobOutcome::failed(ErrorCode::DeviceNotOnline, &"not online");
    assert_eq!(rows[1].outcome, Some(failure));
}

#[tokio::test]
async fn a_condition_that_is_none_fails_the_job_and_says_why() {
    let world = World::new().await;
    let node = world.node(fast(), &Counting::with(0));
    let spec = update("job-1", "!at character 7", &world);
    let created = node.fleet.create_job(a_hub(), spec, somebody()).await;
    created.expect("conditions are not looked at before");
    let job = world.end_of("job-1").await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.failure.as_deref(), Some("at character 7"));
}

#[tokio::test]
async fn a_job_for_nobody_completes() {
    let world = World::new().await;
    let node = world.node(fast(), &Counting::with(0));
    let spec = update("job-1", "0", &world);
    let created = node.fleet.create_job(a_hub(), spec, somebody()).await;
    created.expect("it is new");
    let job = world.end_of("job-1").await;
    assert_eq!((job.state, counts(&job)), (JobState::Completed, [0; 5]));
}

#[tokio::test]
async fn a_scheduled_job_waits_for_its_time_and_can_be_cancelled_until_then() {
    let world = World::new().await;
    let hands = Counting::with(1000);
    let node = world.node(fast(), &hands);
    for id in ["job-1", "job-2"] {
        let spec = JobSpec {
            start_at: world.clock.now() + Duration::from_mins(1),
            ..update(id, "1", &world)
        };
        let created = node.fleet.create_job(a_hub(), spec, somebody()).await;
        assert_eq!(created.expect("it is new").state, JobState::Scheduled);
    }
    let cancel = |id: &str| {
        let id = id.parse().expect("an id");
        node.fleet.cancel_job(a_hub(), id, somebody())
    };
    let cancelled = cancel("job-2").await.expect("it has not begun");
    assert_eq!(cancelled.state, JobState::Cancelled);
    world.clock.advance(Duration::from_secs(50));
    assert_eq!(world.find("job-1").await.state, JobState::Scheduled);
    let job = world.end_of("job-1").await;
    assert_eq!(job.state, JobState::Completed);
    assert!(job.ended_at >= Some(job.spec.start_at));
    let refused = cancel("job-1").await.expect_err("it is over");
    assert_eq!(refused.code(), ErrorCode::OperationNotAllowedInCurrentState);
    assert_eq!(hands.updates.lock().len(), 1);
}

#[tokio::test]
async fn what_every_twin_would_refuse_is_refused_at_once() {
    let world = World::new().await;
    let node = world.node(fast(), &Counting::with(0));
    let deep = (0..12).fold(json!(1), |value, _| json!({ "a": value }));
    for work in [
        json!({ "tags": { "a.b": 1 } }),
        json!({ "properties": { "desired": { "deep": deep } } }),
        json!({ "tags": { "a": "x".repeat(10_000) } }),
    ] {
        let spec = JobSpec {
            work: object(work),
            ..update("job-1", "1", &world)
        };
        let refused = node.fleet.create_job(a_hub(), spec, somebody()).await;
        let refused = refused.expect_err("no twin takes it");
        assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
    }
}

#[tokio::test]
async fn a_write_that_the_store_failed_is_made_again_and_a_refused_one_is_not() {
    let world = World::new().await;
    let hands = Counting::with(1000);
    let away = PeerError::from(StoreError::Unavailable("gone".to_owned()));
    let gone = PeerError::refused(ErrorCode::DeviceNotFound, &"gone");
    *hands.refusals.lock() = BTreeMap::from([(1, away), (2, gone)]);
    *world.targets.failures.lock() = 1;
    let node = world.node(fast(), &hands);
    let spec = update("job-1", "3", &world);
    let created = node.fleet.create_job(a_hub(), spec, somebody()).await;
    created.expect("it is new");
    let job = world.end_of("job-1").await;
    assert_eq!(
        (job.state, counts(&job)),
        (JobState::Completed, [3, 0, 0, 2, 1])
    );
    assert_eq!(
        *hands.updates.lock(),
        BTreeMap::from([(1, 2), (2, 1), (3, 1)])
    );
}

#[tokio::test]
async fn a_node_that_falls_silent_loses_its_job_and_no_method_is_called_twice() {
    let world = World::new().await;
    let silent = Counting::with(3);
    let first = world.node(fast(), &silent);
    let spec = call("job-1", "8", &world);
    let created = first.fleet.create_job(a_hub(), spec, somebody()).await;
    created.expect("it is new");
    let begun = timeout(PATIENCE, silent.begun.acquire_many(8)).await;
    begun
        .expect("in time")
        .expect("it is never closed")
        .forget();
    // Its clock stands still for it: it renews nothing while the other looks.
    let other = Counting::with(1000);
    let second = world.node(fast(), &other);
    world.clock.advance(Duration::from_mins(1));
    let job = world.end_of("job-1").await;
    assert_eq!(job.state, JobState::Completed);
    let [devices, pending, running, succeeded, failed] = counts(&job);
    assert_eq!((devices, pending, running), (8, 0, 0));
    assert_eq!(succeeded + failed, 8);
    let first_calls = silent.calls.lock().clone();
    let second_calls = other.calls.lock().clone();
    for number in 1..=8 {
        let calls =
            first_calls.get(&number).unwrap_or(&0) + second_calls.get(&number).unwrap_or(&0);
        assert_eq!(calls, 1, "device {number}");
    }
    for node in [first, second] {
        node.lifecycle.shutdown(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_node_that_drains_gives_its_job_to_another_at_once() {
    let world = World::new().await;
    let hands = Counting::with(1000);
    let slow = JobOptions {
        device_rate: 20.try_into().expect("not zero"),
        ..JobOptions::default()
    };
    let first = world.node(slow, &hands);
    let spec = update("job-1", "60", &world);
    let created = first.fleet.create_job(a_hub(), spec, somebody()).await;
    created.expect("it is new");
    let begun = timeout(PATIENCE, hands.begun.acquire_many(2)).await;
    begun
        .expect("in time")
        .expect("it is never closed")
        .forget();
    first.lifecycle.shutdown(Duration::from_secs(10)).await;
    let job = world.find("job-1").await;
    assert_eq!(job.state, JobState::Running);
    let _second = world.node(fast(), &hands);
    let job = world.end_of("job-1").await;
    assert_eq!(
        (job.state, counts(&job)),
        (JobState::Completed, [60, 0, 0, 60, 0])
    );
    assert!(hands.updates.lock().values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_job_whose_time_is_up_fails_what_is_left() {
    let world = World::new().await;
    let hands = Counting::with(1000);
    let slow = JobOptions {
        device_rate: 1.try_into().expect("not zero"),
        ..JobOptions::default()
    };
    let node = world.node(slow, &hands);
    let spec = JobSpec {
        max_execution: Duration::from_secs(1),
        ..update("job-1", "40", &world)
    };
    let created = node.fleet.create_job(a_hub(), spec, somebody()).await;
    created.expect("it is new");
    let job = world.end_of("job-1").await;
    assert_eq!(job.state, JobState::Completed);
    let [devices, pending, running, succeeded, failed] = counts(&job);
    assert_eq!((devices, pending, running), (40, 0, 0));
    assert!(succeeded < 10, "{succeeded}");
    assert_eq!(succeeded + failed, 40);
}
