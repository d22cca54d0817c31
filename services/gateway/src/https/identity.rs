//! Identities of devices and modules as JSON (registry.md §2.1, §3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_auth::SymmetricKey;
use downlink_domain::device::{Authentication, Device, DeviceSpec, DeviceStatus, SymmetricKeys};
use downlink_domain::id::{IdentityName, ModuleId};
use downlink_domain::twin::Object;
use downlink_ports::IdSource;
use serde_json::{Value, json};

use super::error::ApiError;
use super::facts::Facts;
use super::request::{member, object_member, text_member};

/// The identity in the member order of the contract.
pub(super) fn document(device: &Device, facts: Facts) -> Value {
    let mut document = json!({
        "deviceId": device.name.device.as_str(),
        "generationId": device.generation.to_string(),
        "etag": device.etag_text(),
        "connectionState": facts.connection_state(device),
        "status": device.status.as_str(),
        "statusReason": device.status_reason,
        "connectionStateUpdatedTime": device.connection_state_updated_at.to_string(),
        "statusUpdatedTime": device.status_updated_at.to_string(),
        "lastActivityTime": device.last_activity_at.to_string(),
        "cloudToDeviceMessageCount": facts.waiting_messages,
        "authentication": authentication(&device.authentication),
        "capabilities": { "iotEdge": device.is_edge },
    });
    if let (Some(scope), Some(members)) = (&device.device_scope, document.as_object_mut()) {
        members.insert("deviceScope".to_owned(), json!(scope));
        members.insert("parentScopes".to_owned(), json!(device.parent_scopes));
    }
    document
}

/// The identity of a module in the member order of the contract: it has no status of its own.
pub(super) fn module_document(module: &Device, facts: Facts) -> Value {
    json!({
        "moduleId": module.name.module.as_ref().map(ModuleId::as_str),
        "managedBy": module.managed_by,
        "deviceId": module.name.device.as_str(),
        "generationId": module.generation.to_string(),
        "etag": module.etag_text(),
        "connectionState": facts.connection_state(module),
        "connectionStateUpdatedTime": module.connection_state_updated_at.to_string(),
        "lastActivityTime": module.last_activity_at.to_string(),
        "cloudToDeviceMessageCount": facts.waiting_messages,
        "authentication": authentication(&module.authentication),
    })
}

/// The word for how an identity proves itself.
pub(super) fn authentication_type(authentication: &Authentication) -> &'static str {
    match authentication {
        Authentication::Sas(_) => "sas",
        Authentication::SelfSigned { .. } => "selfSigned",
        Authentication::CertificateAuthority => "certificateAuthority",
        Authentication::None => "none",
    }
}

/// The thumbprints, `null` where there are none.
pub(super) fn thumbprints(authentication: &Authentication) -> Value {
    let (primary, secondary) = match authentication {
        Authentication::SelfSigned { primary, secondary } => (primary.as_ref(), secondary.as_ref()),
        Authentication::Sas(_) | Authentication::CertificateAuthority | Authentication::None => {
            (None, None)
        }
    };
    json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary })
}

fn authentication(authentication: &Authentication) -> Value {
    let (primary, secondary) = match authentication {
        Authentication::Sas(keys) => (
            Some(STANDARD.encode(&keys.primary)),
            Some(STANDARD.encode(&keys.secondary)),
        ),
        Authentication::SelfSigned { .. }
        | Authentication::CertificateAuthority
        | Authentication::None => (None, None),
    };
    json!({
        "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary },
        "x509Thumbprint": thumbprints(authentication),
        "type": authentication_type(authentication),
    })
}

/// Reads what a writer says about an identity. Keys that are missing or empty are minted.
pub(super) fn parse_spec(
    body: &Object,
    name: &IdentityName,
    ids: &dyn IdSource,
) -> Result<DeviceSpec, ApiError> {
    if text_member(body, "deviceId")?.is_some_and(|named| named != name.device.as_str()) {
        return Err(ApiError::invalid(&"deviceId is not the id in the path"));
    }
    match &name.module {
        None => said_of_device(body, ids),
        Some(module) => {
            if text_member(body, "moduleId")?.is_some_and(|named| named != module.as_str()) {
                return Err(ApiError::invalid(&"moduleId is not the id in the path"));
            }
            said_of_module(body, ids)
        }
    }
}

/// Reads what is said of a device.
pub(super) fn said_of_device(body: &Object, ids: &dyn IdSource) -> Result<DeviceSpec, ApiError> {
    let status = match text_member(body, "status")? {
        None => DeviceStatus::Enabled,
        Some(word) => DeviceStatus::parse(word)
            .ok_or_else(|| ApiError::invalid(&"status must be enabled or disabled"))?,
    };
    let authentication = match object_member(body, "authentication")? {
        None => Authentication::Sas(mint(ids)),
        Some(said) => parse_authentication(said, ids)?,
    };
    if authentication == Authentication::None {
        return Err(ApiError::invalid(
            &"authentication type must be sas, selfSigned or certificateAuthority",
        ));
    }
    let is_edge = parse_is_edge(body)?;
    // An Edge device's own scope cannot be taken from it, so for it a blank one says something.
    let scope = text_member(body, "deviceScope")?.filter(|scope| is_edge || !scope.is_empty());
    Ok(DeviceSpec {
        status,
        status_reason: text_member(body, "statusReason")?.map(str::to_owned),
        is_edge,
        device_scope: scope.map(str::to_owned),
        parent_scopes: parse_parents(body)?,
        ..DeviceSpec::of(authentication)
    })
}

