//! http-device.md §3, §4, §7.

use std::time::Duration;

use downlink_domain::device::Device;
use downlink_domain::message::{AckMode, NewMessage, Properties};
use downlink_ports::Clock;

use super::device::{EVENTS, INBOX, Raw, RawReply};
use super::*;

/// Sends a message with nothing but an id.
async fn send(hub: &TestHub, body: &'static str) {
    send_as(hub, body, |_| ()).await;
}

async fn send_as(hub: &TestHub, body: &'static str, change: impl FnOnce(&mut NewMessage)) {
    let mut message = NewMessage {
        hub: hub.shared.options.hub.clone(),
        ..downlink_testkit::a_message_to("dev-1", body)
    };
    change(&mut message);
    let sent = hub.shared.peers.queue.enqueue(vec![message]).await;
    sent.unwrap().remove(0).unwrap();
}

async fn a_hub() -> (TestHub, Device) {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    (hub, device)
}

async fn receive(client: &mut Raw) -> RawReply {
    client.ask("GET", INBOX, &[], "").await
}

/// Receives a message and gives what it is settled by.
async fn hold(client: &mut Raw, body: &str) -> String {
    let reply = receive(client).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, body));
    let etag = reply.header("ETag").unwrap();
    etag.strip_prefix('"')
        .unwrap()
        .strip_suffix('"')
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn an_empty_queue_is_answered_at_once_with_nothing() {
    let (hub, device) = a_hub().await;
    let reply = receive(&mut Raw::of(&hub, &device)).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    assert_eq!(reply.header("ETag"), None);
}

