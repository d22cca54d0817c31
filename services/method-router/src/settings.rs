//! From the configuration to the options of the service.

use downlink_config::Config;

use crate::config::MethodOptions;

impl From<&Config> for MethodOptions {
    fn from(config: &Config) -> Self {
        let methods = &config.methods;
        Self {
            max_per_device: methods.max_in_flight_per_device,
            max_in_flight: methods.max_in_flight,
            max_payload_bytes: methods.max_payload_bytes.as_usize(),
            answer_margin: methods.response_slack.get(),
        }
    }
}
