//! Queries and their pages.

use downlink_ports::{ItemType, MAX_CONTINUATION, MAX_PAGE_ROWS, QueryCall, QueryPage};
use downlink_proto::v1;

use super::{FromWire, ToWire, WireError};

/// Longest text of a query, in bytes: four to a character.
const MAX_TEXT_BYTES: usize = 4 * 8192;

impl ToWire for QueryCall {
    type Wire = v1::QueryRequest;

    fn to_wire(self) -> v1::QueryRequest {
        v1::QueryRequest {
            hub: self.hub.to_string(),
            text: self.text,
            page_size: self.page_size,
            continuation: self.continuation,
        }
    }
}

impl FromWire<v1::QueryRequest> for QueryCall {
    fn from_wire(wire: v1::QueryRequest) -> Result<Self, WireError> {
        if wire.text.len() > MAX_TEXT_BYTES {
            return Err(WireError::OutOfRange("text"));
        }
        if !(1..=MAX_PAGE_ROWS).contains(&wire.page_size) {
            return Err(WireError::OutOfRange("page_size"));
        }
        let is_long = |text: &String| text.len() > MAX_CONTINUATION;
        if wire.continuation.as_ref().is_some_and(is_long) {
            return Err(WireError::OutOfRange("continuation"));
        }
        Ok(Self {
            hub: wire.hub.parse()?,
            text: wire.text,
            page_size: wire.page_size,
            continuation: wire.continuation,
        })
    }
}

impl ToWire for QueryPage {
    type Wire = v1::QueryResponse;

    fn to_wire(self) -> v1::QueryResponse {
        let item_type = match self.item_type {
            ItemType::Twin => v1::QueryItemType::Twin,
            ItemType::DeviceJob => v1::QueryItemType::DeviceJob,
            ItemType::Raw => v1::QueryItemType::Raw,
        };
        v1::QueryResponse {
            item_type: item_type.into(),
            items: self.items,
            continuation: self.continuation,
        }
    }
}

impl FromWire<v1::QueryResponse> for QueryPage {
    fn from_wire(wire: v1::QueryResponse) -> Result<Self, WireError> {
        let item_type = match wire.item_type() {
            v1::QueryItemType::Twin => ItemType::Twin,
            v1::QueryItemType::DeviceJob => ItemType::DeviceJob,
            v1::QueryItemType::Raw => ItemType::Raw,
            v1::QueryItemType::Unspecified => return Err(WireError::Missing("item_type")),
        };
        Ok(Self {
            item_type,
            items: wire.items,
            continuation: wire.continuation,
        })
    }
}
