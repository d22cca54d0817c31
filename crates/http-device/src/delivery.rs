//! A cloud-to-device message as the headers of an answer (http-device.md §3.2).

use std::fmt::Display;

use crate::property::is_token;

/// What a device is told about a message besides its body.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// What the device settles it by.
    pub reference: &'a dyn Display,
    /// Id chosen by the sender.
    pub message_id: Option<&'a str>,
    /// Correlation id.
    pub correlation_id: Option<&'a str>,
    /// Address; the sender's, or that of the device.
    pub to: &'a str,
    /// User id.
    pub user_id: Option<&'a str>,
    /// Outcomes the sender wants to hear of, `none` included.
    pub ack: &'a str,
    /// Expiry that the sender set, in ISO 8601.
    pub expiry: Option<&'a dyn Display>,
    /// When the hub accepted it, in ISO 8601.
    pub enqueued_at: &'a dyn Display,
    /// Place in the queue.
    pub sequence: u64,
    /// Deliveries so far; what is more than a byte holds is told as 255.
    pub delivery_count: u32,
    /// Content type of the message.
    pub content_type: Option<&'a str>,
    /// Content encoding of the message.
    pub content_encoding: Option<&'a str>,
    /// Application properties in the sender's order.
    pub application: &'a [(String, String)],
}

/// One header: its name in the case that the C SDK needs, and its value.
pub type Header = (String, String);

/// Names that have upper-case letters; a stack that writes all others as they stand needs to know of these alone.
pub const SPELLED: [&str; 4] = ["ETag", "ContentType", "ContentEncoding", "Content-Type"];

/// Writes the headers of a message, in the order of the contract.
///
/// A property that cannot be a header is left out, for its message would be undeliverable with it: a name with other
/// characters than a header's may have, a value that is not printable ASCII. Of application properties whose names
/// differ in case alone the first stays, since C# fails over two headers of one name.
pub fn headers(delivery: &Delivery<'_>) -> Vec<Header> {
    let mut headers = Vec::with_capacity(16 + delivery.application.len());
    let mut add = |name: &str, value: String| {
        if is_value(&value) {
            headers.push((name.to_owned(), value));
        }
    };
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let mut add_given = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            add(name, value);
        }
    };
    add_given("ETag", Some(format!("\"{}\"", delivery.reference)));
    add_given("iothub-messageid", text(delivery.message_id));
    add_given("iothub-correlationid", text(delivery.correlation_id));
    add_given("iothub-to", Some(delivery.to.to_owned()));
    add_given("iothub-userid", text(delivery.user_id));
    add_given("iothub-ack", Some(delivery.ack.to_owned()));
    add_given("iothub-expiry", delivery.expiry.map(ToString::to_string));
    add_given(
        "iothub-enqueuedtime",
        Some(delivery.enqueued_at.to_string()),
    );
    add_given("iothub-sequencenumber", Some(delivery.sequence.to_string()));
    add_given(
        "iothub-deliverycount",
        Some(delivery.delivery_count.min(255).to_string()),
    );
    // C and the command line read the first of each pair, Java and C# the second.
    for (names, value) in [
        (["ContentType", "iothub-contenttype"], delivery.content_type),
        (
            ["ContentEncoding", "iothub-contentencoding"],
            delivery.content_encoding,
        ),
    ] {
        for name in names {
            add_given(name, text(value));
        }
    }
    add_application(delivery.application, &mut headers);
    headers.push((
        "Content-Type".to_owned(),
        "application/octet-stream".to_owned(),
    ));
    headers
}

fn add_application(properties: &[(String, String)], headers: &mut Vec<Header>) {
    let mut seen = std::collections::HashSet::new();
    for (name, value) in properties {
        let is_name = !name.is_empty() && name.bytes().all(is_token);
        if is_name && is_value(value) && seen.insert(name.to_ascii_lowercase()) {
            headers.push((format!("iothub-app-{name}"), value.clone()));
        }
    }
}

fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property::{Name, from_headers};

    fn whole(application: &[(String, String)]) -> Delivery<'_> {
        Delivery {
            reference: &"t-7",
            message_id: Some("m-1"),
            correlation_id: Some("c-1"),
            to: "/devices/d/messages/deviceBound",
            user_id: Some("u-1"),
            ack: "full",
            expiry: Some(&"2026-01-05T09:12:31Z"),
            enqueued_at: &"2026-01-05T08:12:31Z",
            sequence: u64::MAX,
            delivery_count: 2,
            content_type: Some("application/json"),
            content_encoding: Some("utf-8"),
            application,
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn every_header_stands_in_its_order_and_case() {
        let application = pairs(&[("Color", "red & white"), ("empty", "")]);
        let expected = pairs(&[
            ("ETag", "\"t-7\""),
            ("iothub-messageid", "m-1"),
            ("iothub-correlationid", "c-1"),
            ("iothub-to", "/devices/d/messages/deviceBound"),
            ("iothub-userid", "u-1"),
            ("iothub-ack", "full"),
            ("iothub-expiry", "2026-01-05T09:12:31Z"),
            ("iothub-enqueuedtime", "2026-01-05T08:12:31Z"),
            ("iothub-sequencenumber", "18446744073709551615"),
            ("iothub-deliverycount", "2"),
            ("ContentType", "application/json"),
            ("iothub-contenttype", "application/json"),
            ("ContentEncoding", "utf-8"),
            ("iothub-contentencoding", "utf-8"),
            ("iothub-app-Color", "red & white"),
            ("iothub-app-empty", ""),
            ("Content-Type", "application/octet-stream"),
        ]);
        assert_eq!(headers(&whole(&application)), expected);
    }

    #[test]
    fn what_was_not_set_is_not_told_and_ack_none_is() {
        let bare = Delivery {
            message_id: None,
            correlation_id: Some(""),
            user_id: None,
            ack: "none",
            expiry: None,
            delivery_count: 1000,
            content_type: None,
            content_encoding: None,
            ..whole(&[])
        };
        let names: Vec<String> = headers(&bare).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "ETag",
                "iothub-to",
                "iothub-ack",
                "iothub-enqueuedtime",
                "iothub-sequencenumber",
                "iothub-deliverycount",
                "Content-Type",
            ]
        );
        assert_eq!(headers(&bare)[2].1, "none");
        assert_eq!(headers(&bare)[5].1, "255");
    }

    #[test]
    fn a_property_that_cannot_be_a_header_is_left_out_and_a_name_comes_once() {
        let application = pairs(&[
            ("a", "1"),
            ("A", "2"),
            ("greeting", "grüezi"),
            ("naïve", "1"),
            ("a b", "1"),
            ("", "1"),
            ("line", "a\r\nETag: x"),
            ("b", "2"),
        ]);
        let delivery = Delivery {
            user_id: Some("müller"),
            ..whole(&application)
        };
        let written = headers(&delivery);
        let own: Vec<_> = written
            .iter()
            .filter(|(name, _)| name.starts_with("iothub-app-"))
            .collect();
        let expected = pairs(&[("iothub-app-a", "1"), ("iothub-app-b", "2")]);
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
        assert!(!written.iter().any(|(name, _)| name == "iothub-userid"));
    }

    proptest! {
        #[test]
        fn every_answer_is_made_of_clean_headers(
            application in prop::collection::vec(("\\PC{0,6}", "\\PC{0,8}"), 0..12),
            message_id in "\\PC{0,8}",
        ) {
            let delivery = Delivery { message_id: Some(&message_id), ..whole(&application) };
            for (name, value) in headers(&delivery) {
                prop_assert!(!name.is_empty() && name.bytes().all(is_token));
                prop_assert!(is_value(&value));
            }
        }

        #[test]
        fn application_properties_read_back(name in "[a-zA-Z0-9._-]{1,12}", value in "[a-zA-Z0-9._-]{0,12}") {
            let application = [(name.clone(), value.clone())];
            let written = headers(&whole(&application));
            let written = written.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let read = from_headers(written, "").unwrap();
            prop_assert!(read.contains(&(Name::Application(name), value)));
        }
    }
}
