//! Jobs, their claims and the identities they concern.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::event::EventKind;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::job::{
    DeviceJob, DeviceJobOutcome, DeviceJobState, Job, JobError, JobKind, JobSpec, JobState,
};
use serde_json::{Value, json};

use super::Subject;
use super::given::{a_hub, an_owner, noon, somebody};
use crate::{ClaimedJob, DeviceJobPlace, FoundTargets, JobClaim, JobEnd, JobFilter, JobProgress};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

async fn hub(subject: &Subject) {
    hub_named(subject, a_hub()).await;
}

async fn hub_named(subject: &Subject, hub: HubName) {
    let ensured = subject.policies.ensure_hub(hub, vec![an_owner()], noon());
    ensured.await.unwrap();
}

fn a_spec(id: &str) -> JobSpec {
    let Value::Object(work) = json!({ "tags": { "ring": 2, "t": "\u{e9}\"" }, "etag": "*" }) else {
        unreachable!("it is an object");
    };
    JobSpec {
        id: id.parse().unwrap(),
        kind: JobKind::UpdateTwin,
        condition: "tags.site = 'Z\u{fc}rich' AND deviceId != '\"'".to_owned(),
        work,
        start_at: noon(),
        max_execution: Duration::from_millis(90_500),
    }
}

fn a_call(id: &str) -> JobSpec {
    let Value::Object(work) = json!({ "methodName": "reboot" }) else {
        unreachable!("it is an object");
    };
    JobSpec {
        kind: JobKind::DeviceMethod,
        work,
        ..a_spec(id)
    }
}

async fn create(subject: &Subject, spec: JobSpec) -> Result<Job, JobError> {
    let created = subject
        .jobs
        .create_job(a_hub(), spec, somebody(), 10, noon());
    created.await.unwrap()
}

async fn find(subject: &Subject, id: &str) -> Option<Job> {
    let found = subject.jobs.find_job(a_hub(), id.parse().unwrap());
    found.await.unwrap()
}

async fn cancel(subject: &Subject, id: &str) -> Result<Job, JobError> {
    let id = id.parse().unwrap();
    let cancelled = subject
        .jobs
        .cancel_job(a_hub(), id, somebody(), noon() + SECOND);
    cancelled.await.unwrap()
}

/// Claims what is due at `now`, for a minute.
async fn claim(subject: &Subject, now: Timestamp) -> Option<ClaimedJob> {
    subject.jobs.claim_job(now + MINUTE, now).await.unwrap()
}

fn name(number: i64) -> IdentityName {
    let device = format!("dev-{number}").parse().unwrap();
    // Every third is a module.
    let module = (number % 3 == 0).then(|| "m".parse().unwrap());
    IdentityName { device, module }
}

fn targets(numbers: impl IntoIterator<Item = i64>) -> Vec<(DeviceKey, IdentityName)> {
    let numbers = numbers.into_iter();
    numbers
        .map(|number| (DeviceKey(number), name(number)))
        .collect()
}

async fn add(
    subject: &Subject,
    claim: JobClaim,
    numbers: impl IntoIterator<Item = i64>,
    next: Option<i64>,
) -> Option<JobProgress> {
    let found = FoundTargets {
        targets: targets(numbers),
        next: next.map(DeviceKey),
    };
    let added = subject
        .jobs
        .add_targets(claim, found, noon() + MINUTE, noon());
    added.await.unwrap()
}

async fn begin(subject: &Subject, claim: JobClaim, limit: u32) -> Option<Vec<i64>> {
    let until = noon() + MINUTE;
    let begun = subject.jobs.begin_device_jobs(claim, limit, until, noon());
    let begun = begun.await.unwrap()?;
    for (key, identity) in &begun {
        assert_eq!(*identity, name(key.0));
    }
    Some(begun.into_iter().map(|(key, _)| key.0).collect())
}

async fn end(
    subject: &Subject,
    claim: JobClaim,
    outcomes: Vec<(i64, DeviceJobOutcome)>,
) -> Option<JobProgress> {
    let outcomes = outcomes.into_iter();
    let outcomes = outcomes
        .map(|(key, outcome)| (DeviceKey(key), outcome))
        .collect();
    let (until, now) = (noon() + MINUTE, noon() + SECOND);
    let ended = subject.jobs.end_device_jobs(claim, outcomes, until, now);
    ended.await.unwrap()
}

async fn rows(subject: &Subject, id: Option<&str>) -> Vec<DeviceJob> {
    let id = id.map(|id| id.parse().unwrap());
    let listed = subject.jobs.list_device_jobs(a_hub(), id, None, 1000);
    listed.await.unwrap()
}

