//! Keys of many identities exchanged (registry.md §1, row 22).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_domain::ErrorCode;
use downlink_domain::access::Action;
use downlink_domain::device::{Authentication, Device};
use downlink_domain::id::ModuleId;
use downlink_ports::{IdSource, ItemChange, RotatedKeys};
use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::identity;
use super::super::request::{member, parse_object, text_member};
use super::item::{Named, identity_name};
use super::{Item, listed};

/// What is asked for.
pub(super) struct Rotation {
    pub(super) keys: RotatedKeys,
    /// How the caller called it, in the contract's words.
    pub(super) word: &'static str,
    pub(super) items: Vec<Item>,
}

pub(super) fn parse(body: &[u8], ids: &dyn IdSource) -> Result<Rotation, ApiError> {
    let body = parse_object(body)?;
    let word = text_member(&body, "policyKey")?.map(str::to_ascii_lowercase);
    let (keys, word) = match word.as_deref() {
        Some("primarykey" | "primary") => (RotatedKeys::Primary, "primaryKey"),
        Some("secondarykey" | "secondary") => (RotatedKeys::Secondary, "secondaryKey"),
        Some("both") => (RotatedKeys::Both, "both"),
        Some(_) | None => {
            let text = "policyKey must be primaryKey, secondaryKey or both";
            return Err(ApiError::new(ErrorCode::InvalidPolicyKey, text));
        }
    };
    let Some(Value::Array(devices)) = member(&body, "devices") else {
        return Err(ApiError::invalid(&"devices must be an array"));
    };
    let items = listed(devices.clone())?.into_iter().map(|device| Item {
        named: Named::of(&device),
        asked: identity_name(&device).map(|name| {
            let fresh = identity::mint(ids);
            let change = ItemChange::RotateKeys { keys, fresh };
            (name, Action::DevicesWrite, change)
        }),
    });
    Ok(Rotation {
        keys,
        word,
        items: items.collect(),
    })
}

/// The new keys of an identity.
pub(super) fn document(device: &Device, rotated: RotatedKeys) -> Value {
    let mut document = Map::new();
    document.insert("id".to_owned(), json!(device.name.device.as_str()));
    let module = device.name.module.as_ref().map(ModuleId::as_str);
    document.insert("moduleId".to_owned(), json!(module));
    if let Authentication::Sas(keys) = &device.authentication {
        if rotated != RotatedKeys::Secondary {
            let key = STANDARD.encode(&keys.primary);
            document.insert("primaryKey".to_owned(), Value::String(key));
        }
        if rotated != RotatedKeys::Primary {
            let key = STANDARD.encode(&keys.secondary);
            document.insert("secondaryKey".to_owned(), Value::String(key));
        }
    }
    Value::Object(document)
}
