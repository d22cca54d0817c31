//! Public keys of an issuer (RFC 7517, RFC 7518 §6, RFC 8037 §2) and what they sign.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::algorithm::Algorithm;
use crate::json::{Object, items, texts};

/// More keys than this are refused with their whole document.
pub(crate) const MAX_KEYS: usize = 64;
/// 8,192 bits.
const MAX_MODULUS_BYTES: usize = 1024;
const MAX_EXPONENT_BYTES: usize = 8;

#[derive(Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A public key that an issuer signs with.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    /// The one algorithm that it is published for, where it says so.
    algorithm: Option<Algorithm>,
    material: Material,
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
        let key = Object::parse(text)?;
        if key.get("use").is_some() && key.text("use")? != "sig" {
            return None;
        }
        if let Some(uses) = key.get("key_ops") {
            let uses = texts(uses, 16)?;
            uses.iter().find(|one| *one == "verify")?;
        }
        let algorithm = match key.get("alg") {
            None => None,
            Some(_) => Some(key.text("alg")?.parse().ok()?),
        };
        let id = match key.get("kid") {
            None => None,
            Some(_) => Some(key.text("kid")?),
        };
        let material = Material::parse(&key)?;
        let key = Self {
            id,
            algorithm,
            material,
        };
        // A key of one kind that claims to be for another is for neither.
        key.algorithm.is_none_or(|own| key.fits(own)).then_some(key)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self.material, Material::Rsa { .. }),
            Algorithm::Es256 => matches!(self.material, Material::P256(_)),
            Algorithm::Es384 => matches!(self.material, Material::P384(_)),
            Algorithm::EdDsa => matches!(self.material, Material::Ed25519(_)),
        };
        is_of_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Tells whether `signature` over `signed` is this key's, by `algorithm`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                let Some(parameters) = rsa_parameters(algorithm) else {
                    return false;
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(parameters, signed, signature).is_ok()
            }
            Material::P256(point) => holds(&ECDSA_P256_SHA256_FIXED, point, signed, signature),
            Material::P384(point) => holds(&ECDSA_P384_SHA384_FIXED, point, signed, signature),
            Material::Ed25519(point) => holds(&ED25519, point, signed, signature),
        }
    }
}

fn holds(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> bool {
    let key = UnparsedPublicKey::new(algorithm, key);
    key.verify(signed, signature).is_ok()
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}

impl Material {
    fn parse(key: &Object<'_>) -> Option<Self> {
        match key.text("kty")?.as_str() {
            "RSA" => {
                let modulus = number(key, "n", MAX_MODULUS_BYTES)?;
                let exponent = number(key, "e", MAX_EXPONENT_BYTES)?;
                // Shorter ones are refused with each signature; they need not be kept.
                (modulus.len() >= 256).then_some(Self::Rsa { modulus, exponent })
            }
            "EC" => match key.text("crv")?.as_str() {
                "P-256" => Some(Self::P256(point(key, 32)?)),
                "P-384" => Some(Self::P384(point(key, 48)?)),
                _ => None,
            },
            "OKP" => match key.text("crv")?.as_str() {
                "Ed25519" => Some(Self::Ed25519(coordinate(key, "x", 32)?)),
                _ => None,
            },
            _ => None,
        }
    }
}

fn decode(key: &Object<'_>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(key.text(name)?).ok()
}

/// A number without the leading zeros that some issuers write.
fn number(key: &Object<'_>, name: &str, most: usize) -> Option<Vec<u8>> {
    let bytes = decode(key, name)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let number = bytes.get(first..)?;
    (number.len() <= most).then(|| number.to_vec())
}

fn coordinate(key: &Object<'_>, name: &str, length: usize) -> Option<Vec<u8>> {
    decode(key, name).filter(|bytes| bytes.len() == length)
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(key: &Object<'_>, length: usize) -> Option<Vec<u8>> {
    let (x, y) = (coordinate(key, "x", length)?, coordinate(key, "y", length)?);
    Some([&[4], x.as_slice(), y.as_slice()].concat())
}

#[cfg(test)]
mod tests;
