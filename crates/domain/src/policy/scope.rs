//! Limits of a policy: some devices, some verbs, some methods. Azure has none of this.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::access::{Access, Action, Actions};
use crate::id::DeviceId;
use crate::method::MethodName;
use crate::twin::Object;

/// Most device selectors of one policy.
pub const MAX_DEVICES: usize = 64;
/// Most methods that one policy names.
pub const MAX_METHODS: usize = 64;
/// Longest JSON text of a scope, in bytes: a hundred of them still travel in one answer.
pub const MAX_SCOPE_BYTES: usize = 16 * 1024;
/// Deepest path to a tag.
pub const MAX_TAG_DEPTH: usize = 10;

/// What a policy is limited to. Every limit that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyScope {
    /// Devices, any of these; empty: all, and what concerns the hub as a whole too.
    pub devices: Vec<DeviceMatch>,
    /// Verbs; `None`: whatever the permissions allow.
    pub verbs: Option<Vec<Verb>>,
    /// Methods that may be called; empty: all.
    pub methods: Vec<MethodName>,
}

/// Selects devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceMatch {
    /// The device of this id.
    Id(DeviceId),
    /// Devices whose id begins with this text; case counts.
    Prefix(String),
    /// Devices whose twin has this tag.
    Tag {
        /// Names of the members on the way to the tag.
        path: Vec<String>,
        /// The value: a string, a number or a boolean, compared as JSON.
        value: Value,
    },
}

/// What a limited policy may be left with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Send cloud-to-device messages.
    Send,
    /// Call direct methods.
    Invoke,
    /// Read twins.
    ReadTwin,
    /// Write twins.
    WriteTwin,
}

/// Whether a policy covers what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// It does.
    Yes,
    /// It does not, whatever the tags of the device are.
    No,
    /// It does if [`PolicyScope::covers_tags`] says so.
    IfTagged,
}

/// A scope outside its form.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("scope: {0}")]
pub struct ScopeError(String);

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Send, Self::Invoke, Self::ReadTwin, Self::WriteTwin];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Invoke => "invoke",
            Self::ReadTwin => "readTwin",
            Self::WriteTwin => "writeTwin",
        }
    }

    /// Reads the word of [`Self::as_str`] in any case.
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|verb| verb.as_str().eq_ignore_ascii_case(word))
    }

    fn action(self) -> Action {
        match self {
            Self::Send => Action::SendMessage,
            Self::Invoke => Action::InvokeMethod,
            Self::ReadTwin => Action::TwinsRead,
            Self::WriteTwin => Action::TwinsWrite,
        }
    }
}

impl PolicyScope {
    /// Tells whether the limits let `access` through.
    ///
    /// Under a limit to devices nothing passes that concerns the hub or many devices at once:
    /// lists, statistics, queries, feedback. Administration passes no limit at all.
    pub fn covers(&self, access: &Access<'_>) -> Coverage {
        let administration = [Action::AdministrationRead, Action::AdministrationWrite];
        if Actions::of(&administration).contains(access.action) {
            return Coverage::No;
        }
        let verbs = self.verbs.as_deref();
        if verbs.is_some_and(|verbs| verbs.iter().all(|verb| verb.action() != access.action)) {
            return Coverage::No;
        }
        let calls = access.action == Action::InvokeMethod && !self.methods.is_empty();
        if calls
            && !access
                .method
                .is_some_and(|name| self.methods.contains(name))
        {
            return Coverage::No;
        }
        if self.devices.is_empty() {
            return Coverage::Yes;
        }
        let Some(device) = access.device else {
            return Coverage::No;
        };
        let mut coverage = Coverage::No;
        for selector in &self.devices {
            let is_named = match selector {
                DeviceMatch::Id(id) => id == device,
                DeviceMatch::Prefix(prefix) => device.as_str().starts_with(prefix),
                DeviceMatch::Tag { .. } => {
                    coverage = Coverage::IfTagged;
                    false
                }
            };
            if is_named {
                return Coverage::Yes;
            }
        }
        coverage
    }

    /// Tells whether a device with these tags is selected by one of the tags that the scope names.
    pub fn covers_tags(&self, tags: &Object) -> bool {
        self.devices.iter().any(|selector| match selector {
            DeviceMatch::Tag { path, value } => find(tags, path) == Some(value),
            DeviceMatch::Id(_) | DeviceMatch::Prefix(_) => false,
        })
    }

