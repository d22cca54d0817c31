//! What the claims of a token say (RFC 7519 §4.1, auth.md §6.4).

use std::collections::HashMap;

use downlink_domain::access::Actions;
use serde_json::value::RawValue;

use crate::bearer::BearerError;
use crate::json::{Object, text, texts};

const MAX_AUDIENCES: usize = 64;
const MAX_SUBJECT_BYTES: usize = 256;
/// As many values as a token could hold; it is bounded by its length.
const MAX_VALUES: usize = 4_096;
/// Who a token is for, where the claim that should say so is missing (auth.md §6.4).
const SUBJECT_CLAIMS: [&str; 4] = ["sub", "oid", "appid", "azp"];

/// Checks `exp`, `nbf` and `iat` and returns `exp`.
///
/// # Errors
/// [`BearerError::Expired`], [`BearerError::NotYetValid`], [`BearerError::Claims`].
pub(crate) fn check_times(
    claims: &Object<'_>,
    now_seconds: i64,
    skew_seconds: i64,
) -> Result<i64, BearerError> {
    let expires_at = date(claims, "exp")?.ok_or(BearerError::Claims)?;
    if now_seconds >= expires_at.saturating_add(skew_seconds) {
        return Err(BearerError::Expired);
    }
    for name in ["nbf", "iat"] {
        let begins_at = date(claims, name)?;
        if begins_at.is_some_and(|at| now_seconds < at.saturating_sub(skew_seconds)) {
            return Err(BearerError::NotYetValid);
        }
    }
    Ok(expires_at)
}

/// A numeric date: seconds since the Unix epoch, fractions allowed and cut off.
fn date(claims: &Object<'_>, name: &str) -> Result<Option<i64>, BearerError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    if let Ok(seconds) = value.get().parse::<i64>() {
        return Ok(Some(seconds));
    }
    let seconds: f64 = serde_json::from_str(value.get()).map_err(|_| BearerError::Claims)?;
    // Later than any calendar, and an f64 still counts each second there.
    if seconds.abs() > 1e15 {
        return Err(BearerError::Claims);
    }
    #[expect(clippy::cast_possible_truncation, reason = "its size was checked")]
    let seconds = seconds.floor() as i64;
    Ok(Some(seconds))
}

/// Tells whether `aud`, a text or an array of at most 64, names one of `accepted`.
pub(crate) fn is_for(claims: &Object<'_>, accepted: &[String]) -> bool {
    let named = claims
        .get("aud")
        .and_then(|value| texts(value, MAX_AUDIENCES));
    named.is_some_and(|named| named.iter().any(|one| accepted.contains(one)))
}

/// Whom the token is for: the claim at `path`, else one of those that issuers commonly use.
///
/// # Errors
/// [`BearerError::Claims`] if there is none, or one that does not fit into a line of a log.
pub(crate) fn subject(claims: &Object<'_>, path: &str) -> Result<String, BearerError> {
    let found = claims.at(path).or_else(|| {
        let mut common = SUBJECT_CLAIMS.iter();
        common.find_map(|name| claims.get(name))
    });
    let is_plain = |subject: &String| {
        (1..=MAX_SUBJECT_BYTES).contains(&subject.len()) && !subject.chars().any(char::is_control)
    };
    found
        .and_then(text)
        .filter(is_plain)
        .ok_or(BearerError::Claims)
}

/// What the claims at `paths` allow by `mapping`, all of them together. The items of an array are
/// values; a text is a value, and so is each of its words (`scp`, `scope`).
pub(crate) fn actions(
    claims: &Object<'_>,
    paths: &[String],
    mapping: &HashMap<String, Actions>,
) -> Actions {
    let values = paths.iter().filter_map(|path| claims.at(path));
    let allowed = values.map(|value| value_actions(value, mapping));
    allowed.fold(Actions::NONE, Actions::union)
}

fn value_actions(value: &RawValue, mapping: &HashMap<String, Actions>) -> Actions {
    let of = |value: &str| mapping.get(value).copied().unwrap_or(Actions::NONE);
    if let Some(text) = text(value) {
        let words = text.split_ascii_whitespace().map(of);
        return words.fold(of(&text), Actions::union);
    }
    let values = texts(value, MAX_VALUES).unwrap_or_default();
    let allowed = values.iter().map(|value| of(value));
    allowed.fold(Actions::NONE, Actions::union)
}

#[cfg(test)]
mod tests {
    use downlink_domain::access::Action;

    use super::*;

    fn times(claims: &str, now: i64) -> Result<i64, BearerError> {
        check_times(&Object::parse(claims).unwrap(), now, 300)
    }

