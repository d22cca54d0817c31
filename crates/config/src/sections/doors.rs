//! The doors of the gateway.

use std::num::{NonZeroU16, NonZeroU32};

use serde::{Deserialize, Serialize};

use super::{nonzero_u16, nonzero_u32};
use crate::human::{ByteSize, HumanDuration};
use crate::violation::Checker;

const SECOND: HumanDuration = HumanDuration::from_secs(1);
const FIVE_MINUTES: HumanDuration = HumanDuration::from_secs(300);
const HOUR: HumanDuration = HumanDuration::from_secs(3_600);
const DAY: HumanDuration = HumanDuration::from_secs(86_400);

/// What all doors have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Time between two looks for messages of connected devices whose wake-up was lost, 1 second to 1 hour.
    pub sweep_interval: HumanDuration,
    /// Time between two looks at shared access policies and certificate authorities, 50 ms to 10 s: how soon a changed
    /// or deleted one takes effect and ends what lives by it. A look that finds nothing new reads one row.
    pub access_interval: HumanDuration,
    /// How long policies and authorities count when no further look succeeds, 1 s to 1 hour. After that, callers who
    /// prove themselves by them are told to come again; what they had opened before goes on.
    pub access_stale_limit: HumanDuration,
    /// Whether tokens signed with devices' own keys are refused.
    pub disable_device_sas: bool,
    /// Whether tokens signed with modules' own keys are refused.
    pub disable_module_sas: bool,
    /// Whether tokens signed with keys of shared access policies are refused, by devices and back-ends alike. Back-ends
    /// then need tokens of an OIDC issuer.
    pub disable_local_auth: bool,
    /// The largest message a device may send, with its properties, 1 KiB to 1 MiB.
    pub max_telemetry_bytes: ByteSize,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            sweep_interval: FIVE_MINUTES,
            access_interval: HumanDuration::from_millis(250),
            access_stale_limit: HumanDuration::from_secs(60),
            disable_device_sas: false,
            disable_module_sas: false,
            disable_local_auth: false,
            max_telemetry_bytes: ByteSize::from_kib(256),
        }
    }
}

impl Gateway {
    pub(super) fn check(&self, at: &mut Checker) {
        at.duration("sweep_interval", self.sweep_interval, SECOND..=HOUR);
        at.duration(
            "access_interval",
            self.access_interval,
            HumanDuration::from_millis(50)..=HumanDuration::from_secs(10),
        );
        at.duration("access_stale_limit", self.access_stale_limit, SECOND..=HOUR);
        at.size(
            "max_telemetry_bytes",
            self.max_telemetry_bytes,
            ByteSize::from_kib(1)..=ByteSize::from_kib(1_024),
        );
    }
}

/// The answer to a disabled device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "u8"))]
#[serde(try_from = "u8", into = "u8")]
pub enum DisabledConnack {
    /// 5, not authorized: clients give up.
    #[default]
    NotAuthorized,
    /// 3, server unavailable: clients try again.
    ServerUnavailable,
}

impl DisabledConnack {
    /// Returns the code of the CONNACK.
    pub const fn code(self) -> u8 {
        match self {
            Self::NotAuthorized => 5,
            Self::ServerUnavailable => 3,
        }
    }
}

impl From<DisabledConnack> for u8 {
    fn from(answer: DisabledConnack) -> Self {
        answer.code()
    }
}

impl TryFrom<u8> for DisabledConnack {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        match code {
            5 => Ok(Self::NotAuthorized),
            3 => Ok(Self::ServerUnavailable),
            _ => Err(format!("{code} is neither 5 nor 3")),
        }
    }
}

/// The door for devices on MQTT 3.1.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// From accepted connection to CONNACK, 1 second to 5 minutes.
    pub connect_deadline: HumanDuration,
    /// The longest time without a packet, whatever keep-alive the device asks for, 30 seconds to 1 day.
    pub max_keep_alive: HumanDuration,
    /// Subscriptions of one connection, 1 to 100; the SDKs need 4.
    pub max_subscriptions: NonZeroU16,
    /// How long a connection outlives the token it was opened with, up to 1 day.
    pub token_grace: HumanDuration,
    /// CONNACK code for a disabled device: 5, not authorized, after which clients give up; or 3, unavailable, after
    /// which they try again, so that they are back by themselves when the device is enabled.
    pub disabled_device_connack: DisabledConnack,
    /// The longest time one write to a device may take, 1 second to 5 minutes; then its connection is closed.
    pub write_deadline: HumanDuration,
    /// Bytes that may wait to be written to one device, 64 KiB to 64 MiB.
    pub max_output_bytes: ByteSize,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            connect_deadline: HumanDuration::from_secs(30),
            max_keep_alive: HumanDuration::from_secs(1_767),
            max_subscriptions: nonzero_u16(5),
            token_grace: HumanDuration::from_secs(600),
            disabled_device_connack: DisabledConnack::default(),
            write_deadline: HumanDuration::from_secs(30),
            max_output_bytes: ByteSize::from_kib(1_024),
        }
    }
}

