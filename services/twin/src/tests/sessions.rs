//! What gateways ask for when devices connect.

use bytes::Bytes;

use super::*;

#[tokio::test]
async fn opening_gives_identity_and_session() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let session = Bytes::from_static(b"subscriptions");
    let saved = world
        .service
        .save_sessions(vec![(device.key, Some(session.clone()))])
        .await;
    assert_eq!(saved, Ok(()));
    let opened = world
        .service
        .open_device(a_hub(), an_identity("dev-1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((opened.device, opened.session), (device, Some(session)));
    let nobody = world
        .service
        .open_device(a_hub(), an_identity("nobody"))
        .await;
    assert_eq!(nobody, Ok(None));
}

#[tokio::test]
async fn a_session_above_its_bound_is_refused_whole() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let sessions = vec![
        (device.key, Some(Bytes::from_static(b"fine"))),
        (device.key, Some(Bytes::from(vec![0; 64 * 1024 + 1]))),
    ];
    let refused = world.service.save_sessions(sessions).await;
    assert_eq!(code(refused), ErrorCode::MessageTooLarge);
    let opened = world
        .service
        .open_device(a_hub(), an_identity("dev-1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(opened.session, None);
}
