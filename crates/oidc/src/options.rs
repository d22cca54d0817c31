//! What one issuer is trusted with.

use std::path::PathBuf;
use std::time::Duration;

use downlink_domain::access::Actions;

use crate::algorithm::Algorithm;

/// Where the public keys of an issuer are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Where the issuer's own discovery document says.
    Discovery,
    /// At this address.
    Url(String),
    /// In this file, for networks from which the issuer cannot be reached.
    File(PathBuf),
}

/// One issuer (auth.md §6.4).
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    /// The exact `iss` of its tokens; discovery starts here.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// Accepted `aud`, at least one. `{HostName}` stands for each name of the hub.
    pub audiences: Vec<String>,
    /// Accepted algorithms, at least one.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may be apart: for `exp`, `nbf`, `iat`.
    pub clock_skew: Duration,
    /// The claims that say what the holder may do: names, or paths with dots.
    pub actions_claims: Vec<String>,
    /// What each value of these claims allows.
    pub mapping: Vec<(String, Actions)>,
    /// The claim that names the holder; without it `sub`, `oid`, `appid`, `azp` are tried.
    pub subject_claim: String,
    /// PEM text with the authorities to trust at its addresses; `None`: those that the machine
    /// trusts.
    pub authorities: Option<Vec<u8>>,
    /// Whether its addresses may be plain `http`.
    pub allow_http: bool,
    /// How long one look for keys may take, discovery and keys together.
    pub fetch_timeout: Duration,
    /// Time between two looks for keys.
    pub refresh_interval: Duration,
    /// The least time between two looks that tokens with unknown keys ask for.
    pub unknown_key_interval: Duration,
    /// How long keys are used while the issuer cannot be reached.
    pub stale_limit: Duration,
}

impl IssuerOptions {
    /// The defaults of auth.md §6.4 for `issuer`, without audiences or a mapping.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            keys: KeySource::Discovery,
            audiences: Vec::new(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            clock_skew: Duration::from_mins(5),
            actions_claims: vec!["roles".to_owned(), "scp".to_owned()],
            mapping: Vec::new(),
            subject_claim: "sub".to_owned(),
            authorities: None,
            allow_http: false,
            fetch_timeout: Duration::from_secs(5),
            refresh_interval: Duration::from_hours(1),
            unknown_key_interval: Duration::from_secs(30),
            stale_limit: Duration::from_hours(24),
        }
    }
}
