//! Every bound of this crate, in one place.

/// Largest packet accepted before the client is authenticated, fixed header included.
///
/// Room for a token, a user name with every query key, and a small will.
pub const MAX_CONNECT_PACKET_BYTES: usize = 8 * 1024;

/// Largest payload plus property names and values of one message (mqtt.md §9).
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Largest packet accepted from an authenticated client: a full message, the longest topic and the headers.
pub const MAX_PACKET_BYTES: usize = MAX_MESSAGE_BYTES + MAX_FIELD_BYTES + 16;

/// Longest text or binary field of MQTT, and so the longest topic.
pub const MAX_FIELD_BYTES: usize = 65_535;

/// Most distinct active subscriptions of one connection (mqtt.md §6.2).
pub const MAX_SUBSCRIPTIONS: usize = 5;

/// Most filters in one SUBSCRIBE or UNSUBSCRIBE; the standard has no bound, a buffer must have one.
pub const MAX_FILTERS_PER_PACKET: usize = 32;

/// Longest request id (`$rid`) of a twin request, so that the answer's topic always fits.
pub const MAX_REQUEST_ID_BYTES: usize = 1024;

/// Longest time without a packet before the connection is closed, in seconds (mqtt.md §4).
pub const MAX_KEEP_ALIVE_TIMEOUT_SECONDS: u64 = 1767;

/// Unacknowledged deliveries per connection unless configured otherwise (mqtt.md §8.2).
pub const DEFAULT_WINDOW: u16 = 16;
