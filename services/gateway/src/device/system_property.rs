//! Names under which system properties of telemetry are stored, whatever door they came through
//! (mqtt.md §7.1, amqp.md §4.6).

/// Id chosen by the sender.
pub const MESSAGE_ID: &str = "message-id";
/// Correlation id.
pub const CORRELATION_ID: &str = "correlation-id";
/// Who made the message, by the sender's word.
pub const USER_ID: &str = "user-id";
/// Address as the sender wrote it.
pub const TO: &str = "to";
/// When the message ends by itself, as an ISO 8601 text.
pub const ABSOLUTE_EXPIRY_TIME: &str = "absolute-expiry-time";
/// Media type of the payload.
pub const CONTENT_TYPE: &str = "content-type";
/// Character set or compression of the payload.
pub const CONTENT_ENCODING: &str = "content-encoding";
/// When the message was made, by the sender's clock.
pub const CREATION_TIME: &str = "iothub-creation-time-utc";
/// Output of a module.
pub const OUTPUT_NAME: &str = "iothub-outputname";
/// Component that the message belongs to.
pub const SUBJECT: &str = "dt-subject";
/// Interface that the message belongs to.
pub const INTERFACE_ID: &str = "iothub-interface-id";
/// Schema of the message.
pub const MESSAGE_SCHEMA: &str = "iothub-message-schema";
/// Id of a trace.
pub const DIAGNOSTIC_ID: &str = "diagnostic-id";
/// Context of a trace.
pub const DIAGNOSTIC_CONTEXT: &str = "diagnostic-correlation-context";
