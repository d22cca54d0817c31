//! A device identity as JSON (registry.md §2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_auth::SymmetricKey;
use downlink_domain::ErrorCode;
use downlink_domain::device::{Authentication, Device, DeviceSpec, DeviceStatus, SymmetricKeys};
use downlink_domain::id::DeviceId;
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
        "connectionState": facts.connection_state(),
        "status": device.status.as_str(),
        "statusReason": device.status_reason,
        "connectionStateUpdatedTime": device.connection_state_updated_at.to_string(),
        "statusUpdatedTime": device.status_updated_at.to_string(),
        "lastActivityTime": device.last_activity_at.to_string(),
        "cloudToDeviceMessageCount": facts.waiting_messages,
        "authentication": authentication(&device.authentication),
        "capabilities": { "iotEdge": device.is_edge },
    });
    if let (Some(scope), Some(members)) = (edge_scope(device), document.as_object_mut()) {
        members.insert("deviceScope".to_owned(), Value::String(scope));
        members.insert("parentScopes".to_owned(), json!([]));
    }
    document
}

/// The scope that an Edge device opens for its children; it follows from the identity.
pub(super) fn edge_scope(device: &Device) -> Option<String> {
    let scope = || {
        format!(
            "ms-azure-iot-edge://{}-{}",
            device.name.device, device.generation
        )
    };
    device.is_edge.then(scope)
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

/// Reads what a writer says about the device `id`. Keys that are missing or empty are minted.
pub(super) fn parse_spec(
    body: &Object,
    id: &DeviceId,
    ids: &dyn IdSource,
) -> Result<DeviceSpec, ApiError> {
    if text_member(body, "deviceId")?.is_some_and(|named| named != id.as_str()) {
        return Err(ApiError::invalid(&"deviceId is not the id in the path"));
    }
    let status = match text_member(body, "status")? {
        None => DeviceStatus::Enabled,
        Some(word) => DeviceStatus::parse(word)
            .ok_or_else(|| ApiError::invalid(&"status must be enabled or disabled"))?,
    };
    let authentication = match object_member(body, "authentication")? {
        None => Authentication::Sas(mint(ids)),
        Some(said) => parse_authentication(said, ids)?,
    };
    Ok(DeviceSpec {
        status,
        status_reason: text_member(body, "statusReason")?.map(str::to_owned),
        authentication,
        is_edge: parse_is_edge(body)?,
        managed_by: None,
        device_scope: None,
        parent_scopes: Vec::new(),
    })
}

/// The scope that a writer names, which must be the device's own: devices have no parents here.
pub(super) fn check_scopes(body: &Object, own: Option<&str>) -> Result<(), ApiError> {
    let named = text_member(body, "deviceScope")?.filter(|scope| !scope.is_empty());
    let is_own = named.is_none() || named == own;
    let has_parents = match member(body, "parentScopes") {
        None => false,
        Some(Value::Array(parents)) => !parents.is_empty(),
        Some(_) => return Err(ApiError::invalid(&"parentScopes must be an array")),
    };
    if is_own && !has_parents {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::OperationNotAvailableInCurrentTier,
        "this hub does not offer parents of devices",
    ))
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

fn mint(ids: &dyn IdSource) -> SymmetricKeys {
    let mut random = [[0; 32]; 2];
    for key in &mut random {
        ids.fill_random(key);
    }
    let [primary, secondary] = random.map(Vec::from);
    SymmetricKeys { primary, secondary }
}
