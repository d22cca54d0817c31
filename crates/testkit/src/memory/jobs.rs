//! Jobs in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, JobId};
use downlink_domain::job::{
    DeviceJob, DeviceJobOutcome, DeviceJobState, Job, JobError, JobKey, JobKind, JobSpec, JobState,
    JobStatistics,
};
use downlink_ports::events::{AuditOperation, AuditRecord, audit_event};
use downlink_ports::{
    ClaimedJob, DeviceJobPlace, FoundTargets, JobClaim, JobEnd, JobFilter, JobProgress, JobStore,
    StoreError,
};

use super::{MemoryStore, State};

#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: i64,
    records: BTreeMap<JobKey, Record>,
    rows: BTreeMap<DeviceJobPlace, DeviceJob>,
}

#[derive(Debug)]
struct Record {
    job: Job,
    is_targeted: bool,
    cursor: Option<DeviceKey>,
    epoch: u64,
    due_at: Option<Timestamp>,
}

impl Jobs {
    fn find(&mut self, hub: &HubName, id: &JobId) -> Option<&mut Record> {
        let mut records = self.records.values_mut();
        records.find(|record| record.job.hub == *hub && record.job.spec.id == *id)
    }

    /// The job, if the claim is still the newest; renews it.
    fn hold(&mut self, claim: JobClaim, until: Timestamp) -> Option<&mut Record> {
        let record = self.records.get_mut(&claim.job)?;
        let is_held = record.epoch == claim.epoch && record.job.state == JobState::Running;
        if is_held {
            record.due_at = Some(until);
        }
        is_held.then_some(record)
    }

    fn rows_of(&mut self, job: JobKey) -> impl Iterator<Item = &mut DeviceJob> {
        let rows = self.rows.values_mut();
        rows.filter(move |row| row.job == job)
    }

    /// Counts the rows of a job anew.
    fn count(&mut self, job: JobKey) -> JobProgress {
        let mut counts = JobStatistics::default();
        for row in self.rows_of(job) {
            counts.devices += 1;
            *match row.state {
                DeviceJobState::Pending => &mut counts.pending,
                DeviceJobState::Running => &mut counts.running,
                DeviceJobState::Completed => &mut counts.succeeded,
                DeviceJobState::Failed | DeviceJobState::Canceled => &mut counts.failed,
            } += 1;
        }
        let hub = self.records.get_mut(&job).map(|record| {
            record.job.statistics = counts;
            record.job.hub.clone()
        });
        let records = self.records.values();
        let running = records.filter(|record| {
            record.job.state == JobState::Running && Some(&record.job.hub) == hub.as_ref()
        });
        JobProgress {
            pending: counts.pending,
            running: counts.running,
            running_jobs: u32::try_from(running.count()).unwrap_or(u32::MAX),
        }
    }
}

fn place(row: &DeviceJob) -> DeviceJobPlace {
    DeviceJobPlace {
        job: row.job,
        device: row.device,
    }
}

fn finish(row: &mut DeviceJob, outcome: DeviceJobOutcome, now: Timestamp) {
    row.state = outcome.state();
    row.outcome = Some(outcome);
    row.updated_at = now;
    row.ended_at = Some(now);
}

impl State {
    fn tell(&mut self, operation: AuditOperation, job: &Job, by: &Actor, now: Timestamp) {
        self.append(audit_event(&AuditRecord::of_job(operation, job, by, now)));
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    async fn create_job(
        &self,
        hub: HubName,
        spec: JobSpec,
        by: Actor,
        max_active: u32,
        now: Timestamp,
    ) -> Result<Result<Job, JobError>, StoreError> {
        let mut state = self.state.lock();
        if !state.hubs.iter().any(|(known, _)| *known == hub) {
            return Ok(Err(JobError::NoHub));
        }
        let jobs = &mut state.jobs;
        if jobs.find(&hub, &spec.id).is_some() {
            return Ok(Err(JobError::AlreadyExists(spec.id)));
        }
        let active = jobs.records.values();
        let active = active.filter(|record| record.job.hub == hub && record.due_at.is_some());
        if active.count() >= max_active as usize {
            return Ok(Err(JobError::TooMany(max_active)));
        }
        jobs.last += 1;
        let job = Job {
            key: JobKey(jobs.last),
            hub,
            state: spec.first_state(now),
            created_at: now,
            ended_at: None,
            failure: None,
            statistics: JobStatistics::default(),
            spec,
        };
        let record = Record {
            is_targeted: false,
            cursor: None,
            epoch: 0,
            due_at: Some(job.spec.start_at.max(now)),
            job: job.clone(),
        };
        jobs.records.insert(job.key, record);
        state.tell(AuditOperation::CreateJob, &job, &by, now);
        Ok(Ok(job))
    }

    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, StoreError> {
        let mut state = self.state.lock();
        let found = state.jobs.find(&hub, &id);
        Ok(found.map(|record| record.job.clone()))
    }

    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let state = self.state.lock();
        let jobs = state.jobs.records.values().map(|record| &record.job);
        let jobs = jobs.filter(|job| {
            job.hub == hub
                && Some(job.key) > after
                && filter.kind.is_none_or(|kind| kind == job.spec.kind)
                && filter.state.is_none_or(|state| state == job.state)
        });
        Ok(jobs.take(limit as usize).cloned().collect())
    }

