use downlink_domain::id::DeviceKey;
use downlink_testkit::{CountingIds, noon};
use serde_json::json;

use super::*;

/// A request as an SDK sends it.
struct Sent {
    id: Option<MessageId>,
    annotations: Vec<(Symbol, Value)>,
    body: Body,
}

impl Sent {
    fn new(operation: &'static str, resource: Option<&'static str>) -> Self {
        let annotation = |name, value: &str| (Symbol::from_static(name), Value::from(value));
        let operation = annotation("operation", operation);
        let resource = resource.map(|resource| annotation("resource", resource));
        Self {
            id: Some("id".into()),
            annotations: [operation].into_iter().chain(resource).collect(),
            body: Body::Empty,
        }
    }

    fn patch(body: &'static str) -> Self {
        Self {
            body: Body::Data(body.into()),
            ..Self::new("PATCH", Some("/properties/reported"))
        }
    }

    fn with_version(mut self, version: Value) -> Self {
        self.annotations
            .push((Symbol::from_static("version"), version));
        self
    }

    fn read(self) -> Result<Asked, Refused> {
        let message = Message {
            annotations: self.annotations,
            properties: Properties {
                correlation_id: self.id,
                ..Properties::default()
            },
            body: self.body,
            ..Message::default()
        };
        read_request(&message.encode())
    }

    #[track_caller]
    fn request(self) -> Result<TwinRequest, ErrorCode> {
        let asked = self.read().expect("a request with an id");
        asked.request.map_err(|refusal| refusal.code())
    }
}

fn ids() -> [MessageId; 4] {
    [
        "Get11111111-1111-1111-1111-111111111111".into(),
        MessageId::Uuid([7; 16]),
        MessageId::Ulong(3),
        MessageId::Binary("b".into()),
    ]
}

#[track_caller]
fn decoded(encoded: &Encoded) -> Message {
    Message::decode(&encoded.to_bytes()).unwrap()
}

#[track_caller]
fn body_of(message: &Message) -> Json {
    let Body::Data(data) = &message.body else {
        panic!("no single data section: {:?}", message.body)
    };
    serde_json::from_slice(data).unwrap()
}

#[test]
fn operations_are_read_with_a_blank_body_or_none() {
    let notifications = Some("/notifications/twin/properties/desired");
    for (operation, resource, expected) in [
        ("GET", None, TwinRequest::Get),
        ("PUT", notifications, TwinRequest::Subscribe(None)),
        ("DELETE", notifications, TwinRequest::Unsubscribe),
    ] {
        for body in [
            Body::Empty,
            Body::Data(" ".into()),
            Body::Data(Bytes::new()),
        ] {
            let sent = Sent {
                body,
                ..Sent::new(operation, resource)
            };
            assert_eq!(sent.request(), Ok(expected.clone()));
        }
    }
}

