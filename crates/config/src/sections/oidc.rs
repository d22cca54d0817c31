//! Issuers of bearer tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::human::{HumanDuration, List};
use crate::violation::Checker;

#[cfg(test)]
mod tests;

const MAX_ISSUERS: usize = 16;
const MAX_ADDRESS_BYTES: usize = 512;
const MAX_MAPPED: usize = 1_000;
const SECOND: HumanDuration = HumanDuration::from_secs(1);
const DAY: HumanDuration = HumanDuration::from_secs(86_400);

/// Bearer tokens of back-ends: any `OpenID` Connect issuer. Without one no bearer token is taken. Devices prove
/// themselves by keys and certificates alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Oidc {
    /// The issuers that are trusted, up to 16, each a table `[[oidc.issuers]]` of the file.
    pub issuers: Vec<OidcIssuer>,
}

impl Oidc {
    /// Tells whether every audience names the hub that its tokens are for.
    pub(super) fn names_hubs(&self) -> bool {
        let audiences = self
            .issuers
            .iter()
            .map(|issuer| issuer.audiences.as_slice());
        audiences
            .flatten()
            .all(|audience| audience.contains("{HostName}"))
    }

    pub(super) fn check(&self, at: &mut Checker) {
        at.require(
            self.issuers.len() <= MAX_ISSUERS,
            "issuers",
            format_args!("more than {MAX_ISSUERS} issuers"),
        );
        for (index, issuer) in self.issuers.iter().enumerate() {
            at.section(&format!("issuers.{index}"), |at| issuer.check(at));
            let earlier = &self.issuers[..index];
            at.require(
                earlier.iter().all(|other| other.issuer != issuer.issuer),
                &format!("issuers.{index}.issuer"),
                format_args!("{} is named twice", issuer.issuer),
            );
        }
    }
}

/// One issuer. Its keys are fetched in the background, without redirects and without a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct OidcIssuer {
    /// The exact `iss` of its tokens, an `https` address; discovery is at
    /// `{issuer}/.well-known/openid-configuration`.
    pub issuer: String,
    /// Where its keys are: an `https` address, or the absolute path of a file where the issuer cannot be reached. Not
    /// set: where discovery says.
    pub jwks_uri: Option<String>,
    /// Accepted values of `aud`, one of which a token must have; `{HostName}` stands for each name of the hub. With
    /// further hubs every value must hold it, or a token for one hub would count at all of them.
    pub audiences: List<String>,
    /// Accepted signatures: any of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, `EdDSA`.
    pub algorithms: List<TokenAlgorithm>,
    /// How far the issuer's clock may be off, up to 10 minutes: for `exp`, `nbf` and `iat`.
    pub clock_skew: HumanDuration,
    /// The claims that say what the holder may do, all of them together: names, or paths with dots such as
    /// `realm_access.roles`. A list's items are values; a text is one, and each of its words too.
    pub actions_claims: List<String>,
    /// What each value of these claims allows: action names in which `*` stands for any text. Setting it replaces the
    /// four roles.
    pub mapping: BTreeMap<String, List<String>>,
    /// The claim that names the holder in audit events; a token without it is named by `sub`, `oid`, `appid` or `azp`.
    pub subject_claim: String,
    /// PEM file with the authorities to trust at its addresses; not set: those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Whether its addresses may be plain `http`: for tests and laptops, since whoever sits between can then make
    /// tokens.
    pub allow_http: bool,
    /// How long one look for its keys may take, 100 ms to 1 minute.
    pub fetch_timeout: HumanDuration,
    /// Time between two looks for its keys, 1 second to 1 day.
    pub refresh_interval: HumanDuration,
    /// The least time between two looks that tokens with unknown keys ask for, 1 second to 1 hour.
    pub unknown_key_interval: HumanDuration,
    /// How long its keys are used while it cannot be reached, 1 minute to 7 days.
    pub stale_limit: HumanDuration,
}

