//! Failures that every rpc shares.

use async_trait::async_trait;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError};
use downlink_ports::MethodApi;
use tower::ServiceExt;

use super::*;

fn get(device: &str) -> v1::GetTwinRequest {
    v1::GetTwinRequest {
        device_id: device.to_owned(),
    }
}

#[tokio::test]
async fn nobody_is_served_without_a_token_that_holds() {
    let site = Site::new().await;
    let device = site.hub.device("dev-1").await;
    let expected = refused(Code::Unauthenticated, ErrorCode::IotHubUnauthorized);
    let mut bare = TwinsClient::new(site.channel().await);
    assert_eq!(refusal(bare.get(get("dev-1")).await), expected);
    let forged = site.hub.policy_token("service").replace("sig=", "sig=A");
    let unknown = site.hub.policy_token("nobody");
    let devices = site.hub.device_token(&device);
    for token in ["", "Bearer x", &forged, &unknown, &devices] {
        let mut twins = site.with_token(token).await.twins();
        assert_eq!(refusal(twins.get(get("dev-1")).await), expected, "{token}");
    }
    let mut twins = site.with("service").await.twins();
    twins.get(get("dev-1")).await.unwrap();
    site.hub.clock.advance(Duration::from_hours(2));
    assert_eq!(refusal(twins.get(get("dev-1")).await), expected);
    let rpcs = &site.hub.shared.metrics.rpcs;
    assert_eq!(rpcs.count(Rpc::GetTwin, Code::Unauthenticated), 7);
    assert_eq!(rpcs.count(Rpc::GetTwin, Code::Ok), 1);
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_told_as_unavailable() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let back = site.with("iothubowner").await;
    back.twins().get(get("dev-1")).await.unwrap();
    site.hub.backend.set_down(true);
    let expected = refused(Code::Unavailable, ErrorCode::ServiceUnavailable);
    assert_eq!(refusal(back.twins().get(get("dev-1")).await), expected);
    let request = v1::SendRequest {
        message: Some(message("dev-1", "cmd")),
    };
    assert_eq!(refusal(back.commands().send(request).await), expected);
    let request = v1::StatisticsRequest {};
    assert_eq!(refusal(back.registry().statistics(request).await), expected);
    // Neither can a credential be checked, once what is known of the policies is old.
    site.hub.clock.advance(Duration::from_mins(1));
    assert_eq!(refusal(back.twins().get(get("dev-1")).await), expected);
}

/// A method router that never answers, and tells when a call is dropped.
struct Silent(tokio::sync::mpsc::UnboundedSender<&'static str>);

struct Dropped(tokio::sync::mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[async_trait]
impl MethodApi for Silent {
    async fn invoke(&self, _: MethodCall) -> Result<MethodAnswer, MethodError> {
        let _dropped = Dropped(self.0.clone());
        let _ = self.0.send("called");
        std::future::pending().await
    }
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a channel of a test that holds two words"
)]
async fn a_call_does_not_outlive_its_callers_deadline() {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let silent = Arc::new(Silent(sender));
    let site = Site::of(TestHub::with_peers(|peers| peers.methods = silent).await);
    site.hub.device("dev-1").await;
    // Past the client library, which keeps the deadline too and would not wait for the hub's word.
    let message = b"\x0a\x05dev-1\x12\x06reboot";
    let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    framed.extend_from_slice(message);
    let request = axum::http::Request::post("/downlink.api.v1.Methods/Invoke")
        .header("content-type", "application/grpc")
        .header("authorization", site.hub.policy_token("service"))
        .header("grpc-timeout", "300m")
        .body(axum::body::Body::from(framed));
    let began = tokio::time::Instant::now();
    let router = crate::grpc::router(&site.hub.shared);
    let response = soon(router.oneshot(request.unwrap())).await.unwrap();
    let expected = refused(Code::DeadlineExceeded, ErrorCode::ServiceUnavailable);
    let ended = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(code_of(&ended), expected);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(soon(told.recv()).await, Some("called"));
    assert_eq!(soon(told.recv()).await, Some("dropped"));
}

#[tokio::test]
async fn a_malformed_deadline_is_refused() {
    let site = Site::new().await;
    let mut request = Request::new(v1::StatisticsRequest {});
    let metadata = request.metadata_mut();
    metadata.insert("grpc-timeout", "soon".parse().unwrap());
    let mut registry = site.with("iothubowner").await.registry();
    let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
    assert_eq!(refusal(registry.statistics(request).await), expected);
}
