//! Method calls and their answers as AMQP messages (amqp.md §6).

use bytes::Bytes;
use downlink_amqp::message::{Body, Encoded, Message, MessageId, Properties};
use downlink_amqp::performative::DeliveryTag;
use downlink_amqp::types::Value;
use downlink_domain::ErrorCode;
use downlink_domain::method::{MethodAnswer, MethodName};

use crate::amqp::payload::{self, Refused, read_body};

/// Application property that names the method; C, C# and Java look for it by this spelling.
const METHOD_NAME: &str = "IoThub-methodname";
/// Application property that carries the device's status.
const STATUS: &str = "IoThub-status";
/// Bytes of a uuid that stay the same: version 4 and variant 1, without which Node would answer
/// with a text.
const TEMPLATE: [u8; 16] = [0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
/// Where the bytes of a request id stand in a uuid.
const RID_AT: [usize; 8] = [0, 1, 2, 3, 12, 13, 14, 15];

/// A device's answer to a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Which call; it may be over by now, or never have been.
    pub(super) rid: u64,
    /// What the device says.
    pub(super) answer: MethodAnswer,
}

/// An answer that cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadAnswer {
    /// The call that it ends all the same, if it names one.
    pub(super) rid: Option<u64>,
    /// Why.
    pub(super) refused: Refused,
}

impl From<Refused> for BadAnswer {
    fn from(refused: Refused) -> Self {
        Self { rid: None, refused }
    }
}

/// Returns the encoded call. Its correlation-id is a version-4 uuid, since C reads no other type
/// and C# and Java make a uuid of whatever text there is.
pub(super) fn encode_call(rid: u64, name: &MethodName, payload: Bytes) -> Encoded {
    Message {
        properties: Properties {
            correlation_id: Some(MessageId::Uuid(uuid_of(rid))),
            ..Properties::default()
        },
        application_properties: vec![(METHOD_NAME.to_owned(), Value::from(name.as_str()))],
        body: Body::Data(payload),
        ..Message::default()
    }
    .into_encoded()
}

/// Returns the delivery tag of a call.
pub(super) fn tag_of(rid: u64) -> DeliveryTag {
    DeliveryTag::new(&uuid_of(rid)).expect("a uuid has 16 of the 32 bytes of a tag")
}

/// Returns the request id of the call that [`tag_of`] has made a tag for.
pub(super) fn rid_of(tag: &DeliveryTag) -> Option<u64> {
    rid_in(tag.as_slice().try_into().ok()?)
}

/// Reads an answer.
///
/// # Errors
/// [`BadAnswer`] when it is no message, names no call by a uuid, or carries no status.
pub(super) fn read_answer(encoded: &Bytes) -> Result<Answer, BadAnswer> {
    let message = payload::decode(encoded)?;
    let id = message.properties.correlation_id.as_ref();
    let Some(uuid) = id.and_then(read_uuid) else {
        let text = "the correlation-id of a method answer must be that of its call, a uuid";
        return Err(Refused::new(ErrorCode::ArgumentInvalid, text).into());
    };
    let rid = rid_in(uuid);
    let bad = |refused| BadAnswer { rid, refused };
    let status = message.application_property(STATUS).and_then(read_status);
    let Some(status) = status else {
        let text = "application property IoThub-status must be an int";
        return Err(bad(Refused::new(ErrorCode::ArgumentInvalid, text)));
    };
    let payload = read_body(message.body).map_err(bad)?;
    let answer = MethodAnswer { status, payload };
    // Number 0 is no call's: an answer to a stranger's is as late as one to a call that is over.
    let rid = rid.unwrap_or_default();
    Ok(Answer { rid, answer })
}

fn uuid_of(rid: u64) -> [u8; 16] {
    let mut uuid = TEMPLATE;
    for (at, byte) in RID_AT.into_iter().zip(rid.to_be_bytes()) {
        uuid[at] = byte;
    }
    uuid
}

/// Reads the request id of a uuid of [`uuid_of`]; no other stands for a call.
fn rid_in(uuid: [u8; 16]) -> Option<u64> {
    let rid = u64::from_be_bytes(RID_AT.map(|at| uuid[at]));
    (uuid_of(rid) == uuid).then_some(rid)
}

/// Reads a correlation-id by its value, whatever its type: most SDKs answer with a uuid, some
/// with its text.
fn read_uuid(id: &MessageId) -> Option<[u8; 16]> {
    match id {
        MessageId::Uuid(uuid) => Some(*uuid),
        MessageId::String(text) => parse_uuid(text),
        MessageId::Ulong(_) | MessageId::Binary(_) => None,
    }
}

/// Reads the `8-4-4-4-12` form of a uuid, digits of either case.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    let is_dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
    if !is_dashed {
        return None;
    }
    let digits = text.iter().enumerate();
    let mut digits = digits
        .filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23))
        .map(|(_, digit)| {
            char::from(*digit)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        });
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    Some(uuid)
}

