//! Shared access signatures: read, verified and made by auth.md §3.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use self::resource::Reach;
pub use self::resource::Resource;
pub use self::scope::TokenScope;

mod resource;
mod scope;
#[cfg(test)]
mod tests;

/// The longest token that is looked at. The longest a stock SDK makes is under 1 KiB.
pub const MAX_TOKEN_BYTES: usize = 4_096;

/// How long after its expiry a token still opens a connection, for clocks that differ (auth.md §3.5).
pub const MAX_CLOCK_SKEW_SECONDS: i64 = 300;

/// The longest name of a policy (auth.md §1).
const MAX_POLICY_NAME_CHARS: usize = 64;

const PREFIX: &str = "SharedAccessSignature ";

/// What the Node SDK leaves unencoded, less what old proxies have been seen to touch.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why a text is not a token. For logs; clients are told only that they are not authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SasError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// It does not begin with `SharedAccessSignature` and one space.
    #[error("text is not a shared access signature")]
    NotSas,
    /// A part between `&` has no name and value, or a space.
    #[error("token has a malformed field")]
    Field,
    /// A field stands twice.
    #[error("token has field {0} twice")]
    Duplicate(&'static str),
    /// A field is not there or empty.
    #[error("token has no {0}")]
    Missing(&'static str),
    /// `se` is not a number of seconds.
    #[error("token expiry is not a number")]
    Expiry,
    /// `sig` is not the base64 form of 32 bytes.
    #[error("token signature is not base64 of 32 bytes")]
    Signature,
    /// `sr` is not text once decoded.
    #[error("token scope is not text")]
    Scope,
    /// `skn` is not text, or longer than a policy name.
    #[error("token policy name is not a policy name")]
    PolicyName,
}

/// Why a token does not open a resource. For logs; clients are told only that they are not authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// There is no key to verify with: unknown identity or policy, or one without symmetric keys.
    #[error("no key to verify the token with")]
    NoKey,
    /// None of the keys made this signature.
    #[error("signature was made by neither key")]
    Signature,
    /// The scope names another host.
    #[error("scope names another hub")]
    Host,
    /// The scope does not cover the resource.
    #[error("scope does not cover the resource")]
    Scope,
    /// The expiry passed longer ago than the tolerated skew.
    #[error("token expired")]
    Expired,
}

/// A token, read but not verified.
#[derive(Clone, Debug)]
pub struct SasToken<'a> {
    raw_scope: &'a str,
    raw_expiry: &'a str,
    scope: Cow<'a, str>,
    expires_at_seconds: i64,
    signature: [u8; 32],
    policy: Option<Cow<'a, str>>,
}

impl<'a> SasToken<'a> {
    /// Reads a token in the form any of the SDKs gives it (auth.md §3.1, §3.2).
    ///
    /// # Errors
    /// [`SasError`]. Nothing is allocated for a text that is too long.
    pub fn parse(text: &'a str) -> Result<Self, SasError> {
        let fields = Fields::parse(text)?;
        let raw_scope = required(fields.scope, "sr")?;
        let raw_expiry = required(fields.expiry, "se")?;
        let scope = decode(raw_scope).ok_or(SasError::Scope)?;
        let expires_at_seconds = parse_expiry(raw_expiry).ok_or(SasError::Expiry)?;
        let signature =
            parse_signature(required(fields.signature, "sig")?).ok_or(SasError::Signature)?;
        let policy = match fields.policy {
            None | Some("") => None,
            Some(policy) => Some(parse_policy(policy).ok_or(SasError::PolicyName)?),
        };
        Ok(Self {
            raw_scope,
            raw_expiry,
            scope,
            expires_at_seconds,
            signature,
            policy,
        })
    }

    /// Returns the policy whose keys made the token; `None` for the keys of the identity itself.
    ///
    /// An empty `skn`, which some C libraries append, is none.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Returns when the token expires, in seconds since the Unix epoch, a fraction cut off.
    pub fn expires_at_seconds(&self) -> i64 {
        self.expires_at_seconds
    }

    /// Returns the scope, percent-decoded once; for logs.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Verifies that the token opens `resource` at `now_seconds` (auth.md §3.3).
    ///
    /// `hub_names` are the host names of this hub. `keys` are those of the policy if [`Self::policy`] names one, else
    /// those of the identity **claimed by the connection**, never of one merely named in the token; empty if there
    /// are none. The permission of a policy is the caller's to check. Returns the place of the key that made the
    /// signature, the first one if it stands there twice.
    ///
    /// Every check is made whatever the others say, so the time taken does not tell which failed.
    ///
    /// # Errors
    /// [`AuthFailure`], the most fundamental first: an unsigned token says nothing about its scope or age.
    pub fn verify(
        &self,
        hub_names: &[&str],
        resource: &Resource<'_>,
        keys: &[&[u8]],
        now_seconds: i64,
    ) -> Result<usize, AuthFailure> {
        let signer = self.find_signer(keys);
        let reach = resource.reach(self.raw_scope, &self.scope, hub_names);
        self.judge(signer, reach, keys, now_seconds)
    }

    /// Verifies, as [`Self::verify`] does, that the token is one for this hub, and returns beside the place of the key
    /// what the token covers there: what it opens is asked later, and any number of times.
    ///
    /// # Errors
    /// [`AuthFailure`], but never [`AuthFailure::Scope`].
    pub fn verify_for_hub(
        &self,
        hub_names: &[&str],
        keys: &[&[u8]],
        now_seconds: i64,
    ) -> Result<(usize, TokenScope), AuthFailure> {
        let signer = self.find_signer(keys);
        let scope = TokenScope::of(self.raw_scope, &self.scope, hub_names);
        let reach = if scope.is_none() {
            Reach::OtherHub
        } else {
            Reach::Covers
        };
        let signer = self.judge(signer, reach, keys, now_seconds)?;
        Ok((signer, scope.ok_or(AuthFailure::Host)?))
    }

