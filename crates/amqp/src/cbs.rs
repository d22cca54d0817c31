//! Claims-based security: put-token requests and their replies (amqp.md §3), as pure functions.

use bytes::Bytes;

use crate::{
    message::{Body, Message, MessageId, Properties},
    types::{Decode, DecodeError, Reader, Value},
};

/// Address of the node that takes tokens.
pub const CBS_ADDRESS: &str = "$cbs";

/// `status-code` of a token that was taken; every other number is a failure to some SDK.
pub const STATUS_OK: i32 = 200;

/// `status-code` of a request that makes no sense.
pub const STATUS_BAD_REQUEST: i32 = 400;

/// `status-code` of every fault of a credential; C# would keep retrying on 403 (amqp.md §3.3).
pub const STATUS_UNAUTHORIZED: i32 = 401;

/// A request that came on the `$cbs` link.
#[derive(Clone, PartialEq, Eq)]
pub struct CbsRequest {
    /// Id to repeat in the reply, with its type.
    pub message_id: Option<MessageId>,
    /// What is asked for.
    pub operation: CbsOperation,
}

/// What a client asks of the `$cbs` node.
#[derive(Clone, PartialEq, Eq)]
pub enum CbsOperation {
    /// Take this token.
    PutToken(PutToken),
    /// Forget a token; answered as done, since tokens are replaced and lapse by themselves.
    DeleteToken,
    /// Anything else, or a put-token without a token.
    Unknown,
}

/// A token and what the client says about it.
#[derive(Clone, PartialEq, Eq)]
pub struct PutToken {
    /// The token, with a `Bearer ` prefix if one was sent.
    pub token: String,
    /// Kind of token by the client's word; a hint only (amqp.md §3.2).
    pub token_type: Option<String>,
    /// Audience in one of six forms; never compared (amqp.md §0, 7).
    pub name: Option<String>,
}

impl std::fmt::Debug for CbsRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CbsRequest")
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

impl CbsRequest {
    /// Reads a request from the payload of a delivery.
    ///
    /// # Errors
    /// [`DecodeError`] when the payload is no AMQP message.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        let message = Message::decode(payload)?;
        let text = |name| {
            message
                .application_property(name)
                .and_then(Value::as_text)
                .map(ToOwned::to_owned)
        };
        let operation = match message
            .application_property("operation")
            .and_then(Value::as_text)
        {
            Some("put-token") => {
                read_token(&message.body)?.map_or(CbsOperation::Unknown, |token| {
                    CbsOperation::PutToken(PutToken {
                        token,
                        token_type: text("type"),
                        name: text("name"),
                    })
                })
            }
            Some("delete-token") => CbsOperation::DeleteToken,
            _ => CbsOperation::Unknown,
        };
        Ok(Self {
            message_id: message.properties.message_id.clone(),
            operation,
        })
    }
}

/// Reads the token from the body: an AMQP string, or bytes of one.
fn read_token(body: &Body) -> Result<Option<String>, DecodeError> {
    match body {
        Body::Value(encoded) => {
            let value = Value::decode(&mut Reader::new(encoded))?;
            Ok(value.to_scalar_text())
        }
        Body::Data(data) => Ok(std::str::from_utf8(data).ok().map(ToOwned::to_owned)),
        Body::Empty | Body::Batch(_) | Body::Sequence(_) => Ok(None),
    }
}

/// Returns the encoded reply to a request: its id as correlation-id with the same type, the status
/// as `int`, a description always, and no body (amqp.md §3.3).
pub fn encode_reply(request_id: Option<MessageId>, status_code: i32, description: &str) -> Bytes {
    Message {
        properties: Properties {
            correlation_id: request_id,
            ..Properties::default()
        },
        application_properties: vec![
            ("status-code".to_owned(), Value::Int(status_code)),
            ("status-description".to_owned(), Value::from(description)),
        ],
        ..Message::default()
    }
    .encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Encode;

    fn request(id: MessageId, operation: &str) -> Bytes {
        let mut token = Vec::new();
        "SharedAccessSignature sr=h&sig=s&se=1".encode(&mut token);
        Message {
            properties: Properties {
                message_id: Some(id),
                ..Properties::default()
            },
            application_properties: vec![
                ("operation".into(), Value::from(operation)),
                (
                    "type".into(),
                    Value::from("servicebus.windows.net:sastoken"),
                ),
                ("name".into(), Value::from("https://h")),
            ],
            body: Body::Value(token.into()),
            ..Message::default()
        }
        .encode()
    }

    #[test]
    fn put_token_is_read_with_each_type_of_message_id() {
        let ids = [
            MessageId::Ulong(0),
            MessageId::Uuid([7; 16]),
            MessageId::String("request1".into()),
        ];
        for id in ids {
            let read = CbsRequest::decode(&request(id.clone(), "put-token")).unwrap();
            assert_eq!(read.message_id, Some(id));
            let CbsOperation::PutToken(put) = read.operation else {
                panic!("no put-token")
            };
            assert_eq!(put.token, "SharedAccessSignature sr=h&sig=s&se=1");
            assert_eq!(put.name.as_deref(), Some("https://h"));
        }
    }

    #[test]
    fn reply_repeats_the_id_with_its_type_and_carries_an_int_status() {
        for id in [
            MessageId::Ulong(3),
            MessageId::Uuid([1; 16]),
            MessageId::from("a"),
        ] {
            let reply = Message::decode(&encode_reply(Some(id.clone()), 200, "OK")).unwrap();
            assert_eq!(reply.properties.correlation_id, Some(id));
            assert_eq!(
                reply.application_property("status-code"),
                Some(&Value::Int(200))
            );
            assert_eq!(
                reply.application_property("status-description"),
                Some(&"OK".into())
            );
            assert_eq!(reply.body, Body::Empty);
        }
    }

    #[test]
    fn other_operations_are_told_apart() {
        let operation = |name| {
            CbsRequest::decode(&request("1".into(), name))
                .unwrap()
                .operation
        };
        assert!(operation("delete-token") == CbsOperation::DeleteToken);
        assert!(operation("get-token") == CbsOperation::Unknown);
    }
}