    /// Reads the form of [`Self::to_json`].
    ///
    /// # Errors
    /// [`ScopeError`], for the one who wrote it: unknown members, empty lists, more than the
    /// bounds of this module.
    pub fn parse(value: &Value) -> Result<Self, ScopeError> {
        let object = value
            .as_object()
            .ok_or_else(|| wrong("must be an object"))?;
        let known = ["devices", "verbs", "methods"];
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(wrong(format!("has no member {name:?}")));
        }
        let scope = Self {
            devices: list(object, "devices", MAX_DEVICES, parse_device)?.unwrap_or_default(),
            verbs: list(object, "verbs", Verb::ALL.len(), |verb| {
                let word = verb.as_str().and_then(Verb::parse);
                word.ok_or_else(|| wrong("verbs are send, invoke, readTwin and writeTwin"))
            })?,
            methods: list(object, "methods", MAX_METHODS, |name| {
                let name = name.as_str().and_then(|name| name.parse().ok());
                name.ok_or_else(|| wrong("methods must be names of methods"))
            })?
            .unwrap_or_default(),
        };
        if scope == Self::default() {
            return Err(wrong("limits nothing; leave it out"));
        }
        if scope.to_json().to_string().len() > MAX_SCOPE_BYTES {
            return Err(wrong("must not have more than 16 KiB as JSON"));
        }
        Ok(scope)
    }

    /// The JSON form: `{"devices": [{"id": "a"}, {"prefix": "truck-"}, {"tag": "site.city",
    /// "equals": "Oslo"}], "verbs": ["send"], "methods": ["reboot"]}`.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        if !self.devices.is_empty() {
            let devices = self.devices.iter().map(|selector| match selector {
                DeviceMatch::Id(id) => json!({ "id": id.as_str() }),
                DeviceMatch::Prefix(prefix) => json!({ "prefix": prefix }),
                DeviceMatch::Tag { path, value } => {
                    json!({ "tag": path.join("."), "equals": value })
                }
            });
            object.insert("devices".into(), devices.collect());
        }
        if let Some(verbs) = &self.verbs {
            let verbs = verbs.iter().map(|verb| verb.as_str());
            object.insert("verbs".into(), verbs.collect());
        }
        if !self.methods.is_empty() {
            let methods = self.methods.iter().map(MethodName::as_str);
            object.insert("methods".into(), methods.collect());
        }
        Value::Object(object)
    }
}

fn wrong(text: impl Into<String>) -> ScopeError {
    ScopeError(text.into())
}

