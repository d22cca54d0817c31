//! Every fixed limit of the contract. What an operator may change is a setting with one of these
//! as its default.

use std::time::Duration;

/// Longest device or module id, in characters (registry.md §2.1).
pub const MAX_ID_CHARS: usize = 128;
/// Longest host name of a hub, in bytes.
pub const MAX_HUB_NAME_BYTES: usize = 253;
/// Longest message id or correlation id, in characters (c2d.md §3.1).
pub const MAX_MESSAGE_ID_CHARS: usize = 128;
/// Longest status reason, in characters (registry.md §2.1).
pub const MAX_STATUS_REASON_CHARS: usize = 128;
/// Shortest and longest symmetric key, in bytes after base64 (auth.md §1).
pub const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Largest cloud-to-device message: body and properties, in bytes (c2d.md §2).
pub const MAX_C2D_BYTES: usize = 64 * 1024;
/// Messages waiting for one device (c2d.md §2).
pub const MAX_C2D_DEPTH: u32 = 50;
/// Longest life of a message (c2d.md §2).
pub const MAX_C2D_TTL: Duration = Duration::from_hours(48);
/// Life of a message that names none (c2d.md §2).
pub const DEFAULT_C2D_TTL: Duration = Duration::from_hours(1);
/// Lock of a message handed to a device (c2d.md §2).
pub const LOCK_DURATION: Duration = Duration::from_mins(1);
/// Deliveries before a message is dead-lettered (c2d.md §2).
pub const MAX_DELIVERY_COUNT: u32 = 10;

/// Records that close a feedback batch (c2d.md §2).
pub const FEEDBACK_FLUSH_COUNT: u32 = 64;
/// Time since the last batch that closes a feedback batch (c2d.md §2).
pub const FEEDBACK_FLUSH_INTERVAL: Duration = Duration::from_secs(15);

/// Largest method payload in each direction, in bytes (methods.md §1.1).
pub const MAX_METHOD_BYTES: usize = 128 * 1024;
/// Longest method name, in characters. The contract is silent; this is the longest id.
pub const MAX_METHOD_NAME_CHARS: usize = 128;
/// Response timeouts a caller may ask for (methods.md §1.1).
pub const RESPONSE_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_mins(5);
/// Response timeout of a call that names none (methods.md §1.1).
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest connect timeout (methods.md §1.1).
pub const MAX_CONNECT_TIMEOUT: Duration = Duration::from_mins(5);

/// Largest telemetry message, in bytes (errors-limits.md §5.2).
pub const MAX_TELEMETRY_BYTES: usize = 256 * 1024;

/// Largest tags section, in bytes as twins.md §4.5 counts them.
pub const MAX_TAGS_BYTES: usize = 8 * 1024;
/// Largest desired section (twins.md §4.5).
pub const MAX_DESIRED_BYTES: usize = 32 * 1024;
/// Largest reported section (twins.md §4.5).
pub const MAX_REPORTED_BYTES: usize = 32 * 1024;
/// Deepest nesting of objects in a section (twins.md §4.5).
pub const MAX_TWIN_DEPTH: usize = 10;
/// Longest key, in bytes (twins.md §4.5).
pub const MAX_TWIN_KEY_BYTES: usize = 1024;
/// Longest string value, in bytes (twins.md §4.5).
pub const MAX_TWIN_STRING_BYTES: usize = 4096;
/// Largest property of a twin, key path plus value, in bytes (twins.md §4.5).
pub const MAX_TWIN_PROPERTY_BYTES: usize = 4096;
/// Longest text of a number in a twin. The contract counts any number as 8 bytes; this bounds
/// what those 8 bytes may really take.
pub const MAX_TWIN_NUMBER_CHARS: usize = 128;
/// Changes of desired kept for a device that comes back, unless a setting says otherwise.
pub const KEPT_CHANGES: u32 = 16;
/// Longest text of a change of desired that is kept, in bytes.
pub const MAX_KEPT_CHANGE_BYTES: usize = 4096;
/// Deepest nesting of any JSON text that is read at all; twins allow far less.
pub const MAX_JSON_DEPTH: usize = 64;
/// Range of integers in a twin (twins.md §4.5).
pub const TWIN_INTEGERS: std::ops::RangeInclusive<i64> =
    -4_503_599_627_370_496..=4_503_599_627_370_495;

/// Characters of the name of who looks after a module (registry.md §3).
pub const MAX_MANAGED_BY_CHARS: usize = 128;

/// Parents that an Edge device may name.
pub const MAX_PARENT_SCOPES: usize = 64;

/// Bytes of one scope: the scheme, a device id, a dash, a generation.
pub const MAX_SCOPE_BYTES: usize = 192;

/// Longest id of a job, in characters (registry.md §6.1).
pub const MAX_JOB_ID_CHARS: usize = 64;
/// How far ahead a job may be scheduled (registry.md §6.1).
pub const MAX_JOB_DELAY: Duration = Duration::from_hours(168);
/// Longest time a job may run.
pub const MAX_JOB_EXECUTION: Duration = Duration::from_hours(168);
/// Time a job may run that names none (registry.md §6.1).
pub const DEFAULT_JOB_EXECUTION: Duration = Duration::from_hours(1);
/// Longest condition of a job, in characters: that of a query (registry.md §5.1).
pub const MAX_CONDITION_CHARS: usize = 8192;
/// Largest work of a job as JSON text, in bytes: a method's payload and what stands around it.
pub const MAX_JOB_WORK_BYTES: usize = MAX_METHOD_BYTES + 16 * 1024;
/// How long an ended job is remembered (registry.md §6.3).
pub const JOB_HISTORY: Duration = Duration::from_hours(720);
