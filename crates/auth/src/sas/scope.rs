//! What a token of a policy covers, kept for as long as it counts.

use super::resource::{is_api_version, is_same};

/// The scope of a verified token below the name of its hub.
///
/// Held in both of its readings, as it stands in the token and decoded once (auth.md §3.3), as far as each names the
/// hub: together at most twice the bytes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenScope {
    readings: Box<[Box<str>]>,
}

impl TokenScope {
    /// Keeps the readings that name the hub; `None` when neither does.
    pub(super) fn of(raw_scope: &str, scope: &str, hub_names: &[&str]) -> Option<Self> {
        let below_hub = |reading: &str| {
            let reading = reading.trim_end_matches('/');
            let (host, path) = reading.split_once('/').unwrap_or((reading, ""));
            let is_ours = hub_names.iter().any(|name| name.eq_ignore_ascii_case(host));
            is_ours.then(|| Box::from(path))
        };
        let mut readings: Vec<Box<str>> = Vec::with_capacity(2);
        readings.extend(below_hub(raw_scope));
        readings.extend(below_hub(scope).filter(|path| !readings.contains(path)));
        (!readings.is_empty()).then(|| Self {
            readings: readings.into(),
        })
    }

    /// Tells whether the token covers what `path` names by its decoded segments: its scope must be a prefix of the
    /// path, segment by segment (auth.md §3.3 step 4).
    pub fn covers(&self, path: &[&str]) -> bool {
        self.readings.iter().any(|reading| is_prefix(reading, path))
    }
}

fn is_prefix(reading: &str, path: &[&str]) -> bool {
    if reading.is_empty() {
        return true;
    }
    // Beyond the path only what old generators appended, and that to devices alone: elsewhere what looks like it may
    // be an id, and its holder would reach everything beside it.
    let is_device = matches!(*path, [first, _] if first.eq_ignore_ascii_case("devices"));
    let mut wanted = path.iter();
    reading.split('/').all(|segment| match wanted.next() {
        Some(wanted) => is_same(segment, wanted),
        None => is_device && is_api_version(segment),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(scope: &str, path: &[&str]) -> bool {
        let scope = format!("hub.test/{scope}");
        let scope = TokenScope::of(&scope, &scope, &["hub.test"]).unwrap();
        scope.covers(path)
    }

    #[test]
    fn an_id_that_looks_like_a_query_opens_nothing_beside_it() {
        for id in ["a=b", "api-version=1"] {
            let scope = format!("devices/{id}");
            assert!(covers(&scope, &["devices", id]), "{id}");
            assert!(!covers(&scope, &["devices"]), "{id}");
            assert!(!covers(&scope, &["devices", "other"]), "{id}");
            let module = format!("devices/d/modules/{id}");
            assert!(!covers(&module, &["devices", "d", "modules"]), "{id}");
            assert!(!covers(&module, &["devices", "d"]), "{id}");
        }
    }

    #[test]
    fn what_old_generators_appended_to_a_device_is_passed_over() {
        assert!(covers(
            "devices/d/api-version=2016-11-14",
            &["devices", "d"]
        ));
        assert!(!covers("devices/d/x=y", &["devices", "d"]));
        assert!(!covers("twins/d/api-version=2016-11-14", &["twins"]));
    }
}
