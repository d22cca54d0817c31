//! The compact form of signed tokens (RFC 7515 §3.1), taken apart before anything is believed.
//!
//! Ours and not `jsonwebtoken`'s, which is not strict enough in one place and too strict in another
//! (docs/adr/0012): a header is read once, here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::algorithm::Algorithm;
use crate::bearer::BearerError;
use crate::json::{Object, text};

/// The longest token; the heads of HTTP requests and AMQP put-tokens leave room for it.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;
const MAX_HEADER_BYTES: usize = 4 * 1024;
const MAX_SIGNATURE_BYTES: usize = 1024;
const MAX_KEY_ID_BYTES: usize = 256;

/// A token whose parts have the right form. Nothing in it is verified.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// How it says it is signed.
    pub algorithm: Algorithm,
    /// Which key it says it is signed by.
    pub key_id: Option<String>,
    /// What the signature is over.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
    /// The claims, as JSON.
    pub claims: String,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`BearerError::TooLarge`], [`BearerError::Malformed`], or [`BearerError::Algorithm`].
    pub(crate) fn parse(jwt: &'a str) -> Result<Self, BearerError> {
        if jwt.len() > MAX_TOKEN_BYTES {
            return Err(BearerError::TooLarge);
        }
        let (signed, signature) = jwt.rsplit_once('.').ok_or(BearerError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(BearerError::Malformed)?;
        // An encrypted token has five parts; a dot is not in the alphabet.
        let (header, claims) = (decode_text(header)?, decode_text(claims)?);
        if header.len() > MAX_HEADER_BYTES {
            return Err(BearerError::TooLarge);
        }
        let (algorithm, key_id) = read_header(&header)?;
        let signature = decode(signature)?;
        if signature.is_empty() || signature.len() > MAX_SIGNATURE_BYTES {
            return Err(BearerError::Malformed);
        }
        Ok(Self {
            algorithm,
            key_id,
            signed: signed.as_bytes(),
            signature,
            claims,
        })
    }
}

/// Reads what is spoken of a header. Keys that a token brings along (`jwk`, `jku`, `x5c`, `x5u`)
/// are not looked at: only the issuer's own are believed.
fn read_header(header: &str) -> Result<(Algorithm, Option<String>), BearerError> {
    let header = Object::parse(header).ok_or(BearerError::Malformed)?;
    // What must be understood (RFC 7515 §4.1.11) is not, nor is a payload that is not base64.
    let is_foreign = ["crit", "b64", "enc", "zip"];
    if is_foreign.iter().any(|name| header.get(name).is_some()) {
        return Err(BearerError::Malformed);
    }
    if let Some(kind) = header.get("typ") {
        let kind = text(kind).ok_or(BearerError::Malformed)?;
        if !is_token_type(&kind) {
            return Err(BearerError::Malformed);
        }
    }
    let name = header.text("alg").ok_or(BearerError::Malformed)?;
    let algorithm = name.parse().map_err(|_| BearerError::Algorithm)?;
    let key_id = match header.get("kid") {
        None => None,
        Some(id) => {
            let id = text(id).filter(|id| (1..=MAX_KEY_ID_BYTES).contains(&id.len()));
            Some(id.ok_or(BearerError::Malformed)?)
        }
    };
    Ok((algorithm, key_id))
}

/// `JWT`, and `at+jwt` of RFC 9068: a logout token or the like is not an access token.
fn is_token_type(kind: &str) -> bool {
    let kind = match kind.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => kind,
    };
    kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt")
}

fn decode(part: &str) -> Result<Vec<u8>, BearerError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| BearerError::Malformed)
}

fn decode_text(part: &str) -> Result<String, BearerError> {
    String::from_utf8(decode(part)?).map_err(|_| BearerError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.c2ln")
    }

    fn refused(header: &str) -> BearerError {
        Token::parse(&token(header, "{}")).unwrap_err()
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = token(r#"{"alg":"ES256","kid":"k1","typ":"at+JWT"}"#, r#"{"a":1}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.algorithm, Algorithm::Es256);
        assert_eq!(token.key_id.as_deref(), Some("k1"));
        assert_eq!(token.signature, b"sig");
        assert_eq!(token.claims, r#"{"a":1}"#);
        assert_eq!(
            format!("{}.c2ln", str::from_utf8(token.signed).unwrap()),
            text
        );
    }

    #[test]
    fn members_of_a_header_that_are_not_known_are_not_looked_at() {
        let header = r#"{"alg":"ES256","exp":1,"client":{"id":[7]},"jwk":{"kty":"AKP"}}"#;
        let text = token(header, "{}");
        assert!(Token::parse(&text).is_ok());
    }

    #[test]
    fn neither_none_nor_shared_secrets_are_algorithms() {
        for name in [
            "none", "None", "NONE", "HS256", "HS384", "HS512", "rs256", "ES512", "", "A",
        ] {
            let header = format!(r#"{{"alg":"{name}"}}"#);
            assert_eq!(refused(&header), BearerError::Algorithm, "{name}");
        }
    }

    #[test]
    fn headers_that_ask_for_more_are_refused() {
        for header in [
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","enc":"A128GCM"}"#,
            r#"{"alg":"RS256","zip":"DEF"}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","kid":""}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","typ":"logout+jwt"}"#,
            r#"{"alg":"RS256","typ":1}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"typ":"JWT"}"#,
            "[]",
            "",
        ] {
            assert_eq!(refused(header), BearerError::Malformed, "{header}");
        }
    }

    #[test]
    fn what_is_not_three_parts_of_base64url_is_malformed() {
        let whole = token(r#"{"alg":"RS256"}"#, "{}");
        let parts: Vec<&str> = whole.split('.').collect();
        for text in [
            String::new(),
            "..".to_owned(),
            parts[..2].join("."),
            format!("{whole}.c2ln"),
            format!("{whole}.a.b"),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}=.{}.c2ln", parts[0], parts[1]),
            format!(" {whole}"),
            format!("{}.{}.c2l+", parts[0], parts[1]),
        ] {
            assert_eq!(
                Token::parse(&text).unwrap_err(),
                BearerError::Malformed,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_not_decoded() {
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(Token::parse(&long).unwrap_err(), BearerError::TooLarge);
        let padding = "x".repeat(MAX_HEADER_BYTES);
        let header = format!(r#"{{"alg":"RS256","x":"{padding}"}}"#);
        assert_eq!(refused(&header), BearerError::TooLarge);
        let id = "k".repeat(MAX_KEY_ID_BYTES + 1);
        let header = format!(r#"{{"alg":"RS256","kid":"{id}"}}"#);
        assert_eq!(refused(&header), BearerError::Malformed);
    }
}
