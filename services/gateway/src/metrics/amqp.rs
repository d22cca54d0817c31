//! Instruments of the AMQP door.

use downlink_runtime::telemetry::{HotCounter, HotGauge, hot_counters, hot_gauges};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::spec;

/// What a link is for, as metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLabel {
    /// Tokens come in.
    TokenRequests,
    /// Answers to tokens go out.
    TokenReplies,
    /// Messages for devices come in.
    Commands,
    /// Reports on messages go out.
    Feedback,
    /// Notifications of uploaded files would go out.
    FileNotifications,
    /// Telemetry comes in.
    Telemetry,
    /// Messages go out to a device.
    Messages,
    /// Method calls go out to a device.
    MethodCalls,
    /// Answers to method calls come in.
    MethodAnswers,
    /// Twin requests come in.
    TwinRequests,
    /// Twin replies and changes go out.
    TwinReplies,
    /// Messages for inputs of a module would go out.
    ModuleInputs,
}

impl LinkLabel {
    const ALL: [Self; 12] = [
        Self::TokenRequests,
        Self::TokenReplies,
        Self::Commands,
        Self::Feedback,
        Self::FileNotifications,
        Self::Telemetry,
        Self::Messages,
        Self::MethodCalls,
        Self::MethodAnswers,
        Self::TwinRequests,
        Self::TwinReplies,
        Self::ModuleInputs,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::TokenRequests => "token_requests",
            Self::TokenReplies => "token_replies",
            Self::Commands => "commands",
            Self::Feedback => "feedback",
            Self::FileNotifications => "file_notifications",
            Self::Telemetry => "telemetry",
            Self::Messages => "messages",
            Self::MethodCalls => "method_calls",
            Self::MethodAnswers => "method_answers",
            Self::TwinRequests => "twin_requests",
            Self::TwinReplies => "twin_replies",
            Self::ModuleInputs => "module_inputs",
        }
    }

    /// Whether its messages come in or go out; on each kind they do one of the two.
    const fn direction(self) -> &'static str {
        match self {
            Self::TokenRequests
            | Self::Commands
            | Self::Telemetry
            | Self::MethodAnswers
            | Self::TwinRequests => "in",
            Self::TokenReplies
            | Self::Feedback
            | Self::FileNotifications
            | Self::Messages
            | Self::MethodCalls
            | Self::TwinReplies
            | Self::ModuleInputs => "out",
        }
    }
}

/// Why a link was refused or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// Without an error.
    Closed,
    /// The token does not allow it, or no longer.
    Unauthorized,
    /// There is nothing at its address.
    NotFound,
    /// It asks for what the hub does not do.
    NotAllowed,
    /// A newer one took its place.
    Stolen,
    /// A limit was reached.
    Limit,
    /// A service could not be reached, or the gateway goes away.
    Unavailable,
    /// Another condition.
    Other,
}

impl LinkEnd {
    const ALL: [Self; 8] = [
        Self::Closed,
        Self::Unauthorized,
        Self::NotFound,
        Self::NotAllowed,
        Self::Stolen,
        Self::Limit,
        Self::Unavailable,
        Self::Other,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::NotAllowed => "not_allowed",
            Self::Stolen => "stolen",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }

    /// The class of an AMQP condition; `None` is the end without an error.
    pub fn of(condition: Option<&str>) -> Self {
        match condition {
            None => Self::Closed,
            Some("amqp:unauthorized-access") => Self::Unauthorized,
            Some("amqp:not-found") => Self::NotFound,
            Some("amqp:not-allowed" | "amqp:not-implemented") => Self::NotAllowed,
            Some("amqp:link:stolen" | "com.microsoft:link-creation-conflict") => Self::Stolen,
            Some(
                "amqp:resource-limit-exceeded"
                | "amqp:link:message-size-exceeded"
                | "amqp:link:transfer-limit-exceeded"
                | "com.microsoft:device-container-throttled",
            ) => Self::Limit,
            Some(
                "com.microsoft:timeout" | "amqp:link:detach-forced" | "amqp:connection:forced",
            ) => Self::Unavailable,
            Some(_) => Self::Other,
        }
    }
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The client closed it.
    Closed,
    /// The hub closed it: a token ended, or the gateway goes away.
    Refused,
    /// The client broke the protocol.
    Violation,
    /// SASL failed.
    Unauthorized,
    /// The client was silent for too long, or too slow to open.
    TimedOut,
    /// The client did not read what it caused.
    Unread,
    /// The socket broke.
    Lost,
}

impl ConnectionEnd {
    const ALL: [Self; 7] = [
        Self::Closed,
        Self::Refused,
        Self::Violation,
        Self::Unauthorized,
        Self::TimedOut,
        Self::Unread,
        Self::Lost,
    ];

    /// The label, and the word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Violation => "violation",
            Self::Unauthorized => "unauthorized",
            Self::TimedOut => "timed_out",
            Self::Unread => "unread",
            Self::Lost => "lost",
        }
    }
}

