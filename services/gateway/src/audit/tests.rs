use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::DeviceId;
use downlink_ports::EventOutbox as _;
use downlink_runtime::Shutdown;
use serde_json::Value;

use super::ledger::{MAX_KEYS, MAX_LINES, REPEAT};
use super::*;
use crate::fakes::TestHub;

const FLOOD: u32 = 100_000;

fn key(number: u32) -> Key {
    Key {
        what: What::Credential(Cause::Signature),
        door: "mqtt",
        who: format!("device dev-{number}").into(),
        address: Some(IpAddr::V4(Ipv4Addr::from_bits(number))),
    }
}

fn note(ledger: &mut Ledger, number: u32, now: Instant) -> bool {
    let code = ErrorCode::IotHubUnauthorized;
    ledger.note(key(number), "devices/x", code, Timestamp::UNSET, now)
}

fn origin(number: u32) -> Origin {
    Origin {
        door: Door::Mqtt,
        peer: Some((Ipv4Addr::from_bits(number), 1).into()),
    }
}

/// Ends the writer of records in order. What the test holds keeps the other tasks alive.
async fn end(hub: &TestHub) {
    let ended = hub.audit_scope.shutdown(Duration::from_secs(30)).await;
    assert_eq!(ended, Shutdown::Drained);
}

fn a_name() -> IdentityName {
    "dev-1".parse::<DeviceId>().unwrap().into()
}

async fn refusals(hub: &TestHub) -> Vec<(Event, Value)> {
    let events = hub.store.read_after(0, 100_000).await.unwrap();
    let audits = events.into_iter().map(|(_, event)| event);
    let audits = audits.filter(|event| event.kind == EventKind::Audit);
    let audits = audits.map(|event| {
        let body: Value = serde_json::from_slice(&event.body).unwrap();
        (event, body)
    });
    audits
        .filter(|(_, body)| body["resultType"] == "Failure")
        .collect()
}

fn details(body: &Value) -> Value {
    serde_json::from_str(body["properties"].as_str().unwrap()).unwrap()
}

#[test]
fn the_first_refusal_is_told_at_once_and_its_repeats_once_a_minute() {
    let (mut ledger, start) = (Ledger::default(), Instant::now());
    assert!(note(&mut ledger, 1, start));
    assert!(!note(&mut ledger, 1, start));
    let counts = |lines: Vec<_>| -> Vec<u32> {
        let lines = lines.into_iter();
        lines.map(|line: super::ledger::Line| line.count).collect()
    };
    assert_eq!(counts(ledger.take(start)), [2]);
    for _ in 0..5 {
        assert!(!note(&mut ledger, 1, start));
    }
    assert_eq!(counts(ledger.take(start + REPEAT / 2)), [0; 0]);
    assert_eq!(ledger.next_due(), Some(start + REPEAT));
    assert_eq!(counts(ledger.take(start + REPEAT)), [5]);
    assert_eq!(counts(ledger.take(start + REPEAT * 2)), [0; 0]);
    assert_eq!((ledger.len(), ledger.next_due()), (0, None));
}

