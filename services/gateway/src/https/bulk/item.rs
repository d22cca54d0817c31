//! Items of a bulk call (registry.md §4.1).

use downlink_domain::access::Action;
use downlink_domain::device::{DeviceSpec, IfMatch};
use downlink_domain::id::{DeviceId, IdentityName};
use downlink_domain::twin::{Object, parse_json};
use downlink_ports::{IdSource, ItemChange};
use serde_json::Value;

use super::super::error::ApiError;
use super::super::identity;
use super::super::request::{object_member, text_member};
use super::{Item, listed};

/// Longest id that is repeated in an answer, in bytes; longer ones are cut.
const MAX_NAMED_BYTES: usize = 128;

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Create,
    Update,
    UpdateIfMatch,
    Delete,
    DeleteIfMatch,
    PatchTwin,
    PatchTwinIfMatch,
}

/// The identity of an item as the caller named it.
pub(super) struct Named {
    pub(super) device: String,
    pub(super) module: Option<String>,
}

impl Mode {
    const ALL: [Self; 7] = [
        Self::Create,
        Self::Update,
        Self::UpdateIfMatch,
        Self::Delete,
        Self::DeleteIfMatch,
        Self::PatchTwin,
        Self::PatchTwinIfMatch,
    ];

    /// The word on the wire.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::UpdateIfMatch => "updateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatch => "deleteIfMatchETag",
            Self::PatchTwin => "updateTwin",
            Self::PatchTwinIfMatch => "updateTwinIfMatchETag",
        }
    }

    /// Reads the word in any case; none is as good as `create`.
    fn parse(word: Option<&str>) -> Option<Self> {
        let word = word.unwrap_or(Self::Create.name());
        let is_it = |mode: &Self| mode.name().eq_ignore_ascii_case(word);
        Self::ALL.into_iter().find(is_it)
    }

    fn action(self) -> Action {
        match self {
            Self::Create
            | Self::Update
            | Self::UpdateIfMatch
            | Self::PatchTwin
            | Self::PatchTwinIfMatch => Action::DevicesWrite,
            Self::Delete | Self::DeleteIfMatch => Action::DevicesDelete,
        }
    }
}

impl Named {
    /// What the caller wrote in the place of the ids.
    pub(super) fn of(item: &Object) -> Self {
        let text = |name| {
            let text = item.get(name).and_then(Value::as_str);
            text.map(|text| text[..text.floor_char_boundary(MAX_NAMED_BYTES)].to_owned())
        };
        Self {
            device: text("id").unwrap_or_default(),
            module: text("moduleId"),
        }
    }
}

/// Whose item it is.
pub(super) fn identity_name(item: &Object) -> Result<IdentityName, ApiError> {
    let id = text_member(item, "id")?.ok_or_else(|| ApiError::invalid(&"id is missing"))?;
    let device: DeviceId = id.parse().map_err(|error| ApiError::invalid(&error))?;
    let module = text_member(item, "moduleId")?.filter(|module| !module.is_empty());
    let module = module.map(str::parse).transpose();
    Ok(IdentityName {
        device,
        module: module.map_err(|error| ApiError::invalid(&error))?,
    })
}

/// An item and its mode, where that is known.
type Parsed = (Item, Option<Mode>);

/// Reads a body. What is wrong with an item is told of it alone.
pub(super) fn parse(body: &[u8], ids: &dyn IdSource) -> Result<Vec<Parsed>, ApiError> {
    let Value::Array(items) = parse_json(body)? else {
        return Err(ApiError::invalid(&"the body must be a JSON array"));
    };
    let parsed = listed(items)?.into_iter().map(|item| {
        let mode = text_member(&item, "importMode");
        let mode = mode.map(Mode::parse);
        let known = mode.as_ref().ok().copied().flatten();
        let asked = mode.and_then(|mode| {
            let mode = mode.ok_or_else(|| ApiError::invalid(&"the importMode is unknown"))?;
            let name = identity_name(&item)?;
            let change = change(mode, &item, &name, ids)?;
            Ok((name, mode.action(), change))
        });
        let named = Named::of(&item);
        (Item { named, asked }, known)
    });
    Ok(parsed.collect())
}

fn change(
    mode: Mode,
    item: &Object,
    name: &IdentityName,
    ids: &dyn IdSource,
) -> Result<ItemChange, ApiError> {
    Ok(match mode {
        Mode::Create => {
            let mut spec = spec(item, name, ids)?;
            spec.device_scope = spec.device_scope.filter(|scope| !scope.is_empty());
            ItemChange::Create {
                spec,
                tags: section(item, "tags")?.unwrap_or_default(),
                desired: desired(item)?.unwrap_or_default(),
            }
        }
        Mode::Update => ItemChange::Replace {
            spec: spec(item, name, ids)?,
            if_match: IfMatch::Any,
        },
        Mode::UpdateIfMatch => ItemChange::Replace {
            spec: spec(item, name, ids)?,
            if_match: etag(item, "eTag")?,
        },
        Mode::Delete => ItemChange::Delete {
            if_match: IfMatch::Any,
        },
        Mode::DeleteIfMatch => ItemChange::Delete {
            if_match: etag(item, "eTag")?,
        },
        Mode::PatchTwin => patch(item, IfMatch::Any)?,
        Mode::PatchTwinIfMatch => patch(item, etag(item, "twinETag")?)?,
    })
}

fn spec(item: &Object, name: &IdentityName, ids: &dyn IdSource) -> Result<DeviceSpec, ApiError> {
    match name.module {
        None => identity::said_of_device(item, ids),
        Some(_) => identity::said_of_module(item, ids),
    }
}

fn patch(item: &Object, if_match: IfMatch) -> Result<ItemChange, ApiError> {
    Ok(ItemChange::PatchTwin {
        tags: section(item, "tags")?,
        desired: desired(item)?,
        if_match,
    })
}

fn section(item: &Object, name: &str) -> Result<Option<Object>, ApiError> {
    Ok(object_member(item, name)?.cloned())
}

fn desired(item: &Object) -> Result<Option<Object>, ApiError> {
    match object_member(item, "properties")? {
        None => Ok(None),
        Some(properties) => section(properties, "desired"),
    }
}

/// The etag that an item names; one that must match and is not there matches none.
fn etag(item: &Object, name: &str) -> Result<IfMatch, ApiError> {
    let text = match text_member(item, name)? {
        // Clients spell it either way.
        None => text_member(item, &name.replace("ETag", "Etag").replace("eTag", "etag"))?,
        text => text,
    };
    let bare = text.unwrap_or_default().trim_matches('"');
    Ok(match bare {
        "*" => IfMatch::Any,
        etag => IfMatch::Etag(etag.to_owned()),
    })
}
