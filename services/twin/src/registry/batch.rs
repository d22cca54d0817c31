//! Identities written in batches, and what follows: connections that lost the right to go on are
//! ended.

use std::collections::HashSet;
use std::sync::Arc;

use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceStatus, edge_scope, parse_scope};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{
    DeviceRegistry, ItemOutcome, PeerError, RegistryChange, RegistryError, RegistryWrite,
    RegistryWritten, most_keys,
};
use downlink_runtime::{OnError, SubmitError};
use futures::future::join_all;
use tokio::sync::oneshot;

use crate::error::{of_registry, of_submit};
use crate::revoke::Revoker;
use crate::service::TwinService;

impl TwinService {
    /// Writes identities; by position.
    pub(crate) async fn write_batch(
        &self,
        hub: HubName,
        writes: Vec<RegistryWrite>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError> {
        let orphans = self.find_orphans(&hub, &writes).await?;
        let (names, writes): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .zip(&orphans)
            .map(|(write, is_orphan)| {
                let name = write.name.clone();
                (name, (!is_orphan).then_some(write))
            })
            .unzip();
        let writes: Vec<_> = writes.into_iter().flatten().collect();
        let written = if writes.is_empty() {
            Vec::new()
        } else {
            self.write_checked(hub, writes, by).await?
        };
        let mut written = written.into_iter();
        let outcomes = names.into_iter().zip(orphans).map(|(name, is_orphan)| {
            if is_orphan {
                return Err(of_registry(&RegistryError::Scope(name)));
            }
            let outcome = written.next();
            outcome.unwrap_or_else(|| Err(of_submit(SubmitError::Lost)))
        });
        Ok(outcomes.collect())
    }

    async fn write_checked(
        &self,
        hub: HubName,
        writes: Vec<RegistryWrite>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError> {
        let most = u64::try_from(most_keys(&writes)).unwrap_or(u64::MAX);
        let (registry, revoker) = (Arc::clone(&self.deps.registry), self.revoker.clone());
        let rules = self.census.rules(&*registry, &hub, most).await?;
        let now = self.deps.clock.now();
        let write = async move {
            let written = registry.write(hub.clone(), writes, rules, by, now).await?;
            let done: Vec<_> = written.iter().flatten().collect();
            let mut orders = orders(&done);
            // What became of the writes is settled; that modules cannot be listed is no reason to
            // answer otherwise. Their next authentication fails.
            match disabled_modules(&*registry, hub, &done).await {
                Ok(modules) => orders.extend(modules),
                Err(error) => tracing::error!(%error, "modules of disabled devices stay connected"),
            }
            revoke(&revoker, orders).await;
            let outcome = |one: Result<RegistryWritten, RegistryError>| {
                let missing = || of_submit(SubmitError::Lost);
                let written = one.map_err(|error| of_registry(&error))?;
                written.into_device().ok_or_else(missing)
            };
            Ok(written.into_iter().map(outcome).collect())
        };
        self.carry_out(write).await
    }

    /// Which of the writes name a parent that no Edge device is: a scope must be that of one, or
    /// one that the identity had before.
    async fn find_orphans(
        &self,
        hub: &HubName,
        writes: &[RegistryWrite],
    ) -> Result<Vec<bool>, PeerError> {
        let scopes: Vec<Vec<&String>> = writes.iter().map(scopes_of).collect();
        let mut names: Vec<IdentityName> = Vec::new();
        for (write, scopes) in writes.iter().zip(&scopes) {
            if !scopes.is_empty() {
                names.push(write.name.clone());
            }
            let parents = scopes.iter().filter_map(|scope| parse_scope(scope));
            names.extend(parents.map(|(parent, _)| parent));
        }
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Ok(vec![false; writes.len()]);
        }
        let found = self.deps.registry.find(hub.clone(), names).await?;
        let found: Vec<Device> = found.into_iter().flatten().collect();
        let opened: HashSet<String> = found
            .iter()
            .filter(|device| device.is_edge)
            .map(|device| edge_scope(&device.name, device.generation))
            .collect();
        let is_orphan = |(write, scopes): (&RegistryWrite, &Vec<&String>)| {
            let before = found.iter().find(|device| device.name == write.name);
            let had = |scope: &String| {
                before.is_some_and(|before| {
                    before.device_scope.as_ref() == Some(scope)
                        || before.parent_scopes.contains(scope)
                        || edge_scope(&before.name, before.generation) == *scope
                })
            };
            // What is no scope at all is refused by the plan, in words of its own.
            let is_known = |scope: &&String| {
                opened.contains(*scope) || had(scope) || parse_scope(scope).is_none()
            };
            !scopes.iter().all(is_known)
        };
        Ok(writes.iter().zip(&scopes).map(is_orphan).collect())
    }

    /// Carries a write out to its end, also when the caller hangs up: an identity that is disabled
    /// on disk must not keep its connection because nobody waited for the answer.
    async fn carry_out<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, PeerError>> + Send + 'static,
    ) -> Result<T, PeerError> {
        let (answer, answered) = oneshot::channel();
        self.lifecycle
            .spawn("twin.identity", OnError::Log, async move {
                // A caller that went away needs no answer.
                let _ = answer.send(write.await);
            });
        let lost = |_| of_submit(SubmitError::Lost);
        answered.await.map_err(lost)?
    }
}

