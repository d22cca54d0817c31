//! What the fuzz targets do with their input, and what must hold whatever it is.
//!
//! Each function takes the bytes of one input, panics when something does not hold that must, and
//! returns what it read. `tests/corpus.rs` feeds the same functions with the stored seeds and
//! looks at what comes out, so this room is shared by path and not a package of its own.

mod answers;
mod caller;
mod client;
mod codec;
mod commands;
mod connection;
mod script;

pub use caller::Conversation;
pub use codec::{cbs, frames, message, sasl, value};
pub use connection::{connection, converse};
pub use script::Script;
