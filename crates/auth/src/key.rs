//! Symmetric keys of identities and policies.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest base64 text of a key: 64 bytes.
const MAX_KEY_TEXT_BYTES: usize = 88;

/// A key of 16 to 64 bytes (auth.md §1); `Display` is its base64 form, `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKey {
    bytes: Vec<u8>,
}

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not base64 with padding.
    #[error("key is not base64")]
    NotBase64,
    /// It is not 16 to 64 bytes.
    #[error("key is not 16 to 64 bytes long")]
    Length,
}

impl SymmetricKey {
    /// Makes a new key of the size the hub makes, from random bytes of the caller's source.
    pub fn from_random(random: [u8; 32]) -> Self {
        Self {
            bytes: random.to_vec(),
        }
    }

    /// Takes the raw bytes of a key.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyError> {
        if (16..=64).contains(&bytes.len()) {
            Ok(Self { bytes })
        } else {
            Err(KeyError::Length)
        }
    }

    /// Returns the raw bytes, as they enter the signature.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromStr for SymmetricKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY_TEXT_BYTES {
            return Err(KeyError::Length);
        }
        Self::from_bytes(STANDARD.decode(text).map_err(|_| KeyError::NotBase64)?)
    }
}

impl fmt::Display for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.bytes))
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyError, SymmetricKey};

    #[test]
    fn text_form_is_base64_and_debug_form_says_nothing() {
        let key = SymmetricKey::from_random(*b"0123456789abcdef0123456789abcdef");
        assert_eq!(
            key.to_string(),
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        );
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "SymmetricKey(***)");
    }

    #[test]
    fn only_keys_of_16_to_64_bytes_are_keys() {
        for (length, fits) in [(15, false), (16, true), (64, true), (65, false)] {
            let made = SymmetricKey::from_bytes(vec![1; length]);
            assert_eq!(made.is_ok(), fits, "{length}");
            if let Ok(key) = made {
                assert_eq!(key.to_string().parse(), Ok(key));
            }
        }
        assert_eq!(
            "A".repeat(10_000).parse::<SymmetricKey>(),
            Err(KeyError::Length)
        );
        assert_eq!(
            "not base64 at all!".parse::<SymmetricKey>(),
            Err(KeyError::NotBase64)
        );
    }
}
