//! What the query of a request says (http-device.md §1, §3.1, §4).

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::Malformed;

/// Seconds for which a device may lock a message.
const LOCK_SECONDS: std::ops::RangeInclusive<u64> = 5..=300;
/// Header and query key of the lock timeout; C# sends the latter.
pub const LOCK_TIMEOUT: &str = "iothub-messagelocktimeout";

/// The decoded value of the first pair whose decoded key is `name`, without case.
pub fn find<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    pairs(query).find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

/// Checks that the query names an `api-version` of any value that has its form: a date, perhaps with a word behind.
///
/// # Errors
/// [`Malformed::Version`].
pub fn check_version(query: &str) -> Result<(), Malformed> {
    let version = find(query, "api-version").ok_or(Malformed::Version)?;
    let bytes = version.as_bytes();
    let is_date = bytes
        .iter()
        .take(10)
        .enumerate()
        .all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let (is_long, rest) = (bytes.len() >= 10, bytes.get(10..).unwrap_or_default());
    let is_word = match rest {
        [] => true,
        [b'-', word @ ..] => {
            (1..=32).contains(&word.len()) && word.iter().all(u8::is_ascii_alphanumeric)
        }
        _ => false,
    };
    if is_long && is_date && is_word {
        Ok(())
    } else {
        Err(Malformed::Version)
    }
}

/// Tells whether a DELETE means to reject: `&reject` (Node, C#, C), `reject=` (the command line) or `%3Freject=true`
/// (Java). The value says nothing.
pub fn is_reject(query: &str) -> bool {
    pairs(query).any(|(key, _)| {
        let key = key.strip_prefix('?').unwrap_or(&key);
        key.eq_ignore_ascii_case("reject")
    })
}

/// How long a device wants to hold the message it receives: the header's word, else the query's; `None` when it says
/// nothing.
///
/// # Errors
/// [`Malformed::LockTimeout`]: not a whole number of 5 to 300 seconds.
pub fn lock_timeout(header: Option<&[u8]>, query: &str) -> Result<Option<Duration>, Malformed> {
    let text = match header {
        Some(value) => Some(
            std::str::from_utf8(value)
                .map_err(|_| Malformed::LockTimeout)?
                .into(),
        ),
        None => find(query, LOCK_TIMEOUT),
    };
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    let is_number = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = is_number.then(|| text.parse().ok()).flatten();
    let seconds = seconds.filter(|seconds| LOCK_SECONDS.contains(seconds));
    seconds.map_or(Err(Malformed::LockTimeout), |seconds| {
        Ok(Some(Duration::from_secs(seconds)))
    })
}

fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| percent_decode_str(text).decode_utf8_lossy();
            (decode(key), decode(value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_that_was_ever_sent_is_taken_and_a_missing_one_is_not() {
        for version in [
            "2021-04-12",
            "2020-09-30",
            "2019-10-01",
            "2016-11-14",
            "2020-03-13",
            "2016-02-03",
            "2020-05-31-preview",
            "2031-01-01",
        ] {
            for query in [
                format!("api-version={version}"),
                format!("reject&Api-Version={version}&x"),
                format!("&%3Freject=true&api%2Dversion={version}"),
            ] {
                assert_eq!(check_version(&query), Ok(()), "{query}");
            }
        }
        for query in [
            "",
            "api-version",
            "api-version=",
            "api-version=1",
            "api-version=2021-04-1",
            "api-version=2021/04/12",
            "api-version=2021-04-12x",
            "api-version=2021-04-12-",
            "api-version=2021-04-12-a%20b",
            "version=2021-04-12",
            "api-version=é021-04-12",
        ] {
            assert_eq!(check_version(query), Err(Malformed::Version), "{query}");
        }
    }

    #[test]
    fn all_three_spellings_of_reject_are_one() {
        for query in [
            "api-version=2021-04-12&reject",
            "reject=&api-version=2019-10-01",
            "api-version=2020-09-30&%3Freject=true",
            "api-version=2020-09-30&?reject=true",
            "REJECT=false",
        ] {
            assert!(is_reject(query), "{query}");
        }
        for query in [
            "",
            "api-version=2021-04-12",
            "rejected",
            "x=reject",
            "??reject",
        ] {
            assert!(!is_reject(query), "{query}");
        }
    }

    #[test]
    fn the_header_says_the_lock_timeout_before_the_query_does() {
        let query = "iothub-messagelocktimeout=60&api-version=2020-09-30";
        let asked =
            |header: Option<&str>, query: &str| lock_timeout(header.map(str::as_bytes), query);
        let seconds = |seconds| Ok(Some(Duration::from_secs(seconds)));
        assert_eq!(asked(None, ""), Ok(None));
        assert_eq!(asked(None, query), seconds(60));
        assert_eq!(asked(Some("180"), query), seconds(180));
        assert_eq!(asked(Some(" 5 "), ""), seconds(5));
        assert_eq!(asked(None, "IotHub-MessageLockTimeout=300"), seconds(300));
        for wrong in [
            "",
            "4",
            "301",
            "-5",
            "+60",
            "60.0",
            "1e2",
            "99999999999999999999",
            "sixty",
        ] {
            assert_eq!(
                asked(Some(wrong), query),
                Err(Malformed::LockTimeout),
                "{wrong}"
            );
            let query = format!("iothub-messagelocktimeout={wrong}");
            assert_eq!(asked(None, &query), Err(Malformed::LockTimeout), "{wrong}");
        }
        assert_eq!(lock_timeout(Some(b"\xff"), ""), Err(Malformed::LockTimeout));
    }
}
