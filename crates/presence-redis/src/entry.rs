//! How a route is written: `epoch connection protocol subscriptions gateway`, readable by people
//! and by the scripts.

use downlink_domain::id::{ConnectionId, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};

/// The highest epoch that the scripts can count with: they know doubles only.
pub(crate) const MAX_EPOCH: LeaseEpoch = LeaseEpoch((1 << 53) - 1);

const fn protocol_text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mqtt => "m",
        Protocol::MqttWs => "mw",
        Protocol::Amqp => "a",
        Protocol::AmqpWs => "aw",
    }
}

fn find_protocol(text: &str) -> Option<Protocol> {
    use Protocol::{Amqp, AmqpWs, Mqtt, MqttWs};
    [Mqtt, MqttWs, Amqp, AmqpWs]
        .into_iter()
        .find(|protocol| protocol_text(*protocol) == text)
}

/// Subscriptions as a number, one bit for each.
pub(crate) fn subscription_bits(of: Subscriptions) -> u8 {
    let Subscriptions {
        c2d,
        methods,
        desired,
        twin_replies,
    } = of;
    u8::from(c2d) | u8::from(methods) << 1 | u8::from(desired) << 2 | u8::from(twin_replies) << 3
}

/// Bits that a later version adds are passed over.
fn subscriptions(bits: u8) -> Subscriptions {
    Subscriptions {
        c2d: bits & 1 != 0,
        methods: bits & 2 != 0,
        desired: bits & 4 != 0,
        twin_replies: bits & 8 != 0,
    }
}

/// What follows the epoch in the entry.
pub(crate) fn tail(
    connection: ConnectionId,
    protocol: Protocol,
    subscriptions: Subscriptions,
    gateway: &GatewayId,
) -> String {
    format!(
        "{} {} {} {gateway}",
        connection.0,
        protocol_text(protocol),
        subscription_bits(subscriptions)
    )
}

/// Reads an entry; `None` when it is none.
pub(crate) fn parse(text: &[u8]) -> Option<Route> {
    let mut parts = std::str::from_utf8(text).ok()?.split(' ');
    let route = Route {
        epoch: LeaseEpoch(parts.next()?.parse().ok()?),
        connection: ConnectionId(parts.next()?.parse().ok()?),
        protocol: find_protocol(parts.next()?)?,
        subscriptions: subscriptions(parts.next()?.parse().ok()?),
        gateway: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(route)
}

/// A change of a route, as it is told on its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The route is this one now.
    Is(Route),
    /// The route of this epoch has ended.
    Ended(LeaseEpoch),
}

/// Reads what a channel told; `None` when it is not for us.
pub(crate) fn parse_change(text: &[u8]) -> Option<Change> {
    if let Some(epoch) = text.strip_prefix(b"-") {
        let epoch = std::str::from_utf8(epoch).ok()?.parse().ok()?;
        return Some(Change::Ended(LeaseEpoch(epoch)));
    }
    parse(text).map(Change::Is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        Route {
            gateway: "gateway:1.%$'".parse().unwrap(),
            connection: ConnectionId(u64::MAX),
            epoch: MAX_EPOCH,
            protocol: Protocol::AmqpWs,
            subscriptions: Subscriptions {
                c2d: true,
                methods: false,
                desired: true,
                twin_replies: true,
            },
        }
    }

    fn text(route: &Route) -> String {
        let tail = tail(
            route.connection,
            route.protocol,
            route.subscriptions,
            &route.gateway,
        );
        format!("{} {tail}", route.epoch.0)
    }

    #[test]
    fn an_entry_reads_back_whole() {
        for protocol in [
            Protocol::Mqtt,
            Protocol::MqttWs,
            Protocol::Amqp,
            Protocol::AmqpWs,
        ] {
            let route = Route {
                protocol,
                ..route()
            };
            assert_eq!(parse(text(&route).as_bytes()), Some(route));
        }
    }

    #[test]
    fn what_is_no_entry_is_told_from_one() {
        let whole = text(&route());
        for length in 0..whole.len() {
            // Cut inside the gateway's name it is another gateway's entry.
            let cut = &whole[..length];
            if cut.split(' ').filter(|part| !part.is_empty()).count() < 5 {
                assert_eq!(parse(cut.as_bytes()), None, "{cut}");
            }
        }
        for other in ["-5", "1 2 m 3 g h", "x 2 m 3 g", "1 2 q 3 g", "1 2 m 300 g"] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(parse(b"\xff"), None);
    }

    #[test]
    fn changes_are_entries_or_the_epoch_that_ended() {
        let is = parse_change(text(&route()).as_bytes());
        assert_eq!(is, Some(Change::Is(route())));
        assert_eq!(parse_change(b"-17"), Some(Change::Ended(LeaseEpoch(17))));
        assert_eq!(parse_change(b"-"), None);
        assert_eq!(parse_change(b"hello"), None);
    }
}
