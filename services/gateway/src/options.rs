//! What a gateway is told at its start; `downlink-config` holds the settings these come from.

use std::time::Duration;

use downlink_domain::id::{GatewayId, HubName};

pub use crate::limits::LimitsOptions;

/// Options of one gateway.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// This process, new with every start.
    pub id: GatewayId,
    /// The tenant.
    pub hub: HubName,
    /// Host names that clients may use for the hub, the one of connection strings first.
    pub host_names: Vec<HubName>,
    /// Messages one device may hold unsettled, 1–1000 (design.md §6).
    pub c2d_window: u16,
    /// Time between two looks for what a lost wake-up missed.
    pub sweep_interval: Duration,
    /// From accepted socket to finished TLS handshake.
    pub handshake_deadline: Duration,
    /// Time between two looks at policies and authorities.
    pub access_interval: Duration,
    /// How long they count without another look that succeeded.
    pub access_stale_limit: Duration,
    /// Which tokens are not taken at all.
    pub sas: SasSwitches,
    /// Largest telemetry message with its properties, in bytes.
    pub max_telemetry_bytes: usize,
    /// Largest method payload in each direction, in bytes.
    pub max_method_bytes: usize,
    /// Life of the lease under which presence believes this gateway's entries; a gateway that dies
    /// holds its devices' routes for as long.
    pub lease_ttl: Duration,
    /// Time between two renewals of the lease; a quarter of its life at most.
    pub lease_renew_interval: Duration,
    /// Where the other services reach this gateway, `host:port`; empty when only its own process
    /// does.
    pub address: String,
    /// Entries written to presence in a second, at most, after it may have lost them.
    pub restore_pace: u32,
    /// Time in which every connection's entry is written to presence once more.
    pub reassert_interval: Duration,
    /// Least time between two writes of when a device was last active.
    pub activity_interval: Duration,
    /// How fast hubs and devices are served.
    pub limits: LimitsOptions,
    /// The MQTT door.
    pub mqtt: MqttOptions,
    /// The AMQP door.
    pub amqp: AmqpOptions,
    /// The HTTPS door.
    pub https: HttpsOptions,
    /// The gRPC door.
    pub grpc: GrpcOptions,
}

/// Tokens of shared access signatures that are not taken (auth.md §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SasSwitches {
    /// Those of devices' own keys.
    pub is_device_off: bool,
    /// Those of modules' own keys.
    pub is_module_off: bool,
    /// Those of policies, wherever they are shown.
    pub is_policy_off: bool,
}

/// Options of the MQTT door.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// From accepted socket to CONNACK.
    pub connect_deadline: Duration,
    /// Longest time without a packet (mqtt.md §4).
    pub max_keep_alive: Duration,
    /// Subscriptions one connection may have (mqtt.md §6).
    pub max_subscriptions: usize,
    /// How long a connection outlives its token.
    pub token_grace: Duration,
    /// CONNACK code for a disabled device: 5, or 3 which clients retry (mqtt.md §3).
    pub disabled_connack: u8,
    /// Longest time one write may take.
    pub write_deadline: Duration,
    /// Bytes that may wait to be written to one connection.
    pub max_output_bytes: usize,
}

/// Options of the AMQP door.
#[derive(Clone, Debug)]
pub struct AmqpOptions {
    /// From accepted socket to Open.
    pub open_deadline: Duration,
    /// Largest frame in each direction, in bytes.
    pub max_frame_bytes: u32,
    /// Announced idle time-out (amqp.md §2.2).
    pub idle_timeout: Duration,
    /// Sessions of one connection.
    pub max_sessions: u16,
    /// Links of one session.
    pub max_links: u32,
    /// How long links outlive their token.
    pub token_grace: Duration,
    /// Tokens one connection may hold (amqp.md §3.4).
    pub max_tokens: u32,
    /// Credit granted to a sender (amqp.md §4.4).
    pub link_credit: u32,
    /// Largest message a back-end may send, encoded, in bytes.
    pub max_message_bytes: u64,
    /// Messages to a client that it has not settled, by session.
    pub max_unsettled: usize,
    /// Bytes of messages that are incomplete, and of those that have no answer yet.
    pub max_held_bytes: usize,
    /// Longest time one write may take.
    pub write_deadline: Duration,
    /// Bytes that may wait to be written to one connection.
    pub max_output_bytes: usize,
}