impl Mqtt {
    pub(super) fn check(&self, at: &mut Checker) {
        at.duration(
            "connect_deadline",
            self.connect_deadline,
            SECOND..=FIVE_MINUTES,
        );
        at.duration(
            "max_keep_alive",
            self.max_keep_alive,
            HumanDuration::from_secs(30)..=DAY,
        );
        at.number(
            "max_subscriptions",
            NonZeroU32::from(self.max_subscriptions),
            1..=100,
        );
        at.duration(
            "token_grace",
            self.token_grace,
            HumanDuration::default()..=DAY,
        );
        at.duration("write_deadline", self.write_deadline, SECOND..=FIVE_MINUTES);
        check_output(at, self.max_output_bytes);
    }
}

/// The door for devices and back-ends on AMQP 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// From accepted connection to Open, 1 second to 5 minutes.
    pub connect_deadline: HumanDuration,
    /// The largest frame in each direction, 512 bytes to 1 MiB; a client may ask for less.
    pub max_frame_bytes: ByteSize,
    /// The silence that clients are told to keep short of, 5 seconds to 4 minutes; after twice that a connection is
    /// closed. Keep it: SDKs that are idle send something only every two minutes, and some refuse less than 5 seconds.
    pub idle_timeout: HumanDuration,
    /// Sessions of one connection, 1 to 8192.
    pub max_sessions: NonZeroU16,
    /// Links of one session, 1 to 8,192, which all sessions of a connection together have at most. The C SDK keeps all
    /// devices of a connection in one session, each with up to six links.
    pub max_links: NonZeroU32,
    /// How long links outlive the token they were opened with, up to 1 day.
    pub token_grace: HumanDuration,
    /// Tokens one connection may hold, 1 to 65,536: one for each device or module that shares it, and one for each
    /// policy. A further one is answered with 403.
    pub max_tokens: NonZeroU32,
    /// Messages a sender may have under way on one link, 1 to 100,000.
    pub link_credit: NonZeroU32,
    /// The largest message a back-end may send, encoded, 1 KiB to 4 MiB; at least `queue.max_message_bytes`.
    pub max_message_bytes: ByteSize,
    /// Messages that a client may hold without its word, in one session, 1 to 1,000,000; then nothing more is sent there
    /// until it settles some.
    pub max_unsettled: NonZeroU32,
    /// Bytes of messages from one client that are incomplete or have no answer yet, 64 KiB to 256 MiB; at least
    /// `max_message_bytes`. Then nothing more is read from it until some are stored.
    pub max_held_bytes: ByteSize,
    /// The longest time one write to a client may take, 1 second to 5 minutes; then its connection is closed.
    pub write_deadline: HumanDuration,
    /// Bytes that may wait to be written to one client, 64 KiB to 64 MiB.
    pub max_output_bytes: ByteSize,
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            connect_deadline: HumanDuration::from_secs(30),
            max_frame_bytes: ByteSize::from_kib(64),
            idle_timeout: HumanDuration::from_secs(240),
            max_sessions: nonzero_u16(1_024),
            max_links: nonzero_u32(1_024),
            token_grace: FIVE_MINUTES,
            max_tokens: nonzero_u32(1_100),
            link_credit: nonzero_u32(1_000),
            max_message_bytes: ByteSize::from_kib(256),
            max_unsettled: nonzero_u32(5_000),
            max_held_bytes: ByteSize::from_kib(4 * 1_024),
            write_deadline: HumanDuration::from_secs(30),
            max_output_bytes: ByteSize::from_kib(4 * 1_024),
        }
    }
}

impl Amqp {
    pub(super) fn check(&self, at: &mut Checker) {
        at.duration(
            "connect_deadline",
            self.connect_deadline,
            SECOND..=FIVE_MINUTES,
        );
        at.size(
            "max_frame_bytes",
            self.max_frame_bytes,
            ByteSize::from_bytes(512)..=ByteSize::from_kib(1_024),
        );
        let (least, most) = (HumanDuration::from_secs(5), HumanDuration::from_secs(240));
        at.duration("idle_timeout", self.idle_timeout, least..=most);
        at.number(
            "max_sessions",
            NonZeroU32::from(self.max_sessions),
            1..=8_192,
        );
        at.number("max_links", self.max_links, 1..=8_192);
        at.duration(
            "token_grace",
            self.token_grace,
            HumanDuration::default()..=DAY,
        );
        at.number("max_tokens", self.max_tokens, 1..=65_536);
        at.number("link_credit", self.link_credit, 1..=100_000);
        at.size(
            "max_message_bytes",
            self.max_message_bytes,
            ByteSize::from_kib(1)..=ByteSize::from_kib(4 * 1_024),
        );
        at.number("max_unsettled", self.max_unsettled, 1..=1_000_000);
        at.size(
            "max_held_bytes",
            self.max_held_bytes,
            ByteSize::from_kib(64)..=ByteSize::from_kib(256 * 1_024),
        );
        at.require(
            self.max_held_bytes >= self.max_message_bytes,
            "max_held_bytes",
            "is less than max_message_bytes: the largest messages could not be taken",
        );
        at.duration("write_deadline", self.write_deadline, SECOND..=FIVE_MINUTES);
        check_output(at, self.max_output_bytes);
    }
}

