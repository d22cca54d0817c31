//! Instruments of the gateway, declared once; recording is one relaxed addition.

pub mod amqp;

use downlink_runtime::telemetry::{HotCounter, HotGauge, InstrumentSpec, hot_counters, hot_gauge};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use self::amqp::AmqpMetrics;
use crate::arrival::Carrier;
use crate::audit::AuditMetrics;
use crate::grpc::RpcMetrics;
use crate::limits::LimitsMetrics;

/// A door of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// MQTT over TLS.
    Mqtt,
    /// AMQP over TLS.
    Amqp,
    /// HTTPS.
    Https,
    /// gRPC.
    Grpc,
}

impl Door {
    const ALL: [Self; 4] = [Self::Mqtt, Self::Amqp, Self::Https, Self::Grpc];

    /// The label of the door and the name of its tasks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Amqp => "amqp",
            Self::Https => "https",
            Self::Grpc => "grpc",
        }
    }
}

/// The doors and what leads to them, each with a counter of its own.
const ACCEPTED: [(Door, Carrier); 6] = [
    (Door::Mqtt, Carrier::Tls),
    (Door::Amqp, Carrier::Tls),
    (Door::Https, Carrier::Tls),
    (Door::Grpc, Carrier::Tls),
    (Door::Mqtt, Carrier::WebSocket),
    (Door::Amqp, Carrier::WebSocket),
];

/// Why a device was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedFor {
    /// The credential does not hold.
    Unauthorized,
    /// The device is disabled.
    Disabled,
    /// A service could not be reached.
    Unavailable,
    /// Its first packets break the protocol.
    Violation,
    /// It was too slow.
    Deadline,
}

impl RefusedFor {
    const ALL: [Self; 5] = [
        Self::Unauthorized,
        Self::Disabled,
        Self::Unavailable,
        Self::Violation,
        Self::Deadline,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Disabled => "disabled",
            Self::Unavailable => "unavailable",
            Self::Violation => "violation",
            Self::Deadline => "deadline",
        }
    }
}

/// Instruments of one gateway.
#[derive(Clone, Debug)]
pub struct GatewayMetrics {
    accepted: [HotCounter; ACCEPTED.len()],
    handshakes_failed: [HotCounter; Door::ALL.len()],
    refused: [HotCounter; 5],
    requests: [HotCounter; 3],
    /// The AMQP door.
    pub amqp: AmqpMetrics,
    /// Calls of the gRPC door.
    pub rpcs: RpcMetrics,
    /// Devices connected now.
    pub devices: HotGauge,
    /// Messages handed to devices.
    pub messages_delivered: HotCounter,
    /// Telemetry stored for devices.
    pub telemetry_stored: HotCounter,
    /// Requests of devices for messages that came too soon.
    pub polls_refused: HotCounter,
    /// Messages that back-ends sent and the queue accepted.
    pub messages_accepted: HotCounter,
    /// Messages that back-ends sent and the queue refused.
    pub messages_refused: HotCounter,
    /// Refused credentials and rights, and their records.
    pub audit: AuditMetrics,
    /// The lease and the entries under it.
    pub lease: LeaseMetrics,
    /// Limits.
    pub limits: LimitsMetrics,
    /// Reports of connections to twin.
    pub reports: ReportMetrics,
}

/// Instruments of what is told to twin of connections.
#[derive(Clone, Debug)]
pub struct ReportMetrics {
    /// Calls that failed and were made again.
    pub failed: HotCounter,
    /// Reports that were given up.
    pub lost: HotCounter,
    /// Times of activity told.
    pub activity: HotCounter,
}

impl ReportMetrics {
    fn new(meter: &Meter) -> Self {
        let count = |name, description| {
            let [counter] = hot_counters(meter, spec(name, description), [Vec::new()]);
            counter
        };
        Self {
            failed: count(
                "downlink.gateway.connection.reports.failures",
                "calls with reports of connections that failed and were made again",
            ),
            lost: count(
                "downlink.gateway.connection.reports.lost",
                "reports of connections that were given up",
            ),
            activity: count(
                "downlink.gateway.activity",
                "times of last activity told to twin",
            ),
        }
    }
}

/// Instruments of the lease.
#[derive(Clone, Debug)]
pub struct LeaseMetrics {
    /// Renewals that were answered.
    pub renewed: HotCounter,
    /// Renewals that failed.
    pub failed: HotCounter,
    /// Entries written to presence again.
    pub restored: HotCounter,
    /// Connections found superseded when their entries were written again.
    pub superseded: HotCounter,
    /// Connections ended by a second look at their identity.
    pub rechecked_out: HotCounter,
}

