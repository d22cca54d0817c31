//! Which policy may call what (auth.md §4).

use downlink_auth::sign;
use downlink_ports::Clock as _;

use super::*;

/// Calls every rpc; by its place in [`Rpc::ALL`], whether the caller had the right.
async fn allowed(back: &Back) -> Vec<(Rpc, bool)> {
    let id = || "dev-1".to_owned();
    let mut codes = Vec::new();
    for rpc in Rpc::ALL {
        let code = call(back, rpc, id()).await;
        codes.push((rpc, code != Code::PermissionDenied));
    }
    codes
}

fn code<T>(result: Result<T, Status>) -> Code {
    result.err().map_or(Code::Ok, |status| status.code())
}

#[expect(clippy::too_many_lines, reason = "flat: one arm for each rpc")]
async fn call(back: &Back, rpc: Rpc, device_id: String) -> Code {
    let (mut commands, mut twins) = (back.commands(), back.twins());
    let (mut registry, mut methods) = (back.registry(), back.methods());
    match rpc {
        Rpc::Send => code(commands.send(v1::SendRequest { message: None }).await),
        Rpc::SendBatch => {
            let request = v1::SendBatchRequest { messages: vec![] };
            code(commands.send_batch(request).await)
        }
        Rpc::SendStream => code(commands.send_stream(futures::stream::empty()).await),
        Rpc::Purge => code(commands.purge(v1::PurgeRequest { device_id }).await),
        Rpc::Count => code(commands.count(v1::CountRequest { device_id }).await),
        Rpc::ReceiveFeedback => code(back.feedback().receive(futures::stream::empty()).await),
        Rpc::Invoke => {
            let request = v1::InvokeRequest {
                device_id,
                ..v1::InvokeRequest::default()
            };
            code(methods.invoke(request).await)
        }
        Rpc::GetTwin => code(twins.get(v1::GetTwinRequest { device_id }).await),
        Rpc::PatchTwin => {
            let request = v1::PatchTwinRequest {
                device_id,
                ..v1::PatchTwinRequest::default()
            };
            code(twins.patch(request).await)
        }
        Rpc::ReplaceTwin => {
            let request = v1::ReplaceTwinRequest {
                device_id,
                ..v1::ReplaceTwinRequest::default()
            };
            code(twins.replace(request).await)
        }
        Rpc::WatchTwin => code(twins.watch(v1::WatchTwinRequest { device_id }).await),
        Rpc::Query => code(back.queries().query(v1::QueryRequest::default()).await),
        Rpc::QueryAll => {
            let request = v1::QueryAllRequest::default();
            code(back.queries().query_all(request).await)
        }
        Rpc::CreateDevice => {
            let request = v1::CreateDeviceRequest {
                device_id,
                spec: None,
            };
            code(registry.create(request).await)
        }
        Rpc::GetDevice => code(registry.get(v1::GetDeviceRequest { device_id }).await),
        Rpc::ListDevices => code(registry.list(v1::ListDevicesRequest { limit: None }).await),
        Rpc::UpdateDevice => {
            let request = v1::UpdateDeviceRequest {
                device_id,
                ..v1::UpdateDeviceRequest::default()
            };
            code(registry.update(request).await)
        }
        Rpc::DeleteDevice => {
            let request = v1::DeleteDeviceRequest {
                device_id,
                // None is deleted.
                etag: Some("stale".to_owned()),
            };
            code(registry.delete(request).await)
        }
        Rpc::ListModules => code(
            registry
                .list_modules(v1::ListModulesRequest { device_id })
                .await,
        ),
        Rpc::WriteIdentities => code(registry.write(v1::WriteRequest { writes: vec![] }).await),
        Rpc::Statistics => code(registry.statistics(v1::StatisticsRequest {}).await),
    }
}

fn is_read(rpc: Rpc) -> bool {
    matches!(
        rpc,
        Rpc::GetDevice | Rpc::ListDevices | Rpc::ListModules | Rpc::Statistics
    )
}

fn is_write(rpc: Rpc) -> bool {
    matches!(
        rpc,
        Rpc::CreateDevice | Rpc::UpdateDevice | Rpc::DeleteDevice | Rpc::WriteIdentities
    )
}

#[tokio::test]
async fn every_rpc_asks_for_the_right_that_the_same_call_asks_for_over_https() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    for policy in [
        "iothubowner",
        "service",
        "device",
        "registryRead",
        "registryReadWrite",
    ] {
        let back = site.with(policy).await;
        for (rpc, is_allowed) in allowed(&back).await {
            let expected = match policy {
                "iothubowner" => true,
                "service" => !is_read(rpc) && !is_write(rpc),
                "registryRead" => is_read(rpc),
                "registryReadWrite" => is_read(rpc) || is_write(rpc),
                _ => false,
            };
            assert_eq!(is_allowed, expected, "{policy} {}", rpc.name());
        }
    }
    let mut registry = site.with("registryRead").await.registry();
    let denied = registry
        .delete(v1::DeleteDeviceRequest::default())
        .await
        .unwrap_err();
    let expected = refused(Code::PermissionDenied, ErrorCode::IotHubUnauthorizedAccess);
    assert_eq!(code_of(&denied), expected);
}

#[tokio::test]
async fn a_token_opens_nothing_outside_of_its_scope() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    site.hub.device("dev-2").await;
    let expiry = site.hub.clock.now().as_seconds() + 3600;
    let token = sign("hub.test/twins/dev-1", &[1; 32], expiry, Some("service"));
    let mut twins = site.with_token(&token).await.twins();
    let mut get = async |device: &str| {
        let device_id = device.to_owned();
        code(twins.get(v1::GetTwinRequest { device_id }).await)
    };
    assert_eq!(get("dev-1").await, Code::Ok);
    assert_eq!(get("dev-2").await, Code::PermissionDenied);
}
