// Settings that make minutes into seconds, in the words of docs/configuration.md.

/** Feedback leaves the hub after a second instead of fifteen. */
export const QUICK_FEEDBACK = { 'queue.feedback.flush_interval': '200ms' };

/** A message that is not acknowledged comes back after five seconds, the least there is. */
export const SHORT_LOCK = { 'queue.lock_duration': '5s' };

/** A message is delivered at most three times. */
export const THREE_DELIVERIES = { 'queue.max_delivery_count': '3' };

/** A device's queue holds more than any test sends. */
export const DEEP_QUEUE = { 'queue.max_depth': '20000' };

/** An AMQP link outlives its token by a second instead of minutes. */
export const SHORT_GRACE = { 'amqp.token_grace': '1s' };
