//! Many identities and twins in one call (registry.md §4).

use std::collections::HashMap;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, IfMatch};
use downlink_domain::id::{DeviceId, HubName, IdentityName};
use downlink_domain::twin::{self, Object, Twin, TwinChange};
use downlink_ports::{
    ItemChange, ItemOutcome, MAX_REGISTRY_ITEMS, PeerError, RegistryApi, RegistryChange,
    RegistryError, RegistryItem, RegistryWrite,
};
use futures::future::join_all;

use crate::error::{of_registry, of_twin, refused};
use crate::metrics::Operation;
use crate::service::TwinService;

/// An item on its way, with its position.
enum Step {
    Write(Box<RegistryWrite>),
    Patch(IdentityName, TwinChange),
    Refused(PeerError),
}

#[async_trait]
impl RegistryApi for TwinService {
    async fn list_modules(&self, hub: HubName, device: DeviceId) -> Result<Vec<Device>, PeerError> {
        Ok(self.deps.registry.list_modules(hub, vec![device]).await?)
    }

    async fn write_identities(
        &self,
        hub: HubName,
        items: Vec<RegistryItem>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError> {
        if items.len() > MAX_REGISTRY_ITEMS {
            let text = "a call has at most 100 items";
            return Err(refused(ErrorCode::TooManyDevices, text));
        }
        let outcomes = self.write_items(hub, items, by).await?;
        let counted = outcomes
            .into_iter()
            .map(|outcome| self.metrics.count(Operation::BulkItem, outcome));
        Ok(counted.collect())
    }
}

impl TwinService {
    /// Writes all identities in one batch, then all twins side by side.
    async fn write_items(
        &self,
        hub: HubName,
        items: Vec<RegistryItem>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError> {
        let mut outcomes: Vec<Option<ItemOutcome>> = items.iter().map(|_| None).collect();
        let (mut places, mut writes) = (Vec::new(), Vec::new());
        let (mut twins, mut patches) = (Vec::new(), Vec::new());
        for (place, step) in self.steps(items).into_iter().enumerate() {
            match step {
                Step::Write(write) => {
                    places.push(place);
                    writes.push(*write);
                }
                Step::Patch(name, change) => {
                    twins.push(place);
                    patches.push((name, change));
                }
                Step::Refused(error) => outcomes[place] = Some(Err(error)),
            }
        }
        if !writes.is_empty() {
            let written = self.write_batch(hub.clone(), writes, by).await?;
            for (place, outcome) in places.into_iter().zip(written) {
                outcomes[place] = Some(outcome);
            }
        }
        // They meet in the lanes that write twins, and go to the store in batches.
        let patches = patches.into_iter().map(|(name, change)| {
            let hub = hub.clone();
            async { Ok(self.write_twin(hub, name, change).await?.device) }
        });
        for (place, outcome) in twins.into_iter().zip(join_all(patches).await) {
            outcomes[place] = Some(outcome);
        }
        let lost = || Err(refused(ErrorCode::ServerError, "the item was passed over"));
        let outcomes = outcomes.into_iter();
        Ok(outcomes
            .map(|outcome| outcome.unwrap_or_else(lost))
            .collect())
    }

    /// What is to be done for each item. One of an identity that others name too is refused, and
    /// those others with it: which was meant is unknown.
    fn steps(&self, items: Vec<RegistryItem>) -> Vec<Step> {
        let mut named: HashMap<IdentityName, u32> = HashMap::new();
        for item in &items {
            *named.entry(item.name.clone()).or_default() += 1;
        }
        let steps = items.into_iter().map(|item| {
            if named.get(&item.name).is_some_and(|times| *times > 1) {
                return Step::Refused(of_registry(&RegistryError::NamedTwice(item.name)));
            }
            self.step(item).unwrap_or_else(Step::Refused)
        });
        steps.collect()
    }

    fn step(&self, item: RegistryItem) -> Result<Step, PeerError> {
        let name = item.name;
        let change = match item.change {
            ItemChange::Create {
                spec,
                tags,
                desired,
            } => RegistryChange::Create {
                spec,
                twin: self.first_twin(&name, tags, desired)?,
            },
            ItemChange::Replace { spec, if_match } => RegistryChange::Replace { spec, if_match },
            ItemChange::Delete { if_match } => RegistryChange::Delete { if_match },
            ItemChange::RotateKeys { keys, fresh } => RegistryChange::RotateKeys { keys, fresh },
            ItemChange::PatchTwin {
                tags,
                desired,
                if_match,
            } => {
                let change = TwinChange::Patch {
                    tags,
                    desired,
                    if_match,
                };
                return Ok(Step::Patch(name, change));
            }
        };
        Ok(Step::Write(Box::new(RegistryWrite { name, change })))
    }

    /// The twin that a new identity begins with.
    fn first_twin(
        &self,
        name: &IdentityName,
        tags: Object,
        desired: Object,
    ) -> Result<Twin, PeerError> {
        let now = self.deps.clock.now();
        let empty = Twin::new(now);
        if tags.is_empty() && desired.is_empty() {
            return Ok(empty);
        }
        let change = TwinChange::Patch {
            tags: Some(tags),
            desired: Some(desired),
            if_match: IfMatch::Absent,
        };
        let written = twin::apply(&empty, change, self.twin_rules, now);
        written
            .map(|written| written.twin)
            .map_err(|error| of_twin(&error, name))
    }
}
