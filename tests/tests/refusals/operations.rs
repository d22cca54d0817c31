//! What a back-end can ask for at each door, and the right that it needs.

use downlink_proto::api::v1 as api;
use downlink_proto::api::v1::cloud_to_device_client::CloudToDeviceClient;
use downlink_proto::api::v1::feedback_client::FeedbackClient;
use downlink_proto::api::v1::methods_client::MethodsClient;
use downlink_proto::api::v1::registry_client::RegistryClient;
use downlink_proto::api::v1::twins_client::TwinsClient;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use Right::{Administer, RegistryRead, RegistryWrite, ServiceConnect};

/// A permission of a policy (auth.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    Administer,
}

/// A request at the HTTPS door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    pub(crate) rights: &'static [Right],
}

const fn op(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    rights: &'static [Right],
) -> Operation {
    Operation {
        method,
        path,
        body,
        rights,
    }
}

const NO_LOCK: &str = "/messages/serviceBound/feedback/00000000-0000-0000-0000-000000000001";
const ABANDON: &str =
    "/messages/serviceBound/feedback/00000000-0000-0000-0000-000000000001/abandon";

/// Every request of a back-end over HTTPS that this hub offers.
pub(crate) const OVER_HTTPS: [Operation; 25] = [
    op("GET", "/devices", "", &[RegistryRead]),
    op("GET", "/devices/dev", "", &[RegistryRead]),
    op(
        "PUT",
        "/devices/new",
        r#"{"deviceId":"new"}"#,
        &[RegistryWrite],
    ),
    op("DELETE", "/devices/nobody", "", &[RegistryWrite]),
    op("GET", "/statistics/devices", "", &[RegistryRead]),
    op(
        "GET",
        "/statistics/service",
        "",
        &[RegistryRead, ServiceConnect],
    ),
    op("DELETE", "/devices/dev/commands", "", &[ServiceConnect]),
    op("GET", "/twins/dev", "", &[ServiceConnect]),
    op("PATCH", "/twins/dev", "{}", &[ServiceConnect]),
    op("PUT", "/twins/dev", "{}", &[ServiceConnect]),
    op(
        "POST",
        "/twins/dev/methods",
        r#"{"methodName":"m"}"#,
        &[ServiceConnect],
    ),
    op(
        "GET",
        "/messages/serviceBound/feedback",
        "",
        &[ServiceConnect],
    ),
    op("DELETE", NO_LOCK, "", &[ServiceConnect]),
    op("POST", ABANDON, "", &[ServiceConnect]),
    op("GET", "/admin/policies", "", &[Administer]),
    op("GET", "/admin/policies/service", "", &[Administer]),
    op(
        "PUT",
        "/admin/policies/mine",
        r#"{"permissions":["Administer"]}"#,
        &[Administer],
    ),
    op(
        "POST",
        "/admin/policies/nobody/regenerate",
        r#"{"key":"both"}"#,
        &[Administer],
    ),
    op("DELETE", "/admin/policies/nobody", "", &[Administer]),
    op("GET", "/admin/certificates", "", &[Administer]),
    op("GET", "/admin/certificates/nobody", "", &[Administer]),
    op("PUT", "/admin/certificates/nobody", "{}", &[Administer]),
    op(
        "POST",
        "/admin/certificates/nobody/verificationCode",
        "",
        &[Administer],
    ),
    op(
        "POST",
        "/admin/certificates/nobody/verify",
        "{}",
        &[Administer],
    ),
    op("DELETE", "/admin/certificates/nobody", "", &[Administer]),
];

/// Every call of the gRPC API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Get,
    List,
    Update,
    Delete,
    Statistics,
    Send,
    SendBatch,
    SendStream,
    Purge,
    Count,
    Receive,
    Invoke,
    GetTwin,
    PatchTwin,
    ReplaceTwin,
    Watch,
}

impl Call {
    pub(crate) const ALL: [Self; 17] = [
        Self::Create,
        Self::Get,
        Self::List,
        Self::Update,
        Self::Delete,
        Self::Statistics,
        Self::Send,
        Self::SendBatch,
        Self::SendStream,
        Self::Purge,
        Self::Count,
        Self::Receive,
        Self::Invoke,
        Self::GetTwin,
        Self::PatchTwin,
        Self::ReplaceTwin,
        Self::Watch,
    ];

