//! Subscription filters, compared as plain text with the forms that are granted (mqtt.md §6.1).

use crate::identity::ClientIdentity;

const TWIN_RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED_PATCHES: &str = "$iothub/twin/PATCH/properties/desired/#";
/// What stands before the version that a device has.
const DESIRED_SINCE: &str = "$iothub/twin/PATCH/properties/desired/?$version=";
const METHODS: &str = "$iothub/methods/POST/#";
const METHOD_PREFIX: &str = "$iothub/methods/POST/";

/// A filter that is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `devices/{d}/messages/devicebound/#`.
    CloudToDevice,
    /// `devices/{d}/modules/{m}/inputs/#`; granted, nothing is delivered (mqtt.md §12).
    ModuleInputs,
    /// `devices/{d}/modules/{m}/#`; granted, nothing is delivered.
    ModuleEverything,
    /// `devices/{d}/modules/{m}/messages/devicebound/#`; Java asks for it, nothing is delivered.
    ModuleDevicebound,
    /// `$iothub/twin/res/#`.
    TwinResponses,
    /// `$iothub/twin/PATCH/properties/desired/#`.
    DesiredPatches,
    /// `$iothub/methods/POST/#`.
    Methods,
    /// `$iothub/methods/POST/{name}/#`, the name as it stands in the filter.
    Method(Box<str>),
}

/// What a subscription switches on for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Cloud-to-device messages.
    CloudToDevice,
    /// Direct methods, all or some.
    Methods,
    /// Answers to twin requests.
    TwinResponses,
    /// Changes of the desired properties.
    DesiredPatches,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 4] = [
        Self::CloudToDevice,
        Self::Methods,
        Self::TwinResponses,
        Self::DesiredPatches,
    ];
}

