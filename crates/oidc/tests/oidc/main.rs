//! Bearer tokens against an issuer on a socket.

mod documents;
mod issuer;
mod keys;
mod signer;
mod support;
mod tokens;
