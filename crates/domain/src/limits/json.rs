//! Limits as JSON: in the store, and in the administration API.

use serde_json::{Map, Value};

use super::{DeviceOperation, HubOperation, Limit, LimitKey, LimitOverrides, LimitsError};

impl LimitOverrides {
    /// `{"hub": {"telemetry": "100/s"}, "device": {…}, "devices": {"boiler-7": {…}}}`.
    pub fn to_json(&self) -> Value {
        let (mut hub, mut device, mut devices) = (Map::new(), Map::new(), Map::new());
        for (key, limit) in self.iter() {
            let limit = Value::from(limit.to_string());
            match key {
                LimitKey::Hub(operation) => hub.insert(operation.name().to_owned(), limit),
                LimitKey::EachDevice(operation) => {
                    device.insert(operation.name().to_owned(), limit)
                }
                LimitKey::Device(id, operation) => {
                    let of_device = devices
                        .entry(id.as_str())
                        .or_insert_with(|| Value::Object(Map::new()));
                    of_device
                        .as_object_mut()
                        .and_then(|of_device| of_device.insert(operation.name().to_owned(), limit))
                }
            };
        }
        serde_json::json!({ "hub": hub, "device": device, "devices": devices })
    }

    /// Reads what [`Self::to_json`] has written; `None` for anything else. Classes of a later version are left out.
    ///
    /// # Errors
    /// [`LimitsError::TooManyDevices`].
    pub fn from_json(json: &Value) -> Result<Option<Self>, LimitsError> {
        entries(json).map(Self::of).transpose()
    }
}

fn entries(json: &Value) -> Option<Vec<(LimitKey, Limit)>> {
    let mut entries = Vec::new();
    for (name, limit) in json.get("hub")?.as_object()? {
        if let Some(operation) = HubOperation::find(name) {
            entries.push((LimitKey::Hub(operation), limit.as_str()?.parse().ok()?));
        }
    }
    for (name, limit) in json.get("device")?.as_object()? {
        if let Some(operation) = DeviceOperation::find(name) {
            entries.push((
                LimitKey::EachDevice(operation),
                limit.as_str()?.parse().ok()?,
            ));
        }
    }
    for (id, limits) in json.get("devices")?.as_object()? {
        for (name, limit) in limits.as_object()? {
            if let Some(operation) = DeviceOperation::find(name) {
                let key = LimitKey::Device(id.parse().ok()?, operation);
                entries.push((key, limit.as_str()?.parse().ok()?));
            }
        }
    }
    Some(entries)
}