fn states(rows: &[DeviceJob]) -> Vec<DeviceJobState> {
    rows.iter().map(|row| row.state).collect()
}

fn numbers(job: &Job) -> [u64; 5] {
    let counts = &job.statistics;
    [
        counts.devices,
        counts.pending,
        counts.running,
        counts.succeeded,
        counts.failed,
    ]
}

#[doc(hidden)]
pub async fn a_created_job_reads_back_whole(subject: Subject) {
    hub(&subject).await;
    let created = create(&subject, a_spec("job-1")).await.unwrap();
    assert_eq!(created.spec, a_spec("job-1"));
    assert_eq!(created.state, JobState::Queued);
    assert_eq!((created.created_at, created.ended_at), (noon(), None));
    assert_eq!(numbers(&created), [0; 5]);
    assert_eq!(find(&subject, "job-1").await, Some(created));

    let later = JobSpec {
        start_at: noon() + SECOND,
        ..a_call("job-2")
    };
    let scheduled = create(&subject, later.clone()).await.unwrap();
    assert_eq!(scheduled.state, JobState::Scheduled);
    assert_eq!(scheduled.spec, later);
    assert_eq!(find(&subject, "job-3").await, None);
}

#[doc(hidden)]
pub async fn an_id_of_a_job_is_taken_once(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_spec("job-1")).await.unwrap();
    let again = create(&subject, a_call("job-1")).await;
    assert_eq!(
        again,
        Err(JobError::AlreadyExists("job-1".parse().unwrap()))
    );
    cancel(&subject, "job-1").await.unwrap();
    let again = create(&subject, a_spec("job-1")).await;
    assert!(matches!(again, Err(JobError::AlreadyExists(_))));
    // Another hub has ids of its own.
    let other: HubName = "other.example".parse().unwrap();
    hub_named(&subject, other.clone()).await;
    let spec = a_spec("job-1");
    let created = subject.jobs.create_job(other, spec, somebody(), 1, noon());
    assert!(created.await.unwrap().is_ok());
}

#[doc(hidden)]
pub async fn a_hub_has_a_most_of_jobs_that_have_not_ended(subject: Subject) {
    let spec = a_spec("job-0");
    let nowhere = subject
        .jobs
        .create_job(a_hub(), spec, somebody(), 9, noon());
    assert_eq!(nowhere.await.unwrap(), Err(JobError::NoHub));
    hub(&subject).await;
    let create = async |id: &str| {
        let created = subject
            .jobs
            .create_job(a_hub(), a_spec(id), somebody(), 2, noon());
        created.await.unwrap().map(drop)
    };
    assert_eq!(create("job-1").await, Ok(()));
    assert_eq!(create("job-2").await, Ok(()));
    assert_eq!(create("job-3").await, Err(JobError::TooMany(2)));
    cancel(&subject, "job-1").await.unwrap();
    assert_eq!(create("job-3").await, Ok(()));
    assert_eq!(create("job-4").await, Err(JobError::TooMany(2)));
}

#[doc(hidden)]
pub async fn jobs_created_at_once_keep_to_the_most(subject: Subject) {
    hub(&subject).await;
    let creating = (0..8).map(|number| {
        let spec = a_spec(&format!("job-{number}"));
        subject
            .jobs
            .create_job(a_hub(), spec, somebody(), 3, noon())
    });
    let created = futures::future::join_all(creating).await;
    let taken = created
        .into_iter()
        .filter(|one| one.as_ref().unwrap().is_ok());
    assert_eq!(taken.count(), 3);
}

#[doc(hidden)]
pub async fn a_job_is_cancelled_before_it_begins_and_not_after(subject: Subject) {
    hub(&subject).await;
    let missing = cancel(&subject, "job-1").await;
    assert_eq!(missing, Err(JobError::NotFound("job-1".parse().unwrap())));
    create(&subject, a_spec("job-1")).await.unwrap();
    let cancelled = cancel(&subject, "job-1").await.unwrap();
    assert_eq!(cancelled.state, JobState::Cancelled);
    assert_eq!(cancelled.ended_at, Some(noon() + SECOND));
    let again = cancel(&subject, "job-1").await;
    assert_eq!(again, Err(JobError::NotCancellable(JobState::Cancelled)));
    assert_eq!(claim(&subject, noon() + MINUTE).await, None);

    create(&subject, a_spec("job-2")).await.unwrap();
    claim(&subject, noon()).await.unwrap();
    let running = cancel(&subject, "job-2").await;
    assert_eq!(running, Err(JobError::NotCancellable(JobState::Running)));
}

