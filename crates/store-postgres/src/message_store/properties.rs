//! Properties of messages as they are stored.

use downlink_domain::Timestamp;
use downlink_domain::message::Properties;
use serde::{Deserialize, Serialize};

/// The properties besides the message id.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ct: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    app: Vec<(String, String)>,
}

impl StoredProperties {
    /// The JSON text, `None` when there is nothing to say.
    pub(super) fn text(properties: &Properties) -> Option<String> {
        let own = Self {
            cid: properties.correlation_id.clone(),
            to: properties.to.clone(),
            uid: properties.user_id.clone(),
            ct: properties.content_type.clone(),
            ce: properties.content_encoding.clone(),
            exp: properties.expiry.map(Timestamp::as_millis),
            app: properties.application.clone(),
        };
        let text = || serde_json::to_string(&own).expect("texts are always JSON");
        (own != Self::default()).then(text)
    }

    /// The properties together with the message id.
    pub(super) fn into_properties(self, message_id: Option<String>) -> Properties {
        Properties {
            message_id,
            correlation_id: self.cid,
            to: self.to,
            user_id: self.uid,
            content_type: self.ct,
            content_encoding: self.ce,
            expiry: self.exp.map(Timestamp::from_millis),
            application: self.app,
        }
    }
}
