//! Queries, answered from a list of pages.

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_ports::{ItemType, PeerError, QueryApi, QueryCall, QueryPage};

use super::Backend;

/// Whoever asks for `SELECT * FROM devices` gets three pages of one row, whoever asks for anything
/// else an error with a position.
#[async_trait]
impl QueryApi for Backend {
    async fn query(&self, call: QueryCall) -> Result<QueryPage, PeerError> {
        if call.text != "SELECT * FROM devices" {
            let text = "syntax error at character 10: expected FROM, found 'FRO'";
            return Err(PeerError::refused(ErrorCode::ArgumentInvalid, &text));
        }
        let number = match call.continuation.as_deref() {
            None => 1,
            Some("after-1") => 2,
            Some("after-2") => 3,
            Some(_) => {
                let text = "the continuation is not one of this query";
                return Err(PeerError::refused(ErrorCode::ArgumentInvalid, &text));
            }
        };
        let row = format!("{{\"page\":{number},\"most\":{}}}", call.page_size);
        Ok(QueryPage {
            item_type: ItemType::Twin,
            items: vec![row.into()],
            continuation: (number < 3).then(|| format!("after-{number}")),
        })
    }
}