impl LeaseMetrics {
    fn new(meter: &Meter) -> Self {
        let [renewed, failed] = hot_counters(
            meter,
            spec(
                "downlink.gateway.lease.renewals",
                "renewals of the lease, by outcome",
            ),
            ["renewed", "failed"].map(|outcome| vec![KeyValue::new("outcome", outcome)]),
        );
        let [restored, superseded] = hot_counters(
            meter,
            spec(
                "downlink.gateway.presence.restored",
                "entries written to presence again, by outcome",
            ),
            ["stands", "superseded"].map(|outcome| vec![KeyValue::new("outcome", outcome)]),
        );
        let [rechecked_out] = hot_counters(
            meter,
            spec(
                "downlink.gateway.rechecks.disconnected",
                "connections ended by a second look at their identity, not by an order",
            ),
            [vec![]],
        );
        Self {
            renewed,
            failed,
            restored,
            superseded,
            rechecked_out,
        }
    }
}

impl GatewayMetrics {
    /// Declares the instruments.
    pub fn new(meter: &Meter) -> Self {
        let counter = |name, description| {
            let [counter] = hot_counters(meter, spec(name, description), [vec![]]);
            counter
        };
        let [accepted, refused] = sent_messages(meter);
        let connects_refused = spec(
            "downlink.gateway.connects.refused",
            "devices not let in, by cause",
        );
        let requests = spec(
            "downlink.gateway.requests",
            "HTTPS requests answered, by class of status",
        );
        let connected = spec(
            "downlink.gateway.devices.connected",
            "devices connected now",
        );
        Self {
            accepted: accepted_connections(meter),
            handshakes_failed: by_door(
                meter,
                "downlink.gateway.handshakes.failed",
                "TLS handshakes that failed",
            ),
            refused: hot_counters(
                meter,
                connects_refused,
                RefusedFor::ALL.map(|cause| vec![KeyValue::new("cause", cause.as_str())]),
            ),
            requests: hot_counters(
                meter,
                requests,
                ["2xx", "4xx", "5xx"].map(|class| vec![KeyValue::new("status", class)]),
            ),
            amqp: AmqpMetrics::new(meter),
            rpcs: RpcMetrics::new(meter),
            devices: hot_gauge(meter, connected),
            messages_delivered: counter(
                "downlink.gateway.messages.delivered",
                "messages handed to devices",
            ),
            telemetry_stored: counter(
                "downlink.gateway.telemetry.stored",
                "telemetry messages stored",
            ),
            polls_refused: counter(
                "downlink.gateway.polls.refused",
                "requests of devices for messages over HTTPS that came too soon",
            ),
            messages_accepted: accepted,
            messages_refused: refused,
            audit: AuditMetrics::new(meter),
            lease: LeaseMetrics::new(meter),
            limits: LimitsMetrics::new(meter),
            reports: ReportMetrics::new(meter),
        }
    }

    /// Counts a TCP connection, or a WebSocket on one that HTTPS counted.
    pub fn connection_accepted(&self, door: Door, carrier: Carrier) {
        let place = ACCEPTED.iter().position(|at| *at == (door, carrier));
        if let Some(counter) = place.and_then(|place| self.accepted.get(place)) {
            counter.increment();
        }
    }

    /// Counts a failed handshake.
    pub fn handshake_failed(&self, door: Door) {
        self.handshakes_failed[door as usize].increment();
    }

    /// Counts a device that was not let in.
    pub fn connect_refused(&self, cause: RefusedFor) {
        self.refused[cause as usize].increment();
    }

    /// Counts an HTTPS request by the status it was answered with.
    pub fn request_answered(&self, status: u16) {
        let class = match status {
            0..400 => 0,
            400..500 => 1,
            _ => 2,
        };
        self.requests[class].increment();
    }
}

fn sent_messages(meter: &Meter) -> [HotCounter; 2] {
    let sent = spec(
        "downlink.gateway.messages.sent",
        "messages that back-ends sent, by outcome",
    );
    let outcomes = ["accepted", "refused"];
    hot_counters(
        meter,
        sent,
        outcomes.map(|outcome| vec![KeyValue::new("outcome", outcome)]),
    )
}

fn accepted_connections(meter: &Meter) -> [HotCounter; ACCEPTED.len()] {
    let spec = spec(
        "downlink.gateway.connections.accepted",
        "TCP connections accepted, and WebSockets opened on those of HTTPS",
    );
    let labels = ACCEPTED.map(|(door, carrier)| {
        vec![
            KeyValue::new("door", door.as_str()),
            KeyValue::new("carrier", carrier.as_str()),
        ]
    });
    hot_counters(meter, spec, labels)
}

fn by_door(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
) -> [HotCounter; Door::ALL.len()] {
    let labels = Door::ALL.map(|door| vec![KeyValue::new("door", door.as_str())]);
    hot_counters(meter, spec(name, description), labels)
}

pub(crate) const fn spec(name: &'static str, description: &'static str) -> InstrumentSpec {
    InstrumentSpec {
        name,
        unit: "",
        description,
    }
}
