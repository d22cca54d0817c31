//! Topics: what a device may publish to, and what the hub publishes to but for messages (mqtt.md §7).
//!
//! The topic of a cloud-to-device message has a room of its own, [`crate::cloud_to_device`].

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::error::Violation;
use crate::identity::ClientIdentity;
use crate::limits::MAX_REQUEST_ID_BYTES;

/// What would break a topic or its reader if it stood in a method's name unencoded (mqtt.md §10).
const METHOD_NAME: &AsciiSet = &CONTROLS.add(b'/').add(b'#').add(b'+').add(b'?').add(b'%');

/// What a publish of a device means, by its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceTopic<'a> {
    /// A message to the cloud; the bag is still encoded.
    Telemetry {
        /// What stands after `messages/events/`, without question mark and closing slash.
        bag: &'a str,
    },
    /// The answer to a method call.
    MethodResponse {
        /// The device's own status.
        status: i32,
        /// The call it answers.
        rid: &'a str,
    },
    /// The request for the whole twin.
    TwinGet {
        /// Returned unchanged in the answer's topic.
        rid: &'a str,
    },
    /// A patch of the reported properties.
    TwinPatchReported {
        /// Returned unchanged in the answer's topic.
        rid: &'a str,
        /// The version the patch is meant for.
        version: ExpectedVersion,
    },
}

/// What a reported patch says about the version it is meant for (mqtt.md §11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Nothing: apply to whatever is there.
    Any,
    /// Apply only to this reported version, else 412.
    Exactly(u64),
    /// Something that is no number: answer 400, for twin errors do not close the connection.
    Unreadable,
}

impl<'a> DeviceTopic<'a> {
    /// Reads the topic of a device's publish; fixed parts are compared with case.
    ///
    /// # Errors
    /// [`Violation::ForeignTopic`] for everything that is none of the connection's own forms,
    /// [`Violation::WildcardInTopic`] for a wildcard outside the ids, which may hold such characters raw.
    pub fn parse(topic: &'a str, identity: &ClientIdentity) -> Result<Self, Violation> {
        if let Some(rest) = identity.strip_prefix(topic) {
            let rest = rest
                .strip_prefix("messages/events")
                .ok_or(Violation::ForeignTopic)?;
            refuse_wildcards(rest)?;
            return parse_bag_text(rest).map(|bag| Self::Telemetry { bag });
        }
        refuse_wildcards(topic)?;
        let rest = topic
            .strip_prefix("$iothub/")
            .ok_or(Violation::ForeignTopic)?;
        parse_iothub(rest).ok_or(Violation::ForeignTopic)
    }
}

fn refuse_wildcards(text: &str) -> Result<(), Violation> {
    if text.contains(['+', '#']) {
        Err(Violation::WildcardInTopic)
    } else {
        Ok(())
    }
}

/// Reads `[ "/" [ "?" ] bag [ "/" ] ]`; a bag holds no raw slash.
fn parse_bag_text(rest: &str) -> Result<&str, Violation> {
    if rest.is_empty() {
        return Ok("");
    }
    let bag = rest.strip_prefix('/').ok_or(Violation::ForeignTopic)?;
    let bag = bag.strip_suffix('/').unwrap_or(bag);
    let bag = bag.strip_prefix('?').unwrap_or(bag);
    if bag.contains('/') {
        Err(Violation::ForeignTopic)
    } else {
        Ok(bag)
    }
}

fn parse_iothub(rest: &str) -> Option<DeviceTopic<'_>> {
    if let Some(query) = rest.strip_prefix("twin/GET/?") {
        return Some(DeviceTopic::TwinGet {
            rid: request_id(query)?,
        });
    }
    if let Some(query) = rest.strip_prefix("twin/PATCH/properties/reported/?") {
        let version = match find_value(query, "$version") {
            None => ExpectedVersion::Any,
            Some(text) => text
                .parse()
                .map_or(ExpectedVersion::Unreadable, ExpectedVersion::Exactly),
        };
        return Some(DeviceTopic::TwinPatchReported {
            rid: request_id(query)?,
            version,
        });
    }
    let (status, query) = rest.strip_prefix("methods/res/")?.split_once("/?")?;
    Some(DeviceTopic::MethodResponse {
        status: status.parse().ok()?,
        rid: request_id(query)?,
    })
}

/// Finds the request id, raw as it is to be returned.
///
/// A request without one could not be answered, and one over [`MAX_REQUEST_ID_BYTES`] might not fit the topic of
/// its answer, so neither counts as a form of §7.
fn request_id(query: &str) -> Option<&str> {
    find_value(query, "$rid").filter(|rid| !rid.is_empty() && rid.len() <= MAX_REQUEST_ID_BYTES)
}

fn find_value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// Returns the topic of a method call: `$iothub/methods/POST/{name}/?$rid={rid}` (mqtt.md §10).
///
/// `rid` should be of `[0-9a-zA-Z-]`, since one SDK percent-encodes what it returns.
pub fn method_call(name: &str, rid: &str) -> String {
    let mut topic = String::from("$iothub/methods/POST/");
    topic.extend(utf8_percent_encode(name, METHOD_NAME));
    topic.push_str("/?$rid=");
    topic.push_str(rid);
    topic
}

/// Returns the topic of the answer to a twin request (mqtt.md §11.2).
///
/// `rid` is returned byte for byte; `version` comes last and only after a successful patch.
pub fn twin_response(status: u16, rid: &str, version: Option<u64>) -> String {
    let mut topic = String::new();
    // Writing to a string cannot fail.
    let _ = write!(topic, "$iothub/twin/res/{status:03}/?$rid={rid}");
    if let Some(version) = version {
        let _ = write!(topic, "&$version={version}");
    }
    topic
}

/// Returns the topic of a change of the desired properties (mqtt.md §11.4).
pub fn desired_patch(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

#[cfg(test)]
mod tests;
