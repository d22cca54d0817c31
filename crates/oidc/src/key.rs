//! Public keys of an issuer (RFC 7517, RFC 7518 §6, RFC 8037 §2) and what they sign.
//!
//! `jsonwebtoken` reads keys and checks signatures. What is kept here is which of an issuer's keys
//! are of use, and which one a token means.

use std::ops::RangeInclusive;

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk,
    KeyOperations, OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde::de::DeserializeOwned;

use crate::algorithm::Algorithm;
use crate::json::{Object, items};

/// More keys than this are refused with their whole document.
pub(crate) const MAX_KEYS: usize = 64;
/// 2,048 to 8,192 bits: keys outside verify nothing, so they need not be kept.
const MODULUS_BYTES: RangeInclusive<usize> = 256..=1024;
const MAX_EXPONENT_BYTES: usize = 8;

const BY_RSA: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];
const BY_P256: &[Algorithm] = &[Algorithm::Es256];
const BY_P384: &[Algorithm] = &[Algorithm::Es384];
const BY_ED25519: &[Algorithm] = &[Algorithm::EdDsa];

/// A public key that an issuer signs with.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    /// What it may sign by: all that its kind can, or the one that it is published for.
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Reads a document of at most 64 keys, one of which at least must be usable. Those of other
    /// kinds or for other uses are left out, secret ones among them.
    pub(crate) fn parse(document: &str) -> Option<Self> {
        let document = Object::parse(document)?;
        let keys = items(document.get("keys")?, MAX_KEYS)?;
        let keys = keys.into_iter().filter_map(|key| Key::parse(key.get()));
        let keys: Vec<Key> = keys.collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that a header names and that fits its algorithm. A header that names none means the
    /// one key that fits, and nothing if several do: no token makes more than one signature be
    /// checked.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        if id.is_some() {
            return fitting.find(|key| key.id.as_deref() == id);
        }
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }
}

impl Key {
    /// Reads a key; `None` if it is of no use here.
    fn parse(text: &str) -> Option<Self> {
        let common: CommonParameters = read(text)?;
        if !is_for_signatures(&common) {
            return None;
        }
        let (algorithm, kind) = parameters(text)?;
        let algorithms = match common.key_algorithm {
            None => kind.to_vec(),
            Some(named) => vec![named.to_string().parse().ok()?],
        };
        // A key of one kind that claims to be for another is for neither.
        if !algorithms.iter().all(|one| kind.contains(one)) {
            return None;
        }
        let id = common.key_id.clone();
        let material = material(&Jwk { common, algorithm })?;
        Some(Self {
            id,
            algorithms,
            material,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Tells whether `signature` over `signed` is this key's, by `algorithm`.
    pub(crate) fn verifies(
        &self,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &Vec<u8>,
    ) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        // The provider by its name: the one that is common to the process depends on what other
        // crates switch on, and panics where they switch on two.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm.into(), &self.material);
        verifier.is_ok_and(|verifier| verifier.verify(signed, signature).is_ok())
    }
}

/// Reads some members of a key, by themselves: the whole of it at once ([`Jwk`]) is buffered with
/// all that is not asked for.
fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn is_for_signatures(common: &CommonParameters) -> bool {
    let is_signing = common
        .public_key_use
        .as_ref()
        .is_none_or(|one| *one == PublicKeyUse::Signature);
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|all| all.contains(&KeyOperations::Verify));
    is_signing && verifies
}

/// The parameters of a public key and what keys of its kind sign by; a secret has none.
fn parameters(text: &str) -> Option<(AlgorithmParameters, &'static [Algorithm])> {
    if let Some(rsa) = read::<RSAKeyParameters>(text) {
        return Some((AlgorithmParameters::RSA(rsa), BY_RSA));
    }
    if let Some(ec) = read::<EllipticCurveKeyParameters>(text) {
        let kind = match ec.curve {
            EllipticCurve::P256 => BY_P256,
            EllipticCurve::P384 => BY_P384,
            _ => return None,
        };
        // Their sum is checked below, each of them by this.
        let is_even = ec.x.len() == ec.y.len();
        return is_even.then_some((AlgorithmParameters::EllipticCurve(ec), kind));
    }
    let pair: OctetKeyPairParameters = read(text)?;
    let is_known = pair.curve == EllipticCurve::Ed25519;
    is_known.then_some((AlgorithmParameters::OctetKeyPair(pair), BY_ED25519))
}

/// The key itself, of a size that can verify.
fn material(key: &Jwk) -> Option<DecodingKey> {
    let material = DecodingKey::from_jwk(key).ok()?;
    let length = match &key.algorithm {
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => 1 + 2 * 32,
        AlgorithmParameters::EllipticCurve(_) => 1 + 2 * 48,
        _ => 32,
    };
    match material.kind() {
        // Some issuers write leading zeros, with which no signature would hold.
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let (n, e) = (number(n), number(e));
            let is_sound =
                MODULUS_BYTES.contains(&n.len()) && (1..=MAX_EXPONENT_BYTES).contains(&e.len());
            is_sound.then(|| DecodingKey::from_rsa_raw_components(n, e))
        }
        DecodingKeyKind::SecretOrDer(bytes) => (bytes.len() == length).then_some(material),
    }
}

/// A number without leading zeros.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
