//! A twin as a digital twin (twins.md §9): properties at the root, components as objects of their
//! own, and what is known of each property beside it.

use serde_json::Value;

use super::patch::add_nulls_for_removed;
use super::{METADATA, Object, Section, Twin, TwinError};
use crate::caps;
use crate::id::DeviceId;

/// Marks an object of a section as a component, by the conventions of IoT Plug and Play.
const MARK: &str = "__t";
/// The value of the mark.
const COMPONENT: &str = "c";
/// Operations that one patch may hold.
pub const MAX_PATCH_OPERATIONS: usize = 100;

/// What a JSON Patch (RFC 6902) does to a digital twin, with its place as a JSON Pointer
/// (RFC 6901). The others of the RFC do not exist here.
#[derive(Clone, Debug, PartialEq)]
pub enum DigitalChange {
    /// `add` and `replace`, which are one: a wish has no old value that must be there.
    Put {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// `remove`.
    Remove {
        /// Where.
        path: String,
    },
}

impl Twin {
    /// The twin of a device that announced `model`, empty for none, as a digital twin.
    pub fn digital_view(&self, device: &DeviceId, model: &str) -> Object {
        let mut root = Object::new();
        root.insert("$dtId".to_owned(), device.as_str().into());
        let mut metadata = Object::new();
        metadata.insert("$model".to_owned(), model.into());
        if !model.is_empty() {
            let desired = Half::of(&self.desired);
            let reported = Half::of(&self.reported);
            put_properties(&mut root, &mut metadata, &desired, &reported);
            put_components(&mut root, &desired, &reported);
        }
        root.insert(METADATA.to_owned(), metadata.into());
        root
    }

    /// The patch of desired that `changes` come to, in their order.
    ///
    /// # Errors
    /// [`TwinError::Invalid`] for a path that is none or names what is not a property.
    pub fn digital_patch(&self, changes: Vec<DigitalChange>) -> Result<Object, TwinError> {
        if changes.len() > MAX_PATCH_OPERATIONS {
            let most = MAX_PATCH_OPERATIONS;
            return Err(TwinError::Invalid(format!(
                "the patch has more than {most} operations"
            )));
        }
        let mut patch = Object::new();
        for change in changes {
            let (place, value) = match change {
                DigitalChange::Put { path, value } => (path, Some(value)),
                DigitalChange::Remove { path } => (path, None),
            };
            self.put(&mut patch, &names_in(&place)?, value)?;
        }
        Ok(patch)
    }

    fn put(
        &self,
        patch: &mut Object,
        names: &[String],
        value: Option<Value>,
    ) -> Result<(), TwinError> {
        let invalid = |what: &str| TwinError::Invalid(format!("the patch {what}"));
        let [first, .., last] = names else {
            return match names {
                [only] => {
                    check_name(only)?;
                    let was = self.desired.values.get(only);
                    let is_component = value.as_ref().is_some_and(is_written_component)
                        || (value.as_ref().is_some_and(Value::is_object)
                            && self.is_component(only));
                    let wish = wish(value, was, is_component);
                    patch.insert(only.clone(), wish);
                    Ok(())
                }
                _ => Err(invalid("names no property")),
            };
        };
        names.iter().try_for_each(|name| check_name(name))?;
        let mut was = Some(&self.desired.values);
        let mut at = patch;
        for (depth, name) in names[..names.len() - 1].iter().enumerate() {
            let standing = was.and_then(|was| was.get(name));
            was = standing.and_then(Value::as_object);
            // Below what is no object there is nothing; what this patch has removed stays so.
            let may_begin = was.is_some() || (standing.is_none() && value.is_some());
            let slot = at.entry(name.clone());
            let slot = slot.or_insert_with(|| {
                if may_begin {
                    Value::Object(Object::new())
                } else {
                    Value::Null
                }
            });
            let Some(inside) = slot.as_object_mut() else {
                return Err(invalid("names no property"));
            };
            if depth == 0 && self.is_component(first) {
                inside.insert(MARK.to_owned(), COMPONENT.into());
            }
            at = inside;
        }
        let was = was.and_then(|was| was.get(last));
        at.insert(last.clone(), wish(value, was, false));
        Ok(())
    }

    fn is_component(&self, name: &str) -> bool {
        let halves = [&self.desired.values, &self.reported.values];
        halves
            .into_iter()
            .any(|values| values.get(name).is_some_and(is_component))
    }
}

/// One half of the twin, or of a component of it.
struct Half<'a> {
    values: Option<&'a Object>,
    metadata: Option<&'a Object>,
}

impl<'a> Half<'a> {
    fn of(section: &'a Section) -> Self {
        Self {
            values: Some(&section.values),
            metadata: Some(&section.metadata),
        }
    }

