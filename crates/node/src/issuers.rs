//! Issuers of bearer tokens, as the configuration chooses.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use downlink_config::sections::OidcIssuer;
use downlink_domain::access::Actions;
use downlink_domain::id::HubName;
pub use downlink_oidc::Issuers;
use downlink_oidc::{Algorithm, IssuerOptions, KeySource};
use tracing::warn;

use crate::ground::Ground;

const MAX_AUTHORITIES_BYTES: u64 = 1024 * 1024;

/// Opens the issuers of bearer tokens for a hub that is called `host_names`. An issuer that is
/// away is asked again in the background: it costs its own tokens, not readiness.
///
/// # Errors
/// One line that names the setting and says what is wrong.
pub fn open_issuers(ground: &Ground, host_names: &[HubName]) -> anyhow::Result<Arc<Issuers>> {
    let settings = ground.config.oidc.issuers.iter().enumerate();
    let options = settings
        .map(|(at, issuer)| issuer_options(issuer).with_context(|| format!("oidc.issuers.{at}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<&str> = host_names.iter().map(HubName::as_str).collect();
    let meter = ground.metrics.meter("downlink.oidc");
    let scope = ground.lifecycle.child("oidc");
    let issuers = Issuers::start(options, &names, &ground.clock, &meter, &scope);
    Ok(Arc::new(issuers.context("oidc.issuers")?))
}

fn issuer_options(settings: &OidcIssuer) -> anyhow::Result<IssuerOptions> {
    let keys = match settings.jwks_uri.as_deref() {
        None => KeySource::Discovery,
        Some(path) if path.starts_with('/') => KeySource::File(PathBuf::from(path)),
        Some(address) => KeySource::Url(address.to_owned()),
    };
    let algorithms = settings.algorithms.as_slice().iter();
    let algorithms = algorithms.map(|algorithm| algorithm.to_string().parse::<Algorithm>());
    let authorities = settings.ca_file.as_deref().map(|path| {
        let text = read_bounded(path);
        text.with_context(|| format!("ca_file: cannot read {}", path.display()))
    });
    Ok(IssuerOptions {
        issuer: settings.issuer.clone(),
        keys,
        audiences: settings.audiences.as_slice().to_vec(),
        algorithms: algorithms.collect::<Result<_, _>>().context("algorithms")?,
        clock_skew: settings.clock_skew.get(),
        actions_claims: settings.actions_claims.as_slice().to_vec(),
        mapping: mapping(settings),
        subject_claim: settings.subject_claim.clone(),
        authorities: authorities.transpose()?,
        allow_http: settings.allow_http,
        fetch_timeout: settings.fetch_timeout.get(),
        refresh_interval: settings.refresh_interval.get(),
        unknown_key_interval: settings.unknown_key_interval.get(),
        stale_limit: settings.stale_limit.get(),
    })
}

fn mapping(settings: &OidcIssuer) -> Vec<(String, Actions)> {
    let values = settings.mapping.iter().map(|(value, patterns)| {
        let mut allowed = Actions::NONE;
        for pattern in patterns.as_slice() {
            let actions = Actions::matching(pattern);
            if actions.is_empty() {
                // Custom roles of the original service name actions that this hub does not have.
                warn!(issuer = %settings.issuer, value, pattern, "a mapping names no action");
            }
            allowed = allowed.union(actions);
        }
        (value.clone(), allowed)
    });
    values.collect()
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut file = File::open(path)?.take(MAX_AUTHORITIES_BYTES + 1);
    file.read_to_end(&mut text)?;
    if text.len() as u64 > MAX_AUTHORITIES_BYTES {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}