#[test]
fn a_flood_of_callers_takes_bounded_memory_and_makes_few_lines() {
    let (mut ledger, start) = (Ledger::default(), Instant::now());
    for number in 0..FLOOD {
        note(&mut ledger, number, start);
    }
    assert_eq!(ledger.len(), MAX_KEYS);
    let mut told = 0;
    let mut lines = 0;
    loop {
        let taken = ledger.take(start);
        if taken.is_empty() {
            break;
        }
        assert!(taken.len() <= MAX_LINES);
        lines += taken.len();
        told += taken.iter().map(|line| line.count).sum::<u32>();
    }
    assert_eq!((lines, told), (MAX_KEYS + 1, FLOOD));
    assert!(ledger.take(start + REPEAT).is_empty());
    assert_eq!(ledger.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_refused_credentials_make_a_bounded_number_of_records() {
    let hub = TestHub::new().await;
    let refusal = Refusal::of(Cause::Signature);
    let begun = Instant::now();
    for number in 0..FLOOD {
        let of = origin(number);
        hub.shared.audit.refused_device(of, &a_name(), &refusal);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let early = refusals(&hub).await.len();
    assert!((1..=seconds * MAX_LINES).contains(&early), "{early}");
    tokio::time::sleep(REPEAT * 2).await;
    let records = refusals(&hub).await;
    assert_eq!(records.len(), MAX_KEYS + 1);
    let count = |(_, body): &(Event, Value)| body["count"].as_u64().unwrap();
    assert_eq!(records.iter().map(count).sum::<u64>(), u64::from(FLOOD));
    let series = "downlink_gateway_credentials_refused_total{cause=\"signature\",door=\"mqtt\"}";
    assert_eq!(hub.metric(series), u64::from(FLOOD));
    let series = "downlink_gateway_audit_records_total{outcome=\"written\"}";
    assert_eq!(hub.metric(series), records.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn records_wait_for_the_queue_service_and_are_written_once() {
    let hub = TestHub::new().await;
    hub.backend.set_down(true);
    let refusal = Refusal::of(Cause::Expired);
    for _ in 0..3 {
        let audit = &hub.shared.audit;
        audit.refused_device(origin(1), &a_name(), &refusal);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(refusals(&hub).await.is_empty());
    hub.backend.set_down(false);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let records = refusals(&hub).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].1["count"], 3);
    assert_eq!(records[0].1["who"], "device dev-1");
    assert_eq!(records[0].1["callerIpAddress"], "0.0.0.1");
    assert_eq!(details(&records[0].1)["cause"], "expired");
    assert_eq!(records[0].0.device_key, Event::HUB_KEY);
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_is_written_before_the_gateway_ends() {
    let hub = TestHub::new().await;
    let refusal = Refusal::of(Cause::Thumbprint);
    for number in 0..1_000 {
        let audit = &hub.shared.audit;
        audit.refused_device(origin(number), &a_name(), &refusal);
    }
    end(&hub).await;
    assert_eq!(refusals(&hub).await.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_ends_in_time_when_its_records_find_nobody() {
    let hub = TestHub::new().await;
    hub.backend.set_down(true);
    let refusal = Refusal::of(Cause::Thumbprint);
    for number in 0..1_000 {
        let audit = &hub.shared.audit;
        audit.refused_device(origin(number), &a_name(), &refusal);
    }
    end(&hub).await;
    let series = "downlink_gateway_audit_records_total{outcome=\"lost\"}";
    assert_eq!(hub.metric(series), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_record_holds_nothing_of_the_credential() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let token = hub.device_token(&device);
    let audit = &hub.shared.audit;
    let wrong = Refusal::of(Cause::Signature);
    audit.refused_service(origin(1), &token, &wrong);
    let known = hub.policy_token("service");
    audit.refused_service(origin(2), &known, &wrong);
    let unknown = known.replace("skn=service", "skn=c2VjcmV0");
    audit.refused_service(origin(3), &unknown, &wrong);
    audit.refused_service(origin(4), "Bearer c2VjcmV0.c2VjcmV0.c2VjcmV0", &wrong);
    end(&hub).await;
    let records = refusals(&hub).await;
    let who = |(_, body): &(Event, Value)| body["who"].as_str().unwrap().to_owned();
    let mut who: Vec<String> = records.iter().map(who).collect();
    who.sort();
    assert_eq!(who, ["", "", "", "policy service"]);
    for (event, body) in &records {
        let text = body.to_string();
        for secret in ["sig=", "se=", "SharedAccessSignature", "c2VjcmV0", "Bearer"] {
            assert!(!text.contains(secret), "{text}");
            let is_in = |(_, value): &(String, String)| value.contains(secret);
            assert!(!event.properties.iter().any(is_in));
        }
    }
}
