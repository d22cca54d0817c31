//! Health and reflection.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_is_told_to_anybody_and_turns_with_the_drain() {
    let site = Site::new().await;
    let mut health = HealthClient::new(site.channel().await);
    let services: Vec<_> = methods_of_the_schema()
        .into_iter()
        .map(|(service, _)| service)
        .collect();
    for service in services.iter().map(String::as_str).chain([""]) {
        let answer = health.check(ask(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(
        health.check(ask("nothing")).await.unwrap_err().code(),
        Code::NotFound
    );
    let mut watch = health.watch(ask("")).await.unwrap().into_inner();
    let first = soon(watch.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let lifecycle = site.hub.shared.lifecycle.clone();
    let (next, _) =
        soon(async { tokio::join!(watch.message(), lifecycle.shutdown(Duration::from_secs(1))) })
            .await;
    assert_eq!(next.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_names_every_service_to_anybody() {
    let site = Site::new().await;
    let mut reflection = ServerReflectionClient::new(site.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures::stream::iter([request]);
    let answers = reflection.server_reflection_info(requests).await;
    let answer = soon(answers.unwrap().into_inner().message()).await;
    let answer = answer.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("no list")
    };
    let named: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for (service, _) in methods_of_the_schema() {
        assert!(named.contains(&service), "{service} of {named:?}");
    }
    assert!(named.contains(&"grpc.health.v1.Health".to_owned()));
}

#[tokio::test]
async fn strangers_may_send_little() {
    let site = Site::new().await;
    let mut health = HealthClient::new(site.channel().await);
    let refused = health.check(ask(&"x".repeat(20_000))).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
}