/// Instruments of the AMQP door.
#[derive(Clone, Debug)]
pub struct AmqpMetrics {
    links: [HotGauge; LinkLabel::ALL.len()],
    attached: [HotCounter; LinkLabel::ALL.len()],
    ended: [HotCounter; LinkLabel::ALL.len() * LinkEnd::ALL.len()],
    refused: [HotCounter; LinkEnd::ALL.len()],
    messages: [HotCounter; LinkLabel::ALL.len()],
    connections_ended: [HotCounter; ConnectionEnd::ALL.len()],
    /// Sessions that are there now.
    pub sessions: HotGauge,
    /// Messages from clients that have no answer yet.
    pub unsettled_in: HotGauge,
    /// Messages to clients that they have not settled.
    pub unsettled_out: HotGauge,
    /// Bytes read, under TLS and WebSocket.
    pub bytes_in: HotCounter,
    /// Bytes written, under TLS and WebSocket.
    pub bytes_out: HotCounter,
}

impl AmqpMetrics {
    /// Declares the instruments.
    pub fn new(meter: &Meter) -> Self {
        let of_link = |link: LinkLabel| KeyValue::new("link", link.as_str());
        let each_link = || LinkLabel::ALL.map(|link| vec![of_link(link)]);
        let in_and_out = || ["in", "out"].map(|way| vec![KeyValue::new("direction", way)]);
        let [sessions] = hot_gauges(
            meter,
            spec("downlink.gateway.amqp.sessions", "sessions there now"),
            [vec![]],
        );
        let [unsettled_in, unsettled_out] = hot_gauges(
            meter,
            spec(
                "downlink.gateway.amqp.unsettled",
                "messages from clients without an answer, and to clients without their word",
            ),
            in_and_out(),
        );
        let [bytes_in, bytes_out] = hot_counters(
            meter,
            downlink_runtime::telemetry::InstrumentSpec {
                unit: "By",
                ..spec("downlink.gateway.amqp.traffic", "bytes read and written")
            },
            in_and_out(),
        );
        Self {
            links: hot_gauges(
                meter,
                spec("downlink.gateway.amqp.links", "links attached now, by kind"),
                each_link(),
            ),
            attached: hot_counters(
                meter,
                spec(
                    "downlink.gateway.amqp.links.attached",
                    "links attached, by kind",
                ),
                each_link(),
            ),
            ended: hot_counters(
                meter,
                spec(
                    "downlink.gateway.amqp.links.ended",
                    "links that ended, by kind and cause",
                ),
                std::array::from_fn(|index| {
                    let link = LinkLabel::ALL[index / LinkEnd::ALL.len()];
                    let cause = LinkEnd::ALL[index % LinkEnd::ALL.len()];
                    vec![of_link(link), KeyValue::new("cause", cause.as_str())]
                }),
            ),
            refused: hot_counters(
                meter,
                spec(
                    "downlink.gateway.amqp.links.refused",
                    "links refused, by cause",
                ),
                LinkEnd::ALL.map(|cause| vec![KeyValue::new("cause", cause.as_str())]),
            ),
            messages: hot_counters(
                meter,
                spec(
                    "downlink.gateway.amqp.messages",
                    "messages that came or went, by kind of link",
                ),
                LinkLabel::ALL
                    .map(|link| vec![of_link(link), KeyValue::new("direction", link.direction())]),
            ),
            connections_ended: hot_counters(
                meter,
                spec(
                    "downlink.gateway.amqp.connections.ended",
                    "connections that ended, by cause",
                ),
                ConnectionEnd::ALL.map(|cause| vec![KeyValue::new("cause", cause.as_str())]),
            ),
            sessions,
            unsettled_in,
            unsettled_out,
            bytes_in,
            bytes_out,
        }
    }

    /// Counts an attached link.
    pub fn link_attached(&self, link: LinkLabel) {
        self.links[link as usize].add(1);
        self.attached[link as usize].increment();
    }

    /// Counts the end of an attached link.
    pub fn link_ended(&self, link: LinkLabel, cause: LinkEnd) {
        self.links[link as usize].add(-1);
        self.ended[link as usize * LinkEnd::ALL.len() + cause as usize].increment();
    }

    /// Counts a refused link.
    pub fn link_refused(&self, cause: LinkEnd) {
        self.refused[cause as usize].increment();
    }

    /// Counts a message on a link.
    pub fn message_passed(&self, link: LinkLabel) {
        self.messages[link as usize].increment();
    }

    /// Counts the end of a connection.
    pub fn connection_ended(&self, cause: ConnectionEnd) {
        self.connections_ended[cause as usize].increment();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_the_place_their_counters_have() {
        for (index, link) in LinkLabel::ALL.into_iter().enumerate() {
            assert_eq!(link as usize, index);
        }
        for (index, cause) in LinkEnd::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
        for (index, cause) in ConnectionEnd::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }

    #[test]
    fn an_end_is_counted_for_its_link_and_cause_alone() {
        let telemetry = downlink_runtime::telemetry::Metrics::new("test").unwrap();
        let metrics = AmqpMetrics::new(&telemetry.meter("test"));
        metrics.link_attached(LinkLabel::Feedback);
        metrics.link_ended(LinkLabel::Feedback, LinkEnd::of(Some("amqp:link:stolen")));
        let text = String::from_utf8(telemetry.render().unwrap()).unwrap();
        let ended: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("links_ended") && !line.starts_with('#'))
            .filter(|line| !line.ends_with(" 0"))
            .collect();
        let expected =
            "downlink_gateway_amqp_links_ended_total{cause=\"stolen\",link=\"feedback\"} 1";
        assert_eq!(ended, [expected]);
        assert_eq!(metrics.links[LinkLabel::Feedback as usize].value(), 0);
    }
}