/// The door for back-ends and devices on HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Https {
    /// From the first byte of a request's head to its last, 1 second to 5 minutes.
    pub header_deadline: HumanDuration,
    /// For the body of a request, 1 second to 5 minutes.
    pub body_deadline: HumanDuration,
    /// The largest body of a request, 64 KiB to 64 MiB.
    pub max_body_bytes: ByteSize,
    /// The longest time one write to a client may take, 1 second to 5 minutes; then its connection is closed.
    pub write_deadline: HumanDuration,
    /// The least time between two requests of one device for cloud-to-device messages, up to 1 day, whichever gateway it
    /// asks; `0s` for none. One that comes sooner is answered 429 with `Retry-After`, and one that finds nothing counts
    /// as well. The guidance of Azure IoT Hub is `25m`; the SDKs poll every second (Node.js) or without a pause (Java)
    /// unless they are told otherwise.
    pub min_poll_interval: HumanDuration,
    /// Whether `/openapi.json`, which describes every call, and the page `/docs`, which shows it, are served to whoever
    /// asks. They tell nothing of the hub's devices, and what they describe still needs credentials.
    pub api_documents: bool,
}

impl Default for Https {
    fn default() -> Self {
        Self {
            header_deadline: HumanDuration::from_secs(30),
            body_deadline: HumanDuration::from_secs(30),
            max_body_bytes: ByteSize::from_kib(1_024),
            write_deadline: HumanDuration::from_secs(30),
            min_poll_interval: HumanDuration::default(),
            api_documents: true,
        }
    }
}

impl Https {
    pub(super) fn check(&self, at: &mut Checker) {
        at.duration(
            "header_deadline",
            self.header_deadline,
            SECOND..=FIVE_MINUTES,
        );
        at.duration("body_deadline", self.body_deadline, SECOND..=FIVE_MINUTES);
        at.size(
            "max_body_bytes",
            self.max_body_bytes,
            ByteSize::from_kib(64)..=ByteSize::from_kib(64 * 1_024),
        );
        at.duration("write_deadline", self.write_deadline, SECOND..=FIVE_MINUTES);
        at.duration(
            "min_poll_interval",
            self.min_poll_interval,
            HumanDuration::default()..=DAY,
        );
    }
}

fn check_output(at: &mut Checker, max_output_bytes: ByteSize) {
    let (least, most) = (ByteSize::from_kib(64), ByteSize::from_kib(64 * 1_024));
    at.size("max_output_bytes", max_output_bytes, least..=most);
}

/// The door for back-ends on gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    /// From the end of the TLS handshake to the end of the HTTP/2 preface, 1 second to 5 minutes.
    pub preface_deadline: HumanDuration,
    /// The longest time one write, or one message of a stream, may take, 1 second to 5 minutes.
    pub write_deadline: HumanDuration,
    /// The longest time without a call, 10 seconds to 1 day.
    pub idle_timeout: HumanDuration,
    /// Calls and streams at once on one connection, 1 to 10,000.
    pub max_streams: NonZeroU32,
    /// The largest request, 64 KiB to 64 MiB.
    pub max_message_bytes: ByteSize,
    /// How long streams outlive their token, up to 1 day.
    pub token_grace: HumanDuration,
    /// Watchers of twins at once, 1 to 65,536; one more is refused.
    pub max_watchers: NonZeroU32,
    /// Time between two looks at the twins that are watched, 100 ms to 1 minute.
    pub watch_interval: HumanDuration,
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            preface_deadline: HumanDuration::from_secs(30),
            write_deadline: HumanDuration::from_secs(30),
            idle_timeout: FIVE_MINUTES,
            max_streams: nonzero_u32(100),
            max_message_bytes: ByteSize::from_kib(8 * 1_024),
            token_grace: FIVE_MINUTES,
            max_watchers: nonzero_u32(10_000),
            watch_interval: SECOND,
        }
    }
}

impl Grpc {
    pub(super) fn check(&self, at: &mut Checker) {
        at.duration(
            "preface_deadline",
            self.preface_deadline,
            SECOND..=FIVE_MINUTES,
        );
        at.duration("write_deadline", self.write_deadline, SECOND..=FIVE_MINUTES);
        let least = HumanDuration::from_secs(10);
        at.duration("idle_timeout", self.idle_timeout, least..=DAY);
        at.number("max_streams", self.max_streams, 1..=10_000);
        at.size(
            "max_message_bytes",
            self.max_message_bytes,
            ByteSize::from_kib(64)..=ByteSize::from_kib(64 * 1_024),
        );
        at.duration(
            "token_grace",
            self.token_grace,
            HumanDuration::default()..=DAY,
        );
        at.number("max_watchers", self.max_watchers, 1..=65_536);
        let (least, most) = (
            HumanDuration::from_millis(100),
            HumanDuration::from_secs(60),
        );
        at.duration("watch_interval", self.watch_interval, least..=most);
    }
}
