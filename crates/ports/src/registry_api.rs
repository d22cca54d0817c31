//! What the gateways ask of the registry beside single identities.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, IfMatch, SymmetricKeys};
use downlink_domain::id::{DeviceId, HubName, IdentityName};
use downlink_domain::twin::Object;

use crate::{PeerError, RotatedKeys};

/// Most items of one call (registry.md §2.4).
pub const MAX_REGISTRY_ITEMS: usize = 100;

/// What becomes of one identity or its twin.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemChange {
    /// It is created.
    Create {
        /// What is said of it.
        spec: DeviceSpec,
        /// The first tags of its twin.
        tags: Object,
        /// The first desired properties of its twin.
        desired: Object,
    },
    /// It is replaced.
    Replace {
        /// What is said of it.
        spec: DeviceSpec,
        /// Which etag it must have.
        if_match: IfMatch,
    },
    /// It is deleted.
    Delete {
        /// Which etag it must have.
        if_match: IfMatch,
    },
    /// Its symmetric keys are exchanged.
    RotateKeys {
        /// Which.
        keys: RotatedKeys,
        /// Where the new ones are taken from.
        fresh: SymmetricKeys,
    },
    /// Its twin is patched.
    PatchTwin {
        /// Members to merge into tags.
        tags: Option<Object>,
        /// Members to merge into desired.
        desired: Option<Object>,
        /// Which etag the twin must have; absent is as good as any.
        if_match: IfMatch,
    },
}

/// One item of a call about many identities.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryItem {
    /// Which identity.
    pub name: IdentityName,
    /// What becomes of it.
    pub change: ItemChange,
}

/// What became of one item: the identity after the write, or as it was before its deletion.
pub type ItemOutcome = Result<Device, PeerError>;

/// The registry beside single identities, served by the nodes of the twin service.
#[async_trait]
pub trait RegistryApi: Send + Sync {
    /// The modules of a device in order of their names; none when there is no such device.
    async fn list_modules(&self, hub: HubName, device: DeviceId) -> Result<Vec<Device>, PeerError>;

    /// Writes identities and twins, at most [`MAX_REGISTRY_ITEMS`]. By position; each item stands
    /// for itself and is refused with the codes of `RegistryError` and `TwinError`, an identity that
    /// is named twice with `DeviceDefinedMultipleTimes` each time. An error means that it is unknown
    /// what was written.
    async fn write_identities(
        &self,
        hub: HubName,
        items: Vec<RegistryItem>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError>;
}
