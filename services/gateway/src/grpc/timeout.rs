//! The caller's deadline, `grpc-timeout`.

use std::time::Duration;

use axum::http::HeaderMap;

/// Most digits that the protocol allows.
const MAX_DIGITS: usize = 8;

/// Reads what the caller allows; `Ok(None)` when it names nothing.
///
/// # Errors
/// When the entry is malformed.
pub fn read(headers: &HeaderMap) -> Result<Option<Duration>, ()> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| ())?;
    let (number, unit) = text
        .split_at_checked(text.len().wrapping_sub(1))
        .ok_or(())?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || number.is_empty() || number.len() > MAX_DIGITS {
        return Err(());
    }
    let number: u64 = number.parse().map_err(|_| ())?;
    let duration = match unit {
        "H" => Duration::from_hours(number),
        "M" => Duration::from_mins(number),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(()),
    };
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read_text(text: &'static str) -> Result<Option<Duration>, ()> {
        read(&HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("grpc-timeout"),
            HeaderValue::from_static(text),
        )]))
    }

    #[test]
    fn every_unit_is_read() {
        for (text, meant) in [
            ("2H", Duration::from_hours(2)),
            ("3M", Duration::from_mins(3)),
            ("4S", Duration::from_secs(4)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("5u", Duration::from_micros(5)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(read_text(text), Ok(Some(meant)), "{text}");
        }
        assert_eq!(read(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in ["", "S", "5", "5s", "-1S", "123456789S", "1.5S", "5 S"] {
            assert_eq!(read_text(text), Err(()), "{text}");
        }
    }
}