    fn inside(&self, name: &str) -> Self {
        let inside = |of: Option<&'a Object>| of?.get(name)?.as_object();
        Self {
            values: inside(self.values),
            metadata: inside(self.metadata),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        self.values.into_iter().flat_map(Object::keys)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.values?.get(name)
    }

    fn fact(&self, name: &str, fact: &str) -> Option<&'a Value> {
        self.metadata?.get(name)?.get(fact)
    }
}

/// The names of both halves, each once, those of reported first.
fn names<'a>(desired: &Half<'a>, reported: &Half<'a>) -> Vec<&'a String> {
    let more = desired.names().filter(|name| reported.get(name).is_none());
    reported.names().chain(more).collect()
}

fn put_properties(
    values: &mut Object,
    metadata: &mut Object,
    desired: &Half<'_>,
    reported: &Half<'_>,
) {
    for name in names(desired, reported) {
        let (wish, word) = (desired.get(name), reported.get(name));
        let is_component = |value: Option<&Value>| value.is_some_and(is_component);
        if name == MARK || is_component(wish) || is_component(word) {
            continue;
        }
        let mut facts = Object::new();
        let mut fact = |name: &str, value: Option<&Value>| {
            if let Some(value) = value {
                facts.insert(name.to_owned(), value.clone());
            }
        };
        fact("desiredValue", wish);
        fact("desiredVersion", desired.fact(name, "$lastUpdatedVersion"));
        if let Some(word) = word {
            // The device's word on a wish holds the value beside what became of the wish.
            let answer = word.as_object().filter(|word| word.contains_key("ac"));
            let value = answer.and_then(|answer| answer.get("value"));
            values.insert(name.clone(), value.unwrap_or(word).clone());
            if let Some(answer) = answer {
                fact("ackVersion", answer.get("av"));
                fact("ackCode", answer.get("ac"));
                fact("ackDescription", answer.get("ad"));
            }
        }
        let told = reported.fact(name, "$lastUpdated");
        fact(
            "lastUpdateTime",
            told.or_else(|| desired.fact(name, "$lastUpdated")),
        );
        metadata.insert(name.clone(), facts.into());
    }
}

fn put_components(root: &mut Object, desired: &Half<'_>, reported: &Half<'_>) {
    for name in names(desired, reported) {
        let is_component = |half: &Half<'_>| half.get(name).is_some_and(self::is_component);
        if !is_component(desired) && !is_component(reported) {
            continue;
        }
        let (mut component, mut metadata) = (Object::new(), Object::new());
        put_properties(
            &mut component,
            &mut metadata,
            &desired.inside(name),
            &reported.inside(name),
        );
        component.insert(METADATA.to_owned(), metadata.into());
        root.insert(name.clone(), component.into());
    }
}

fn is_component(value: &Value) -> bool {
    value.get(MARK).and_then(Value::as_str) == Some(COMPONENT)
}

/// Whether a writer means a component: as one is read, with metadata of its own.
fn is_written_component(value: &Value) -> bool {
    value.get(METADATA).is_some()
}

/// What stands in the patch for a value that takes the place of `was`.
fn wish(value: Option<Value>, was: Option<&Value>, is_component: bool) -> Value {
    match value {
        None => Value::Null,
        Some(Value::Object(mut members)) => {
            members.retain(|name, _| name != METADATA);
            // A patch merges; what the new object lacks must go.
            if let Some(was) = was.and_then(Value::as_object) {
                add_nulls_for_removed(&mut members, was);
            }
            if is_component {
                members.insert(MARK.to_owned(), COMPONENT.into());
            }
            Value::Object(members)
        }
        Some(value) => value,
    }
}

/// The names in a JSON Pointer.
fn names_in(pointer: &str) -> Result<Vec<String>, TwinError> {
    let invalid = || TwinError::Invalid(format!("{pointer:?} is no path of a property"));
    let path = pointer.strip_prefix('/').ok_or_else(invalid)?;
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > caps::MAX_TWIN_DEPTH {
        return Err(invalid());
    }
    let unescape = |name: &str| {
        let rest = name.replace("~0", "").replace("~1", "");
        let name = name.replace("~1", "/").replace("~0", "~");
        (!rest.contains('~')).then_some(name)
    };
    let names = names.into_iter().map(unescape).collect::<Option<_>>();
    names.ok_or_else(invalid)
}

