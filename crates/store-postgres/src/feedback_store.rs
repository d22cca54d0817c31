//! The feedback queue.
