//! Addresses of links and of messages (amqp.md §4.1, §8.1, §8.2).

use downlink_domain::id::{DeviceId, IdentityName, ModuleId};
use percent_encoding::percent_decode_str;

/// What stands at the hub's end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Takes tokens and answers them.
    Cbs,
    /// Takes messages for devices.
    Commands,
    /// Gives reports on messages.
    Feedback,
    /// Would give notifications of uploaded files.
    FileNotifications,
    /// Belongs to a device or a module.
    Device(DeviceAddress),
}

/// A node of a device or module (amqp.md §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceAddress {
    /// Whose it is, by the id as it stands and, where that is another, percent-decoded once: clients that encode ids
    /// and clients that do not look alike. At least one.
    pub(super) names: Vec<IdentityName>,
    /// Which of its nodes.
    pub(super) node: DeviceNode,
}

/// What a device or module may attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceNode {
    /// `messages/events`: takes telemetry; a module may also listen there.
    Events,
    /// `messages/devicebound`: gives messages of back-ends.
    Devicebound,
    /// `methods/devicebound`: gives calls, takes answers.
    Methods,
    /// `twin`: takes requests, gives answers and changes.
    Twin,
}

/// Reads the address of a link: an absolute URI or a path, in any letter case; `None` when it is
/// none of the hub's.
pub(super) fn parse_link(address: &str) -> Option<Address> {
    let path = path_of(address);
    if path.eq_ignore_ascii_case("$cbs") {
        return Some(Address::Cbs);
    }
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        [first, second] if is(first, "messages") && is(second, "devicebound") => {
            Some(Address::Commands)
        }
        [first, second, third] if is(first, "messages") && is(second, "servicebound") => match () {
            () if is(third, "feedback") => Some(Address::Feedback),
            () if is(third, "filenotifications") || is(third, "fileuploadnotifications") => {
                Some(Address::FileNotifications)
            }
            () => None,
        },
        [first, device, second, module, rest @ ..]
            if is(first, "devices") && is(second, "modules") =>
        {
            device_address(device, Some(module), rest)
        }
        [first, device, rest @ ..] if is(first, "devices") => device_address(device, None, rest),
        _ => None,
    }
}

/// Tells whether an address is one from which the built-in endpoint of the real service is read,
/// such as `messages/events/ConsumerGroups/{group}/Partitions/{n}` (amqp.md §8.6).
pub(super) fn is_of_event_reader(address: &str) -> bool {
    let mut segments = path_of(address).split('/');
    let mut next_is = |name| segments.next().is_some_and(|segment| is(segment, name));
    next_is("messages") && next_is("events")
}

fn device_address(device: &str, module: Option<&str>, rest: &[&str]) -> Option<Address> {
    let node = match rest {
        [first, second] if is(first, "messages") && is(second, "events") => DeviceNode::Events,
        [first, second] if is(first, "messages") && is(second, "devicebound") => {
            DeviceNode::Devicebound
        }
        [first, second] if is(first, "methods") && is(second, "devicebound") => DeviceNode::Methods,
        [first] if is(first, "twin") => DeviceNode::Twin,
        _ => return None,
    };
    let names = read_names(device, module);
    (!names.is_empty()).then_some(Address::Device(DeviceAddress { names, node }))
}

/// Reads the ids of an identity as they stand, then percent-decoded once.
fn read_names(device: &str, module: Option<&str>) -> Vec<IdentityName> {
    let name = |device: &str, module: Option<&str>| {
        let device = device.parse().ok()?;
        let module = module.map(str::parse).transpose().ok()?;
        Some(IdentityName { device, module })
    };
    let plain = name(device, module);
    let decoded = decode(device).and_then(|device| {
        let module = module.map(|module| decode(module).unwrap_or_else(|| module.to_owned()));
        name(&device, module.as_deref())
    });
    let mut names: Vec<_> = [plain, decoded].into_iter().flatten().collect();
    names.dedup();
    names
}