/// Reads a member that is a list of 1 to `most` elements, if it is there.
fn list<T>(
    object: &Map<String, Value>,
    name: &str,
    most: usize,
    read: impl FnMut(&Value) -> Result<T, ScopeError>,
) -> Result<Option<Vec<T>>, ScopeError> {
    let Some(value) = object.get(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let elements = value.as_array();
    let elements = elements.filter(|elements| (1..=most).contains(&elements.len()));
    let elements =
        elements.ok_or_else(|| wrong(format!("{name} must be a list of 1 to {most}")))?;
    elements
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn parse_device(value: &Value) -> Result<DeviceMatch, ScopeError> {
    let form = || wrong("a device is {\"id\"}, {\"prefix\"} or {\"tag\", \"equals\"}");
    let object = value.as_object().ok_or_else(form)?;
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    match (object.len(), text("id"), text("prefix"), text("tag")) {
        (1, Some(id), None, None) => id
            .parse()
            .map(DeviceMatch::Id)
            .map_err(|error| wrong(format!("{error}"))),
        (1, None, Some(prefix), None) => {
            let is_id = prefix.parse::<DeviceId>().is_ok();
            let prefix = is_id.then(|| DeviceMatch::Prefix(prefix.to_owned()));
            prefix.ok_or_else(|| wrong("a prefix must be the beginning of a device id"))
        }
        (2, None, None, Some(tag)) => {
            let value = object.get("equals").ok_or_else(form)?;
            let is_scalar = value.is_string() || value.is_number() || value.is_boolean();
            let path: Vec<String> = tag.split('.').map(str::to_owned).collect();
            let is_path = path.len() <= MAX_TAG_DEPTH
                && tag.len() <= crate::caps::MAX_TWIN_KEY_BYTES
                && path.iter().all(|name| !name.is_empty());
            let is_short = value.to_string().len() <= crate::caps::MAX_TWIN_STRING_BYTES;
            if !(is_scalar && is_path && is_short) {
                return Err(wrong(
                    "a tag is a dotted path and a string, number or boolean",
                ));
            }
            Ok(DeviceMatch::Tag {
                path,
                value: value.clone(),
            })
        }
        _ => Err(form()),
    }
}

fn find<'a>(tags: &'a Object, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let start = tags.get(first)?;
    rest.iter()
        .try_fold(start, |value, name| value.as_object()?.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Action::{DevicesRead, InvokeMethod, SendMessage, TwinsRead};

    fn scope(value: &Value) -> PolicyScope {
        PolicyScope::parse(value).expect("a scope in its form")
    }

    fn to(action: Action, device: &str) -> (Action, DeviceId) {
        (action, device.parse().unwrap())
    }

    fn coverage(scope: &PolicyScope, (action, device): &(Action, DeviceId)) -> Coverage {
        scope.covers(&Access::to_device(*action, device))
    }

    #[test]
    fn devices_are_selected_by_id_by_prefix_and_by_tag() {
        let scope = scope(&json!({"devices": [
            {"id": "boiler"}, {"prefix": "truck-"}, {"tag": "site.city", "equals": "Oslo"}
        ]}));
        assert_eq!(coverage(&scope, &to(TwinsRead, "boiler")), Coverage::Yes);
        assert_eq!(coverage(&scope, &to(TwinsRead, "truck-7")), Coverage::Yes);
        assert_eq!(
            coverage(&scope, &to(TwinsRead, "Truck-7")),
            Coverage::IfTagged
        );
        let tags = |value: Value| value.as_object().unwrap().clone();
        assert!(scope.covers_tags(&tags(json!({"site": {"city": "Oslo"}}))));
        for other in [
            json!({}),
            json!({"site": "Oslo"}),
            json!({"site": {"city": "oslo"}}),
        ] {
            assert!(!scope.covers_tags(&tags(other)));
        }
    }

    #[test]
    fn under_a_limit_to_devices_nothing_passes_that_concerns_the_hub() {
        let scope = scope(&json!({"devices": [{"prefix": "a"}]}));
        assert_eq!(scope.covers(&Access::to_hub(DevicesRead)), Coverage::No);
        let free = PolicyScope::parse(&json!({"verbs": ["send", "readTwin"]})).unwrap();
        assert_eq!(free.covers(&Access::to_hub(DevicesRead)), Coverage::No);
        assert_eq!(free.covers(&Access::to_hub(TwinsRead)), Coverage::Yes);
    }

    #[test]
    fn verbs_and_methods_narrow_what_is_done() {
        let scope = scope(&json!({"verbs": ["invoke"], "methods": ["reboot"]}));
        let device: DeviceId = "d".parse().unwrap();
        assert_eq!(coverage(&scope, &to(SendMessage, "d")), Coverage::No);
        for (name, expected) in [("reboot", Coverage::Yes), ("Reboot", Coverage::No)] {
            let method: MethodName = name.parse().unwrap();
            let access = Access {
                method: Some(&method),
                ..Access::to_device(InvokeMethod, &device)
            };
            assert_eq!(scope.covers(&access), expected);
        }
        assert_eq!(coverage(&scope, &to(InvokeMethod, "d")), Coverage::No);
    }

    #[test]
    fn a_scope_reads_back_from_its_json() {
        let text = json!({
            "devices": [{"id": "a"}, {"prefix": "b-"}, {"tag": "x.y", "equals": 7}],
            "verbs": ["send", "writeTwin"],
            "methods": ["reboot"],
        });
        assert_eq!(scope(&text).to_json(), text);
    }

    #[test]
    fn a_scope_outside_its_form_is_refused() {
        for bad in [
            json!({}),
            json!([]),
            json!({"devices": []}),
            json!({"device": [{"id": "a"}]}),
            json!({"devices": [{"id": "a", "prefix": "b"}]}),
            json!({"devices": [{"id": "a b"}]}),
            json!({"devices": [{"prefix": ""}]}),
            json!({"devices": [{"tag": "a..b", "equals": 1}]}),
            json!({"devices": [{"tag": "a", "equals": {}}]}),
            json!({"devices": [{"tag": "a"}]}),
            json!({"verbs": ["purge"]}),
            json!({"methods": [""]}),
            json!({"devices": vec![json!({"id": "a"}); MAX_DEVICES + 1]}),
            json!({"devices": vec![json!({"tag": "a", "equals": "x".repeat(1024)}); 17]}),
        ] {
            assert!(PolicyScope::parse(&bad).is_err(), "{bad}");
        }
    }
}
