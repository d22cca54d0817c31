//! Instruments of the AMQP door.

mod labels;

use downlink_runtime::telemetry::{
    HotCounter, HotGauge, InstrumentSpec, hot_counters, hot_gauge, hot_gauges,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

pub use self::labels::{ConnectionEnd, LinkEnd, LinkLabel};
use super::spec;

/// Instruments of the AMQP door.
#[derive(Clone, Debug)]
pub struct AmqpMetrics {
    links: LinkMetrics,
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

/// Instruments of links.
#[derive(Clone, Debug)]
struct LinkMetrics {
    now: [HotGauge; LinkLabel::ALL.len()],
    attached: [HotCounter; LinkLabel::ALL.len()],
    ended: [HotCounter; LinkLabel::ALL.len() * LinkEnd::ALL.len()],
    refused: [HotCounter; LinkEnd::ALL.len()],
    messages: [HotCounter; LinkLabel::ALL.len()],
}

impl AmqpMetrics {
    /// Declares the instruments.
    pub fn new(meter: &Meter) -> Self {
        let in_and_out = || ["in", "out"].map(|way| vec![KeyValue::new("direction", way)]);
        let unsettled = spec(
            "downlink.gateway.amqp.unsettled",
            "messages from clients without an answer, and to clients without their word",
        );
        let [unsettled_in, unsettled_out] = hot_gauges(meter, unsettled, in_and_out());
        let traffic = InstrumentSpec {
            unit: "By",
            ..spec("downlink.gateway.amqp.traffic", "bytes read and written")
        };
        let [bytes_in, bytes_out] = hot_counters(meter, traffic, in_and_out());
        let connections_ended = spec(
            "downlink.gateway.amqp.connections.ended",
            "connections that ended, by cause",
        );
        let sessions = spec("downlink.gateway.amqp.sessions", "sessions there now");
        Self {
            links: LinkMetrics::new(meter),
            connections_ended: hot_counters(
                meter,
                connections_ended,
                ConnectionEnd::ALL.map(|cause| vec![KeyValue::new("cause", cause.as_str())]),
            ),
            sessions: hot_gauge(meter, sessions),
            unsettled_in,
            unsettled_out,
            bytes_in,
            bytes_out,
        }
    }

    /// Counts an attached link.
    pub fn link_attached(&self, link: LinkLabel) {
        self.links.now[link as usize].add(1);
        self.links.attached[link as usize].increment();
    }

    /// Counts the end of an attached link.
    pub fn link_ended(&self, link: LinkLabel, cause: LinkEnd) {
        self.links.now[link as usize].add(-1);
        self.links.ended[link as usize * LinkEnd::ALL.len() + cause as usize].increment();
    }

    /// Counts a refused link.
    pub fn link_refused(&self, cause: LinkEnd) {
        self.links.refused[cause as usize].increment();
    }

    /// Counts a message on a link.
    pub fn message_passed(&self, link: LinkLabel) {
        self.links.messages[link as usize].increment();
    }

    /// Counts the end of a connection.
    pub fn connection_ended(&self, cause: ConnectionEnd) {
        self.connections_ended[cause as usize].increment();
    }
}

impl LinkMetrics {
    fn new(meter: &Meter) -> Self {
        let of_link = |link: LinkLabel| KeyValue::new("link", link.as_str());
        let of_cause = |cause: LinkEnd| KeyValue::new("cause", cause.as_str());
        let each = || LinkLabel::ALL.map(|link| vec![of_link(link)]);
        let now = spec("downlink.gateway.amqp.links", "links attached now, by kind");
        let attached = spec(
            "downlink.gateway.amqp.links.attached",
            "links attached, by kind",
        );
        let ended = spec(
            "downlink.gateway.amqp.links.ended",
            "links that ended, by kind and cause",
        );
        let ends = std::array::from_fn(|index| {
            let link = LinkLabel::ALL[index / LinkEnd::ALL.len()];
            let cause = LinkEnd::ALL[index % LinkEnd::ALL.len()];
            vec![of_link(link), of_cause(cause)]
        });
        let refused = spec(
            "downlink.gateway.amqp.links.refused",
            "links refused, by cause",
        );
        let messages = spec(
            "downlink.gateway.amqp.messages",
            "messages that came or went, by kind of link",
        );
        let ways = LinkLabel::ALL
            .map(|link| vec![of_link(link), KeyValue::new("direction", link.direction())]);
        Self {
            now: hot_gauges(meter, now, each()),
            attached: hot_counters(meter, attached, each()),
            ended: hot_counters(meter, ended, ends),
            refused: hot_counters(
                meter,
                refused,
                LinkEnd::ALL.map(|cause| vec![of_cause(cause)]),
            ),
            messages: hot_counters(meter, messages, ways),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(metrics.links.now[LinkLabel::Feedback as usize].value(), 0);
    }
}
