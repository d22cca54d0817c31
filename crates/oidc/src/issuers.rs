//! The issuers that a hub trusts.

use std::sync::Arc;

use crate::bearer::{Bearer, BearerError};
use crate::options::IssuerOptions;

/// The issuers that a hub trusts; clones share their keys.
#[derive(Clone)]
pub struct Issuers {
    list: Arc<[IssuerOptions]>,
}

impl Issuers {
    /// No issuer: every bearer token is refused.
    pub fn none() -> Self {
        Self {
            list: Arc::default(),
        }
    }

    /// Tells whether there is no issuer, so that no bearer token can be taken.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Checks a token, given without `Bearer `, at `now_seconds` since the Unix epoch.
    ///
    /// Waits for the issuer's keys, no longer than they may take to be fetched, when the token names
    /// one that is not known yet.
    ///
    /// # Errors
    /// [`BearerError`].
    ///
    /// # Cancellation
    /// Safe: keys are fetched by a task of their own.
    #[expect(
        clippy::unused_async,
        reason = "keys are waited for once there are issuers"
    )]
    pub async fn verify(&self, _jwt: &str, _now_seconds: i64) -> Result<Bearer, BearerError> {
        Err(BearerError::UnknownIssuer)
    }
}
