//! Bearer tokens of back-ends, verified against the keys of `OpenID` Connect issuers (auth.md §6).
//!
//! An issuer publishes its public keys; whoever holds a token that it signed for this hub may do
//! what the claims of the token are mapped to. The gateway's authentication enters, wiring starts
//! it, nobody else needs it. Keys are fetched in the background and kept through an outage of the
//! issuer; a token never makes more than one fetch in half a minute.
//!
//! ```
//! use downlink_oidc::{BearerError, Issuers};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let issuers = Issuers::none();
//! let refused = issuers.verify("not.a.token", 0).await;
//! assert_eq!(refused.unwrap_err(), BearerError::Malformed);
//! # });
//! ```

mod algorithm;
mod bearer;
mod claims;
mod fetch;
mod issuers;
mod json;
mod keeper;
mod key;
mod metrics;
mod options;
mod tls;
mod token;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use bearer::{Bearer, BearerError};
pub use issuers::{Issuers, StartError};
pub use options::{IssuerOptions, KeySource};
pub use tls::AuthoritiesError;