    fn judge(
        &self,
        signer: Option<usize>,
        reach: Reach,
        keys: &[&[u8]],
        now_seconds: i64,
    ) -> Result<usize, AuthFailure> {
        let is_current = now_seconds
            <= self
                .expires_at_seconds
                .saturating_add(MAX_CLOCK_SKEW_SECONDS);
        match (reach, signer) {
            _ if keys.is_empty() => Err(AuthFailure::NoKey),
            (_, None) => Err(AuthFailure::Signature),
            (Reach::OtherHub, _) => Err(AuthFailure::Host),
            (Reach::OtherResource, _) => Err(AuthFailure::Scope),
            (Reach::Covers, _) if !is_current => Err(AuthFailure::Expired),
            (Reach::Covers, Some(signer)) => Ok(signer),
        }
    }

    /// Compares with the signature of every key, and of one that signs nothing if there are none. Neither the time
    /// taken nor the memory touched depends on which of them matches.
    fn find_signer(&self, keys: &[&[u8]]) -> Option<usize> {
        const NOBODY: &[&[u8]] = &[&[0; 32], &[0; 32]];
        let tried = if keys.is_empty() { NOBODY } else { keys };
        let mut is_signed = Choice::from(0);
        let mut signer = 0_u64;
        for (place, key) in (0_u64..).zip(tried) {
            let is_it = signature(key, self.raw_scope, self.raw_expiry).ct_eq(&self.signature);
            signer.conditional_assign(&place, is_it & !is_signed);
            is_signed |= is_it;
        }
        let signer = usize::try_from(signer).ok();
        signer.filter(|_| bool::from(is_signed) && !keys.is_empty())
    }
}

/// Makes a token.
///
/// `scope` is plain text such as [`Resource::uri`] gives, `policy` the name that goes with a policy's key,
/// `expires_at_seconds` counts from the Unix epoch.
pub fn sign(scope: &str, key: &[u8], expires_at_seconds: i64, policy: Option<&str>) -> String {
    let scope = utf8_percent_encode(scope, ENCODED).to_string();
    let expiry = expires_at_seconds.to_string();
    let signature = STANDARD.encode(signature(key, &scope, &expiry));
    let signature = utf8_percent_encode(&signature, ENCODED);
    let mut token = format!("{PREFIX}sr={scope}&sig={signature}&se={expiry}");
    if let Some(policy) = policy {
        token.push_str("&skn=");
        token.extend(utf8_percent_encode(policy, ENCODED));
    }
    token
}

/// Signs the raw fields as they stand in the token; decoding and encoding again would break tokens of other makers.
fn signature(key: &[u8], raw_scope: &str, raw_expiry: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("hmac takes keys of any length");
    mac.update(raw_scope.as_bytes());
    mac.update(b"\n");
    mac.update(raw_expiry.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The four fields, as they stand.
#[derive(Default)]
struct Fields<'a> {
    scope: Option<&'a str>,
    signature: Option<&'a str>,
    expiry: Option<&'a str>,
    policy: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, SasError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(SasError::TooLong);
        }
        let text = text.strip_prefix(PREFIX).ok_or(SasError::NotSas)?;
        if text.starts_with(' ') {
            return Err(SasError::NotSas);
        }
        let mut fields = Self::default();
        for field in text.split('&') {
            let (name, value) = field.split_once('=').ok_or(SasError::Field)?;
            fields.set(name, value)?;
        }
        Ok(fields)
    }

    fn set(&mut self, name: &str, value: &'a str) -> Result<(), SasError> {
        let (name, place) = if name.eq_ignore_ascii_case("sr") {
            ("sr", &mut self.scope)
        } else if name.eq_ignore_ascii_case("sig") {
            // Its spaces are plus signs that a form decoder has been at; see `parse_signature`.
            return set_once("sig", &mut self.signature, value);
        } else if name.eq_ignore_ascii_case("se") {
            ("se", &mut self.expiry)
        } else if name.eq_ignore_ascii_case("skn") {
            ("skn", &mut self.policy)
        } else {
            return Ok(());
        };
        if value.contains(' ') {
            return Err(SasError::Field);
        }
        set_once(name, place, value)
    }
}

fn set_once<'a>(
    name: &'static str,
    place: &mut Option<&'a str>,
    value: &'a str,
) -> Result<(), SasError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(SasError::Duplicate(name)),
    }
}

fn required<'a>(field: Option<&'a str>, name: &'static str) -> Result<&'a str, SasError> {
    field
        .filter(|value| !value.is_empty())
        .ok_or(SasError::Missing(name))
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

/// Reads decimal digits; a fraction is tolerated, because the C# service parses a double, and cut off.
fn parse_expiry(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits(whole) && is_digits(fraction) {
        whole.parse().ok()
    } else {
        None
    }
}

/// Decodes `sig`. Spaces turn back into `+`: that heals tokens whose `+` went unencoded through a form decoder.
fn parse_signature(text: &str) -> Option<[u8; 32]> {
    let text = decode(text)?.replace(' ', "+");
    let mut bytes = [0; 33];
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
}

fn parse_policy(text: &str) -> Option<Cow<'_, str>> {
    decode(text).filter(|name| !name.is_empty() && name.chars().count() <= MAX_POLICY_NAME_CHARS)
}