fn check_name(name: &str) -> Result<(), TwinError> {
    if name.is_empty() || name.starts_with('$') {
        let text = format!("the patch names {name:?}, which is no property");
        return Err(TwinError::Invalid(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::device::IfMatch;
    use crate::time::Timestamp;
    use crate::twin::{ReplacedKeys, TwinChange, TwinRules, apply};

    const RULES: TwinRules = TwinRules {
        max_tags_bytes: caps::MAX_TAGS_BYTES,
        max_desired_bytes: caps::MAX_DESIRED_BYTES,
        max_reported_bytes: caps::MAX_REPORTED_BYTES,
        replaced_keys: ReplacedKeys::Omitted,
        kept_changes: 0,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_767_604_351_412 + second * 1000)
    }

    #[track_caller]
    fn object(value: Value) -> Object {
        let Value::Object(object) = value else {
            panic!("{value} is not an object");
        };
        object
    }

    fn twin(desired: Value, reported: Value) -> Twin {
        let change = TwinChange::Patch {
            tags: None,
            desired: Some(object(desired)),
            if_match: IfMatch::Any,
        };
        let twin = apply(&Twin::new(at(0)), change, RULES, at(1)).unwrap().twin;
        let report = TwinChange::Report {
            patch: object(reported),
            expected_version: None,
        };
        apply(&twin, report, RULES, at(2)).unwrap().twin
    }

    fn device() -> DeviceId {
        "dev-1".parse().unwrap()
    }

    fn put(path: &str, value: Value) -> DigitalChange {
        DigitalChange::Put {
            path: path.to_owned(),
            value,
        }
    }

    fn patched(twin: &Twin, change: DigitalChange) -> Value {
        twin.digital_patch(vec![change]).unwrap().into()
    }

    #[test]
    fn a_device_without_a_model_shows_its_id_alone() {
        let view = twin(json!({"a": 1}), json!({"b": 2})).digital_view(&device(), "");
        let expected = json!({"$dtId": "dev-1", "$metadata": {"$model": ""}});
        assert_eq!(Value::Object(view), expected);
    }

    #[test]
    fn properties_and_components_stand_beside_what_is_known_of_them() {
        let twin = twin(
            json!({"target": 21, "t1": {"__t": "c", "limit": 5}}),
            json!({
                "serial": "x", "target": {"value": 20, "ac": 200, "av": 2, "ad": "done"},
                "t1": {"__t": "c", "max": 80}
            }),
        );
        let view = twin.digital_view(&device(), "dtmi:example;1");
        let (wished, told) = (at(1).to_string(), at(2).to_string());
        assert_eq!(
            Value::Object(view),
            json!({
                "$dtId": "dev-1",
                "serial": "x",
                "target": 20,
                "t1": {
                    "max": 80,
                    "$metadata": {
                        "max": {"lastUpdateTime": told},
                        "limit": {
                            "desiredValue": 5, "desiredVersion": 2, "lastUpdateTime": wished
                        }
                    }
                },
                "$metadata": {
                    "$model": "dtmi:example;1",
                    "serial": {"lastUpdateTime": told},
                    "target": {
                        "desiredValue": 21, "desiredVersion": 2, "ackVersion": 2,
                        "ackCode": 200, "ackDescription": "done", "lastUpdateTime": told
                    }
                }
            })
        );
    }

    #[test]
    fn a_put_becomes_a_wish_and_a_removal_a_null() {
        let twin = twin(
            json!({"old": {"a": 1, "b": 2}}),
            json!({"t1": {"__t": "c"}}),
        );
        for (change, expected) in [
            (put("/target", json!(21.5)), json!({"target": 21.5})),
            (put("/a~1b~0c", json!(1)), json!({"a/b~c": 1})),
            (
                put("/old", json!({"b": 3})),
                json!({"old": {"b": 3, "a": null}}),
            ),
            (put("/old/a", json!(3)), json!({"old": {"a": 3}})),
            (
                put("/t1/limit", json!(5)),
                json!({"t1": {"__t": "c", "limit": 5}}),
            ),
            (
                put("/t2", json!({"$metadata": {}, "limit": 5})),
                json!({"t2": {"limit": 5, "__t": "c"}}),
            ),
        ] {
            assert_eq!(patched(&twin, change), expected);
        }
        let removal = DigitalChange::Remove {
            path: "/old".to_owned(),
        };
        assert_eq!(patched(&twin, removal), json!({"old": null}));
    }

    #[test]
    fn changes_of_one_patch_come_together_in_their_order() {
        let twin = twin(json!({"a": 1}), json!({}));
        let changes = vec![
            put("/a", json!(2)),
            put("/b/c", json!(3)),
            put("/b/d", json!(4)),
            put("/a", json!(5)),
        ];
        let patch = twin.digital_patch(changes).unwrap();
        assert_eq!(Value::Object(patch), json!({"a": 5, "b": {"c": 3, "d": 4}}));
    }

    #[test]
    fn a_path_that_names_no_property_is_refused() {
        let twin = twin(json!({"a": 1}), json!({}));
        for path in ["", "a", "/", "/$metadata", "/a/$version", "/a~2", "/a//b"] {
            let patched = twin.digital_patch(vec![put(path, json!(1))]);
            assert!(matches!(patched, Err(TwinError::Invalid(_))), "{path}");
        }
        let many = vec![put("/a", json!(1)); MAX_PATCH_OPERATIONS + 1];
        assert!(twin.digital_patch(many).is_err());
    }
}
