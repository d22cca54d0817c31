//! Telemetry of MQTT in the hub's own words (mqtt.md §7.1, §9).

pub(super) use downlink_mqtt::session::Telemetry as MqttTelemetry;

use crate::device::Telemetry;

/// Names of the system properties in a bag and in storage.
const SYSTEM: [(&str, &str); 14] = [
    ("$.mid", "message-id"),
    ("$.cid", "correlation-id"),
    ("$.uid", "user-id"),
    ("$.to", "to"),
    ("$.exp", "absolute-expiry-time"),
    ("$.ct", "content-type"),
    ("$.ce", "content-encoding"),
    ("$.ctime", "iothub-creation-time-utc"),
    ("$.on", "iothub-outputname"),
    ("$.sub", "dt-subject"),
    ("$.ifid", "iothub-interface-id"),
    ("$.schema", "iothub-message-schema"),
    ("$.diagid", "diagnostic-id"),
    ("$.diagctx", "diagnostic-correlation-context"),
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