#[doc(hidden)]
pub async fn jobs_are_listed_in_order_by_kind_and_state(subject: Subject) {
    hub(&subject).await;
    for spec in [a_spec("c"), a_call("a"), a_spec("b"), a_call("d")] {
        create(&subject, spec).await.unwrap();
    }
    cancel(&subject, "b").await.unwrap();
    let list = async |filter, after, limit| {
        let listed = subject.jobs.list_jobs(a_hub(), filter, after, limit);
        let listed = listed.await.unwrap();
        let ids: Vec<_> = listed.iter().map(|job| job.spec.id.to_string()).collect();
        (ids.join(""), listed.last().map(|job| job.key))
    };
    let any = JobFilter::default();
    let (ids, reached) = list(any, None, 3).await;
    assert_eq!(ids, "cab");
    assert_eq!(list(any, reached, 3).await.0, "d");
    let calls = JobFilter {
        kind: Some(JobKind::DeviceMethod),
        ..any
    };
    assert_eq!(list(calls, None, 9).await.0, "ad");
    let cancelled = JobFilter {
        state: Some(JobState::Cancelled),
        ..any
    };
    assert_eq!(list(cancelled, None, 9).await.0, "b");
    let both = JobFilter {
        kind: calls.kind,
        ..cancelled
    };
    assert_eq!(list(both, None, 9).await.0, "");
}

#[doc(hidden)]
pub async fn a_job_is_claimed_once_it_is_due_the_earliest_first(subject: Subject) {
    hub(&subject).await;
    let at = |id: &str, seconds| JobSpec {
        start_at: noon() + seconds * SECOND,
        ..a_spec(id)
    };
    create(&subject, at("late", 20)).await.unwrap();
    create(&subject, at("early", 10)).await.unwrap();
    assert_eq!(claim(&subject, noon() + 9 * SECOND).await, None);
    let first = claim(&subject, noon() + 30 * SECOND).await.unwrap();
    assert_eq!(first.job.spec.id.as_str(), "early");
    assert_eq!(first.job.state, JobState::Running);
    assert_eq!((first.is_targeted, first.cursor), (false, None));
    let second = claim(&subject, noon() + 30 * SECOND).await.unwrap();
    assert_eq!(second.job.spec.id.as_str(), "late");
    assert_eq!(claim(&subject, noon() + 30 * SECOND).await, None);
}

#[doc(hidden)]
pub async fn of_many_runners_one_gets_the_job(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_spec("job-1")).await.unwrap();
    let claims = futures::future::join_all((0..8).map(|_| claim(&subject, noon()))).await;
    assert_eq!(claims.iter().flatten().count(), 1);
}

#[doc(hidden)]
pub async fn a_claim_lapses_and_writes_under_it_come_to_nothing(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_spec("job-1")).await.unwrap();
    let old = claim(&subject, noon()).await.unwrap().claim;
    add(&subject, old, 1..=2, None).await.unwrap();
    assert_eq!(begin(&subject, old, 1).await, Some(vec![1]));
    assert_eq!(claim(&subject, noon() + MINUTE - SECOND).await, None);
    let new = claim(&subject, noon() + MINUTE).await.unwrap();
    assert!(new.claim.epoch > old.epoch);

    assert_eq!(add(&subject, old, 3..=4, None).await, None);
    assert_eq!(begin(&subject, old, 9).await, None);
    let done = vec![(1, DeviceJobOutcome::Updated)];
    assert_eq!(end(&subject, old, done).await, None);
    let ended = subject.jobs.end_job(old, JobEnd::Completed, noon());
    assert_eq!(ended.await.unwrap(), None);
    subject.jobs.release_job(old, noon()).await.unwrap();
    assert_eq!(claim(&subject, noon() + MINUTE).await, None);
    assert_eq!(rows(&subject, None).await.len(), 2);
}

#[doc(hidden)]
pub async fn a_released_job_is_claimed_at_once(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_spec("job-1")).await.unwrap();
    let first = claim(&subject, noon()).await.unwrap().claim;
    subject.jobs.release_job(first, noon()).await.unwrap();
    assert!(claim(&subject, noon()).await.is_some());
}

