//! Messages counted.

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_ports::StoreError;

use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

/// Counts what waits for each device; answers by position.
pub(super) async fn count(
    store: &PostgresStore,
    devices: Vec<DeviceKey>,
    now: Timestamp,
) -> Result<Vec<u64>, StoreError> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let devices = devices.into_iter().map(|device| device.0).collect();
    store.run(&Count { devices, now }).await
}

struct Count {
    devices: Vec<i64>,
    now: Timestamp,
}

#[async_trait]
impl Work for Count {
    type Answer = Vec<u64>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Vec<u64>, Failure> {
        let rows = sqlx::query(include_str!("../../queries/count_messages.sql"))
            .bind(&self.devices)
            .bind(self.now.as_millis())
            .fetch_all(connection)
            .await?;
        let mut counts = vec![0; self.devices.len()];
        for row in &rows {
            let row = Fields::new(row, "messages", "place");
            let place: usize = row.number("place")?;
            counts[place - 1] = row.number("waiting")?;
        }
        Ok(counts)
    }
}
