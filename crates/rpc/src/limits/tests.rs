use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::limits::{
    DeviceOperation, HubOperation, LimitKey, LimitOverrides, LimitsChange, LimitsSnapshot, Replaces,
};
use downlink_ports::{LimitsApi, PeerError};
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;

use crate::{GrpcTwinClient, MuxOptions, Services, in_process};

/// Answers what stands, and remembers what it was asked.
#[derive(Default)]
struct Desk {
    stands: Mutex<LimitsSnapshot>,
    asked: Mutex<Vec<(LimitsChange, IfMatch, Actor)>>,
}

#[async_trait]
impl LimitsApi for Desk {
    async fn limits(
        &self,
        _: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, PeerError> {
        let stands = self.stands.lock().clone();
        Ok((known != Some(stands.version)).then_some(stands))
    }

    async fn change_limits(
        &self,
        _: HubName,
        change: LimitsChange,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<LimitsSnapshot, PeerError> {
        self.asked
            .lock()
            .push((change.clone(), if_match.clone(), by));
        let mut stands = self.stands.lock();
        if if_match == IfMatch::Etag("stale".to_owned()) {
            return Err(PeerError::refused(ErrorCode::PreconditionFailed, &"stale"));
        }
        stands.version += 1;
        stands.overrides = stands.overrides.changed_by(change).unwrap();
        Ok(stands.clone())
    }
}

/// One change of each extent.
fn changes_of_each_extent() -> [LimitsChange; 3] {
    let device = || "boiler-7".parse().unwrap();
    let telemetry = LimitKey::Hub(HubOperation::Telemetry);
    [
        LimitsChange {
            replaces: Replaces::General,
            entries: vec![
                (telemetry.clone(), Some("100/min burst 7".parse().unwrap())),
                (
                    LimitKey::EachDevice(DeviceOperation::Connect),
                    Some("1/h".parse().unwrap()),
                ),
            ],
        },
        LimitsChange {
            replaces: Replaces::Device(device()),
            entries: vec![(
                LimitKey::Device(device(), DeviceOperation::TwinRead),
                Some("unlimited".parse().unwrap()),
            )],
        },
        LimitsChange {
            replaces: Replaces::Nothing,
            entries: vec![(telemetry, None)],
        },
    ]
}

#[tokio::test]
async fn changes_and_what_stands_cross_the_wire_whole() {
    let lifecycle = Lifecycle::new();
    let desk = Arc::new(Desk::default());
    let (endpoint, acceptor) = in_process();
    Services::new(&lifecycle)
        .with_limits(Arc::clone(&desk) as _)
        .serve(acceptor);
    let client = GrpcTwinClient::new(&endpoint, MuxOptions::default(), &lifecycle);
    let hub: HubName = "hub.example".parse().unwrap();
    let by = Actor {
        credential: "policy iothubowner".to_owned(),
        address: "[2001:db8::7]:50123".to_owned(),
        door: "https".to_owned(),
    };
    for (change, if_match) in changes_of_each_extent().into_iter().zip([
        IfMatch::Absent,
        IfMatch::Any,
        IfMatch::Etag("2".to_owned()),
    ]) {
        let standing = client
            .change_limits(hub.clone(), change.clone(), if_match.clone(), by.clone())
            .await
            .unwrap();
        assert_eq!(standing, *desk.stands.lock());
        let asked = desk.asked.lock().pop();
        assert_eq!(asked, Some((change, if_match, by.clone())));
    }
    let stands = desk.stands.lock().clone();
    assert_eq!(client.limits(hub.clone(), None).await, Ok(Some(stands)));
    assert_eq!(client.limits(hub.clone(), Some(3)).await, Ok(None));
    let nothing = LimitsChange {
        replaces: Replaces::Nothing,
        entries: Vec::new(),
    };
    let stale = IfMatch::Etag("stale".to_owned());
    let refused = client.change_limits(hub, nothing, stale, by).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::PreconditionFailed);
    assert_ne!(desk.stands.lock().overrides, LimitOverrides::default());
}
