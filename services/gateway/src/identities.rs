//! Many identities written at once, for every door: what the caller has no right to is refused
//! alone.

use downlink_domain::access::{Access, Action, Actor};
use downlink_domain::device::Device;
use downlink_domain::id::IdentityName;
use downlink_ports::{ItemChange, ItemOutcome, RegistryItem};
use futures::future::join_all;

use crate::audit::Origin;
use crate::authenticate::Principal;
use crate::https::error::ApiError;
use crate::limits::class_of;
use crate::shared::Shared;

/// Who asks.
pub(crate) struct Caller<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) actor: Actor,
    pub(crate) origin: Origin,
}

/// What is to be done, and the right on the device that it takes; or why it cannot be done.
pub(crate) type Asked = Result<(IdentityName, Action, ItemChange), ApiError>;

/// Writes what `asked` says, at most `MAX_REGISTRY_ITEMS`, and answers by position. Each item counts
/// against the hub's rate (registry.md §2.4).
pub(crate) async fn write(
    shared: &Shared,
    caller: Caller<'_>,
    asked: Vec<Asked>,
) -> Result<Vec<Result<Device, ApiError>>, ApiError> {
    if let Some(class) = class_of(Action::DevicesWrite) {
        let count = u32::try_from(asked.len()).unwrap_or(u32::MAX);
        shared.limits.admit(class, count).await?;
    }
    let checks = asked.into_iter().map(|asked| check(shared, &caller, asked));
    let checked = join_all(checks).await;
    let mut items = Vec::new();
    let mut places = Vec::with_capacity(checked.len());
    for asked in checked {
        places.push(asked.map(|(name, _, change)| {
            items.push(RegistryItem { name, change });
            items.len() - 1
        }));
    }
    let outcomes: Vec<ItemOutcome> = if items.is_empty() {
        Vec::new()
    } else {
        let hub = shared.options.hub.clone();
        let registry = &shared.peers.registry;
        registry.write_identities(hub, items, caller.actor).await?
    };
    let mut outcomes: Vec<Option<ItemOutcome>> = outcomes.into_iter().map(Some).collect();
    let done = places.into_iter().map(|place| {
        let outcome = outcomes.get_mut(place?).and_then(Option::take);
        let outcome = outcome.ok_or_else(ApiError::deadline)?;
        outcome.map_err(ApiError::from)
    });
    Ok(done.collect())
}

/// Checks the right to an item.
async fn check(shared: &Shared, caller: &Caller<'_>, asked: Asked) -> Asked {
    let (name, action, change) = asked?;
    let path = ["devices", name.device.as_str()];
    let access = Access::to_device(action, &name.device);
    let authenticator = &shared.authenticator;
    let checked = authenticator.authorize(caller.principal, &access, &path);
    if let Err(denied) = checked.await {
        let audit = &shared.audit;
        audit.denied(caller.origin, caller.principal, action, &path, &denied);
        return Err(denied.into());
    }
    Ok((name, action, change))
}
