//! Many identities at once, straight on the store.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, IfMatch};
use downlink_domain::id::{DeviceId, HubName};
use downlink_domain::twin::{self, Twin, TwinChange};
use downlink_ports::{
    Clock as _, DeviceRegistry, ItemChange, ItemOutcome, PeerError, RegistryApi, RegistryChange,
    RegistryError, RegistryItem, RegistryRules, RegistryWrite, TwinApi,
};
use downlink_testkit::twin_rules;

use super::Backend;

#[async_trait]
impl RegistryApi for Backend {
    async fn list_modules(&self, hub: HubName, device: DeviceId) -> Result<Vec<Device>, PeerError> {
        self.check()?;
        Ok(self.store.list_modules(hub, vec![device]).await?)
    }

    async fn write_identities(
        &self,
        hub: HubName,
        items: Vec<RegistryItem>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError> {
        self.check()?;
        let now = self.clock.now();
        let (mut writes, mut outcomes) = (Vec::new(), Vec::new());
        for item in items {
            let change = match item.change {
                ItemChange::Create {
                    spec,
                    tags,
                    desired,
                } => {
                    let patch = TwinChange::Patch {
                        tags: Some(tags),
                        desired: Some(desired),
                        if_match: IfMatch::Any,
                    };
                    let made = twin::apply(&Twin::new(now), patch, twin_rules(), now);
                    let twin = made.expect("a twin within its rules").twin;
                    RegistryChange::Create { spec, twin }
                }
                ItemChange::Replace { spec, if_match } => {
                    RegistryChange::Replace { spec, if_match }
                }
                ItemChange::Delete { if_match } => RegistryChange::Delete { if_match },
                ItemChange::RotateKeys { keys, fresh } => {
                    RegistryChange::RotateKeys { keys, fresh }
                }
                ItemChange::PatchTwin {
                    tags,
                    desired,
                    if_match,
                } => {
                    let patch = TwinChange::Patch {
                        tags,
                        desired,
                        if_match,
                    };
                    let written = self.update_twin(hub.clone(), item.name, patch).await;
                    outcomes.push(Some(written.map(|view| view.device)));
                    continue;
                }
            };
            outcomes.push(None);
            writes.push(RegistryWrite {
                name: item.name,
                change,
            });
        }
        let rules = RegistryRules::default();
        let written = self.store.write(hub, writes, rules, by, now).await?;
        let mut written = written.into_iter().map(|one| {
            let refused = |error: RegistryError| PeerError::refused(error.code(), &error);
            let written = one.map_err(refused)?;
            Ok(written.into_device().expect("it was or it is"))
        });
        let outcome = |patched: Option<ItemOutcome>| {
            patched.unwrap_or_else(|| written.next().expect("an answer for each write"))
        };
        Ok(outcomes.into_iter().map(outcome).collect())
    }
}