    async fn cancel_job(
        &self,
        hub: HubName,
        id: JobId,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Job, JobError>, StoreError> {
        let mut state = self.state.lock();
        let Some(record) = state.jobs.find(&hub, &id) else {
            return Ok(Err(JobError::NotFound(id)));
        };
        if !matches!(record.job.state, JobState::Queued | JobState::Scheduled) {
            return Ok(Err(JobError::NotCancellable(record.job.state)));
        }
        record.job.state = JobState::Cancelled;
        record.job.ended_at = Some(now);
        record.due_at = None;
        let job = record.job.clone();
        state.tell(AuditOperation::CancelJob, &job, &by, now);
        Ok(Ok(job))
    }

    async fn claim_job(
        &self,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ClaimedJob>, StoreError> {
        let mut state = self.state.lock();
        let jobs = &mut state.jobs;
        let due = jobs.records.values_mut();
        let due = due.filter(|record| record.due_at.is_some_and(|due| due <= now));
        let Some(record) = due.min_by_key(|record| record.due_at) else {
            return Ok(None);
        };
        record.epoch += 1;
        record.due_at = Some(until);
        record.job.state = JobState::Running;
        let (key, kind) = (record.job.key, record.job.spec.kind);
        for row in jobs.rows_of(key) {
            if row.state != DeviceJobState::Running {
                continue;
            }
            match kind {
                JobKind::UpdateTwin => {
                    row.state = DeviceJobState::Pending;
                    row.started_at = None;
                    row.updated_at = now;
                }
                JobKind::DeviceMethod => finish(row, DeviceJobOutcome::lost(), now),
            }
        }
        jobs.count(key);
        Ok(jobs.records.get(&key).map(|record| ClaimedJob {
            claim: JobClaim {
                job: key,
                epoch: record.epoch,
            },
            job: record.job.clone(),
            is_targeted: record.is_targeted,
            cursor: record.cursor,
        }))
    }

    async fn add_targets(
        &self,
        claim: JobClaim,
        found: FoundTargets,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<JobProgress>, StoreError> {
        let mut state = self.state.lock();
        let jobs = &mut state.jobs;
        let Some(record) = jobs.hold(claim, until) else {
            return Ok(None);
        };
        record.is_targeted = found.next.is_none();
        record.cursor = found.next;
        let job = record.job.clone();
        for (device, name) in found.targets {
            let row = DeviceJob {
                job: job.key,
                job_id: job.spec.id.clone(),
                kind: job.spec.kind,
                device,
                name,
                state: DeviceJobState::Pending,
                created_at: now,
                updated_at: now,
                started_at: None,
                ended_at: None,
                outcome: None,
            };
            jobs.rows.entry(place(&row)).or_insert(row);
        }
        Ok(Some(jobs.count(job.key)))
    }

    async fn begin_device_jobs(
        &self,
        claim: JobClaim,
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Vec<(DeviceKey, IdentityName)>>, StoreError> {
        let mut state = self.state.lock();
        let jobs = &mut state.jobs;
        if jobs.hold(claim, until).is_none() {
            return Ok(None);
        }
        let rows = jobs.rows_of(claim.job);
        let pending = rows.filter(|row| row.state == DeviceJobState::Pending);
        let begun = pending.take(limit as usize).map(|row| {
            row.state = DeviceJobState::Running;
            row.started_at = Some(now);
            row.updated_at = now;
            (row.device, row.name.clone())
        });
        let begun = begun.collect();
        jobs.count(claim.job);
        Ok(Some(begun))
    }

    async fn end_device_jobs(
        &self,
        claim: JobClaim,
        outcomes: Vec<(DeviceKey, DeviceJobOutcome)>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<JobProgress>, StoreError> {
        let mut state = self.state.lock();
        let jobs = &mut state.jobs;
        if jobs.hold(claim, until).is_none() {
            return Ok(None);
        }
        for (device, outcome) in outcomes {
            let job = claim.job;
            let row = jobs.rows.get_mut(&DeviceJobPlace { job, device });
            if let Some(row) = row.filter(|row| row.state == DeviceJobState::Running) {
                finish(row, outcome, now);
            }
        }
        Ok(Some(jobs.count(claim.job)))
    }

    async fn release_job(&self, claim: JobClaim, now: Timestamp) -> Result<(), StoreError> {
        self.state.lock().jobs.hold(claim, now);
        Ok(())
    }

    async fn end_job(
        &self,
        claim: JobClaim,
        end: JobEnd,
        now: Timestamp,
    ) -> Result<Option<()>, StoreError> {
        let mut state = self.state.lock();
        let Some(record) = state.jobs.hold(claim, now) else {
            return Ok(None);
        };
        (record.job.state, record.job.failure) = match end {
            JobEnd::Completed => (JobState::Completed, None),
            JobEnd::Failed(reason) => (JobState::Failed, Some(reason)),
        };
        record.job.ended_at = Some(now);
        record.due_at = None;
        Ok(Some(()))
    }

    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, StoreError> {
        let state = self.state.lock();
        let jobs = &state.jobs;
        let of_hub = |row: &DeviceJob| {
            let record = jobs.records.get(&row.job);
            record.is_some_and(|record| record.job.hub == hub)
        };
        let rows = jobs.rows.values().filter(|row| {
            of_hub(row)
                && Some(place(row)) > after
                && job.as_ref().is_none_or(|job| *job == row.job_id)
        });
        Ok(rows.take(limit as usize).cloned().collect())
    }

    async fn sweep_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let jobs = &mut state.jobs;
        let ended = jobs.records.values().map(|record| &record.job);
        let ended = ended.filter(|job| job.ended_at.is_some_and(|at| at < before));
        let Some(job) = ended.min_by_key(|job| job.ended_at).map(|job| job.key) else {
            return Ok(0);
        };
        let rows = jobs.rows.keys().filter(|place| place.job == job).copied();
        let places: Vec<_> = rows.take(limit as usize).collect();
        for place in &places {
            jobs.rows.remove(place);
        }
        let gone = places.len() as u64;
        if gone >= u64::from(limit) {
            return Ok(gone);
        }
        jobs.records.remove(&job);
        Ok(gone + 1)
    }
}
