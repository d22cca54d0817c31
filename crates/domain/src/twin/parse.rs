//! Reading JSON of strangers, bounded before it is built.

use serde_json::Value;
use thiserror::Error;

use crate::caps;

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JsonError {
    /// It is not JSON.
    #[error("the text is not valid JSON")]
    Malformed,
    /// Arrays and objects are nested more than 64 levels deep.
    #[error("the JSON is nested too deeply")]
    TooDeep,
    /// It holds a string that the value model keeps for itself.
    #[error("the JSON holds a reserved name")]
    Reserved,
}

/// Strings with this beginning stand for numbers and for whole texts inside the value model. A
/// stranger's text with one of them could hide nesting from every depth limit.
const RESERVED: &[u8] = b"$serde_json::private::";

/// Reads a JSON text of any kind, numbers with their own digits. The caller bounds its length.
///
/// # Errors
/// [`JsonError`], without having built anything deeper than
/// [`caps::MAX_JSON_DEPTH`](crate::caps::MAX_JSON_DEPTH).
pub fn parse_json(text: &[u8]) -> Result<Value, JsonError> {
    check_shape(text)?;
    serde_json::from_slice(text).map_err(|_| JsonError::Malformed)
}

fn check_shape(text: &[u8]) -> Result<(), JsonError> {
    let mut depth = 0_usize;
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'"' => rest = skip_string(tail)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > caps::MAX_JSON_DEPTH {
            return Err(JsonError::TooDeep);
        }
    }
    Ok(())
}

/// Returns what follows the string whose opening quote came just before `text`.
fn skip_string(text: &[u8]) -> Result<&[u8], JsonError> {
    let mut expected = Some(RESERVED);
    let mut rest = text;
    loop {
        let (character, tail) = match rest {
            [] => return Err(JsonError::Malformed),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'u', hex @ ..] if hex.len() >= 4 => (unescape(&hex[..4]), &hex[4..]),
            [b'\\', escaped, tail @ ..] => (Some(*escaped), tail),
            [byte, tail @ ..] => (Some(*byte), tail),
        };
        expected = match (expected, character) {
            (Some([wanted, left @ ..]), Some(byte)) if byte == *wanted => Some(left),
            _ => None,
        };
        if expected.is_some_and(<[u8]>::is_empty) {
            return Err(JsonError::Reserved);
        }
        rest = tail;
    }
}

/// The ASCII character behind four hexadecimal digits, `None` for all others.
fn unescape(hex: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(hex).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_read_up_to_its_limit_and_not_beyond() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse_json(nested(caps::MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            parse_json(nested(caps::MAX_JSON_DEPTH + 1).as_bytes()),
            Err(JsonError::TooDeep)
        );
        let brackets_in_a_string = format!("\"{}\"", "[".repeat(1000));
        assert!(parse_json(brackets_in_a_string.as_bytes()).is_ok());
    }

    #[test]
    fn nesting_cannot_hide_in_a_string() {
        let hidden = format!(
            r#"{{"$serde_json::private::RawValue":"{}"}}"#,
            "[".repeat(70) + &"]".repeat(70)
        );
        assert_eq!(parse_json(hidden.as_bytes()), Err(JsonError::Reserved));
        let escaped = hidden.replacen("$s", r"\u0024\u0073", 1);
        assert_eq!(parse_json(escaped.as_bytes()), Err(JsonError::Reserved));
        assert!(parse_json(br#"{"a":"$serde_json::privat","$":1}"#).is_ok());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let texts: [&[u8]; 7] = [b"", b"\"", b"\"\\", b"\"\\u00", b"{", b"}", b"[1,]"];
        for text in texts {
            assert_eq!(parse_json(text), Err(JsonError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#"{"a":1.0,"b":1,"c":1.50}"#;
        assert_eq!(parse_json(text.as_bytes()).unwrap().to_string(), text);
    }
}
