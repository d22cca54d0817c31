//! registry.md §3, §4.

use downlink_proto::api::v1::registry_write::Change;
use downlink_proto::api::v1::registry_written::Outcome;

use super::*;

fn write(device: &str, module: Option<&str>, change: Change) -> v1::RegistryWrite {
    v1::RegistryWrite {
        device_id: device.to_owned(),
        module_id: module.map(str::to_owned),
        change: Some(change),
    }
}

fn create(device: &str, module: Option<&str>, spec: v1::DeviceSpec) -> v1::RegistryWrite {
    let change = Change::Create(v1::CreateIdentity { spec: Some(spec) });
    write(device, module, change)
}

fn delete(device: &str, module: Option<&str>, etag: Option<&str>) -> v1::RegistryWrite {
    let etag = etag.map(str::to_owned);
    write(device, module, Change::Delete(v1::DeleteIdentity { etag }))
}

async fn written(
    registry: &mut RegistryClient<Authorized>,
    writes: Vec<v1::RegistryWrite>,
) -> Vec<Result<v1::Device, u32>> {
    let answer = registry.write(v1::WriteRequest { writes }).await.unwrap();
    let written = answer.into_inner().written.into_iter();
    written
        .map(|one| match one.outcome.unwrap() {
            Outcome::Device(device) => Ok(device),
            Outcome::Failure(failure) => Err(failure.code),
        })
        .collect()
}

#[tokio::test]
async fn modules_live_among_many_writes_and_each_write_answers_for_itself() {
    let site = Site::new().await;
    let mut registry = site.with("registryReadWrite").await.registry();
    let edge = v1::DeviceSpec {
        is_edge: true,
        ..v1::DeviceSpec::default()
    };
    let looked_after = v1::DeviceSpec {
        managed_by: Some("me".to_owned()),
        ..v1::DeviceSpec::default()
    };
    let outcomes = written(
        &mut registry,
        vec![
            create("gw", None, edge),
            create("gw", Some("m1"), looked_after),
            create("nobody", Some("m1"), v1::DeviceSpec::default()),
            create("no id", None, v1::DeviceSpec::default()),
            create("gw", Some("$mine"), v1::DeviceSpec::default()),
            delete("nobody", None, None),
            v1::RegistryWrite::default(),
        ],
    )
    .await;
    let codes: Vec<_> = outcomes.iter().map(|one| one.as_ref().err()).collect();
    let invalid = Some(&400_004);
    let missing = Some(&404_001);
    let expected = [None, None, missing, invalid, invalid, missing, invalid];
    assert_eq!(codes, expected);
    let gateway = outcomes[0].clone().unwrap();
    assert!(
        gateway
            .device_scope
            .unwrap()
            .starts_with("ms-azure-iot-edge://gw-")
    );
    let module = outcomes[1].clone().unwrap();
    assert_eq!(module.module_id.as_deref(), Some("m1"));
    assert_eq!(module.managed_by.as_deref(), Some("me"));

    let request = v1::ListModulesRequest {
        device_id: "gw".to_owned(),
    };
    let listed = registry.list_modules(request).await.unwrap().into_inner();
    let ids = listed
        .modules
        .iter()
        .map(downlink_proto::api::v1::Device::module_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["$edgeAgent", "$edgeHub", "m1"]);
    assert_eq!(listed.modules[2], module);

    let rotate = Change::RegenerateKeys(v1::KeyChoice::Primary.into());
    let rotated = written(&mut registry, vec![write("gw", Some("m1"), rotate)]).await;
    let rotated = rotated[0].clone().unwrap();
    assert_ne!(rotated.authentication, module.authentication);
    assert_eq!(rotated.managed_by, module.managed_by);
    let stale = delete("gw", Some("m1"), Some(&module.etag));
    assert_eq!(written(&mut registry, vec![stale]).await, [Err(412_001)]);
    let gone = delete("gw", Some("m1"), Some(&rotated.etag));
    assert!(written(&mut registry, vec![gone]).await[0].is_ok());
    let again = delete("gw", Some("m1"), None);
    assert_eq!(written(&mut registry, vec![again]).await, [Err(404_010)]);
}

#[tokio::test]
async fn more_than_100_writes_are_refused_whole() {
    let site = Site::new().await;
    let mut registry = site.with("registryReadWrite").await.registry();
    let writes = vec![create("dev-1", None, v1::DeviceSpec::default()); 101];
    let refused_whole = registry.write(v1::WriteRequest { writes }).await;
    let expected = refused(Code::InvalidArgument, ErrorCode::TooManyDevices);
    assert_eq!(refusal(refused_whole), expected);
    let request = v1::ListModulesRequest {
        device_id: "dev-1".to_owned(),
    };
    let missing = refused(Code::NotFound, ErrorCode::DeviceNotFound);
    assert_eq!(refusal(registry.list_modules(request).await), missing);
}