#[doc(hidden)]
pub async fn identities_are_found_in_pages_and_each_once(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_spec("job-1")).await.unwrap();
    let first = claim(&subject, noon()).await.unwrap().claim;
    let progress = add(&subject, first, 1..=3, Some(3)).await.unwrap();
    assert_eq!((progress.pending, progress.running_jobs), (3, 1));
    // The page is found again by the next runner.
    let progress = add(&subject, first, 2..=5, Some(5)).await.unwrap();
    assert_eq!(progress.pending, 5);
    let taken = claim(&subject, noon() + MINUTE).await.unwrap();
    assert_eq!(
        (taken.is_targeted, taken.cursor),
        (false, Some(DeviceKey(5)))
    );
    add(&subject, taken.claim, [], None).await.unwrap();
    let taken = claim(&subject, noon() + 2 * MINUTE).await.unwrap();
    assert!(taken.is_targeted);
    assert_eq!(numbers(&taken.job), [5, 5, 0, 0, 0]);
}

#[doc(hidden)]
pub async fn identities_are_begun_in_order_and_ended_once(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_call("job-1")).await.unwrap();
    let claim = claim(&subject, noon()).await.unwrap().claim;
    add(&subject, claim, 1..=5, None).await.unwrap();
    assert_eq!(begin(&subject, claim, 3).await, Some(vec![1, 2, 3]));
    let answer = DeviceJobOutcome::Answered {
        status: -7,
        payload: Bytes::from_static(b"{\"a\": 1.50}"),
    };
    let failure = DeviceJobOutcome::failed(ErrorCode::DeviceNotOnline, &"not online");
    let outcomes = vec![
        (1, answer.clone()),
        (2, failure.clone()),
        // Not begun, and not of this job.
        (5, answer.clone()),
        (77, answer.clone()),
    ];
    let progress = end(&subject, claim, outcomes.clone()).await.unwrap();
    assert_eq!((progress.pending, progress.running), (2, 1));
    // A second time nothing moves.
    let progress = end(&subject, claim, outcomes).await.unwrap();
    assert_eq!((progress.pending, progress.running), (2, 1));
    let job = find(&subject, "job-1").await.unwrap();
    assert_eq!(numbers(&job), [5, 2, 1, 1, 1]);

    let rows = rows(&subject, Some("job-1")).await;
    assert_eq!(
        states(&rows),
        [
            DeviceJobState::Completed,
            DeviceJobState::Failed,
            DeviceJobState::Running,
            DeviceJobState::Pending,
            DeviceJobState::Pending,
        ]
    );
    assert_eq!(rows[0].outcome, Some(answer));
    assert_eq!(rows[1].outcome, Some(failure));
    assert_eq!(rows[2].outcome, None);
    assert_eq!(rows[2].name, name(3));
    assert_eq!(rows[0].job_id.as_str(), "job-1");
    assert_eq!(rows[0].kind, JobKind::DeviceMethod);
    assert_eq!(rows[0].created_at, noon());
    assert_eq!(rows[0].started_at, Some(noon()));
    assert_eq!(rows[0].ended_at, Some(noon() + SECOND));
    assert_eq!(rows[0].updated_at, noon() + SECOND);
    assert_eq!((rows[3].started_at, rows[3].ended_at), (None, None));
}

#[doc(hidden)]
pub async fn a_begun_twin_update_is_begun_again_by_the_next_runner(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_spec("job-1")).await.unwrap();
    let old = claim(&subject, noon()).await.unwrap().claim;
    add(&subject, old, 1..=3, None).await.unwrap();
    begin(&subject, old, 2).await.unwrap();
    end(&subject, old, vec![(1, DeviceJobOutcome::Updated)])
        .await
        .unwrap();
    let new = claim(&subject, noon() + 2 * MINUTE).await.unwrap();
    assert_eq!(numbers(&new.job), [3, 2, 0, 1, 0]);
    assert_eq!(begin(&subject, new.claim, 9).await, Some(vec![2, 3]));
}

#[doc(hidden)]
pub async fn a_begun_method_call_has_failed_for_the_next_runner(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_call("job-1")).await.unwrap();
    let old = claim(&subject, noon()).await.unwrap().claim;
    add(&subject, old, 1..=3, None).await.unwrap();
    begin(&subject, old, 2).await.unwrap();
    let new = claim(&subject, noon() + 2 * MINUTE).await.unwrap();
    assert_eq!(numbers(&new.job), [3, 1, 0, 0, 2]);
    assert_eq!(begin(&subject, new.claim, 9).await, Some(vec![3]));
    let rows = rows(&subject, None).await;
    assert_eq!(rows[0].outcome, Some(DeviceJobOutcome::lost()));
}

