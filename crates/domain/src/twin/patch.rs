//! Writes of twins: merge, replace, report (twins.md §3, §4).

use serde_json::Value;

use super::metadata::Stamp;
use super::{
    DesiredNotification, METADATA, Object, ReplacedKeys, Section, Twin, TwinChange, TwinError,
    TwinRules, TwinWritten, VERSION, validate,
};
use crate::device::IfMatch;
use crate::time::Timestamp;

/// Applies a write to a twin, whole or not at all.
///
/// A patch or report without members changes nothing: no version moves, nobody is told
/// (twins.md §4.1). Every other write counts, even one of equal values.
///
/// # Errors
/// [`TwinError::PreconditionFailed`] if the named etag or version is not the current one;
/// [`TwinError::Invalid`] if a key, value, depth or size breaks the rules (twins.md §4.5).
pub fn apply(
    twin: &Twin,
    change: TwinChange,
    rules: TwinRules,
    now: Timestamp,
) -> Result<TwinWritten, TwinError> {
    match change {
        TwinChange::Patch {
            tags,
            desired,
            if_match,
        } => {
            check_etag(twin, &if_match)?;
            let desired = without_dollar_members(desired.unwrap_or_default());
            patch(twin, tags.unwrap_or_default(), desired, (rules, now))
        }
        TwinChange::Replace {
            tags,
            desired,
            if_match,
        } => {
            check_etag(twin, &if_match)?;
            replace(twin, tags, without_dollar_members(desired), (rules, now))
        }
        TwinChange::Report {
            patch,
            expected_version,
        } => {
            if expected_version.is_some_and(|version| version != twin.reported.version) {
                return Err(TwinError::PreconditionFailed);
            }
            report(twin, patch, (rules, now))
        }
    }
}

/// A section as the service sees it: values, `$metadata`, `$version`.
pub(super) fn section_body(values: &Object, metadata: &Object, version: u64) -> Object {
    let mut body = values.clone();
    body.insert(METADATA.to_owned(), Value::Object(metadata.clone()));
    body.insert(VERSION.to_owned(), Value::from(version));
    body
}

fn check_etag(twin: &Twin, if_match: &IfMatch) -> Result<(), TwinError> {
    match if_match {
        IfMatch::Absent | IfMatch::Any => Ok(()),
        IfMatch::Etag(etag) if *etag == twin.etag_text() => Ok(()),
        IfMatch::Etag(_) => Err(TwinError::PreconditionFailed),
    }
}

/// SDKs send back what they read; these two members are ours to write (twins.md §4.1).
fn without_dollar_members(mut desired: Object) -> Object {
    desired.shift_remove(METADATA);
    desired.shift_remove(VERSION);
    desired
}

fn unchanged(twin: &Twin) -> TwinWritten {
    TwinWritten {
        twin: twin.clone(),
        notification: None,
        event: None,
    }
}

fn patch(
    twin: &Twin,
    tags: Object,
    desired: Object,
    (rules, now): (TwinRules, Timestamp),
) -> Result<TwinWritten, TwinError> {
    validate::check_members("tags", &tags)?;
    validate::check_members("desired", &desired)?;
    if tags.is_empty() && desired.is_empty() {
        return Ok(unchanged(twin));
    }
    let mut next = twin.clone();
    next.etag += 1;
    next.version += 1;
    let mut event = event_of(&next);
    if !tags.is_empty() {
        event.insert("tags".to_owned(), Value::Object(tags.clone()));
        merge_values(&mut next.tags, tags);
        validate::check_size("tags", &next.tags, rules.max_tags_bytes)?;
    }
    let mut notification = None;
    if !desired.is_empty() {
        let version = next.desired.version + 1;
        let stamp = Stamp::of_desired(now, version);
        event.insert(
            "properties".to_owned(),
            changed_section("desired", &desired, &stamp, version),
        );
        notification = Some(notification_of(desired.clone(), version));
        merge_section(&mut next.desired, desired, &stamp);
        validate::check_size("desired", &next.desired.values, rules.max_desired_bytes)?;
    }
    Ok(TwinWritten {
        twin: next,
        notification,
        event: Some(event),
    })
}