    #[test]
    fn a_token_lasts_from_its_beginning_to_its_end_and_the_skew_beyond_both() {
        let claims = r#"{"exp":2000,"nbf":1000,"iat":1000}"#;
        for (now, expected) in [
            (699, Err(BearerError::NotYetValid)),
            (700, Ok(2000)),
            (2299, Ok(2000)),
            (2300, Err(BearerError::Expired)),
        ] {
            assert_eq!(times(claims, now), expected, "{now}");
        }
        let issued_later = r#"{"exp":2000,"iat":1500}"#;
        assert_eq!(times(issued_later, 1199), Err(BearerError::NotYetValid));
        assert_eq!(times(issued_later, 1200), Ok(2000));
    }

    #[test]
    fn an_end_must_be_a_number() {
        for claims in [
            "{}",
            r#"{"exp":"2000"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":[2000]}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":true}"#,
            r#"{"exp":2000,"nbf":"1"}"#,
            r#"{"exp":2000,"iat":{}}"#,
        ] {
            assert_eq!(times(claims, 1), Err(BearerError::Claims), "{claims}");
        }
        assert_eq!(times(r#"{"exp":2000.9}"#, 1), Ok(2000));
        assert_eq!(times(r#"{"exp":2e3}"#, 1), Ok(2000));
        let extremes = format!(r#"{{"exp":{},"nbf":{}}}"#, i64::MAX, i64::MIN);
        assert_eq!(times(&extremes, 1), Ok(i64::MAX));
        assert_eq!(times(r#"{"exp":-1}"#, 1_000), Err(BearerError::Expired));
    }

    #[test]
    fn an_audience_is_a_text_or_one_of_a_list() {
        let accepted = ["https://hub.test".to_owned(), "api".to_owned()];
        for (claims, expected) in [
            (r#"{"aud":"api"}"#, true),
            (r#"{"aud":["other","https://hub.test"]}"#, true),
            (r#"{"aud":"API"}"#, false),
            (r#"{"aud":"https://hub.test/"}"#, false),
            (r#"{"aud":["other"]}"#, false),
            (r#"{"aud":["api",1]}"#, false),
            (r#"{"aud":[]}"#, false),
            (r#"{"aud":{"api":1}}"#, false),
            (r#"{"aud":"other api"}"#, false),
            ("{}", false),
        ] {
            let claims = Object::parse(claims).unwrap();
            assert_eq!(is_for(&claims, &accepted), expected, "{claims:?}");
        }
    }

    #[test]
    fn a_subject_is_found_where_issuers_put_it_and_fits_a_line() {
        let found = |text: &str| subject(&Object::parse(text).unwrap(), "sub").ok();
        assert_eq!(found(r#"{"sub":"a","oid":"b"}"#).as_deref(), Some("a"));
        assert_eq!(found(r#"{"oid":"b","appid":"c"}"#).as_deref(), Some("b"));
        assert_eq!(found(r#"{"azp":"d"}"#).as_deref(), Some("d"));
        assert_eq!(found("{}"), None);
        assert_eq!(found(r#"{"sub":""}"#), None);
        assert_eq!(found(r#"{"sub":7}"#), None);
        assert_eq!(found("{\"sub\":\"a\\nlevel=error\"}"), None);
        let long = format!(r#"{{"sub":"{}"}}"#, "x".repeat(257));
        assert_eq!(found(&long), None);
        let named = Object::parse(r#"{"sub":"a","client":{"id":"b"}}"#).unwrap();
        assert_eq!(subject(&named, "client.id").unwrap(), "b");
    }

    #[test]
    fn claims_are_mapped_to_actions_and_unknown_values_to_none() {
        let mapping = HashMap::from([
            (
                "IoT Hub Twin Contributor".to_owned(),
                Actions::matching("*/twins/*"),
            ),
            ("send".to_owned(), Actions::of(&[Action::SendMessage])),
            ("invoke".to_owned(), Actions::of(&[Action::InvokeMethod])),
        ]);
        let paths = [
            "roles".to_owned(),
            "scp".to_owned(),
            "realm.roles".to_owned(),
        ];
        let of = |text: &str| actions(&Object::parse(text).unwrap(), &paths, &mapping);
        let twins = Actions::of(&[Action::TwinsRead, Action::TwinsWrite]);
        assert_eq!(of(r#"{"roles":["IoT Hub Twin Contributor","x"]}"#), twins);
        assert_eq!(of(r#"{"roles":"IoT Hub Twin Contributor"}"#), twins);
        let both = Actions::of(&[Action::SendMessage, Action::InvokeMethod]);
        assert_eq!(of(r#"{"scp":"send openid invoke"}"#), both);
        assert_eq!(
            of(r#"{"roles":["send"],"realm":{"roles":["invoke"]}}"#),
            both
        );
        for nothing in [
            "{}",
            r#"{"roles":["Send"]}"#,
            r#"{"roles":["send invoke"]}"#,
            r#"{"roles":[["send"]]}"#,
            r#"{"roles":{"send":true}}"#,
            r#"{"roles":null}"#,
            r#"{"other":["send"]}"#,
        ] {
            assert!(of(nothing).is_empty(), "{nothing}");
        }
    }
}
