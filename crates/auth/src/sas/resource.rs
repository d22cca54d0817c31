//! What a token opens, and whether its scope reaches that far.

use std::borrow::Cow;

use percent_encoding::utf8_percent_encode;

use super::{ENCODED, decode};

/// What someone wants to use, below the hub's host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The device endpoints of one device.
    Device {
        /// The id the connection or path claims.
        device_id: &'a str,
    },
    /// The device endpoints of one module.
    Module {
        /// The id of its device.
        device_id: &'a str,
        /// Its own id.
        module_id: &'a str,
    },
    /// A service endpoint, by the segments of its path, decoded; none for the hub as a whole.
    Service {
        /// For `/twins/dev-1/methods`: `["twins", "dev-1", "methods"]`.
        path: &'a [&'a str],
    },
}

impl Resource<'_> {
    /// Returns the scope of a token for exactly this resource, as plain text: ids are encoded, slashes stand.
    pub fn uri(&self, host_name: &str) -> String {
        let mut uri = host_name.to_owned();
        self.for_each_segment(|segment| {
            uri.push('/');
            uri.extend(utf8_percent_encode(segment, ENCODED));
        });
        uri
    }

    fn for_each_segment(&self, mut visit: impl FnMut(&str)) {
        match *self {
            Self::Device { device_id } => {
                visit("devices");
                visit(device_id);
            }
            Self::Module {
                device_id,
                module_id,
            } => {
                visit("devices");
                visit(device_id);
                visit("modules");
                visit(module_id);
            }
            Self::Service { path } => path.iter().for_each(|segment| visit(segment)),
        }
    }

    /// Tells how far a token's scope reaches (auth.md §3.3).
    ///
    /// Read as it stands in the token, for C clients, which encode nothing, and decoded once, for all others. Host
    /// and path are judged in the same reading: an encoded scope, read as it stands, is one long host name.
    pub(super) fn reach(&self, raw_scope: &str, scope: &str, hub_names: &[&str]) -> Reach {
        self.reach_read_as(raw_scope, hub_names)
            .max(self.reach_read_as(scope, hub_names))
    }

    fn reach_read_as(&self, scope: &str, hub_names: &[&str]) -> Reach {
        let mut segments = scope.trim_end_matches('/').split('/');
        let host = segments.next().unwrap_or_default();
        let is_our_host = hub_names.iter().any(|name| name.eq_ignore_ascii_case(host));
        let mut is_prefix = true;
        self.for_each_segment(|wanted| {
            // A scope that is shorter than the resource covers all below it.
            if let Some(segment) = segments.next() {
                is_prefix &= is_same(segment, wanted);
            }
        });
        // Beyond the resource only what old generators appended: `api-version=2016-11-14`.
        is_prefix &= segments.all(is_api_version);
        match (is_our_host, is_prefix) {
            (true, true) => Reach::Covers,
            (true, false) => Reach::OtherResource,
            (false, _) => Reach::OtherHub,
        }
    }
}

/// How far a scope reaches; the more the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    OtherHub,
    OtherResource,
    Covers,
}

/// Tells whether a segment is what old generators appended to the scope of a device.
pub(super) fn is_api_version(segment: &str) -> bool {
    let name = segment.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.eq_ignore_ascii_case("api-version"))
}

/// Compares without case, as it stands and decoded once more: C# encodes ids, then the whole again.
pub(super) fn is_same(segment: &str, wanted: &str) -> bool {
    let decoded = decode(segment).unwrap_or(Cow::Borrowed(segment));
    segment.eq_ignore_ascii_case(wanted) | decoded.eq_ignore_ascii_case(wanted)
}
