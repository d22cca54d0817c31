//! Properties of a message on its way from a device: headers of a request, or members of a batch (http-device.md §2).

use percent_encoding::percent_decode_str;

use crate::Malformed;

/// What stands before the name of an application property.
const APPLICATION: &str = "iothub-app-";

/// The property a header carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// One that the contract knows.
    System(System),
    /// One of the device's own, in the spelling it was sent in.
    Application(String),
}

/// Properties that the contract knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Id chosen by the sender.
    MessageId,
    /// Correlation id.
    CorrelationId,
    /// Who made the message, by the sender's word.
    UserId,
    /// Address as the sender wrote it.
    To,
    /// When the message ends by itself.
    Expiry,
    /// Outcomes the sender wants to hear of.
    Ack,
    /// Media type of the payload.
    ContentType,
    /// Character set or compression of the payload.
    ContentEncoding,
    /// When the message was made, by the sender's clock.
    CreationTime,
    /// Interface that the message belongs to.
    InterfaceId,
    /// Schema of the message.
    MessageSchema,
    /// Component that the message belongs to.
    Subject,
}

/// Headers and the properties they carry. C# and Java spell the creation time differently.
const SYSTEM: [(&str, System); 13] = [
    ("iothub-messageid", System::MessageId),
    ("iothub-correlationid", System::CorrelationId),
    ("iothub-userid", System::UserId),
    ("iothub-to", System::To),
    ("iothub-expiry", System::Expiry),
    ("iothub-ack", System::Ack),
    ("iothub-contenttype", System::ContentType),
    ("iothub-contentencoding", System::ContentEncoding),
    ("iothub-creationtimeutc", System::CreationTime),
    ("iothub-creation-time-utc", System::CreationTime),
    ("iothub-interface-id", System::InterfaceId),
    ("iothub-messageschema", System::MessageSchema),
    ("dt-subject", System::Subject),
];

/// Properties in their order.
pub type Properties = Vec<(Name, String)>;

/// Reads the properties of a message from the headers of its request, which was made for `path` (decoded, without its
/// query). Headers that carry none are passed over.
///
/// Names of headers match without case; that of an application property is kept as it is spelled. Of several values
/// of a system property the first counts.
///
/// # Errors
/// [`Malformed::Nameless`], [`Malformed::Name`] and [`Malformed::Value`].
pub fn from_headers<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    path: &str,
) -> Result<Properties, Malformed> {
    let mut properties = Properties::new();
    for (header, value) in headers {
        if let Some(name) = name_of(header)? {
            let value = std::str::from_utf8(value);
            let value = value.map_err(|_| Malformed::Value(header.to_owned()))?;
            add(&mut properties, name, value, path)?;
        }
    }
    Ok(properties)
}

/// Tells whether a header carries an application property, whose spelling matters then.
pub fn is_application(header: &str) -> bool {
    header
        .get(..APPLICATION.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(APPLICATION))
}

/// Bytes that count towards the size limit: the payload, values of system properties, names and values of application
/// properties (c2d.md §2).
pub fn counted_bytes(properties: &[(Name, String)], body: &[u8]) -> usize {
    let count = |(name, value): &(Name, String)| match name {
        Name::System(_) => value.len(),
        Name::Application(name) => name.len() + value.len(),
    };
    body.len() + properties.iter().map(count).sum::<usize>()
}

/// The property that a header of this name carries, if any.
pub(crate) fn name_of(header: &str) -> Result<Option<Name>, Malformed> {
    if is_application(header) {
        let name = &header[APPLICATION.len()..];
        if name.is_empty() {
            return Err(Malformed::Nameless);
        }
        if !name.bytes().all(is_token) {
            return Err(Malformed::Name(header.to_owned()));
        }
        return Ok(Some(Name::Application(name.to_owned())));
    }
    let known = SYSTEM
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(header));
    Ok(known.map(|(_, system)| Name::System(*system)))
}

/// Adds a property, unless it only repeats what is known: the path of the request, or an earlier value.
pub(crate) fn add(
    properties: &mut Properties,
    name: Name,
    value: &str,
    path: &str,
) -> Result<(), Malformed> {
    let is_allowed = match &name {
        // Media types, instants and addresses need more than application properties may have.
        Name::System(_) => value.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        Name::Application(_) => value.bytes().all(is_token),
    };
    if !is_allowed {
        let spelled = match name {
            Name::System(system) => spelling(system).to_owned(),
            Name::Application(name) => name,
        };
        return Err(Malformed::Value(spelled));
    }
    let is_known = match &name {
        Name::System(System::To) if is_path(value, path) => true,
        Name::System(_) => properties.iter().any(|(earlier, _)| *earlier == name),
        Name::Application(_) => false,
    };
    if !is_known {
        properties.push((name, value.to_owned()));
    }
    Ok(())
}

/// The first of the headers that carry a property.
fn spelling(system: System) -> &'static str {
    SYSTEM
        .iter()
        .find(|(_, known)| *known == system)
        .map_or("", |(name, _)| name)
}

/// SDKs repeat the path in `iothub-to`, some with its query.
fn is_path(to: &str, path: &str) -> bool {
    let bare = to.split_once('?').map_or(to, |(bare, _)| bare);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let decoded = percent_decode_str(bare).decode_utf8();
    bare.eq_ignore_ascii_case(path)
        || decoded.is_ok_and(|decoded| decoded.eq_ignore_ascii_case(path))
}

/// Characters of names and values of application properties (http-device.md §1), which are those of a header's name.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
