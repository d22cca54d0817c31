//! Names of hubs.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::place::check_pair;
use crate::human::List;
use crate::violation::Checker;

/// Further hubs; each takes memory and asks for its policies.
const MAX_FURTHER: usize = 100;
/// Bytes of the short name of a further hub.
const MAX_LABEL_BYTES: usize = 32;

/// What the hub is called, and which hubs there are beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// The hub's host name, as it stands in connection strings and tokens. It names the tenant in storage: set it
    /// before the first start to the name by which clients reach the hub. Some SDKs insist on a dot in it.
    pub host_name: String,
    /// Further host names by which clients may reach the hub; the development certificate holds them too. Add names
    /// here rather than change `host_name`.
    pub extra_host_names: List<String>,
    /// Further hubs on the same ports, up to 100, with devices, policies and messages of their own. Each is a table
    /// under a short name, of a–z, 0–9, `-` and `_`, that only configuration uses: `[hub.further.north]` in the file,
    /// `DOWNLINK_HUB__FURTHER__NORTH__HOST_NAME` in the environment. A client reaches the hub whose host name it gives
    /// in its TLS handshake (SNI); one that gives none, or one that is not known, reaches the first hub.
    pub further: BTreeMap<String, FurtherHub>,
}

/// A further hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct FurtherHub {
    /// Its host name, as `hub.host_name`; no other hub may have it.
    pub host_name: String,
    /// Further host names by which clients may reach it.
    pub extra_host_names: List<String>,
    /// PEM file with a certificate of its own, as `tls.certificate_file`; not set: that one is shown.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the private key of its certificate.
    pub key_file: Option<PathBuf>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            host_name: "localhost".to_owned(),
            extra_host_names: List::default(),
            further: BTreeMap::new(),
        }
    }
}

impl Hub {
    /// Returns every host name of the first hub, the one of connection strings first.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        names(&self.host_name, &self.extra_host_names)
    }

    /// Returns the host names of every hub, the first hub's first.
    pub fn all_host_names(&self) -> impl Iterator<Item = &str> {
        let further = self.further.values().flat_map(FurtherHub::host_names);
        self.host_names().chain(further)
    }

    pub(super) fn check(&self, at: &mut Checker) {
        let mut taken = HashSet::new();
        check_names(&self.host_name, &self.extra_host_names, &mut taken, at);
        at.require(
            self.further.len() <= MAX_FURTHER,
            "further",
            format_args!("more than {MAX_FURTHER} hubs"),
        );
        at.section("further", |at| {
            for (label, hub) in &self.further {
                at.require(
                    is_label(label),
                    label,
                    format_args!("is not a name of 1 to {MAX_LABEL_BYTES} of a-z, 0-9, - and _"),
                );
                at.section(label, |at| hub.check(&mut taken, at));
            }
        });
    }
}

impl FurtherHub {
    /// Returns every host name of the hub, the one of connection strings first.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        names(&self.host_name, &self.extra_host_names)
    }

    fn check(&self, taken: &mut HashSet<String>, at: &mut Checker) {
        let is_address = |name: &str| name.parse::<IpAddr>().is_ok();
        at.require(
            !self.host_names().any(is_address),
            "host_name",
            "is or has an ip address: clients do not give it in their handshake, and reach the first hub",
        );
        check_names(&self.host_name, &self.extra_host_names, taken, at);
        check_pair(self.certificate_file.as_ref(), self.key_file.as_ref(), at);
    }
}

fn names<'a>(first: &'a String, more: &'a List<String>) -> impl Iterator<Item = &'a str> {
    std::iter::once(first)
        .chain(more.as_slice())
        .map(String::as_str)
}

/// Notes names that are none, and those in `taken`, which another hub has.
fn check_names(first: &str, more: &List<String>, taken: &mut HashSet<String>, at: &mut Checker) {
    let mut own = HashSet::new();
    let first = std::iter::once(("host_name", first));
    let more = more.as_slice().iter();
    for (field, name) in first.chain(more.map(|name| ("extra_host_names", name.as_str()))) {
        at.require(
            is_host_name(name),
            field,
            format_args!("{name:?} is not a host name or ip address"),
        );
        let folded = name.to_ascii_lowercase();
        at.require(
            !taken.contains(&folded),
            field,
            format_args!("{name:?} is a name of another hub"),
        );
        own.insert(folded);
    }
    taken.extend(own);
}

/// The short name of a further hub, as it may also stand in the name of a variable.
fn is_label(label: &str) -> bool {
    let is_of_label = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(is_of_label)
}

/// An IP address, or labels of letters, digits, `-` and `_` with dots between (RFC 1123), at most 253 bytes.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}