fn replace(
    twin: &Twin,
    tags: Object,
    desired: Object,
    (rules, now): (TwinRules, Timestamp),
) -> Result<TwinWritten, TwinError> {
    validate::check_members("tags", &tags)?;
    validate::check_members("desired", &desired)?;
    let tags = without_nulls(tags);
    let values = without_nulls(desired);
    validate::check_size("tags", &tags, rules.max_tags_bytes)?;
    validate::check_size("desired", &values, rules.max_desired_bytes)?;

    let version = twin.desired.version + 1;
    let mut told = values.clone();
    if rules.replaced_keys == ReplacedKeys::Nulls {
        add_nulls_for_removed(&mut told, &twin.desired.values);
    }
    let metadata = Stamp::of_desired(now, version).tree(&values);
    let next = Twin {
        tags,
        desired: Section {
            values,
            metadata,
            version,
        },
        reported: twin.reported.clone(),
        etag: twin.etag + 1,
        version: twin.version + 1,
    };
    let mut event = event_of(&next);
    event.insert("tags".to_owned(), Value::Object(next.tags.clone()));
    event.insert("properties".to_owned(), Value::Object(next.properties()));
    Ok(TwinWritten {
        twin: next,
        notification: Some(notification_of(told, version)),
        event: Some(event),
    })
}

fn report(
    twin: &Twin,
    patch: Object,
    (rules, now): (TwinRules, Timestamp),
) -> Result<TwinWritten, TwinError> {
    validate::check_members("reported", &patch)?;
    if patch.is_empty() {
        return Ok(unchanged(twin));
    }
    let mut next = twin.clone();
    next.version += 1;
    let version = next.reported.version + 1;
    let stamp = Stamp::of_reported(now);
    let mut event = event_of(&next);
    event.insert(
        "properties".to_owned(),
        changed_section("reported", &patch, &stamp, version),
    );
    merge_section(&mut next.reported, patch, &stamp);
    validate::check_size("reported", &next.reported.values, rules.max_reported_bytes)?;
    Ok(TwinWritten {
        twin: next,
        notification: None,
        event: Some(event),
    })
}

fn event_of(next: &Twin) -> Object {
    let mut event = Object::new();
    event.insert("version".to_owned(), Value::from(next.version));
    event
}

/// The part of the event for one patched section: the patch and the metadata of what it wrote.
fn changed_section(name: &str, patch: &Object, stamp: &Stamp, version: u64) -> Value {
    let mut properties = Object::new();
    let section = section_body(patch, &stamp.tree(patch), version);
    properties.insert(name.to_owned(), Value::Object(section));
    Value::Object(properties)
}

fn notification_of(mut body: Object, version: u64) -> DesiredNotification {
    body.insert(VERSION.to_owned(), Value::from(version));
    DesiredNotification { body, version }
}

fn merge_section(section: &mut Section, patch: Object, stamp: &Stamp) {
    section.version += 1;
    merge(&mut section.values, &mut section.metadata, patch, stamp);
}

/// Merges `patch` into `values` and keeps `metadata` its mirror. Recursion follows the patch,
/// which has been checked against the depth limit.
fn merge(values: &mut Object, metadata: &mut Object, patch: Object, stamp: &Stamp) {
    stamp.mark(metadata);
    for (key, value) in patch {
        match value {
            Value::Null => {
                values.shift_remove(&key);
                metadata.shift_remove(&key);
            }
            Value::Object(patch) => {
                let is_new = !values.get(&key).is_some_and(Value::is_object);
                let below = object_at(metadata, &key, is_new);
                merge(object_at(values, &key, is_new), below, patch, stamp);
            }
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                metadata.insert(key.clone(), Value::Object(stamp.leaf()));
                values.insert(key, value);
            }
        }
    }
}

/// The merge for tags, which have no metadata.
fn merge_values(values: &mut Object, patch: Object) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                values.shift_remove(&key);
            }
            Value::Object(patch) => {
                let is_new = !values.get(&key).is_some_and(Value::is_object);
                merge_values(object_at(values, &key, is_new), patch);
            }
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                values.insert(key, value);
            }
        }
    }
}

/// The object under `key`, made empty when it `is_new` or was none.
fn object_at<'a>(parent: &'a mut Object, key: &str, is_new: bool) -> &'a mut Object {
    let slot = parent.entry(key).or_insert(Value::Null);
    if is_new || !slot.is_object() {
        *slot = Value::Object(Object::new());
    }
    slot.as_object_mut().expect("it was just made an object")
}

/// Drops members that are `null`; arrays hold none, they have been checked.
fn without_nulls(members: Object) -> Object {
    members
        .into_iter()
        .filter_map(|(key, value)| match value {
            Value::Null => None,
            Value::Object(members) => Some((key, Value::Object(without_nulls(members)))),
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                Some((key, value))
            }
        })
        .collect()
}

/// Adds a `null` for every key of `old` that `new` lacks, at every level that both have.
pub(super) fn add_nulls_for_removed(new: &mut Object, old: &Object) {
    for (key, was) in old {
        match (new.get_mut(key), was) {
            (None, _) => {
                new.insert(key.clone(), Value::Null);
            }
            (Some(Value::Object(new)), Value::Object(old)) => add_nulls_for_removed(new, old),
            (Some(_), _) => {}
        }
    }
}