/// Whom a message is for, as its `to` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The id as it stands.
    pub(super) device: DeviceId,
    /// The id percent-decoded once, when that is another valid one: senders that encode ids and
    /// senders that do not look alike (amqp.md §8.2).
    pub(super) decoded: Option<DeviceId>,
    /// The module, if one is meant.
    pub(super) module: Option<ModuleId>,
}

/// Reads `to` of a message: `/devices/{id}[/modules/{id}]/messages/devicebound`, path or URI.
pub(super) fn parse_target(to: &str) -> Option<Target> {
    let segments: Vec<&str> = path_of(to).split('/').collect();
    let (device, module, rest) = match segments.as_slice() {
        [devices, device, modules, module, rest @ ..]
            if is(devices, "devices") && is(modules, "modules") =>
        {
            (device, Some(module), rest)
        }
        [devices, device, rest @ ..] if is(devices, "devices") => (device, None, rest),
        _ => return None,
    };
    let is_devicebound = matches!(rest, [messages, devicebound]
        if is(messages, "messages") && is(devicebound, "devicebound"));
    if !is_devicebound {
        return None;
    }
    let plain = device.parse().ok();
    let decoded = device.contains('%').then(|| decode(device)).flatten();
    let decoded: Option<DeviceId> = decoded.and_then(|text| text.parse().ok());
    let module = match module {
        None => None,
        Some(module) => Some(decode(module)?.parse().ok()?),
    };
    match (plain, decoded) {
        (Some(device), decoded) => {
            let decoded = decoded.filter(|decoded| *decoded != device);
            Some(Target {
                device,
                decoded,
                module,
            })
        }
        (None, Some(device)) => Some(Target {
            device,
            decoded: None,
            module,
        }),
        (None, None) => None,
    }
}

/// Splits the device, and the module, off the scope of a token such as `{host}/devices/{id}`;
/// each also percent-decoded once more, since C# encodes ids twice (auth.md §3.2).
pub(super) fn parse_scope(scope: &str) -> Vec<IdentityName> {
    let segments: Vec<&str> = scope.split('/').collect();
    let (device, module) = match segments.as_slice() {
        [_, devices, device, modules, module, ..]
            if is(devices, "devices") && is(modules, "modules") =>
        {
            (*device, Some(*module))
        }
        [_, devices, device, ..] if is(devices, "devices") => (*device, None),
        _ => return Vec::new(),
    };
    read_names(device, module)
}

