//! The issuers that a hub trusts.

use std::collections::HashMap;
use std::sync::Arc;

use downlink_domain::access::Actions;
use downlink_ports::Clock;
use downlink_runtime::Lifecycle;
use opentelemetry::metrics::Meter;

use crate::bearer::{Bearer, BearerError};
use crate::claims;
use crate::fetch::Fetcher;
use crate::json::Object;
use crate::keeper::Keeper;
use crate::key::KeySet;
use crate::metrics::OidcMetrics;
use crate::options::IssuerOptions;
use crate::tls::{self, AuthoritiesError};
use crate::token::Token;

/// What stands for each name of the hub in an audience.
const HOST_NAME: &str = "{HostName}";

/// Why the issuers cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("issuer {issuer}")]
pub struct StartError {
    /// The issuer at fault.
    pub issuer: String,
    /// What is wrong.
    pub source: AuthoritiesError,
}

/// The issuers that a hub trusts; clones share their keys.
#[derive(Clone)]
pub struct Issuers {
    list: Arc<[Issuer]>,
    metrics: OidcMetrics,
}

#[derive(Clone)]
struct Issuer {
    trusted: Arc<Trusted>,
    /// What the hub of this list is called by tokens.
    audiences: Arc<[String]>,
}

/// An issuer, whatever hub its tokens are for.
struct Trusted {
    name: Arc<str>,
    options: Arc<IssuerOptions>,
    mapping: HashMap<String, Actions>,
    skew_seconds: i64,
    keeper: Keeper,
}

impl Issuers {
    /// No issuer: every bearer token is refused.
    pub fn none() -> Self {
        Self {
            list: Arc::default(),
            metrics: OidcMetrics::default(),
        }
    }

    /// Starts to keep the keys of `issuers`, for a hub that is called `host_names`. Returns at once:
    /// an issuer that is away costs its own tokens only.
    ///
    /// # Errors
    /// [`StartError`] if there are no authorities to trust.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        issuers: Vec<IssuerOptions>,
        host_names: &[&str],
        clock: &Arc<dyn Clock>,
        meter: &Meter,
        lifecycle: &Lifecycle,
    ) -> Result<Self, StartError> {
        let metrics = OidcMetrics::new(meter);
        let start = |options: IssuerOptions| {
            let options = Arc::new(options);
            let tls = tls::client(&options).map_err(|source| StartError {
                issuer: options.issuer.clone(),
                source,
            })?;
            let fetcher = Fetcher::new(Arc::clone(&options), tls);
            let (clock, metrics) = (Arc::clone(clock), metrics.clone());
            let keeper = Keeper::start(&options, fetcher, clock, metrics, lifecycle);
            let trusted = Arc::new(Trusted {
                name: options.issuer.as_str().into(),
                mapping: options.mapping.iter().cloned().collect(),
                skew_seconds: i64::try_from(options.clock_skew.as_secs()).unwrap_or(i64::MAX),
                options,
                keeper,
            });
            Ok(Issuer::of(&trusted, host_names))
        };
        let list: Vec<Issuer> = issuers.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self {
            list: list.into(),
            metrics,
        })
    }

    /// The same issuers and keys, for a hub that is called `host_names`.
    #[must_use]
    pub fn for_hub(&self, host_names: &[&str]) -> Self {
        let of = |issuer: &Issuer| Issuer::of(&issuer.trusted, host_names);
        Self {
            list: self.list.iter().map(of).collect(),
            metrics: self.metrics.clone(),
        }
    }

    /// Tells whether there is no issuer, so that no bearer token can be taken.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Checks a token, given without `Bearer `, at `now_seconds` since the Unix epoch.
    ///
    /// Waits for the issuer's keys, no longer than they may take to be read, when the token names
    /// one that is not known. At most one such wait in `unknown_key_interval` reads them; a token
    /// costs no more than one check of a signature.
    ///
    /// # Errors
    /// [`BearerError`].
    ///
    /// # Cancellation
    /// Safe: keys are read by a task of their own.
    pub async fn verify(&self, jwt: &str, now_seconds: i64) -> Result<Bearer, BearerError> {
        let outcome = self.check(jwt, now_seconds).await;
        self.metrics.verified(outcome.as_ref().err().copied());
        outcome
    }

    async fn check(&self, jwt: &str, now_seconds: i64) -> Result<Bearer, BearerError> {
        let token = Token::parse(jwt)?;
        let claims = Object::parse(&token.claims).ok_or(BearerError::Malformed)?;
        let name = claims.text("iss").ok_or(BearerError::Claims)?;
        let mut issuers = self.list.iter();
        let issuer = issuers
            .find(|issuer| *issuer.trusted.name == *name)
            .ok_or(BearerError::UnknownIssuer)?;
        let trusted = &issuer.trusted;
        if !trusted.options.algorithms.contains(&token.algorithm) {
            return Err(BearerError::Algorithm);
        }
        trusted.check_signature(&token).await?;
        let skew = trusted.skew_seconds;
        let expires_at_seconds = claims::check_times(&claims, now_seconds, skew)?;
        if !claims::is_for(&claims, &issuer.audiences) {
            return Err(BearerError::Audience);
        }
        let options = &trusted.options;
        Ok(Bearer {
            issuer: Arc::clone(&trusted.name),
            subject: claims::subject(&claims, &options.subject_claim)?,
            actions: claims::actions(&claims, &options.actions_claims, &trusted.mapping),
            expires_at_seconds,
        })
    }
}

impl Issuer {
    fn of(trusted: &Arc<Trusted>, host_names: &[&str]) -> Self {
        let mut audiences = Vec::new();
        for audience in &trusted.options.audiences {
            if audience.contains(HOST_NAME) {
                audiences.extend(
                    host_names
                        .iter()
                        .map(|name| audience.replace(HOST_NAME, name)),
                );
            } else {
                audiences.push(audience.clone());
            }
        }
        Self {
            trusted: Arc::clone(trusted),
            audiences: audiences.into(),
        }
    }
}

impl Trusted {
    async fn check_signature(&self, token: &Token<'_>) -> Result<(), BearerError> {
        let view = self.keeper.view();
        if let Some(holds) = view.keys.and_then(|keys| holds(&keys, token)) {
            return holds;
        }
        let view = self.keeper.newer().await;
        let keys = view.keys.ok_or(BearerError::Unavailable)?;
        // While the issuer is away, a key that is not there may yet be published.
        let missing = if view.is_fresh {
            BearerError::UnknownKey
        } else {
            BearerError::Unavailable
        };
        holds(&keys, token).unwrap_or(Err(missing))
    }
}

/// Checks the signature; `None` if no key is the one that the token names.
fn holds(keys: &KeySet, token: &Token<'_>) -> Option<Result<(), BearerError>> {
    let key = keys.find(token.key_id.as_deref(), token.algorithm)?;
    let is_own = key.verifies(token.algorithm, token.signed, &token.signature);
    Some(is_own.then_some(()).ok_or(BearerError::Signature))
}