#[test]
fn a_report_is_read_with_the_version_it_is_meant_for() {
    let versions = [
        (None, None),
        // C# sends the key and no value.
        (Some(Value::Null), None),
        (Some(Value::Int(7)), Some(7)),
        (Some(Value::Long(7)), Some(7)),
        (Some(Value::Ulong(7)), Some(7)),
    ];
    for (version, expected) in versions {
        let mut sent = Sent::patch(r#"{"a":null}"#);
        if let Some(version) = version {
            sent = sent.with_version(version);
        }
        let Ok(TwinRequest::Report(TwinChange::Report {
            patch,
            expected_version,
        })) = sent.request()
        else {
            panic!("no report")
        };
        assert_eq!(patch["a"], Json::Null);
        assert_eq!(expected_version, expected);
    }
}

#[test]
fn a_version_that_is_no_number_is_refused() {
    for version in [Value::from("7"), Value::Int(-1), Value::Boolean(true)] {
        let request = Sent::patch("{}").with_version(version).request();
        assert_eq!(request, Err(ErrorCode::ArgumentInvalid));
    }
}

#[test]
fn a_report_that_is_no_json_object_is_answered_with_a_refusal() {
    for body in ["", " ", "[]", "{"] {
        let request = Sent::patch(body).request();
        assert_eq!(request, Err(ErrorCode::ArgumentInvalid), "{body}");
    }
    let sent = Sent {
        body: Body::Data(vec![b' '; reported::MAX_PATCH_BYTES + 1].into()),
        ..Sent::patch("")
    };
    assert_eq!(sent.request(), Err(ErrorCode::MessageTooLarge));
}

#[test]
fn operations_that_there_are_not_are_answered_with_a_refusal() {
    for (operation, resource) in [
        ("POST", None),
        ("", None),
        ("PATCH", None),
        ("PATCH", Some("/properties/desired")),
        ("PUT", Some("/properties/reported")),
        ("DELETE", None),
        ("GET", Some("/tags")),
    ] {
        let request = Sent::new(operation, resource).request();
        assert_eq!(request, Err(ErrorCode::ArgumentInvalid), "{operation}");
    }
    let nothing = Sent {
        annotations: Vec::new(),
        ..Sent::new("GET", None)
    };
    assert_eq!(nothing.request(), Err(ErrorCode::ArgumentInvalid));
}

#[test]
fn the_id_keeps_its_type() {
    for id in ids() {
        let sent = Sent {
            id: Some(id.clone()),
            ..Sent::new("GET", None)
        };
        assert_eq!(sent.read().unwrap().correlation_id, id);
    }
}

#[test]
fn a_request_that_cannot_be_answered_is_refused() {
    let long = "i".repeat(MAX_ID_BYTES + 1);
    for id in [None, Some(MessageId::String(long))] {
        let sent = Sent {
            id,
            ..Sent::new("GET", None)
        };
        assert_eq!(sent.read().unwrap_err().code, ErrorCode::ArgumentInvalid);
    }
    let garbage = read_request(&Bytes::from_static(b"garbage"));
    assert_eq!(garbage.unwrap_err().code, ErrorCode::GenericBadRequest);
}

#[test]
fn replies_repeat_the_id_with_its_type_and_have_an_int_status() {
    let twin = Twin::new(noon());
    for id in ids() {
        for reply in [
            encode_twin(id.clone(), &twin),
            encode_reported(id.clone(), 2),
            encode_done(id.clone()),
        ] {
            let reply = decoded(&reply);
            assert_eq!(reply.properties.correlation_id, Some(id.clone()));
            assert_eq!(reply.annotation("status"), Some(&Value::Int(200)));
            // Java takes a message with a resource for a notification.
            assert_eq!(reply.annotation("resource"), None);
        }
    }
}

#[test]
fn the_twin_is_told_by_its_two_sections_without_metadata() {
    let reply = decoded(&encode_twin("id".into(), &Twin::new(noon())));
    let fresh = json!({"desired": {"$version": 1}, "reported": {"$version": 1}});
    assert_eq!(body_of(&reply), fresh);
    assert_eq!(reply.annotation("version"), None);
}

#[test]
fn the_reply_to_a_report_has_a_long_version_and_no_body() {
    let reply = decoded(&encode_reported("id".into(), 12));
    assert_eq!(reply.annotation("version"), Some(&Value::Long(12)));
    assert_eq!(reply.body, Body::Empty);
}

#[test]
fn the_reply_to_a_subscription_has_a_status_and_nothing_else() {
    let reply = decoded(&encode_done("id".into()));
    assert_eq!(reply.annotations.len(), 1);
    assert_eq!(reply.body, Body::Empty);
}

#[test]
fn a_refusal_carries_the_status_and_the_json_of_the_catalogue() {
    for code in ErrorCode::ALL {
        let refusal = TwinRefusal::new(*code, "no");
        let reply = encode_refusal(
            "id".into(),
            &refusal,
            &Tracking::made(&CountingIds::default(), 0, noon()),
        );
        let reply = decoded(&reply);
        let status = Value::Int(i32::from(code.http_status()));
        assert_eq!(reply.annotation("status"), Some(&status));
        let body = body_of(&reply);
        assert_eq!(body["errorCode"], code.number());
        assert_eq!(body["message"], "no");
        assert_eq!(reply.properties.correlation_id, Some("id".into()));
    }
}

#[test]
fn a_notification_has_no_id_a_resource_and_the_patch_as_it_is() {
    let change = Notify {
        device: DeviceKey(1),
        version: 4,
        body: Bytes::from_static(br#"{"on":null,"$version":4}"#),
    };
    let message = decoded(&encode_desired(&change));
    assert_eq!(message.properties, Properties::default());
    let resource = message.annotation("resource");
    assert_eq!(resource, Some(&Value::from("/properties/desired")));
    assert_eq!(message.annotation("version"), Some(&Value::Long(4)));
    assert_eq!(message.annotation("status"), None);
    assert_eq!(message.body, Body::Data(change.body));
}
