//! Takes user names apart: what is found stood in the text, and nothing of it is longer than that.
#![no_main]

use downlink_mqtt::username::Username;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = Username::parse(text) else {
        return;
    };
    let (device, module) = (read.identity.device_id(), read.identity.module_id());
    let mut begins = format!("{}/{device}", read.host);
    if let Some(module) = module {
        begins.push('/');
        begins.push_str(module);
    }
    assert!(text.starts_with(&begins), "names stand as they were sent");
    assert!(!read.host.is_empty() && !device.is_empty() && !device.contains('/'));
    assert!(module.is_none_or(|module| !module.is_empty() && !module.contains('/')));
    assert!(read.names_host(&read.host.to_ascii_uppercase()));
    // A character that does not decode takes three bytes for each of its own.
    for value in [read.api_version, read.device_client_type, read.model_id, read.auth_chain] {
        assert!(value.is_none_or(|value| value.len() <= 3 * text.len()));
    }
});
