//! The signatures that are taken (RFC 7518 §3.1, RFC 8037 §3.1): public keys only.

use std::str::FromStr;

macro_rules! algorithms {
    ($($variant:ident = $name:ident,)*) => {
        /// A signature algorithm of JSON Web Tokens. There is no `none` and nothing with shared
        /// secrets, so that neither can be configured.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Algorithm {
            $(#[doc = concat!("`", stringify!($name), "`.")] $variant,)*
        }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the header of a token and in a published key.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* }
            }
        }

        impl From<Algorithm> for jsonwebtoken::Algorithm {
            fn from(algorithm: Algorithm) -> Self {
                match algorithm { $(Algorithm::$variant => Self::$name,)* }
            }
        }
    };
}

algorithms! {
    Rs256 = RS256,
    Rs384 = RS384,
    Rs512 = RS512,
    Ps256 = PS256,
    Ps384 = PS384,
    Ps512 = PS512,
    Es256 = ES256,
    Es384 = ES384,
    EdDsa = EdDSA,
}

/// A name that is not one of [`Algorithm::ALL`]; names are compared with case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a signature algorithm with public keys")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let known = Self::ALL.iter().find(|known| known.name() == name);
        known.copied().ok_or(UnknownAlgorithm)
    }
}