/// Returns the version that the filter names: `$iothub/twin/PATCH/properties/desired/?$version={n}` asks
/// for the changes after it, and is else the same as `$iothub/twin/PATCH/properties/desired/#`. It is this
/// hub's own addition to the contract.
pub fn version_named(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(DESIRED_SINCE)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

impl Filter {
    /// Returns the granted form that `text` is, or nothing for every other filter.
    pub fn parse(text: &str, identity: &ClientIdentity) -> Option<Self> {
        if let Some(rest) = identity.strip_prefix(text) {
            return match (identity.module_id(), rest) {
                (None, "messages/devicebound/#") => Some(Self::CloudToDevice),
                (Some(_), "inputs/#") => Some(Self::ModuleInputs),
                (Some(_), "#") => Some(Self::ModuleEverything),
                (Some(_), "messages/devicebound/#") => Some(Self::ModuleDevicebound),
                _ => None,
            };
        }
        match text {
            TWIN_RESPONSES => Some(Self::TwinResponses),
            DESIRED_PATCHES => Some(Self::DesiredPatches),
            _ if version_named(text).is_some() => Some(Self::DesiredPatches),
            METHODS => Some(Self::Methods),
            _ => {
                let name = text.strip_prefix(METHOD_PREFIX)?.strip_suffix("/#")?;
                let is_name = !name.is_empty() && !name.contains(['/', '#', '+']);
                is_name.then(|| Self::Method(name.into()))
            }
        }
    }

    /// Returns the filter as text, as [`Filter::parse`] reads it.
    pub fn to_text(&self, identity: &ClientIdentity) -> String {
        let device_id = identity.device_id();
        let module_id = identity.module_id().unwrap_or_default();
        match self {
            Self::CloudToDevice => format!("devices/{device_id}/messages/devicebound/#"),
            Self::ModuleInputs => format!("devices/{device_id}/modules/{module_id}/inputs/#"),
            Self::ModuleEverything => format!("devices/{device_id}/modules/{module_id}/#"),
            Self::ModuleDevicebound => {
                format!("devices/{device_id}/modules/{module_id}/messages/devicebound/#")
            }
            Self::TwinResponses => TWIN_RESPONSES.to_owned(),
            Self::DesiredPatches => DESIRED_PATCHES.to_owned(),
            Self::Methods => METHODS.to_owned(),
            Self::Method(name) => format!("{METHOD_PREFIX}{name}/#"),
        }
    }

    /// Returns what the filter switches on, if anything.
    pub fn feature(&self) -> Option<Feature> {
        match self {
            Self::CloudToDevice => Some(Feature::CloudToDevice),
            Self::TwinResponses => Some(Feature::TwinResponses),
            Self::DesiredPatches => Some(Feature::DesiredPatches),
            Self::Methods | Self::Method(_) => Some(Feature::Methods),
            Self::ModuleInputs | Self::ModuleEverything | Self::ModuleDevicebound => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_CHARACTER: &str = "aZ09-:.+%_#*?!(),=@;$'";

    #[track_caller]
    fn assert_round_trip(text: &str, identity: &ClientIdentity, filter: &Filter) {
        assert_eq!(
            Filter::parse(text, identity).as_ref(),
            Some(filter),
            "{text}"
        );
        assert_eq!(filter.to_text(identity), text);
    }

    #[test]
    fn every_listed_filter_of_a_device_is_granted() {
        let identity = ClientIdentity::device("dev1").unwrap();
        for (text, filter) in [
            ("devices/dev1/messages/devicebound/#", Filter::CloudToDevice),
            ("$iothub/twin/res/#", Filter::TwinResponses),
            (
                "$iothub/twin/PATCH/properties/desired/#",
                Filter::DesiredPatches,
            ),
            ("$iothub/methods/POST/#", Filter::Methods),
            (
                "$iothub/methods/POST/reboot/#",
                Filter::Method("reboot".into()),
            ),
        ] {
            assert_round_trip(text, &identity, &filter);
        }
    }

    #[test]
    fn a_filter_may_name_the_version_of_desired_that_the_device_has() {
        let identity = ClientIdentity::device("dev1").unwrap();
        let prefix = "$iothub/twin/PATCH/properties/desired/?$version=";
        for (digits, version) in [("0", 0), ("7", 7), ("18446744073709551615", u64::MAX)] {
            let text = format!("{prefix}{digits}");
            assert_eq!(version_named(&text), Some(version));
            let filter = Filter::parse(&text, &identity);
            assert_eq!(filter, Some(Filter::DesiredPatches));
        }
        for digits in ["", "+7", "-1", "7/#", "seven", "18446744073709551616"] {
            let text = format!("{prefix}{digits}");
            assert_eq!(version_named(&text), None, "{digits}");
            assert_eq!(Filter::parse(&text, &identity), None, "{digits}");
        }
        assert_eq!(version_named(DESIRED_PATCHES), None);
    }

    #[test]
    fn every_listed_filter_of_a_module_is_granted() {
        let identity = ClientIdentity::module("dev1", "mod1").unwrap();
        for (text, filter) in [
            ("devices/dev1/modules/mod1/inputs/#", Filter::ModuleInputs),
            ("devices/dev1/modules/mod1/#", Filter::ModuleEverything),
            (
                "devices/dev1/modules/mod1/messages/devicebound/#",
                Filter::ModuleDevicebound,
            ),
            ("$iothub/methods/POST/#", Filter::Methods),
        ] {
            assert_round_trip(text, &identity, &filter);
        }
    }

    #[test]
    fn ids_with_every_allowed_character_are_plain_text_in_filters() {
        let id = EVERY_CHARACTER;
        let device = ClientIdentity::device(id).unwrap();
        let text = format!("devices/{id}/messages/devicebound/#");
        assert_round_trip(&text, &device, &Filter::CloudToDevice);
        let module = ClientIdentity::module(id, id).unwrap();
        assert_round_trip(
            &format!("devices/{id}/modules/{id}/#"),
            &module,
            &Filter::ModuleEverything,
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let identity = ClientIdentity::device("dev1").unwrap();
        for text in [
            "#",
            "+",
            "devices/#",
            "devices/dev1/#",
            "devices/+/messages/devicebound/#",
            "devices/dev2/messages/devicebound/#",
            "devices/DEV1/messages/devicebound/#",
            "devices/dev1/messages/devicebound",
            "devices/dev1/messages/devicebound/",
            "devices/dev1/messages/deviceBound/#",
            "devices/dev1/messages/events/#",
            "devices/dev1/modules/mod1/#",
            "$iothub/#",
            "$iothub/twin/#",
            "$iothub/twin/res/200/#",
            "$iothub/twin/PATCH/properties/reported/#",
            "$iothub/methods/POST",
            "$iothub/methods/POST//#",
            "$iothub/methods/POST/+/#",
            "$iothub/methods/POST/a/b/#",
            "$iothub/methods/POST/reboot",
            "$iothub/methods/res/#",
        ] {
            assert_eq!(Filter::parse(text, &identity), None, "{text}");
        }
    }
}
