//! Values that must not be seen.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What is printed in place of a secret.
const REDACTED: &str = "***";

/// A secret text: it prints, and is written to files, as `***`; one that is not set is written as an empty text.
///
/// A setting `name` of this type may be given as `name_file` instead, with the path of a file that holds it; see
/// [`Configuration::SECRETS`](crate::Configuration::SECRETS).
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String"))]
#[serde(transparent)]
pub struct Secret {
    text: String,
}

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Hands the secret out, to be used and not kept, printed or compared by `==` with a guess.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Whether it is set is no secret.
        serializer.serialize_str(if self.text.is_empty() { "" } else { REDACTED })
    }
}