impl Default for OidcIssuer {
    fn default() -> Self {
        let texts = |texts: &[&str]| List::new(texts.iter().map(|&text| text.to_owned()).collect());
        let role = |name: &str, actions: &[&str]| (name.to_owned(), texts(actions));
        Self {
            issuer: String::new(),
            jwks_uri: None,
            audiences: texts(&["https://iothubs.azure.net", "https://{HostName}"]),
            algorithms: List::new(vec![TokenAlgorithm::Rs256, TokenAlgorithm::Es256]),
            clock_skew: HumanDuration::from_secs(300),
            actions_claims: texts(&["roles", "scp"]),
            mapping: BTreeMap::from([
                role("IoT Hub Data Contributor", &["Microsoft.Devices/IotHubs/*"]),
                role(
                    "IoT Hub Data Reader",
                    &[
                        "Microsoft.Devices/IotHubs/*/read",
                        "Microsoft.Devices/IotHubs/fileUpload/notifications/action",
                    ],
                ),
                role(
                    "IoT Hub Registry Contributor",
                    &["Microsoft.Devices/IotHubs/devices/*"],
                ),
                role(
                    "IoT Hub Twin Contributor",
                    &["Microsoft.Devices/IotHubs/twins/*"],
                ),
            ]),
            subject_claim: "sub".to_owned(),
            ca_file: None,
            allow_http: false,
            fetch_timeout: HumanDuration::from_secs(5),
            refresh_interval: HumanDuration::from_secs(3_600),
            unknown_key_interval: HumanDuration::from_secs(30),
            stale_limit: DAY,
        }
    }
}

impl OidcIssuer {
    fn check(&self, at: &mut Checker) {
        at.require(
            self.is_address(&self.issuer),
            "issuer",
            format_args!(
                "{:?} must be {} address of up to {MAX_ADDRESS_BYTES} bytes without user, query and fragment",
                self.issuer,
                self.scheme()
            ),
        );
        if let Some(uri) = &self.jwks_uri {
            at.require(
                uri.starts_with('/') || self.is_address(uri),
                "jwks_uri",
                format_args!(
                    "{uri:?} must be {} address or the absolute path of a file",
                    self.scheme()
                ),
            );
        }
        let lists = [
            ("audiences", self.audiences.as_slice()),
            ("actions_claims", self.actions_claims.as_slice()),
        ];
        for (field, list) in lists {
            let is_fine = !list.is_empty() && list.iter().all(|text| is_text(text));
            at.require(is_fine, field, "must name at least one, none of them empty");
        }
        at.require(
            !self.algorithms.as_slice().is_empty(),
            "algorithms",
            "must name at least one",
        );
        at.require(
            is_text(&self.subject_claim),
            "subject_claim",
            "must not be empty",
        );
        at.require(
            self.mapping.len() <= MAX_MAPPED,
            "mapping",
            format_args!("has more than {MAX_MAPPED} values"),
        );
        self.check_durations(at);
    }

    fn check_durations(&self, at: &mut Checker) {
        let ten_minutes = HumanDuration::from_secs(600);
        at.duration(
            "clock_skew",
            self.clock_skew,
            HumanDuration::default()..=ten_minutes,
        );
        at.duration(
            "fetch_timeout",
            self.fetch_timeout,
            HumanDuration::from_millis(100)..=HumanDuration::from_secs(60),
        );
        at.duration("refresh_interval", self.refresh_interval, SECOND..=DAY);
        let hour = HumanDuration::from_secs(3_600);
        at.duration(
            "unknown_key_interval",
            self.unknown_key_interval,
            SECOND..=hour,
        );
        let (minute, week) = (
            HumanDuration::from_secs(60),
            HumanDuration::from_secs(7 * 86_400),
        );
        at.duration("stale_limit", self.stale_limit, minute..=week);
    }

    fn scheme(&self) -> &'static str {
        if self.allow_http {
            "an http or https"
        } else {
            "an https"
        }
    }

    fn is_address(&self, text: &str) -> bool {
        let rest = text.strip_prefix("https://").or_else(|| {
            let plain = text.strip_prefix("http://");
            plain.filter(|_| self.allow_http)
        });
        let is_odd = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#' | b'@');
        text.len() <= MAX_ADDRESS_BYTES
            && rest.is_some_and(|rest| {
                !rest.is_empty() && !rest.starts_with('/') && !rest.bytes().any(is_odd)
            })
    }
}

fn is_text(text: &str) -> bool {
    (1..=MAX_ADDRESS_BYTES).contains(&text.len())
}

macro_rules! algorithms {
    ($($name:ident = $text:literal,)*) => {
        /// A signature of tokens, by public keys only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum TokenAlgorithm {
            $(#[doc = concat!("`", $text, "`.")] $name,)*
        }

        impl fmt::Display for TokenAlgorithm {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }

        impl FromStr for TokenAlgorithm {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(concat!("is none of", $(" ", $text,)*).to_owned()),
                }
            }
        }
    };
}

algorithms! {
    Rs256 = "RS256",
    Rs384 = "RS384",
    Rs512 = "RS512",
    Ps256 = "PS256",
    Ps384 = "PS384",
    Ps512 = "PS512",
    Es256 = "ES256",
    Es384 = "ES384",
    EdDsa = "EdDSA",
}