/// Reads a status: an `int` from every SDK, any whole number that fits one from others.
fn read_status(value: &Value) -> Option<i32> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Byte(number) => Some(i32::from(*number)),
        Value::Short(number) => Some(i32::from(*number)),
        Value::Long(number) => i32::try_from(*number).ok(),
        Value::Ubyte(number) => Some(i32::from(*number)),
        Value::Ushort(number) => Some(i32::from(*number)),
        Value::Uint(number) => i32::try_from(*number).ok(),
        Value::Ulong(number) => i32::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RID: u64 = 0x0123_4567_89ab_cdef;

    fn answer(id: Option<MessageId>, status: Option<Value>, body: Body) -> Bytes {
        Message {
            properties: Properties {
                correlation_id: id,
                ..Properties::default()
            },
            application_properties: status
                .into_iter()
                .map(|status| ("IoThub-status".to_owned(), status))
                .collect(),
            body,
            ..Message::default()
        }
        .encode()
    }

    #[test]
    fn a_call_carries_a_version_four_uuid_its_name_and_one_data_section() {
        let name = "reboot".parse().unwrap();
        let encoded = encode_call(RID, &name, Bytes::from_static(b"{}"));
        let call = Message::decode(&encoded.to_bytes()).unwrap();
        let id = call.properties.correlation_id.clone().unwrap();
        assert!(matches!(id, MessageId::Uuid(_)), "{id:?}");
        assert_eq!(
            id.to_text().unwrap(),
            "01234567-0000-4000-8000-000089abcdef"
        );
        let name = call.application_property("IoThub-methodname");
        assert_eq!(name, Some(&Value::from("reboot")));
        assert_eq!(call.body, Body::Data("{}".into()));
        assert_eq!(call.annotations, []);
    }

    #[test]
    fn a_call_without_a_payload_has_an_empty_data_section() {
        let encoded = encode_call(1, &"a".parse().unwrap(), Bytes::new());
        let call = Message::decode(&encoded.to_bytes()).unwrap();
        assert_eq!(call.body, Body::Data(Bytes::new()));
    }

    #[test]
    fn the_answer_finds_its_call_by_a_uuid_or_by_its_text() {
        let uuid = MessageId::Uuid(uuid_of(RID));
        let text = uuid.to_text().unwrap();
        let upper = MessageId::String(text.to_uppercase());
        for id in [uuid, MessageId::String(text), upper] {
            let encoded = answer(Some(id), Some(Value::Int(-5)), Body::Data("1".into()));
            let expected = Answer {
                rid: RID,
                answer: MethodAnswer {
                    status: -5,
                    payload: "1".into(),
                },
            };
            assert_eq!(read_answer(&encoded), Ok(expected));
        }
    }

    #[test]
    fn request_ids_come_back_from_uuids_and_tags_as_they_went_out() {
        for rid in [0, 1, RID, u64::MAX, 7 << 32 | 1] {
            let uuid = MessageId::Uuid(uuid_of(rid));
            let text = MessageId::from(uuid.to_text().unwrap().as_str());
            assert_eq!(read_uuid(&text), Some(uuid_of(rid)));
            assert_eq!(rid_in(uuid_of(rid)), Some(rid));
            assert_eq!(rid_of(&tag_of(rid)), Some(rid));
        }
        assert_eq!(rid_of(&DeliveryTag::new(&[0; 4]).unwrap()), None);
    }

    #[test]
    fn an_answer_without_a_body_is_an_answer() {
        let id = Some(MessageId::Uuid(uuid_of(RID)));
        let read = read_answer(&answer(id, Some(Value::Int(200)), Body::Empty)).unwrap();
        assert_eq!(read.answer.payload, Bytes::new());
    }

    #[test]
    fn an_answer_that_names_no_call_is_refused() {
        let foreign = [
            "",
            "1",
            "01234567-0000-4000-8000-00008 abcdef",
            "0123456700004000800000",
        ];
        let ids = foreign.map(|text| Some(MessageId::from(text)));
        let others = [
            None,
            Some(MessageId::Ulong(1)),
            Some(MessageId::Binary("a".into())),
        ];
        for id in ids.into_iter().chain(others) {
            let encoded = answer(id, Some(Value::Int(200)), Body::Empty);
            let bad = read_answer(&encoded).unwrap_err();
            assert_eq!(bad.rid, None);
            assert_eq!(bad.refused.code, ErrorCode::ArgumentInvalid);
        }
        let bad = read_answer(&Bytes::from_static(b"\x00\x53")).unwrap_err();
        assert_eq!(bad.refused.code, ErrorCode::GenericBadRequest);
    }

    #[test]
    fn an_answer_to_a_call_of_nobodys_is_read_and_is_no_call_of_ours() {
        let encoded = answer(
            Some(MessageId::Uuid([7; 16])),
            Some(Value::Int(1)),
            Body::Empty,
        );
        assert_eq!(read_answer(&encoded).unwrap().rid, 0);
    }

    #[test]
    fn an_answer_without_a_status_ends_its_call_all_the_same() {
        let statuses = [
            None,
            Some(Value::Null),
            Some(Value::from("200")),
            Some(Value::Long(i64::MAX)),
            Some(Value::Uint(u32::MAX)),
        ];
        for status in statuses {
            let id = Some(MessageId::Uuid(uuid_of(RID)));
            let bad = read_answer(&answer(id, status, Body::Empty)).unwrap_err();
            assert_eq!(bad.rid, Some(RID));
            assert_eq!(bad.refused.code, ErrorCode::ArgumentInvalid);
        }
    }

    #[test]
    fn a_whole_number_of_another_type_is_a_status_too() {
        for status in [Value::Long(200), Value::Ubyte(200), Value::Uint(200)] {
            let id = Some(MessageId::Uuid(uuid_of(RID)));
            let read = read_answer(&answer(id, Some(status), Body::Empty)).unwrap();
            assert_eq!(read.answer.status, 200);
        }
    }
}