/// Reads what is said of a module, which always has a proof of its own: none is as good as keys
/// (registry.md §3).
pub(super) fn said_of_module(body: &Object, ids: &dyn IdSource) -> Result<DeviceSpec, ApiError> {
    let authentication = match object_member(body, "authentication")? {
        None => Authentication::Sas(mint(ids)),
        Some(said) => match parse_authentication(said, ids)? {
            Authentication::None => Authentication::Sas(mint(ids)),
            proof => proof,
        },
    };
    Ok(DeviceSpec {
        managed_by: text_member(body, "managedBy")?.map(str::to_owned),
        ..DeviceSpec::of(authentication)
    })
}

fn parse_parents(body: &Object) -> Result<Vec<String>, ApiError> {
    let parents = match member(body, "parentScopes") {
        None => return Ok(Vec::new()),
        Some(Value::Array(parents)) => parents,
        Some(_) => return Err(ApiError::invalid(&"parentScopes must be an array")),
    };
    let text = |parent: &Value| parent.as_str().map(str::to_owned);
    let parents: Option<Vec<String>> = parents.iter().map(text).collect();
    parents.ok_or_else(|| ApiError::invalid(&"parentScopes must be an array of strings"))
}

fn parse_is_edge(body: &Object) -> Result<bool, ApiError> {
    let Some(capabilities) = object_member(body, "capabilities")? else {
        return Ok(false);
    };
    match member(capabilities, "iotEdge") {
        None => Ok(false),
        Some(Value::Bool(is_edge)) => Ok(*is_edge),
        Some(_) => Err(ApiError::invalid(&"iotEdge must be true or false")),
    }
}

fn parse_authentication(said: &Object, ids: &dyn IdSource) -> Result<Authentication, ApiError> {
    let prints = object_member(said, "x509Thumbprint")?;
    let print = |name| -> Result<Option<String>, ApiError> {
        let text = prints
            .map(|prints| text_member(prints, name))
            .transpose()?
            .flatten();
        Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
    };
    let primary = print("primaryThumbprint")?;
    let secondary = print("secondaryThumbprint")?;
    let has_prints = primary.is_some() || secondary.is_some();
    match text_member(said, "type")?
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None if has_prints => Ok(Authentication::SelfSigned { primary, secondary }),
        None | Some("sas") => parse_keys(said, ids).map(Authentication::Sas),
        Some("selfsigned") => Ok(Authentication::SelfSigned { primary, secondary }),
        Some("certificateauthority") => Ok(Authentication::CertificateAuthority),
        Some("none") => Ok(Authentication::None),
        Some(_) => Err(ApiError::invalid(
            &"authentication type must be sas, selfSigned or certificateAuthority",
        )),
    }
}

fn parse_keys(said: &Object, ids: &dyn IdSource) -> Result<SymmetricKeys, ApiError> {
    let keys = object_member(said, "symmetricKey")?;
    let key = |name| -> Result<&str, ApiError> {
        let text = keys
            .map(|keys| text_member(keys, name))
            .transpose()?
            .flatten();
        Ok(text.unwrap_or_default())
    };
    read_keys(key("primaryKey")?, key("secondaryKey")?, ids)
}

/// Reads two keys in base64; both are minted when both are empty.
pub(crate) fn read_keys(
    primary: &str,
    secondary: &str,
    ids: &dyn IdSource,
) -> Result<SymmetricKeys, ApiError> {
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    match (given(primary), given(secondary)) {
        (None, None) => Ok(mint(ids)),
        (Some(primary), Some(secondary)) => Ok(SymmetricKeys {
            primary: parse_key(primary)?,
            secondary: parse_key(secondary)?,
        }),
        (Some(_), None) | (None, Some(_)) => Err(ApiError::invalid(
            &"both symmetric keys must be given, or none",
        )),
    }
}

fn parse_key(text: &str) -> Result<Vec<u8>, ApiError> {
    let key: SymmetricKey = text.parse().map_err(|error| ApiError::invalid(&error))?;
    Ok(key.as_bytes().to_vec())
}

/// Makes two keys.
pub(crate) fn mint(ids: &dyn IdSource) -> SymmetricKeys {
    let mut random = [[0; 32]; 2];
    for key in &mut random {
        ids.fill_random(key);
    }
    let [primary, secondary] = random.map(Vec::from);
    SymmetricKeys { primary, secondary }
}
