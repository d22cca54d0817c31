//! Jobs: created, read, listed, cancelled; who may.

use axum::http::Method;
use downlink_domain::policy::Permission;
use downlink_ports::{Clock as _, JobFilter, JobStore};
use serde_json::{Value, json};

use super::{VERSION, ask, ask_with, refused};
use crate::fakes::TestHub;

fn an_update(start_time: &str) -> Value {
    json!({
        "jobId": "job-1", "type": "scheduleUpdateTwin",
        "updateTwin": { "etag": "*", "tags": { "ring": 2 }, "properties": { "desired": { "rate": 1.50 } } },
        "queryCondition": "tags.site = 'zrh'", "startTime": start_time, "maxExecutionTimeInSeconds": 60,
    })
}

fn a_call(method: &str) -> Value {
    json!({
        "type": "ScheduleDeviceMethod", "queryCondition": "*", "startTime": null,
        "cloudToDeviceMethod": { "methodName": method, "payload": null, "responseTimeoutInSeconds": 10 },
    })
}

async fn put(hub: &TestHub, id: &str, body: &Value) -> (u16, String) {
    let path = format!("/jobs/v2/{id}");
    ask(hub, Method::PUT, &path).body(body).code().await
}

#[tokio::test]
async fn a_created_job_is_shown_as_it_was_asked_for() {
    let hub = TestHub::new().await;
    let now = hub.clock.now().to_string();
    let body = an_update("");
    let created = ask(&hub, Method::PUT, "/jobs/v2/job-1")
        .body(&body)
        .json()
        .await;
    let expected = json!({
        "jobId": "job-1",
        "queryCondition": "tags.site = 'zrh'",
        "createdTime": now,
        "startTime": now,
        "maxExecutionTimeInSeconds": 60,
        "type": "scheduleUpdateTwin",
        "updateTwin": body["updateTwin"],
        "status": "queued",
        "deviceJobStatistics": {
            "deviceCount": 0, "failedCount": 0, "succeededCount": 0, "runningCount": 0, "pendingCount": 0,
        },
    });
    assert_eq!(created, expected);
    let read = ask(&hub, Method::GET, "/Jobs/V2/job-1/").json().await;
    assert_eq!(read, expected);
    let unknown = ask(&hub, Method::GET, "/jobs/v2/job-9").json().await;
    let expected = json!({ "jobId": "job-9", "type": "unknown", "status": "unknown" });
    assert_eq!(unknown, expected);
}

#[tokio::test]
async fn a_job_in_the_future_is_cancelled_once() {
    let hub = TestHub::new().await;
    let body = an_update("2026-01-05T13:00:00+00:00");
    let created = ask(&hub, Method::PUT, "/jobs/v2/job-1")
        .body(&body)
        .json()
        .await;
    assert_eq!(created["status"], "scheduled");
    let cancel = || ask(&hub, Method::POST, "/jobs/v2/job-1/cancel");
    assert_eq!(cancel().json().await["status"], "cancelled");
    let again = refused(405, "OperationNotAllowedInCurrentState");
    assert_eq!(cancel().code().await, again);
    let unknown = ask(&hub, Method::POST, "/jobs/v2/job-9/cancel").code();
    assert_eq!(unknown.await, refused(404, "JobNotFound"));
}

#[tokio::test]
async fn what_is_outside_its_rules_is_refused() {
    let hub = TestHub::new().await;
    let changed = |name: &str, value: Value| {
        let mut body = an_update("");
        body[name] = value;
        body
    };
    for body in [
        changed("jobId", json!("another")),
        changed("type", json!("rebootDevice")),
        changed("type", json!("scheduleDeviceMethod")),
        changed("updateTwin", json!([])),
        changed("updateTwin", json!({ "tags": 1 })),
        changed("startTime", json!("tomorrow")),
        changed("startTime", json!("2027-01-05T12:00:00Z")),
        changed("maxExecutionTimeInSeconds", json!(-1)),
        changed("maxExecutionTimeInSeconds", json!(700_000)),
        changed("queryCondition", json!("x".repeat(8_193))),
        changed("queryCondition", json!(7)),
        a_call(""),
    ] {
        assert_eq!(
            put(&hub, "job-1", &body).await,
            refused(400, "ArgumentInvalid"),
            "{body}"
        );
    }
    let bad_id = put(&hub, "Job_1", &an_update("")).await;
    assert_eq!(bad_id, refused(400, "ArgumentInvalid"));
    let malformed = ask(&hub, Method::PUT, "/jobs/v2/job-1").text("{").code();
    assert_eq!(malformed.await, refused(400, "IotHubFormatError"));
    let wrong = ask(&hub, Method::DELETE, "/jobs/v2/job-1").code().await;
    assert_eq!(wrong, refused(405, "GenericMethodNotAllowed"));
    let imports = ask(&hub, Method::POST, "/jobs/create").code().await;
    assert_eq!(imports, refused(403, "OperationNotAvailableInCurrentTier"));
}

