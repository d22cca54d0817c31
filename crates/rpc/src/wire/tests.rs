use bytes::Bytes;
use downlink_domain::device::IfMatch;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{NewMessage, Settlement};
use downlink_domain::twin::Twin;
use downlink_domain::{ErrorCode, Timestamp};
use downlink_ports::{Disconnect, LockedMessage, PeerError, ReceiveCall};
use downlink_proto::v1;

use super::common::outcome_from_wire;
use super::{
    FromWire, HubReader, MAX_JSON_BYTES, WireError, instant, object_from_wire, read_all,
    token_from_wire,
};

#[test]
fn a_lock_token_has_sixteen_bytes() {
    assert!(token_from_wire(&[0; 16]).is_ok());
    for length in [0, 15, 17] {
        let refused = token_from_wire(&vec![0; length]);
        assert_eq!(refused, Err(WireError::OutOfRange("lock_token")));
    }
}

#[test]
fn an_instant_outside_its_years_is_refused_rather_than_clamped() {
    for at in [Timestamp::UNSET, Timestamp::MAX] {
        assert_eq!(instant("at", at.as_millis()), Ok(at));
    }
    for millis in [i64::MIN, i64::MAX, Timestamp::MAX.as_millis() + 1] {
        assert_eq!(instant("at", millis), Err(WireError::OutOfRange("at")));
    }
}

#[test]
fn a_section_of_a_twin_must_be_one_bounded_json_object() {
    assert!(object_from_wire("tags", b"{}").is_ok());
    for text in ["", "[]", "1", "{", "{} {}"] {
        assert!(object_from_wire("tags", text.as_bytes()).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(object_from_wire("tags", deep.as_bytes()).is_err());
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_JSON_BYTES));
    let refused = object_from_wire("tags", long.as_bytes());
    assert_eq!(refused, Err(WireError::OutOfRange("tags")));
}

#[test]
fn unspecified_and_unknown_enum_values_are_refused_where_a_guess_would_do_harm() {
    for verdict in [0, 99] {
        let settlement = v1::Settlement {
            lock_token: Bytes::from_static(&[0; 16]),
            verdict,
            ..v1::Settlement::default()
        };
        let refused = Settlement::from_wire(settlement);
        assert_eq!(refused, Err(WireError::Unknown("verdict")));
    }
    let order = v1::DisconnectOrder::default();
    let refused = Disconnect::from_wire(order);
    assert_eq!(refused, Err(WireError::Unknown("reason")));
}

#[test]
fn a_condition_of_a_later_version_is_not_taken_for_none() {
    assert_eq!(IfMatch::from_wire(None), Ok(IfMatch::Absent));
    let unknown = v1::IfMatch { condition: None };
    let refused = IfMatch::from_wire(Some(unknown));
    assert_eq!(refused, Err(WireError::Missing("condition")));
}

#[test]
fn the_limit_of_a_receive_has_a_range() {
    let request = |limit| v1::ReceiveRequest {
        limit,
        ..v1::ReceiveRequest::default()
    };
    for limit in [1, 1000] {
        assert!(ReceiveCall::from_wire(request(limit)).is_ok());
    }
    for limit in [0, 1001, u32::MAX] {
        let refused = ReceiveCall::from_wire(request(limit));
        assert_eq!(refused, Err(WireError::OutOfRange("limit")));
    }
}

#[test]
fn names_are_held_to_their_alphabets() {
    let enqueue = |hub: &str, device_id: &str| v1::EnqueueCall {
        messages: vec![v1::NewMessage {
            hub: hub.to_owned(),
            device_id: device_id.to_owned(),
            ..v1::NewMessage::default()
        }],
    };
    assert!(Vec::<NewMessage>::from_wire(enqueue("hub", "d")).is_ok());
    for (hub, device) in [("", "d"), ("h/b", "d"), ("hub", ""), ("hub", "a/b")] {
        let refused = Vec::<NewMessage>::from_wire(enqueue(hub, device));
        assert!(matches!(refused, Err(WireError::Id(_))), "{hub} {device}");
    }
}

#[test]
fn what_must_be_there_is_missed() {
    let missing = IdentityName::from_wire(None);
    assert_eq!(missing, Err(WireError::Missing("name")));
    assert_eq!(Twin::from_wire(None), Err(WireError::Missing("twin")));
    let event = v1::RecordEventsCall {
        events: vec![v1::Event {
            device_key: 7,
            kind: v1::EventKind::Telemetry.into(),
            ..v1::Event::default()
        }],
    };
    let missing = Vec::<Event>::from_wire(event);
    assert_eq!(missing, Err(WireError::Missing("name")));
    let batch = v1::FeedbackBatch {
        lock_token: Bytes::from_static(&[0; 16]),
        ..v1::FeedbackBatch::default()
    };
    let missing = FeedbackBatch::from_wire(batch);
    assert_eq!(missing, Err(WireError::Missing("records")));
}

#[test]
fn more_items_than_a_call_holds_are_refused() {
    let orders = vec![v1::DisconnectOrder::default(); crate::mux::MAX_CALL_ITEMS + 1];
    let refused = read_all::<Disconnect, _>(orders);
    assert_eq!(refused, Err(WireError::OutOfRange("number of items")));
}

#[test]
fn a_small_body_does_not_keep_its_batch_in_memory() {
    let batch = Bytes::from(vec![0; 1024 * 1024]);
    let wire = v1::HeldMessage {
        lock_token: batch.slice(..16),
        body: batch.slice(16..32),
        ..v1::HeldMessage::default()
    };
    let held = LockedMessage::from_wire((DeviceKey(1), wire)).unwrap();
    assert!(batch.is_unique());
    assert_eq!(held.message.body.len(), 16);
}

#[test]
fn one_hub_named_in_a_row_is_one_value() {
    let mut hubs = HubReader::default();
    let first: HubName = hubs.read("hub.example.net").unwrap();
    let second = hubs.read("hub.example.net").unwrap();
    assert!(std::ptr::eq(first.as_str(), second.as_str()));
    assert_eq!(hubs.read("other").unwrap().as_str(), "other");
}

#[test]
fn an_outcome_of_a_later_version_is_an_unavailable_service() {
    use downlink_domain::method::MethodError;
    use downlink_proto::v1::method_outcome::Outcome;

    for outcome in [None, Some(Outcome::Failure(99))] {
        let read = outcome_from_wire(v1::MethodOutcome { outcome });
        assert_eq!(read, Err(MethodError::Unavailable));
    }
}

#[test]
fn a_broken_request_is_an_invalid_argument_that_names_the_field() {
    let refused = PeerError::from(WireError::Missing("name"));
    assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
    assert_eq!(refused.to_string(), "name is missing");
}
