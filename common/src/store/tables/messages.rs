//! The columns that hold the message of a dead letter.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::{HeaderTypes, Headers, Message};
use crate::store::Editable;

/// The properties of a message that have no column of their own, and the part of its headers that their column
/// leaves open.
#[derive(Serialize, Deserialize)]
pub(super) struct Properties {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(default, skip_serializing_if = "HeaderTypes::is_empty")]
    header_types: HeaderTypes,
}

impl Properties {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            message_id: message.message_id.clone(),
            kind: message.kind.clone(),
            app_id: message.app_id.clone(),
            user_id: message.user_id.clone(),
            timestamp: message.timestamp,
            content_encoding: message.content_encoding.clone(),
            correlation_id: message.correlation_id.clone(),
            reply_to: message.reply_to.clone(),
            cluster_id: message.cluster_id.clone(),
            priority: message.priority,
            expiration: message.expiration.clone(),
            header_types: message.headers.types(),
        }
    }

    /// The message with these properties.
    pub(super) fn message(
        self,
        content_type: Option<String>,
        headers: &Value,
        body: Bytes,
    ) -> Message {
        Message {
            headers: Headers::from_json(headers, &self.header_types),
            body,
            content_type,
            content_encoding: self.content_encoding,
            message_id: self.message_id,
            correlation_id: self.correlation_id,
            reply_to: self.reply_to,
            kind: self.kind,
            app_id: self.app_id,
            cluster_id: self.cluster_id,
            user_id: self.user_id,
            timestamp: self.timestamp,
            priority: self.priority,
            expiration: self.expiration,
            damage: None,
        }
    }
}

/// The properties and the headers of a message, as they are kept.
pub(super) fn written(message: &Message) -> (String, String) {
    // Texts and numbers: this cannot fail.
    let properties = serde_json::to_string(&Properties::of(message));
    let properties = properties.unwrap_or_else(|_| "{}".to_owned());
    (properties, message.headers.to_json().to_string())
}

impl Editable {
    /// All of it but the body.
    pub fn envelope(&self) -> serde_json::Value {
        let (properties, headers) = written(&self.message);
        // A text written a moment ago can be read.
        let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
        let (properties, headers): (serde_json::Value, serde_json::Value) =
            (read(&properties), read(&headers));
        serde_json::json!({
            "routing_key": self.routing_key,
            "content_type": self.message.content_type,
            "properties": properties,
            "headers": headers,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::any_message;

    proptest! {
        #[test]
        fn any_message_comes_back_out_of_its_columns(message in any_message()) {
            let properties = serde_json::to_string(&Properties::of(&message)).unwrap();
            let headers = message.headers.to_json().to_string();
            let read: Properties = serde_json::from_str(&properties).unwrap();
            let headers = serde_json::from_str(&headers).unwrap();
            let back = read.message(message.content_type.clone(), &headers, message.body.clone());
            prop_assert_eq!(back, message);
        }
    }
}