/// The parents that a write names.
fn scopes_of(write: &RegistryWrite) -> Vec<&String> {
    match &write.change {
        RegistryChange::Create { spec, .. } | RegistryChange::Replace { spec, .. }
            if write.name.module.is_none() =>
        {
            let named = spec.device_scope.iter();
            // Other devices' parents are not said here.
            let parents = spec.parent_scopes.iter().filter(|_| spec.is_edge);
            named.chain(parents).collect()
        }
        RegistryChange::Create { .. }
        | RegistryChange::Replace { .. }
        | RegistryChange::Delete { .. }
        | RegistryChange::RotateKeys { .. } => Vec::new(),
    }
}

type Order = (DeviceKey, DisconnectReason);

/// Whose connections end by what was done.
fn orders(done: &[&RegistryWritten]) -> Vec<Order> {
    let mut orders = Vec::new();
    for written in done {
        if let Some(before) = &written.before {
            let reason = match &written.after {
                Some(after) => before.find_revocation(after),
                None => Some(DisconnectReason::Deleted),
            };
            orders.extend(reason.map(|reason| (before.key, reason)));
        }
        let ended = written.ended.iter().map(|module| module.key);
        orders.extend(ended.map(|key| (key, DisconnectReason::Deleted)));
    }
    orders
}

/// The modules of devices that were disabled: they follow their device (registry.md §2.2).
async fn disabled_modules(
    registry: &dyn DeviceRegistry,
    hub: HubName,
    done: &[&RegistryWritten],
) -> Result<Vec<Order>, downlink_ports::StoreError> {
    let disabled: Vec<_> = done
        .iter()
        .filter_map(|written| Some((written.before.as_ref()?, written.after.as_ref()?)))
        .filter(|(before, after)| {
            before.status == DeviceStatus::Enabled && after.status == DeviceStatus::Disabled
        })
        .map(|(_, after)| after.name.device.clone())
        .collect();
    if disabled.is_empty() {
        return Ok(Vec::new());
    }
    let modules = registry.list_modules(hub, disabled).await?;
    let order = |module: Device| (module.key, DisconnectReason::Disabled);
    Ok(modules.into_iter().map(order).collect())
}

async fn revoke(revoker: &Revoker, orders: Vec<Order>) {
    let orders = orders
        .into_iter()
        .map(|(device, reason)| revoker.revoke(device, reason));
    join_all(orders).await;
}
