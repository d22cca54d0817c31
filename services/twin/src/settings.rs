//! From the configuration to the options of the service.

use downlink_config::sections::{self, Config};
use downlink_domain::twin::{ReplacedKeys, TwinRules};

use crate::options::TwinOptions;

impl From<&Config> for TwinOptions {
    fn from(config: &Config) -> Self {
        let twin = &config.twin;
        Self {
            rules: TwinRules {
                max_tags_bytes: twin.max_tags_bytes.as_usize(),
                max_desired_bytes: twin.max_desired_bytes.as_usize(),
                max_reported_bytes: twin.max_reported_bytes.as_usize(),
                replaced_keys: match twin.desired_replace_nulls {
                    sections::ReplacedKeys::Omitted => ReplacedKeys::Omitted,
                    sections::ReplacedKeys::Nulls => ReplacedKeys::Nulls,
                },
                kept_changes: twin.kept_changes,
            },
            ..Self::default()
        }
    }
}