/// Options of the gRPC door.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// From the end of the TLS handshake to the end of the HTTP/2 preface.
    pub preface_deadline: Duration,
    /// Longest time one write, or one message of a stream, may take.
    pub write_deadline: Duration,
    /// Longest time without a call, once one was made; before that, the two deadlines together.
    pub idle_timeout: Duration,
    /// Calls and streams at once on one connection.
    pub max_streams: u32,
    /// Largest request, in bytes; services that carry no batches take 1 MiB at most.
    pub max_message_bytes: usize,
    /// How long streams outlive their token.
    pub token_grace: Duration,
    /// Watchers of twins at once, at most 65,536.
    pub max_watchers: usize,
    /// Time between two looks at the versions of watched twins.
    pub watch_interval: Duration,
}

/// Options of the HTTPS door.
#[derive(Clone, Debug)]
pub struct HttpsOptions {
    /// From the first byte of a request's head to its last.
    pub header_deadline: Duration,
    /// For reading a body.
    pub body_deadline: Duration,
    /// Largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Longest time one write may take.
    pub write_deadline: Duration,
    /// Least time between two requests of a device for messages; zero for none (http-device.md §7).
    pub min_poll_interval: Duration,
    /// Whether the description of the calls is served, to whoever asks.
    pub has_api_documents: bool,
}

impl Default for MqttOptions {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(30),
            max_keep_alive: Duration::from_secs(1767),
            max_subscriptions: 5,
            token_grace: Duration::from_mins(10),
            disabled_connack: 5,
            write_deadline: Duration::from_secs(30),
            max_output_bytes: 1024 * 1024,
        }
    }
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            open_deadline: Duration::from_secs(30),
            max_frame_bytes: 65_536,
            idle_timeout: Duration::from_mins(4),
            max_sessions: 1024,
            max_links: 1024,
            token_grace: Duration::from_mins(5),
            max_tokens: 1100,
            link_credit: 1000,
            max_message_bytes: 256 * 1024,
            max_unsettled: 5_000,
            max_held_bytes: 4 * 1024 * 1024,
            write_deadline: Duration::from_secs(30),
            max_output_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Default for GrpcOptions {
    fn default() -> Self {
        Self {
            preface_deadline: Duration::from_secs(30),
            write_deadline: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(5),
            max_streams: 100,
            max_message_bytes: 8 * 1024 * 1024,
            token_grace: Duration::from_mins(5),
            max_watchers: 10_000,
            watch_interval: Duration::from_secs(1),
        }
    }
}

impl Default for HttpsOptions {
    fn default() -> Self {
        Self {
            header_deadline: Duration::from_secs(30),
            body_deadline: Duration::from_secs(30),
            max_body_bytes: 1024 * 1024,
            write_deadline: Duration::from_secs(30),
            min_poll_interval: Duration::ZERO,
            has_api_documents: true,
        }
    }
}

impl GatewayOptions {
    /// Options with every default for a gateway of `hub`.
    pub fn new(id: GatewayId, hub: HubName) -> Self {
        Self {
            id,
            host_names: vec![hub.clone()],
            hub,
            c2d_window: 16,
            sweep_interval: Duration::from_mins(5),
            handshake_deadline: Duration::from_secs(20),
            access_interval: Duration::from_millis(250),
            access_stale_limit: Duration::from_mins(1),
            sas: SasSwitches::default(),
            max_telemetry_bytes: downlink_domain::caps::MAX_TELEMETRY_BYTES,
            max_method_bytes: downlink_domain::caps::MAX_METHOD_BYTES,
            lease_ttl: Duration::from_secs(10),
            lease_renew_interval: Duration::from_secs(2),
            address: String::new(),
            restore_pace: 50_000,
            reassert_interval: Duration::from_mins(10),
            activity_interval: Duration::from_mins(1),
            limits: LimitsOptions::default(),
            mqtt: MqttOptions::default(),
            amqp: AmqpOptions::default(),
            https: HttpsOptions::default(),
            grpc: GrpcOptions::default(),
        }
    }
}
