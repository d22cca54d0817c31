//! Layered configuration.
//!
//! Settings come from four layers, each over the one before: defaults in code, a TOML file, `DOWNLINK_` environment
//! variables, flags. The result is checked as a whole and every violation is reported, with its source. Binaries may
//! enter, and what wires services together; nothing below that reads settings or the environment.
//!
//! ```
//! use downlink_config::{Config, Layers};
//!
//! let config: Config = Layers::new()
//!     .variables([("DOWNLINK_QUEUE__MAX_DEPTH", "100")])
//!     .flag("--https-port", "listen.https_port", Some(8443))
//!     .load()
//!     .unwrap();
//! assert_eq!(config.queue.max_depth.get(), 100);
//! assert_eq!(config.listen.https_port, 8443);
//! assert_eq!(config.queue.default_ttl.to_string(), "1h");
//! ```

pub mod human;
pub mod layers;
pub mod process;
pub mod secret;
pub mod sections;
pub mod violation;

pub use human::{ByteSize, HumanDuration, HumanLimit, List};
pub use layers::{Configuration, Layers, LoadError, config_file_variable, to_toml};
pub use process::Process;
pub use secret::Secret;
pub use sections::Config;
pub use violation::{Checker, Violation, Violations};

#[cfg(test)]
mod reference;
