//! What clients prove themselves by.

use anyhow::Context as _;
use serde_json::Value;

/// Connection strings of the hub's policies and of the device to try things with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// As `downlink hub --json` prints them: `hostName`, `policies`, `device`.
    pub json: Value,
}

impl Credentials {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let json = serde_json::from_str(text).context("`downlink hub` printed no JSON")?;
        Ok(Self { json })
    }

    /// The connection string of a policy.
    ///
    /// # Panics
    /// When there is no such policy.
    pub fn policy(&self, name: &str) -> &str {
        self.json["policies"][name]
            .as_str()
            .unwrap_or_else(|| panic!("there is no policy {name}"))
    }
}
