//! Time and ids as things handed in.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;

/// The business clock: ttl, locks, leases. Transport timeouts may use the runtime's own.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Waits until `due`; returns at once when it has passed.
    ///
    /// # Cancellation
    /// Safe: dropping the future has no effect.
    async fn sleep_until(&self, due: Timestamp);
}

/// Source of ids and secrets.
pub trait IdSource: Send + Sync {
    /// A random, unguessable token (version-4 UUID layout, .NET byte order).
    fn lock_token(&self) -> LockToken;

    /// A time-ordered id for records (version-7 UUID).
    fn record_id(&self, now: Timestamp) -> [u8; 16];

    /// A number that is unique among connections of all gateways.
    fn connection_number(&self) -> u64;

    /// Fills `buffer` with unguessable bytes, for keys.
    fn fill_random(&self, buffer: &mut [u8]);
}
