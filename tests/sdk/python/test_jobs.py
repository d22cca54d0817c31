"""Jobs by the service SDK: twin updates and method calls for many devices (registry.md §6)."""

import datetime
import time
import uuid

import pytest
from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    JobRequest,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError


@pytest.fixture(scope="session")
def jobs(hub):
    return IoTHubJobManager.from_connection_string(hub.policy("service"))


def new_id():
    return f"job-{uuid.uuid4()}"


def ended(jobs, job_id):
    """Waits until a job is over."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        job = jobs.get_scheduled_job(job_id)
        if job.status in ("completed", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise TimeoutError(f"{job_id} is {job.status}")


def for_devices(*identities):
    return "deviceId IN [" + ", ".join(f"'{identity.device_id}'" for identity in identities) + "]"


def update(condition, **more):
    twin = Twin(etag="*", tags={"ring": 3}, properties=TwinProperties(desired={"rate": 7}))
    return JobRequest(
        type="scheduleUpdateTwin",
        update_twin=twin,
        query_condition=condition,
        max_execution_time_in_seconds=60,
        **more,
    )


def in_an_hour():
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)


def a_job_updates_the_twins_of_a_list_of_devices(jobs, registry, identity, make_device):
    device = make_device(identity).connect().follow_desired()
    job_id = new_id()
    created = jobs.create_scheduled_job(job_id, update(for_devices(identity)))
    assert (created.job_id, created.type) == (job_id, "scheduleUpdateTwin")
    job = ended(jobs, job_id)
    assert job.status == "completed"
    assert job.device_job_statistics.succeeded_count == 1
    assert job.device_job_statistics.pending_count == 0
    assert job.end_time >= job.created_time
    twin = registry.get_twin(identity.device_id)
    assert twin.tags == {"ring": 3}
    assert device.changes.get(timeout=15) == {"rate": 7, "$version": 2}


def a_method_job_counts_a_device_that_is_away_as_failed(jobs, registry, identity):
    job_id = new_id()
    call = CloudToDeviceMethod(
        method_name="reboot", payload={"now": True}, response_timeout_in_seconds=10
    )
    request = JobRequest(
        type="scheduleDeviceMethod",
        cloud_to_device_method=call,
        query_condition=for_devices(identity),
        max_execution_time_in_seconds=60,
    )
    jobs.create_scheduled_job(job_id, request)
    job = ended(jobs, job_id)
    assert job.status == "completed"
    assert job.device_job_statistics.failed_count == 1
    query = QuerySpecification(query=f"SELECT * FROM devices.jobs WHERE jobId = '{job_id}'")
    rows = registry.query_iot_hub(query, max_item_count=10).items
    assert [row.as_dict().get("device_id") for row in rows] == [identity.device_id]


def a_scheduled_job_is_cancelled_once(jobs):
    # The list of jobs is left out: the SDK looks for an object in an answer that is an array.
    job_id = new_id()
    created = jobs.create_scheduled_job(job_id, update("*", start_time=in_an_hour()))
    assert created.status == "scheduled"
    assert jobs.cancel_scheduled_job(job_id).status == "cancelled"
    with pytest.raises(HttpOperationError) as caught:
        jobs.cancel_scheduled_job(job_id)
    assert caught.value.response.status_code == 405
    assert caught.value.response.headers["iothub-errorcode"] == "OperationNotAllowedInCurrentState"


def an_id_is_taken_once_and_an_unknown_one_is_unknown(jobs):
    job_id = new_id()
    jobs.create_scheduled_job(job_id, update("*", start_time=in_an_hour()))
    with pytest.raises(HttpOperationError) as caught:
        jobs.create_scheduled_job(job_id, update("*", start_time=in_an_hour()))
    assert caught.value.response.status_code == 409
    assert caught.value.response.headers["iothub-errorcode"] == "JobAlreadyExists"
    jobs.cancel_scheduled_job(job_id)
    unknown = jobs.get_scheduled_job("no-such-job")
    assert (unknown.type, unknown.status) == ("unknown", "unknown")


def a_condition_that_is_none_fails_the_job(jobs):
    job_id = new_id()
    jobs.create_scheduled_job(job_id, update("tags.site === 1"))
    job = ended(jobs, job_id)
    assert job.status == "failed"
    assert "character" in job.failure_reason
