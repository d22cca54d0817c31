//! Telemetry of MQTT in the hub's own words (mqtt.md §7.1, §9).

pub(super) use downlink_mqtt::session::Telemetry as MqttTelemetry;

use crate::device::{Telemetry, system_property};

/// Names of the system properties in a bag and in storage.
const SYSTEM: [(&str, &str); 14] = [
    ("$.mid", system_property::MESSAGE_ID),
    ("$.cid", system_property::CORRELATION_ID),
    ("$.uid", system_property::USER_ID),
    ("$.to", system_property::TO),
    ("$.exp", system_property::ABSOLUTE_EXPIRY_TIME),
    ("$.ct", system_property::CONTENT_TYPE),
    ("$.ce", system_property::CONTENT_ENCODING),
    ("$.ctime", system_property::CREATION_TIME),
    ("$.on", system_property::OUTPUT_NAME),
    ("$.sub", system_property::SUBJECT),
    ("$.ifid", system_property::INTERFACE_ID),
    ("$.schema", system_property::MESSAGE_SCHEMA),
    ("$.diagid", system_property::DIAGNOSTIC_ID),
    ("$.diagctx", system_property::DIAGNOSTIC_CONTEXT),
];

/// Gives system properties their stored names. A bare key is stored with an empty value; the connection's
/// own identity is left out, since the hub stamps it.
pub(super) fn from_mqtt(telemetry: MqttTelemetry) -> Telemetry {
    let properties = telemetry
        .properties
        .iter()
        .filter(|(key, _)| !matches!(*key, "$.cdid" | "$.cmid"))
        .map(|(key, value)| (stored_name(key).to_owned(), value.unwrap_or("").to_owned()))
        .collect();
    Telemetry {
        properties,
        body: telemetry.payload,
    }
}

fn stored_name(key: &str) -> &str {
    SYSTEM
        .iter()
        .find(|(short, _)| *short == key)
        .map_or(key, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use downlink_mqtt::property_bag::PropertyBag;

    use super::*;

    #[test]
    fn system_properties_are_renamed_and_others_kept_in_order() {
        let properties = PropertyBag::parse("b=1&$.mid=m&%24.ct=text%2Fplain&a&$.x=2&$.cdid=d");
        let telemetry = MqttTelemetry {
            properties: properties.unwrap(),
            payload: Bytes::from_static(b"p"),
        };
        let stored = from_mqtt(telemetry);
        let expected = [
            ("b", "1"),
            ("message-id", "m"),
            ("content-type", "text/plain"),
            ("a", ""),
            ("$.x", "2"),
        ];
        assert_eq!(
            stored.properties,
            expected.map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        assert_eq!(stored.body, "p");
    }
}