#[doc(hidden)]
pub async fn an_ended_job_is_not_claimed_again(subject: Subject) {
    hub(&subject).await;
    for (id, how) in [
        ("job-1", JobEnd::Completed),
        (
            "job-2",
            JobEnd::Failed("a reason, in \u{fc}mlauts".to_owned()),
        ),
    ] {
        create(&subject, a_spec(id)).await.unwrap();
        let claim = claim(&subject, noon()).await.unwrap().claim;
        let ended = subject.jobs.end_job(claim, how, noon() + SECOND);
        assert_eq!(ended.await.unwrap(), Some(()));
    }
    assert_eq!(claim(&subject, noon() + 9 * MINUTE).await, None);
    let completed = find(&subject, "job-1").await.unwrap();
    assert_eq!(completed.state, JobState::Completed);
    assert_eq!(completed.ended_at, Some(noon() + SECOND));
    let failed = find(&subject, "job-2").await.unwrap();
    assert_eq!(failed.state, JobState::Failed);
    assert_eq!(failed.failure.as_deref(), Some("a reason, in \u{fc}mlauts"));
}

#[doc(hidden)]
pub async fn rows_of_jobs_are_listed_in_pages(subject: Subject) {
    hub(&subject).await;
    for id in ["job-1", "job-2"] {
        create(&subject, a_spec(id)).await.unwrap();
        let claim = claim(&subject, noon()).await.unwrap().claim;
        add(&subject, claim, 1..=3, None).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = subject.jobs.list_device_jobs(a_hub(), None, after, 2);
        let page = page.await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(DeviceJobPlace {
            job: last.job,
            device: last.device,
        });
        seen.extend(
            page.iter()
                .map(|row| format!("{} {}", row.job_id, row.device)),
        );
    }
    let expected = [
        "job-1 1", "job-1 2", "job-1 3", "job-2 1", "job-2 2", "job-2 3",
    ];
    assert_eq!(seen, expected);
    let second = rows(&subject, Some("job-2")).await;
    assert!(second.len() == 3 && second.iter().all(|row| row.job_id.as_str() == "job-2"));
    let place = DeviceJobPlace {
        job: second[0].job,
        device: second[0].device,
    };
    let id = Some("job-2".parse().unwrap());
    let rest = subject.jobs.list_device_jobs(a_hub(), id, Some(place), 9);
    assert_eq!(rest.await.unwrap(), second[1..]);
    assert_eq!(rows(&subject, Some("job-9")).await, []);
    let other = subject
        .jobs
        .list_device_jobs("other.example".parse().unwrap(), None, None, 9);
    assert_eq!(other.await.unwrap(), []);
}

#[doc(hidden)]
pub async fn jobs_are_forgotten_with_their_rows_in_pages(subject: Subject) {
    hub(&subject).await;
    for id in ["job-1", "job-2"] {
        create(&subject, a_spec(id)).await.unwrap();
        let claim = claim(&subject, noon()).await.unwrap().claim;
        add(&subject, claim, 1..=5, None).await.unwrap();
        if id == "job-1" {
            let ended = subject.jobs.end_job(claim, JobEnd::Completed, noon());
            ended.await.unwrap();
        }
    }
    assert_eq!(subject.jobs.sweep_jobs(noon(), 4).await, Ok(0));
    let later = noon() + SECOND;
    assert_eq!(subject.jobs.sweep_jobs(later, 4).await, Ok(4));
    assert!(find(&subject, "job-1").await.is_some());
    assert_eq!(subject.jobs.sweep_jobs(later, 4).await, Ok(2));
    assert_eq!(find(&subject, "job-1").await, None);
    assert_eq!(subject.jobs.sweep_jobs(later, 4).await, Ok(0));
    assert_eq!(rows(&subject, None).await.len(), 5);
    assert!(find(&subject, "job-2").await.is_some());
}

#[doc(hidden)]
pub async fn creation_and_cancellation_of_jobs_are_audited(subject: Subject) {
    hub(&subject).await;
    create(&subject, a_spec("job-1")).await.unwrap();
    create(&subject, a_spec("job-1")).await.unwrap_err();
    cancel(&subject, "job-1").await.unwrap();
    cancel(&subject, "job-1").await.unwrap_err();
    let events = subject.events(EventKind::Audit).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let body: Value = serde_json::from_slice(&event.body).unwrap();
            assert_eq!(body["who"], somebody().credential);
            body["operationName"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(told, ["createJob", "cancelJob"]);
}