    pub(crate) fn rights(self) -> &'static [Right] {
        match self {
            Self::Get | Self::List | Self::Statistics => &[RegistryRead],
            Self::Create | Self::Update | Self::Delete => &[RegistryWrite],
            _ => &[ServiceConnect],
        }
    }

    /// Makes the call; what the hub says to it.
    #[expect(clippy::too_many_lines, reason = "flat dispatch, one arm a call")]
    pub(crate) async fn make(self, channel: &Channel, credential: &str) -> Code {
        let mut registry = RegistryClient::new(channel.clone());
        let mut messages = CloudToDeviceClient::new(channel.clone());
        let mut feedback = FeedbackClient::new(channel.clone());
        let mut methods = MethodsClient::new(channel.clone());
        let mut twins = TwinsClient::new(channel.clone());
        let device_id = "dev".to_owned();
        let message = api::OutgoingMessage {
            device_id: device_id.clone(),
            ..api::OutgoingMessage::default()
        };
        match self {
            Self::Create => end(registry
                .create(with(
                    credential,
                    api::CreateDeviceRequest {
                        device_id: "made-over-grpc".to_owned(),
                        spec: None,
                    },
                ))
                .await),
            Self::Get => end(registry
                .get(with(credential, api::GetDeviceRequest { device_id }))
                .await),
            Self::List => end(registry
                .list(with(credential, api::ListDevicesRequest::default()))
                .await),
            Self::Update => end(registry
                .update(with(
                    credential,
                    api::UpdateDeviceRequest {
                        device_id: "nobody".to_owned(),
                        ..api::UpdateDeviceRequest::default()
                    },
                ))
                .await),
            Self::Delete => end(registry
                .delete(with(
                    credential,
                    api::DeleteDeviceRequest {
                        device_id: "nobody".to_owned(),
                        ..api::DeleteDeviceRequest::default()
                    },
                ))
                .await),
            Self::Statistics => end(registry
                .statistics(with(credential, api::StatisticsRequest::default()))
                .await),
            Self::Send => end(messages
                .send(with(
                    credential,
                    api::SendRequest {
                        message: Some(message),
                    },
                ))
                .await),
            Self::SendBatch => end(messages
                .send_batch(with(
                    credential,
                    api::SendBatchRequest {
                        messages: vec![message],
                    },
                ))
                .await),
            Self::SendStream => match messages
                .send_stream(with(credential, tokio_stream::empty()))
                .await
            {
                Ok(mut answers) => end(answers.get_mut().message().await),
                Err(status) => status.code(),
            },
            Self::Purge => end(messages
                .purge(with(credential, api::PurgeRequest { device_id }))
                .await),
            Self::Count => end(messages
                .count(with(credential, api::CountRequest { device_id }))
                .await),
            Self::Receive => match feedback
                .receive(with(credential, tokio_stream::empty()))
                .await
            {
                Ok(mut answers) => end(answers.get_mut().message().await),
                Err(status) => status.code(),
            },
            Self::Invoke => end(methods
                .invoke(with(
                    credential,
                    api::InvokeRequest {
                        device_id,
                        method_name: "m".to_owned(),
                        ..api::InvokeRequest::default()
                    },
                ))
                .await),
            Self::GetTwin => end(twins
                .get(with(credential, api::GetTwinRequest { device_id }))
                .await),
            Self::PatchTwin => end(twins
                .patch(with(
                    credential,
                    api::PatchTwinRequest {
                        device_id,
                        ..api::PatchTwinRequest::default()
                    },
                ))
                .await),
            Self::ReplaceTwin => end(twins
                .replace(with(
                    credential,
                    api::ReplaceTwinRequest {
                        device_id,
                        ..api::ReplaceTwinRequest::default()
                    },
                ))
                .await),
            Self::Watch => match twins
                .watch(with(credential, api::WatchTwinRequest { device_id }))
                .await
            {
                Ok(mut answers) => end(answers.get_mut().message().await),
                Err(status) => status.code(),
            },
        }
    }
}

fn end<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

fn with<T>(credential: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !credential.is_empty() {
        let value = MetadataValue::try_from(credential).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}