#[tokio::test]
async fn an_id_is_taken_once_and_a_hub_has_a_most_of_jobs() {
    let hub = TestHub::new().await;
    let mut body = an_update("");
    body["jobId"] = Value::Null;
    assert_eq!(put(&hub, "job-1", &body).await.0, 200);
    assert_eq!(
        put(&hub, "job-1", &body).await,
        refused(409, "JobAlreadyExists")
    );
    assert_eq!(put(&hub, "job-2", &body).await.0, 200);
    assert_eq!(put(&hub, "job-3", &body).await.0, 200);
    let full = refused(429, "ThrottlingMaxActiveJobCountExceeded");
    assert_eq!(put(&hub, "job-4", &body).await, full);
}

#[tokio::test]
async fn jobs_are_listed_in_pages_without_an_empty_one_at_the_end() {
    let hub = TestHub::new().await;
    for (id, body) in [("a", a_call("m")), ("b", an_update("")), ("c", a_call("m"))] {
        let mut body = body;
        body["jobId"] = Value::Null;
        assert_eq!(put(&hub, id, &body).await.0, 200);
    }
    let token = hub.policy_token("service");
    let list = async |query: &str, headers: &[(&str, &str)]| {
        let uri = format!("/jobs/v2/query?{VERSION}{query}");
        let mut asked = ask_with(&hub, Method::GET, &uri, &token);
        for (name, value) in headers {
            asked.request = asked.request.header(*name, *value);
        }
        let reply = asked.send().await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!(reply.header("x-ms-item-type"), Some("JobResponse"));
        let ids: Vec<String> = reply
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["jobId"].as_str().unwrap().to_owned())
            .collect();
        (
            ids.concat(),
            reply.header("x-ms-continuation").map(str::to_owned),
        )
    };
    let (ids, next) = list("", &[("x-ms-max-item-count", "2")]).await;
    assert_eq!(ids, "ab");
    let next = next.unwrap();
    let rest = list(
        "",
        &[("x-ms-max-item-count", "1"), ("x-ms-continuation", &next)],
    )
    .await;
    assert_eq!(rest, ("c".to_owned(), None));
    assert_eq!(list("", &[("x-ms-continuation", "")]).await.0, "abc");
    assert_eq!(list("&jobType=ScheduleDeviceMethod", &[]).await.0, "ac");
    assert_eq!(
        list("&jobStatus=Queued&jobType=scheduleUpdateTwin", &[])
            .await
            .0,
        "b"
    );
    assert_eq!(list("&jobStatus=completed", &[]).await.0, "");
    assert_eq!(list("&jobStatus=enqueued", &[]).await.0, "");
    assert_eq!(list("&jobType=import", &[]).await.0, "");
    for query in ["&jobType=x", "&jobStatus=x"] {
        let uri = format!("/jobs/v2/query?{VERSION}{query}");
        let asked = ask_with(&hub, Method::GET, &uri, &token).code().await;
        assert_eq!(asked, refused(400, "ArgumentInvalid"));
    }
}

#[tokio::test]
async fn nobody_does_by_a_job_what_they_may_not_do() {
    let hub = TestHub::new().await;
    for (name, limits) in [
        ("some", json!({ "devices": [{ "id": "dev-1" }] })),
        ("reboots", json!({ "methods": ["reboot"] })),
        ("reads", json!({ "verbs": ["readTwin"] })),
    ] {
        hub.limited_policy(name, &[Permission::ServiceConnect], &limits)
            .await;
    }
    let put = async |policy: &str, body: &Value| {
        let uri = format!("/jobs/v2/job-1?{VERSION}");
        let token = hub.policy_token(policy);
        ask_with(&hub, Method::PUT, &uri, &token)
            .body(body)
            .code()
            .await
    };
    let denied = refused(401, "IotHubUnauthorizedAccess");
    for (policy, body) in [
        ("some", an_update("")),
        ("some", a_call("reboot")),
        ("reboots", a_call("wipe")),
        ("reads", an_update("")),
        ("registryReadWrite", an_update("")),
        ("registryReadWrite", a_call("reboot")),
        ("device", an_update("")),
    ] {
        assert_eq!(put(policy, &body).await, denied, "{policy}: {body}");
    }
    let to = hub.shared.options.hub.clone();
    let jobs = hub.store.list_jobs(to, JobFilter::default(), None, 9);
    assert_eq!(jobs.await.unwrap(), []);
    assert_eq!(put("reboots", &a_call("reboot")).await.0, 200);
}
