//! A policy as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_auth::SymmetricKey;
use downlink_domain::ErrorCode;
use downlink_domain::policy::{Permission, Permissions, Policy, PolicyScope};
use downlink_domain::twin::Object;
use serde_json::{Value, json};

use super::authority_json::check_members;
use crate::https::answer::Answer;
use crate::https::error::ApiError;
use crate::https::request::{member, text_member};

/// What a body may hold; a misspelt limit must not become none.
const MEMBERS: [&str; 6] = [
    "name",
    "primaryKey",
    "secondaryKey",
    "permissions",
    "scope",
    "etag",
];

/// A policy as its writer describes it.
pub(super) struct PolicySpec {
    /// Both keys; `None` leaves them to the hub.
    pub(super) keys: Option<[Vec<u8>; 2]>,
    permissions: Permissions,
    scope: Option<PolicyScope>,
}

/// Which keys of a policy are to be others.
pub(super) struct NewKeys {
    /// Their places, 0 and 1.
    pub(super) places: &'static [usize],
    /// What the caller chose, by place.
    pub(super) given: [Option<Vec<u8>>; 2],
}

/// The answer to whoever asked for a policy or wrote one.
pub(super) fn answer(policy: &Policy, has_keys: bool) -> Answer {
    let document = document(policy, has_keys);
    Answer::json(&document)
        .with_etag(&policy.etag_text())
        .unstored()
}

/// The policy; without its keys for whoever may not read them.
pub(super) fn document(policy: &Policy, has_keys: bool) -> Value {
    let rights = Permission::ALL.into_iter();
    let rights = rights.filter(|right| policy.permissions.grants(*right));
    let mut document = Object::new();
    document.insert("name".to_owned(), policy.name.as_str().into());
    if has_keys {
        for (name, key) in ["primaryKey", "secondaryKey"].into_iter().zip(&policy.keys) {
            document.insert(name.to_owned(), STANDARD.encode(key).into());
        }
    }
    let rights: Vec<&str> = rights.map(Permission::name).collect();
    document.insert("permissions".to_owned(), json!(rights));
    let scope = policy.scope.as_ref().map(PolicyScope::to_json);
    document.insert("scope".to_owned(), scope.unwrap_or_default());
    document.insert("etag".to_owned(), policy.etag_text().into());
    Value::Object(document)
}

impl PolicySpec {
    pub(super) fn parse(body: &Object, name: &str) -> Result<Self, ApiError> {
        check_members(body, &MEMBERS, name)?;
        let permissions = parse_permissions(body)?;
        let scope = member(body, "scope").map(PolicyScope::parse).transpose();
        let scope = scope.map_err(|error| ApiError::invalid(&error))?;
        if scope.is_some() && permissions.grants(Permission::Administer) {
            return Err(ApiError::invalid(
                &"a policy with a scope administers nothing; leave Administer out",
            ));
        }
        let keys = match [key(body, "primaryKey")?, key(body, "secondaryKey")?] {
            [Some(primary), Some(secondary)] => Some([primary, secondary]),
            [None, None] => None,
            _ => return Err(ApiError::invalid(&"both keys must be given, or none")),
        };
        Ok(Self {
            keys,
            permissions,
            scope,
        })
    }

    /// The policy of that name with these keys.
    pub(super) fn apply(&self, name: &str, keys: [Vec<u8>; 2]) -> Policy {
        Policy {
            scope: self.scope.clone(),
            ..Policy::new(name, keys, self.permissions)
        }
    }
}

fn parse_permissions(body: &Object) -> Result<Permissions, ApiError> {
    let Some(value) = member(body, "permissions") else {
        return Err(ApiError::new(
            ErrorCode::ArgumentNull,
            "permissions must be given",
        ));
    };
    let named = value.as_array().filter(|named| !named.is_empty());
    let named = named.ok_or_else(|| ApiError::invalid(&"permissions must be a list of some"))?;
    let rights: Option<Vec<Permission>> = named
        .iter()
        .map(|name| name.as_str().and_then(Permission::parse))
        .collect();
    rights
        .map(|rights| Permissions::of(&rights))
        .ok_or_else(|| {
            let all = Permission::ALL.map(Permission::name).join(", ");
            ApiError::invalid(&format_args!("permissions are {all}"))
        })
}

impl NewKeys {
    pub(super) fn parse(body: &Object) -> Result<Self, ApiError> {
        check_members(body, &["key", "primaryKey", "secondaryKey"], "")?;
        let places: &[usize] = match text_member(body, "key")? {
            Some("primary") => &[0],
            Some("secondary") => &[1],
            Some("both") => &[0, 1],
            Some(_) => {
                return Err(ApiError::invalid(&"key must be primary, secondary or both"));
            }
            None => {
                return Err(ApiError::new(
                    ErrorCode::ArgumentNull,
                    "key must be given: primary, secondary or both",
                ));
            }
        };
        let given = [key(body, "primaryKey")?, key(body, "secondaryKey")?];
        let mut strays = (0..given.len()).filter(|place| !places.contains(place));
        if strays.any(|place| given[place].is_some()) {
            return Err(ApiError::invalid(&"a key is given that is to stay"));
        }
        Ok(Self { places, given })
    }
}

/// The key of that name, if one is given: base64 of 16 to 64 bytes.
fn key(body: &Object, name: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let text = text_member(body, name)?.filter(|text| !text.is_empty());
    let key = text.map(str::parse::<SymmetricKey>).transpose();
    let key = key.map_err(|error| ApiError::invalid(&error))?;
    Ok(key.map(|key| key.as_bytes().to_vec()))
}
