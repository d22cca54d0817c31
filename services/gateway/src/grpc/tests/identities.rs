//! registry.md §1, §2.

use downlink_proto::api::v1::authentication::Way;

use super::*;

fn id() -> String {
    "dev-1".to_owned()
}

async fn create(registry: &mut RegistryClient<Authorized>, spec: v1::DeviceSpec) -> v1::Device {
    let request = v1::CreateDeviceRequest {
        device_id: id(),
        spec: Some(spec),
    };
    let created = registry.create(request).await.unwrap();
    created.into_inner().device.unwrap()
}

async fn get(registry: &mut RegistryClient<Authorized>) -> Result<v1::Device, Status> {
    let request = v1::GetDeviceRequest { device_id: id() };
    let got = registry.get(request).await?;
    Ok(got.into_inner().device.unwrap())
}

fn way(device: &v1::Device) -> &Way {
    device
        .authentication
        .as_ref()
        .unwrap()
        .way
        .as_ref()
        .unwrap()
}

fn proving(way: Way) -> v1::DeviceSpec {
    v1::DeviceSpec {
        authentication: Some(v1::Authentication { way: Some(way) }),
        ..v1::DeviceSpec::default()
    }
}

#[tokio::test]
async fn an_identity_lives_from_its_creation_to_its_deletion() {
    let site = Site::new().await;
    let mut registry = site.with("registryReadWrite").await.registry();
    let created = create(&mut registry, v1::DeviceSpec::default()).await;
    assert_eq!(created.device_id, "dev-1");
    assert_eq!(created.status(), v1::DeviceStatus::Enabled);
    let Way::SymmetricKeys(minted) = way(&created) else {
        panic!("no keys")
    };
    assert_ne!(minted.primary, minted.secondary);
    assert_eq!(get(&mut registry).await.unwrap(), created);
    let again = registry.create(v1::CreateDeviceRequest {
        device_id: id(),
        spec: None,
    });
    let expected = refused(Code::AlreadyExists, ErrorCode::DeviceAlreadyExists);
    assert_eq!(refusal(again.await), expected);

    let update = |etag: &str| v1::UpdateDeviceRequest {
        device_id: id(),
        spec: Some(v1::DeviceSpec {
            status: v1::DeviceStatus::Disabled.into(),
            status_reason: Some("broken".to_owned()),
            ..v1::DeviceSpec::default()
        }),
        etag: Some(etag.to_owned()),
    };
    let stale = refused(Code::FailedPrecondition, ErrorCode::PreconditionFailed);
    assert_eq!(refusal(registry.update(update("stale")).await), stale);
    let updated = registry.update(update(&created.etag)).await.unwrap();
    let updated = updated.into_inner().device.unwrap();
    assert_eq!(updated.status(), v1::DeviceStatus::Disabled);
    assert_eq!(updated.status_reason.as_deref(), Some("broken"));
    assert_eq!(updated.generation_id, created.generation_id);
    registry.update(update("*")).await.unwrap();

    let delete = |etag: Option<&str>| v1::DeleteDeviceRequest {
        device_id: id(),
        etag: etag.map(str::to_owned),
    };
    assert_eq!(refusal(registry.delete(delete(Some("stale"))).await), stale);
    registry.delete(delete(None)).await.unwrap();
    let missing = refused(Code::NotFound, ErrorCode::DeviceNotFound);
    assert_eq!(refusal(get(&mut registry).await), missing);
    assert_eq!(refusal(registry.delete(delete(None)).await), missing);
    assert_eq!(refusal(registry.update(update("*")).await), missing);
}

#[tokio::test]
async fn every_way_to_prove_oneself_is_kept() {
    use base64::Engine as _;
    let site = Site::new().await;
    let mut registry = site.with("registryReadWrite").await.registry();
    let key = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    for given in [
        Way::SymmetricKeys(v1::SymmetricKeys {
            primary: key(1),
            secondary: key(2),
        }),
        Way::Thumbprints(v1::Thumbprints {
            primary: Some("AB".repeat(20)),
            secondary: None,
        }),
        Way::CertificateAuthority(v1::CertificateAuthority {}),
    ] {
        let created = create(&mut registry, proving(given.clone())).await;
        assert!(*way(&created) == given);
        let request = v1::DeleteDeviceRequest {
            device_id: id(),
            etag: None,
        };
        registry.delete(request).await.unwrap();
    }
    let halves = [("x", "y"), (&key(1), ""), (&key(1), "AAAA")];
    for (primary, secondary) in halves {
        let keys = v1::SymmetricKeys {
            primary: primary.to_owned(),
            secondary: secondary.to_owned(),
        };
        let request = v1::CreateDeviceRequest {
            device_id: id(),
            spec: Some(proving(Way::SymmetricKeys(keys))),
        };
        let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
        assert_eq!(refusal(registry.create(request).await), expected);
    }
}

#[tokio::test]
async fn identities_are_listed_and_counted() {
    let site = Site::new().await;
    for id in ["c", "a", "b"] {
        site.hub.device(id).await;
    }
    let mut registry = site.with("registryRead").await.registry();
    let mut list = async |limit| {
        let listed = registry.list(v1::ListDevicesRequest { limit }).await?;
        let devices = listed.into_inner().devices.into_iter();
        Ok(devices.map(|device| device.device_id).collect::<Vec<_>>())
    };
    assert_eq!(list(None).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(list(Some(2)).await.unwrap(), ["a", "b"]);
    for limit in [0, 1001] {
        let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
        assert_eq!(refusal(list(Some(limit)).await), expected);
    }
    let counts = registry.statistics(v1::StatisticsRequest {}).await;
    let expected = v1::StatisticsResponse {
        total: 3,
        enabled: 3,
        disabled: 0,
        connected: 0,
    };
    assert_eq!(counts.unwrap().into_inner(), expected);
}
