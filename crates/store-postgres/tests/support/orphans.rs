//! What a deletion left behind.

use sqlx::PgConnection;

use super::nodes::number;

/// Rows that should have gone with their identities.
pub async fn orphans(connection: &mut PgConnection) -> i64 {
    number(
        connection,
        "SELECT
            (SELECT count(*) FROM twins WHERE device_key NOT IN (SELECT device_key FROM identities))
            + (SELECT count(*) FROM sessions WHERE device_key NOT IN (SELECT device_key FROM identities))
            + (SELECT count(*) FROM messages WHERE device_key NOT IN (SELECT device_key FROM identities))
            + (SELECT count(*) FROM identities AS module WHERE module_id <> '' AND NOT EXISTS (
                SELECT 1 FROM identities AS device
                WHERE device.hub = module.hub AND device.device_id = module.device_id
                    AND device.module_id = ''))
            + (SELECT count(*) FROM identities WHERE device_key NOT IN (SELECT device_key FROM twins))",
    )
    .await
}
