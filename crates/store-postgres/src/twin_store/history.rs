//! Changes of desired that are kept for devices that were away.

use async_trait::async_trait;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::twin::TwinRules;
use downlink_ports::{DesiredChanges, Since};

use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

pub(super) struct FindChanges {
    pub(super) wanted: Vec<(DeviceKey, Since)>,
}

#[async_trait]
impl Work for FindChanges {
    type Answer = Vec<Option<DesiredChanges>>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let (mut keys, mut since, mut use_told) = (Vec::new(), Vec::new(), Vec::new());
        for (key, wanted) in &self.wanted {
            keys.push(key.0);
            since.push(match wanted {
                Since::Version(version) => Some(stored(*version)),
                Since::LastTold | Since::Now => None,
            });
            use_told.push((*wanted == Since::LastTold).then_some(1_i64));
        }
        let positions: Vec<i64> = (0_i64..).take(keys.len()).collect();
        let rows = sqlx::query(include_str!("../../queries/find_changes.sql"))
            .bind(positions)
            .bind(keys)
            .bind(since)
            .bind(use_told)
            .fetch_all(connection)
            .await?;
        let mut found: Vec<Option<DesiredChanges>> = vec![None; self.wanted.len()];
        for row in &rows {
            let row = Fields::new(row, "desired_changes", "device_key");
            let position: usize = row.number("position")?;
            let changes = found[position].get_or_insert_default();
            changes.version = row.number("desired_version")?;
            changes.since = row.number("since")?;
            if let Some(version) = row.get::<Option<i64>>("change_version")? {
                let version = u64::try_from(version).map_err(|_| row.corrupt("change_version"))?;
                let body: String = row.get("body")?;
                changes.kept.push((version, body.into()));
            }
        }
        Ok(found)
    }
}

/// Changes of desired to be kept, and what they push out.
#[derive(Default)]
pub(super) struct Kept {
    keys: Vec<i64>,
    versions: Vec<i64>,
    hubs: Vec<String>,
    bodies: Vec<String>,
    floor_keys: Vec<i64>,
    floors: Vec<i64>,
}

/// A change that was told.
pub(super) struct Told {
    pub(super) device: DeviceKey,
    pub(super) hub: HubName,
    pub(super) version: u64,
    /// Its text, if it is to be kept.
    pub(super) text: Option<String>,
}

impl Kept {
    /// Keeps the newest of `told`, which are in the order of their versions.
    pub(super) fn of(told: Vec<Told>, rules: TwinRules) -> Self {
        let mut newest = std::collections::BTreeMap::new();
        for change in &told {
            newest.insert(change.device, change.version);
        }
        let floor = |newest: u64| newest.saturating_sub(u64::from(rules.kept_changes));
        let mut kept = Self::default();
        for change in told {
            let is_new = change.version > floor(newest[&change.device]);
            let Some(text) = change.text.filter(|_| is_new) else {
                continue;
            };
            kept.keys.push(change.device.0);
            kept.versions.push(stored(change.version));
            kept.hubs.push(change.hub.to_string());
            kept.bodies.push(text);
        }
        for (device, newest) in newest {
            kept.floor_keys.push(device.0);
            kept.floors.push(stored(floor(newest)));
        }
        kept
    }

    pub(super) async fn write(self, connection: &mut Session<'_>) -> sqlx::Result<()> {
        if self.floor_keys.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("../../queries/keep_changes.sql"))
            .bind(self.keys)
            .bind(self.versions)
            .bind(self.hubs)
            .bind(self.bodies)
            .bind(self.floor_keys)
            .bind(self.floors)
            .execute(connection)
            .await?;
        Ok(())
    }
}
