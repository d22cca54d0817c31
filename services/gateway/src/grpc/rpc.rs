//! The rpcs of the public API.

use std::time::Duration;

use crate::https::USE_CASE_DEADLINE;
use crate::https::methods::SLACK;
use downlink_domain::caps;

/// One rpc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    Send,
    SendBatch,
    SendStream,
    Purge,
    Count,
    ReceiveFeedback,
    Invoke,
    GetTwin,
    PatchTwin,
    ReplaceTwin,
    WatchTwin,
    Query,
    QueryAll,
    CreateDevice,
    GetDevice,
    ListDevices,
    UpdateDevice,
    DeleteDevice,
    ListModules,
    WriteIdentities,
    Statistics,
}

impl Rpc {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::Send,
        Self::SendBatch,
        Self::SendStream,
        Self::Purge,
        Self::Count,
        Self::ReceiveFeedback,
        Self::Invoke,
        Self::GetTwin,
        Self::PatchTwin,
        Self::ReplaceTwin,
        Self::WatchTwin,
        Self::Query,
        Self::QueryAll,
        Self::CreateDevice,
        Self::GetDevice,
        Self::ListDevices,
        Self::UpdateDevice,
        Self::DeleteDevice,
        Self::ListModules,
        Self::WriteIdentities,
        Self::Statistics,
    ];

    /// Service and method, as paths and metrics have them.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "CloudToDevice/Send",
            Self::SendBatch => "CloudToDevice/SendBatch",
            Self::SendStream => "CloudToDevice/SendStream",
            Self::Purge => "CloudToDevice/Purge",
            Self::Count => "CloudToDevice/Count",
            Self::ReceiveFeedback => "Feedback/Receive",
            Self::Invoke => "Methods/Invoke",
            Self::GetTwin => "Twins/Get",
            Self::PatchTwin => "Twins/Patch",
            Self::ReplaceTwin => "Twins/Replace",
            Self::WatchTwin => "Twins/Watch",
            Self::Query => "Queries/Query",
            Self::QueryAll => "Queries/QueryAll",
            Self::CreateDevice => "Registry/Create",
            Self::GetDevice => "Registry/Get",
            Self::ListDevices => "Registry/List",
            Self::UpdateDevice => "Registry/Update",
            Self::DeleteDevice => "Registry/Delete",
            Self::ListModules => "Registry/ListModules",
            Self::WriteIdentities => "Registry/Write",
            Self::Statistics => "Registry/Statistics",
        }
    }

    /// The rpc at `path`; `None` for those that are open, or unknown.
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/downlink.api.v1.")?;
        Self::ALL.into_iter().find(|rpc| rpc.name() == name)
    }

    /// Longest time from the end of the request's head to the head of the answer, which for a
    /// stream is where its messages begin.
    pub fn longest(self) -> Duration {
        match self {
            // The message has as long to arrive as any; its own timeouts count from there.
            Self::Invoke => USE_CASE_DEADLINE + *caps::RESPONSE_TIMEOUT.end() + SLACK,
            _ => USE_CASE_DEADLINE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_is_in_its_place_and_found_by_its_path() {
        for (place, rpc) in Rpc::ALL.into_iter().enumerate() {
            assert_eq!(rpc as usize, place);
            let path = format!("/downlink.api.v1.{}", rpc.name());
            assert_eq!(Rpc::of_path(&path), Some(rpc));
        }
        assert_eq!(Rpc::of_path("/grpc.health.v1.Health/Check"), None);
    }

    #[test]
    fn every_rpc_of_the_schema_is_known() {
        for (service, method) in crate::grpc::tests::methods_of_the_schema() {
            let path = format!("/{service}/{method}");
            assert!(Rpc::of_path(&path).is_some(), "{path}");
        }
    }
}