#[tokio::test]
async fn a_message_goes_out_with_every_header_in_its_case_and_order() {
    let (hub, device) = a_hub().await;
    let expiry = hub.clock.now() + Duration::from_mins(5);
    let enqueued_at = hub.clock.now();
    send_as(&hub, "pay\0load", |message| {
        message.ack = AckMode::Full;
        message.expiry = Some(expiry);
        message.properties = Properties {
            message_id: Some("m-1".into()),
            correlation_id: Some("c-1".into()),
            to: Some("/devices/dev-1/messages/devicebound".into()),
            user_id: Some("u-1".into()),
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            expiry: Some(expiry),
            application: [("Color", "red & white"), ("greeting", "grüezi"), ("b", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
    })
    .await;
    let reply = receive(&mut Raw::of(&hub, &device)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, "pay\0load");
    let etag = reply.header("ETag").unwrap().to_owned();
    let bare = etag.trim_matches('"');
    assert!(
        bare.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "{etag}"
    );
    let sequence = reply.header("iothub-sequencenumber").unwrap();
    assert!(bare.ends_with(&format!("-{sequence}")), "{etag}");
    let expected = [
        format!("ETag: {etag}"),
        "iothub-messageid: m-1".into(),
        "iothub-correlationid: c-1".into(),
        "iothub-to: /devices/dev-1/messages/devicebound".into(),
        "iothub-userid: u-1".into(),
        "iothub-ack: full".into(),
        format!("iothub-expiry: {expiry}"),
        format!("iothub-enqueuedtime: {enqueued_at}"),
        format!("iothub-sequencenumber: {sequence}"),
        "iothub-deliverycount: 0".into(),
        "ContentType: application/json".into(),
        "iothub-contenttype: application/json".into(),
        "ContentEncoding: utf-8".into(),
        "iothub-contentencoding: utf-8".into(),
        "iothub-app-Color: red & white".into(),
        "iothub-app-b: ".into(),
        "Content-Type: application/octet-stream".into(),
    ];
    assert_eq!(reply.headers[..expected.len()], expected);
    assert_eq!(hub.metric("downlink_gateway_messages_delivered_total"), 1);
}

#[tokio::test]
async fn what_the_sender_did_not_say_is_not_told_except_ack_and_address() {
    let (hub, device) = a_hub().await;
    send_as(&hub, "x", |message| {
        message.ack = AckMode::None;
        message.properties = Properties::default();
    })
    .await;
    let reply = receive(&mut Raw::of(&hub, &device)).await;
    let names: Vec<_> = reply
        .headers
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let expected = [
        "ETag",
        "iothub-to",
        "iothub-ack",
        "iothub-enqueuedtime",
        "iothub-sequencenumber",
        "iothub-deliverycount",
        "Content-Type",
    ];
    assert_eq!(names[..expected.len()], expected);
    assert_eq!(reply.header("iothub-ack"), Some("none"));
    assert_eq!(reply.header("iothub-to"), Some(INBOX));
    assert_eq!(
        reply.header("Content-Type"),
        Some("application/octet-stream")
    );
}

#[tokio::test]
async fn each_settlement_is_made_once_in_every_form_and_lost_after_that() {
    let (hub, device) = a_hub().await;
    let mut client = Raw::of(&hub, &device);
    for (method, form) in [
        ("DELETE", "{t}?api-version=2021-04-12"),
        ("DELETE", "%22{t}%22?api-version=2021-04-12"),
        ("DELETE", "{t}?api-version=2021-04-12&reject"),
        ("DELETE", "{t}?reject=&api-version=2019-10-01"),
        ("DELETE", "{t}?api-version=2020-09-30&%3Freject=true"),
        ("POST", "{t}/abandon?api-version=2021-04-12"),
        ("POST", "{t}/Abandon/?api-version=2021-04-12"),
    ] {
        send(&hub, form).await;
        let reference = hold(&mut client, form).await;
        let uri = format!("{INBOX}/{}", form.replace("{t}", &reference));
        let if_match = format!("If-Match: \"{reference}\"");
        let wrong = "If-Match: something else";
        for body in ["", "\0", "null"] {
            let settled = client
                .ask_exactly(method, &uri, &[if_match.as_str(), wrong][..1], body)
                .await;
            if body.is_empty() {
                assert_eq!((settled.status, settled.body.as_str()), (204, ""), "{uri}");
            } else {
                assert_eq!(settled.code(), (412, "DeviceMessageLockLost"), "{uri}");
            }
        }
        let again = receive(&mut client).await;
        if form.to_ascii_lowercase().contains("abandon") {
            assert_eq!(again.body, form);
            assert_eq!(again.header("iothub-deliverycount"), Some("1"));
            let reference = again.header("ETag").unwrap().replace('"', "");
            let path = format!("{INBOX}/{reference}");
            let settled = client.ask("DELETE", &path, &[], "").await;
            assert_eq!(settled.status, 204);
        } else {
            assert_eq!(again.status, 204, "{form}");
        }
        client = Raw::of(&hub, &device);
    }
}

#[tokio::test]
async fn outcomes_are_those_that_feedback_tells() {
    let (hub, device) = a_hub().await;
    let mut client = Raw::of(&hub, &device);
    for (body, form) in [
        ("done", "?api-version=2021-04-12"),
        ("never", "?api-version=2021-04-12&reject"),
    ] {
        send_as(&hub, body, |message| message.ack = AckMode::Full).await;
        let reference = hold(&mut client, body).await;
        let settled = client
            .ask_exactly("DELETE", &format!("{INBOX}/{reference}{form}"), &[], "")
            .await;
        assert_eq!(settled.status, 204);
        let batch = ask(&hub, Method::GET, "/messages/serviceBound/feedback")
            .json()
            .await;
        let expected = if body == "done" {
            "Success"
        } else {
            "Rejected"
        };
        assert_eq!(batch[0]["statusCode"], expected);
        assert_eq!(batch[0]["originalMessageId"], format!("id-of-{body}"));
    }
}

#[tokio::test]
async fn what_was_never_given_is_a_lock_that_is_lost() {
    let (hub, device) = a_hub().await;
    let mut client = Raw::of(&hub, &device);
    send(&hub, "x").await;
    let reference = hold(&mut client, "x").await;
    let (token, sequence) = reference.rsplit_once('-').unwrap();
    let next: u64 = sequence.parse::<u64>().unwrap() + 1;
    for wrong in [
        "nonsense".to_owned(),
        token.to_owned(),
        format!("{token}-{next}"),
        format!("{}-{sequence}", "0".repeat(36)),
        format!("00000000-0000-0000-0000-000000000000-{sequence}"),
        "%FE".replace("%FE", "x".repeat(4000).as_str()),
    ] {
        let lost = client
            .ask("DELETE", &format!("{INBOX}/{wrong}"), &[], "")
            .await;
        assert_eq!(lost.code(), (412, "DeviceMessageLockLost"), "{wrong}");
        let lost = client
            .ask("POST", &format!("{INBOX}/{wrong}/abandon"), &[], "")
            .await;
        assert_eq!(lost.code(), (412, "DeviceMessageLockLost"), "{wrong}");
    }
    let settled = client
        .ask("DELETE", &format!("{INBOX}/{reference}"), &[], "")
        .await;
    assert_eq!(settled.status, 204);
}

#[tokio::test]
async fn another_device_cannot_settle_a_message() {
    let (hub, device) = a_hub().await;
    let other = hub.device("dev-2").await;
    send(&hub, "x").await;
    let reference = hold(&mut Raw::of(&hub, &device), "x").await;
    let mut other = Raw::of(&hub, &other);
    let path = format!("/devices/dev-2/messages/deviceBound/{reference}");
    assert_eq!(
        other.ask("DELETE", &path, &[], "").await.code(),
        (412, "DeviceMessageLockLost")
    );
    let path = format!("{INBOX}/{reference}");
    assert_eq!(other.ask("DELETE", &path, &[], "").await.status, 401);
}

#[tokio::test]
async fn the_lock_lasts_as_long_as_header_or_query_say_and_then_the_message_comes_again() {
    for (header, query, seconds) in [
        (None, "", 60),
        (Some("IotHub-MessageLockTimeout: 5"), "", 5),
        (None, "?iothub-messagelocktimeout=300", 300),
        (
            Some("iothub-messagelocktimeout: 180"),
            "?iothub-messagelocktimeout=60",
            180,
        ),
    ] {
        let (hub, device) = a_hub().await;
        let mut client = Raw::of(&hub, &device);
        send(&hub, "x").await;
        let header: Vec<&str> = header.into_iter().collect();
        let path = format!("{INBOX}{query}");
        let first = client.ask("GET", &path, &header, "").await;
        let reference = first.header("ETag").unwrap().replace('"', "");
        hub.clock.advance(Duration::from_secs(seconds - 1));
        assert_eq!(receive(&mut client).await.status, 204, "{seconds}");
        hub.clock.advance(Duration::from_secs(1));
        let second = receive(&mut client).await;
        assert_eq!(
            (second.status, second.header("iothub-deliverycount")),
            (200, Some("1"))
        );
        let late = client
            .ask("DELETE", &format!("{INBOX}/{reference}"), &[], "")
            .await;
        assert_eq!(late.code(), (412, "DeviceMessageLockLost"));
    }
}

#[tokio::test]
async fn a_lock_timeout_outside_its_range_is_refused_and_locks_nothing() {
    let (hub, device) = a_hub().await;
    let mut client = Raw::of(&hub, &device);
    send(&hub, "x").await;
    for wrong in ["4", "301", "0", "-1", "a", "5.5", "99999999999"] {
        let header = format!("IotHub-MessageLockTimeout: {wrong}");
        let refused = client.ask("GET", INBOX, &[&header], "").await;
        assert_eq!(refused.code(), (400, "ArgumentInvalid"), "{wrong}");
        let path = format!("{INBOX}?iothub-messagelocktimeout={wrong}");
        let refused = client.ask("GET", &path, &[], "").await;
        assert_eq!(refused.code(), (400, "ArgumentInvalid"), "{wrong}");
    }
    hold(&mut client, "x").await;
}

#[tokio::test]
async fn messages_come_one_by_one_in_order() {
    let (hub, device) = a_hub().await;
    let mut client = Raw::of(&hub, &device);
    for body in ["one", "two", "three"] {
        send(&hub, body).await;
    }
    for body in ["one", "two", "three"] {
        hold(&mut client, body).await;
    }
    assert_eq!(receive(&mut client).await.status, 204);
}

#[tokio::test]
async fn a_device_that_polls_too_soon_is_told_when_to_come_again_by_every_gateway() {
    let minute = |options: &mut crate::options::GatewayOptions| {
        options.https.min_poll_interval = Duration::from_mins(25);
    };
    let hub = TestHub::with(minute).await;
    let second = hub.second("gateway-2").await;
    let device = hub.device("dev-1").await;
    let other = hub.device("dev-2").await;
    assert_eq!(receive(&mut Raw::of(&hub, &device)).await.status, 204);
    send(&hub, "x").await;
    for at in [&hub, &second] {
        let soon = receive(&mut Raw::of(at, &device)).await;
        assert_eq!(soon.code(), (429, "DeviceThrottlingLimitExceeded"));
        assert_eq!(soon.header("retry-after"), Some("1500"));
        assert_eq!(
            Raw::of(at, &device)
                .ask("POST", EVENTS, &[], "x")
                .await
                .status,
            204
        );
    }
    let path = "/devices/dev-2/messages/deviceBound";
    assert_eq!(
        Raw::of(&second, &other)
            .ask("GET", path, &[], "")
            .await
            .status,
        204
    );
    hub.clock.advance(Duration::from_millis(25 * 60_000 - 1));
    let soon = receive(&mut Raw::of(&second, &device)).await;
    assert_eq!(
        soon.header("retry-after"),
        Some("1"),
        "not one second too early"
    );
    hub.clock.advance(Duration::from_millis(1));
    hold(&mut Raw::of(&second, &device), "x").await;
    assert_eq!(hub.metric("downlink_gateway_polls_refused_total"), 1);
}