/// Returns the path of an address without its leading slashes; scheme and authority are dropped.
fn path_of(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

fn is(segment: &str, name: &str) -> bool {
    segment.eq_ignore_ascii_case(name)
}

/// Percent-decodes once; `None` when the result is no text. A plus sign stays one.
fn decode(text: &str) -> Option<String> {
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_sdks_is_known() {
        for (text, address) in [
            ("$cbs", Address::Cbs),
            ("/messages/devicebound", Address::Commands),
            (
                "amqps://hub.test:5671/messages/deviceBound",
                Address::Commands,
            ),
            ("amqps://hub.test/messages/devicebound", Address::Commands),
            ("/messages/serviceBound/feedback", Address::Feedback),
            ("/messages/servicebound/feedback", Address::Feedback),
            (
                "amqps://hub.test:5671/messages/serviceBound/feedback",
                Address::Feedback,
            ),
            (
                "/messages/serviceBound/filenotifications",
                Address::FileNotifications,
            ),
            (
                "/messages/servicebound/fileuploadnotifications",
                Address::FileNotifications,
            ),
        ] {
            assert_eq!(parse_link(text), Some(address), "{text}");
        }
    }

    #[test]
    fn nodes_of_devices_and_modules_are_told_apart() {
        for (text, expected, node) in [
            (
                "/devices/dev-1/messages/events",
                &["dev-1"][..],
                DeviceNode::Events,
            ),
            (
                "amqps://hub.test:5671/devices/dev-1/messages/deviceBound",
                &["dev-1"],
                DeviceNode::Devicebound,
            ),
            (
                "amqps://hub.test/devices/a%3Ab/methods/deviceBound",
                &["a%3Ab", "a:b"],
                DeviceNode::Methods,
            ),
            (
                "/devices/d/modules/m%21/twin",
                &["d/m%21", "d/m!"],
                DeviceNode::Twin,
            ),
            ("/devices/modules/twin", &["modules"], DeviceNode::Twin),
        ] {
            let Some(Address::Device(address)) = parse_link(text) else {
                panic!("{text}");
            };
            let names: Vec<_> = address.names.iter().map(ToString::to_string).collect();
            assert_eq!(
                (names.as_slice(), address.node),
                (
                    expected
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .as_slice(),
                    node
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_of_event_readers_are_known_as_such() {
        for text in [
            "/messages/events",
            "messages/events/$management",
            "amqps://hub.test:5671/messages/events/ConsumerGroups/$Default/Partitions/0",
        ] {
            assert!(is_of_event_reader(text), "{text}");
        }
        for text in [
            "/messages/devicebound",
            "/devices/d/messages/events",
            "messages",
        ] {
            assert!(!is_of_event_reader(text), "{text}");
        }
    }

    #[test]
    fn other_addresses_are_unknown() {
        for text in [
            "",
            "/",
            "messages",
            "/messages/events",
            "/messages/serviceBound/x",
            "devices",
            "/devices/d",
            "/devices//twin",
            "/devices/d/x",
            "/devices/d/twin/x",
            "/devices/a b/twin",
            "/devices/d/modules/m",
        ] {
            assert_eq!(parse_link(text), None, "{text}");
        }
    }

    #[test]
    fn target_is_read_from_paths_and_uris() {
        for to in [
            "/devices/dev-1/messages/devicebound",
            "/devices/dev-1/messages/deviceBound",
            "amqps://hub.test/devices/dev-1/messages/devicebound",
        ] {
            let target = parse_target(to).unwrap();
            assert_eq!((target.device.as_str(), target.decoded), ("dev-1", None));
            assert_eq!(target.module, None);
        }
        let module = parse_target("/devices/d/modules/m%21/messages/deviceBound").unwrap();
        assert_eq!(module.module.unwrap().as_str(), "m!");
    }

    #[test]
    fn id_that_may_be_encoded_gives_both_readings() {
        let both = parse_target("/devices/a%3Ab/messages/devicebound").unwrap();
        assert_eq!(both.device.as_str(), "a%3Ab");
        assert_eq!(both.decoded.unwrap().as_str(), "a:b");
        let raw_only = parse_target("/devices/100%25!/messages/devicebound").unwrap();
        assert_eq!(raw_only.decoded.unwrap().as_str(), "100%!");
        let no_escape = parse_target("/devices/a%b/messages/devicebound").unwrap();
        assert_eq!(
            (no_escape.device.as_str(), no_escape.decoded),
            ("a%b", None)
        );
        let plus = parse_target("/devices/a+b%2B/messages/devicebound").unwrap();
        assert_eq!(plus.decoded.unwrap().as_str(), "a+b+");
    }

    #[test]
    fn malformed_targets_name_nobody() {
        for to in [
            "",
            "dev-1",
            "/devices/dev-1",
            "/devices//messages/devicebound",
            "/devices/a b/messages/devicebound",
            "/devices/d/messages/events",
            "/devices/d/messages/devicebound/x",
        ] {
            assert_eq!(parse_target(to), None, "{to}");
        }
    }

    #[test]
    fn scope_names_the_device_in_both_readings() {
        let names = |scope| {
            parse_scope(scope)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("hub.test/devices/dev-1"), ["dev-1"]);
        assert_eq!(names("hub.test/devices/a%2Bb"), ["a%2Bb", "a+b"]);
        assert_eq!(names("hub.test/devices/d/modules/m"), ["d/m"]);
        assert!(names("hub.test").is_empty());
    }
}
