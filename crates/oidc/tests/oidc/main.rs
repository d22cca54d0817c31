//! Bearer tokens against an issuer on a socket.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod documents;
mod issuer;
mod keys;
mod signer;
mod support;
mod tokens;
