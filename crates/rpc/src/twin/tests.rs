use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::authority::{CertificateAuthority, Possession};
use downlink_domain::device::{Authentication, Device, DeviceSpec, IfMatch};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::policy::scope::MAX_SCOPE_BYTES;
use downlink_domain::policy::{Permission, Permissions, Policy, PolicyScope};
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, LeaseEpoch};
use downlink_domain::twin::{Twin, TwinChange};
use downlink_ports::{
    AccessSnapshot, ConnectionChange, MissedChanges, OpenedDevice, PeerError, RegistryCounts,
    Since, TwinApi, TwinView,
};
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;

use crate::testing::{at, device, hub, keys, module_name, object, twin};
use crate::wire::{FromWire as _, ToWire as _};
use crate::{GrpcTwinClient, MuxOptions, Services, in_process};

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Open(HubName, IdentityName),
    SaveSessions(Vec<(DeviceKey, Option<Bytes>)>),
    RecordConnections(Vec<ConnectionChange>),
    Put(HubName, IdentityName, DeviceSpec, IfMatch, Actor),
    Delete(HubName, IdentityName, IfMatch, Actor),
    Find(HubName, IdentityName),
    List(HubName, u32),
    CountDevices(HubName),
    GetTwin(HubName, IdentityName),
    Update(HubName, IdentityName, TwinChange),
    GetOwn(DeviceKey),
    Report(DeviceKey, TwinChange),
    Missed(DeviceKey, Since),
    Told(Vec<(DeviceKey, u64)>),
    Versions(Vec<DeviceKey>),
    Access(HubName, Option<u64>),
    PutPolicy(HubName, Policy, IfMatch, Actor),
    DeletePolicy(HubName, String, IfMatch, Actor),
    PutAuthority(HubName, CertificateAuthority, IfMatch, Actor),
    DeleteAuthority(HubName, String, IfMatch, Actor),
}

/// Keeps what it was asked; knows the one identity of [`module_name`].
#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<Asked>>,
}

impl Recorder {
    fn note(&self, asked: Asked) {
        self.asked.lock().push(asked);
    }

    #[track_caller]
    fn take(&self) -> Asked {
        let mut asked = self.asked.lock();
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }
}

fn sas() -> Device {
    device(Authentication::Sas(keys()))
}

fn self_signed() -> Authentication {
    Authentication::SelfSigned {
        primary: Some("AB".repeat(20)),
        secondary: None,
    }
}

fn view() -> TwinView {
    TwinView {
        device: sas(),
        twin: twin(),
    }
}

fn missed() -> MissedChanges {
    MissedChanges {
        version: 9,
        changes: vec![(8, "{}".into()), (9, r#"{"a":1.0}"#.into())],
    }
}

fn not_found() -> PeerError {
    PeerError::refused(ErrorCode::DeviceNotFound, &"no such device")
}

fn policies() -> Vec<Policy> {
    let policy = |name: &str, rights: &[Permission]| {
        Policy::new(name, [vec![1; 16], vec![2; 64]], Permissions::of(rights))
    };
    vec![
        policy("owner", &Permission::ALL),
        policy("read", &[Permission::RegistryRead]),
        policy("service", &[Permission::ServiceConnect]),
        policy("device", &[Permission::DeviceConnect]),
        policy("none", &[]),
    ]
}

fn limited() -> Policy {
    let text = r#"{"devices": [{"prefix": "a-"}, {"tag": "x.y", "equals": 1.50}],
        "verbs": ["invoke"], "methods": ["reboot"]}"#;
    let value = serde_json::from_str(text).unwrap();
    Policy {
        scope: Some(PolicyScope::parse(&value).unwrap()),
        etag: u64::MAX,
        ..policies().remove(2)
    }
}

fn authority(name: &str, possession: Possession) -> CertificateAuthority {
    CertificateAuthority {
        name: name.to_owned(),
        certificate: Bytes::from(vec![7; 16 * 1024]),
        subject: "CN=Plant 7, O=Sk\u{f8}yen".to_owned(),
        thumbprint: "0A".repeat(32),
        not_before: at(1),
        not_after: at(2),
        possession,
        etag: 3,
        created_at: at(4),
        updated_at: at(5),
    }
}

fn snapshot() -> AccessSnapshot {
    let code = "0123456789ABCDEF".repeat(3);
    AccessSnapshot {
        version: 41,
        policies: [policies(), vec![limited()]].concat(),
        authorities: vec![
            authority("new", Possession::Unverified),
            authority("asked", Possession::Challenged { code }),
            authority("proved", Possession::Verified),
        ],
    }
}

fn somebody() -> Actor {
    Actor {
        credential: "policy iothubowner".to_owned(),
        address: "203.0.113.7:50123".to_owned(),
        door: "https".to_owned(),
    }
}

#[async_trait]
impl TwinApi for Recorder {
    async fn open_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<OpenedDevice>, PeerError> {
        let is_known = name == module_name();
        self.note(Asked::Open(hub, name));
        Ok(is_known.then(|| OpenedDevice {
            device: sas(),
            session: Some(Bytes::from_static(b"session")),
        }))
    }

    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), PeerError> {
        self.note(Asked::SaveSessions(sessions));
        Ok(())
    }

    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), PeerError> {
        self.note(Asked::RecordConnections(changes));
        Ok(())
    }

    async fn put_device(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Device, PeerError> {
        let answer = device(spec.authentication.clone());
        self.note(Asked::Put(hub, name, spec, if_match, by));
        Ok(answer)
    }

    async fn delete_device(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        self.note(Asked::Delete(hub, name, if_match.clone(), by));
        match if_match {
            IfMatch::Absent => Err(PeerError::refused(
                ErrorCode::PreconditionFailed,
                &"an etag is needed",
            )),
            IfMatch::Any | IfMatch::Etag(_) => Ok(()),
        }
    }

    async fn find_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<Device>, PeerError> {
        let is_known = name == module_name();
        self.note(Asked::Find(hub, name));
        Ok(is_known.then(|| device(Authentication::CertificateAuthority)))
    }

    async fn list_devices(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, PeerError> {
        self.note(Asked::List(hub, limit));
        Ok(vec![sas(), device(self_signed())])
    }

    async fn count_devices(&self, hub: HubName) -> Result<RegistryCounts, PeerError> {
        self.note(Asked::CountDevices(hub));
        Ok(RegistryCounts {
            total: 10_000_000,
            enabled: 9_999_999,
            modules: 20_000_000,
        })
    }

    async fn get_twin(&self, hub: HubName, name: IdentityName) -> Result<TwinView, PeerError> {
        let is_known = name == module_name();
        self.note(Asked::GetTwin(hub, name));
        is_known.then(view).ok_or_else(not_found)
    }

    async fn update_twin(
        &self,
        hub: HubName,
        name: IdentityName,
        change: TwinChange,
    ) -> Result<TwinView, PeerError> {
        self.note(Asked::Update(hub, name, change));
        Ok(view())
    }

    async fn get_own_twin(&self, device: DeviceKey) -> Result<Twin, PeerError> {
        self.note(Asked::GetOwn(device));
        (device.0 == 7).then(twin).ok_or_else(not_found)
    }

    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, PeerError> {
        let version = |key: &DeviceKey| (key.0 != 0).then_some(key.0.cast_unsigned());
        let versions = devices.iter().map(version).collect();
        self.note(Asked::Versions(devices));
        Ok(versions)
    }

    async fn missed_changes(
        &self,
        device: DeviceKey,
        since: Since,
    ) -> Result<MissedChanges, PeerError> {
        self.note(Asked::Missed(device, since));
        Ok(missed())
    }

    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), PeerError> {
        self.note(Asked::Told(told));
        Ok(())
    }

    async fn report(&self, device: DeviceKey, change: TwinChange) -> Result<u64, PeerError> {
        self.note(Asked::Report(device, change));
        Ok(12)
    }

    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, PeerError> {
        self.note(Asked::Access(hub, known));
        let snapshot = snapshot();
        Ok((known != Some(snapshot.version)).then_some(snapshot))
    }

    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Policy, PeerError> {
        self.note(Asked::PutPolicy(hub, policy.clone(), if_match, by));
        Ok(Policy { etag: 9, ..policy })
    }

    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        self.note(Asked::DeletePolicy(hub, name, if_match, by));
        let last = "the last policy that administers";
        Err(PeerError::refused(ErrorCode::InvalidOperation, &last))
    }

    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<CertificateAuthority, PeerError> {
        self.note(Asked::PutAuthority(hub, authority.clone(), if_match, by));
        Ok(CertificateAuthority {
            etag: 9,
            ..authority
        })
    }

    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        self.note(Asked::DeleteAuthority(hub, name, if_match, by));
        Ok(())
    }
}

fn connected() -> (Arc<Recorder>, GrpcTwinClient) {
    let recorder = Arc::new(Recorder::default());
    let lifecycle = Lifecycle::new();
    let (endpoint, acceptor) = in_process();
    Services::new(&lifecycle)
        .with_twins(recorder.clone())
        .serve(acceptor);
    let client = GrpcTwinClient::new(&endpoint, MuxOptions::default(), &lifecycle);
    (recorder, client)
}

fn unknown() -> IdentityName {
    IdentityName::from("nobody".parse::<downlink_domain::id::DeviceId>().unwrap())
}

#[tokio::test]
async fn opening_a_device_brings_its_keys_and_session() {
    let (recorder, twins) = connected();
    let opened = twins
        .open_device(hub(), module_name())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(opened.device, sas());
    assert_eq!(opened.session, Some(Bytes::from_static(b"session")));
    assert_eq!(recorder.take(), Asked::Open(hub(), module_name()));
    assert_eq!(twins.open_device(hub(), unknown()).await, Ok(None));
}

#[tokio::test]
async fn sessions_are_saved_and_removed() {
    let (recorder, twins) = connected();
    let sessions = vec![
        (DeviceKey(1), Some(Bytes::from(vec![5; 64 * 1024]))),
        (DeviceKey(2), None),
        (DeviceKey(3), Some(Bytes::new())),
    ];
    assert_eq!(twins.save_sessions(sessions.clone()).await, Ok(()));
    assert_eq!(recorder.take(), Asked::SaveSessions(sessions));
}

#[tokio::test]
async fn reports_of_connections_arrive_whole() {
    let (recorder, twins) = connected();
    let ends = ConnectionEnd::ALL.map(ConnectionReport::Ended);
    let reports = [ConnectionReport::Began, ConnectionReport::Stands];
    let changes: Vec<_> = (0_u8..)
        .zip(reports.into_iter().chain(ends))
        .map(|(n, report)| ConnectionChange {
            device: DeviceKey(n.into()),
            epoch: LeaseEpoch(u64::MAX - u64::from(n)),
            gateway: format!("gateway-{n}").parse().unwrap(),
            report,
            at: at(n.into()),
            active_at: at(i64::from(n) - 1),
        })
        .collect();
    assert_eq!(twins.record_connections(changes.clone()).await, Ok(()));
    assert_eq!(recorder.take(), Asked::RecordConnections(changes));
}

#[tokio::test]
async fn an_identity_is_written_with_every_way_to_prove_itself_and_every_condition() {
    let (recorder, twins) = connected();
    let ways = [
        (Authentication::Sas(keys()), IfMatch::Absent),
        (self_signed(), IfMatch::Any),
        (
            Authentication::CertificateAuthority,
            IfMatch::Etag("MQ==".to_owned()),
        ),
    ];
    for (authentication, if_match) in ways {
        let spec = DeviceSpec::of(authentication.clone());
        let put = twins
            .put_device(
                hub(),
                module_name(),
                spec.clone(),
                if_match.clone(),
                somebody(),
            )
            .await;
        assert_eq!(put, Ok(device(authentication)));
        assert_eq!(
            recorder.take(),
            Asked::Put(hub(), module_name(), spec, if_match, somebody())
        );
    }
}

#[tokio::test]
async fn a_deletion_without_a_condition_is_refused_by_the_service_alone() {
    let (recorder, twins) = connected();
    let refused = twins
        .delete_device(hub(), module_name(), IfMatch::Absent, somebody())
        .await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::PreconditionFailed);
    assert_eq!(
        recorder.take(),
        Asked::Delete(hub(), module_name(), IfMatch::Absent, somebody())
    );
    let etag = IfMatch::Etag("MQ==".to_owned());
    let deleted = twins
        .delete_device(hub(), module_name(), etag, somebody())
        .await;
    assert_eq!(deleted, Ok(()));
}

#[tokio::test]
async fn identities_are_found_listed_and_counted() {
    let (recorder, twins) = connected();
    let found = twins.find_device(hub(), module_name()).await.unwrap();
    assert_eq!(found, Some(device(Authentication::CertificateAuthority)));
    assert_eq!(recorder.take(), Asked::Find(hub(), module_name()));
    assert_eq!(twins.find_device(hub(), unknown()).await, Ok(None));
    recorder.take();

    let listed = twins.list_devices(hub(), 1000).await.unwrap();
    assert_eq!(listed, [sas(), device(self_signed())]);
    assert_eq!(recorder.take(), Asked::List(hub(), 1000));
    for limit in [0, 1001] {
        let refused = twins.list_devices(hub(), limit).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
    }

    let counts = twins.count_devices(hub()).await.unwrap();
    assert_eq!((counts.total, counts.enabled), (10_000_000, 9_999_999));
    assert_eq!(recorder.take(), Asked::CountDevices(hub()));
}

#[tokio::test]
async fn a_twin_comes_back_with_the_order_and_spelling_of_its_members() {
    let (recorder, twins) = connected();
    let got = twins.get_twin(hub(), module_name()).await.unwrap();
    assert_eq!(got, view());
    let text = |twin: &Twin| serde_json::to_string(&twin.desired.values).unwrap();
    assert_eq!(
        text(&got.twin),
        r#"{"t":1.50,"b":4503599627370495,"a":-0.0}"#
    );
    assert_eq!(recorder.take(), Asked::GetTwin(hub(), module_name()));
    assert_eq!(twins.get_twin(hub(), unknown()).await, Err(not_found()));
    recorder.take();

    assert_eq!(twins.get_own_twin(DeviceKey(7)).await, Ok(twin()));
    assert_eq!(recorder.take(), Asked::GetOwn(DeviceKey(7)));
    assert_eq!(twins.get_own_twin(DeviceKey(8)).await, Err(not_found()));
}

#[tokio::test]
async fn every_change_of_a_twin_arrives_as_it_was_made() {
    let (recorder, twins) = connected();
    let changes = [
        TwinChange::Patch {
            tags: None,
            desired: Some(object(r#"{"a":null,"b":{}}"#)),
            if_match: IfMatch::Any,
        },
        TwinChange::Patch {
            tags: Some(object("{}")),
            desired: None,
            if_match: IfMatch::Absent,
        },
        TwinChange::Replace {
            tags: object(r#"{"x":[1]}"#),
            desired: object("{}"),
            if_match: IfMatch::Etag("AAAAAAAAAAE=".to_owned()),
        },
    ];
    for change in changes {
        let updated = twins
            .update_twin(hub(), module_name(), change.clone())
            .await;
        assert_eq!(updated, Ok(view()));
        assert_eq!(recorder.take(), Asked::Update(hub(), module_name(), change));
    }
    for expected_version in [None, Some(0), Some(4)] {
        let change = TwinChange::Report {
            patch: object(r#"{"t":21.50}"#),
            expected_version,
        };
        assert_eq!(twins.report(DeviceKey(7), change.clone()).await, Ok(12));
        assert_eq!(recorder.take(), Asked::Report(DeviceKey(7), change));
    }
}

#[tokio::test]
async fn the_two_kinds_of_writes_do_not_take_each_others_way() {
    let (recorder, twins) = connected();
    let report = TwinChange::Report {
        patch: object("{}"),
        expected_version: None,
    };
    let patch = TwinChange::Patch {
        tags: None,
        desired: None,
        if_match: IfMatch::Any,
    };
    let refused = twins.update_twin(hub(), module_name(), report).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::InvalidOperation);
    let refused = twins.report(DeviceKey(7), patch).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::InvalidOperation);
    assert_eq!(*recorder.asked.lock(), []);
}

#[tokio::test]
async fn versions_come_back_by_position_and_none_for_those_gone() {
    let (recorder, twins) = connected();
    let devices = vec![DeviceKey(7), DeviceKey(0), DeviceKey(i64::MAX)];
    let got = twins.find_twin_versions(devices.clone()).await.unwrap();
    assert_eq!(got, [Some(7), None, Some(i64::MAX.cast_unsigned())]);
    assert_eq!(recorder.take(), Asked::Versions(devices));

    let refused = twins.find_twin_versions(vec![DeviceKey(1); 65_537]).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::ArgumentInvalid);
    assert_eq!(*recorder.asked.lock(), []);
}

#[tokio::test]
async fn access_comes_back_whole_and_only_when_it_is_new() {
    let (recorder, twins) = connected();
    let got = twins.access(hub(), None).await.unwrap();
    assert_eq!(recorder.take(), Asked::Access(hub(), None));
    assert!(got == Some(snapshot()), "policies, keys, authorities");
    for (known, is_new) in [(0, true), (40, true), (41, false)] {
        let got = twins.access(hub(), Some(known)).await.unwrap();
        assert_eq!(recorder.take(), Asked::Access(hub(), Some(known)));
        assert_eq!(got.is_some(), is_new, "{known}");
    }
}

#[test]
fn the_fullest_access_fits_into_an_answer() {
    let tag = |n: usize| format!(r#"{{"tag":"t{n:02}","equals":"{}"}}"#, "x".repeat(215));
    let devices: Vec<String> = (0..64).map(tag).collect();
    let text = format!(r#"{{"devices":[{}]}}"#, devices.join(","));
    assert!(text.len() > MAX_SCOPE_BYTES * 9 / 10, "{}", text.len());
    let scope = PolicyScope::parse(&serde_json::from_str(&text).unwrap());
    let policy = Policy {
        name: "p".repeat(64),
        scope: Some(scope.unwrap()),
        ..limited()
    };
    let full = AccessSnapshot {
        version: 1,
        policies: vec![policy; downlink_domain::policy::MAX_POLICIES],
        authorities: vec![
            CertificateAuthority {
                subject: "s".repeat(4 * 1024),
                ..authority(&"a".repeat(64), Possession::Verified)
            };
            downlink_domain::authority::MAX_AUTHORITIES
        ],
    };
    let read = AccessSnapshot::from_wire(full.clone().to_wire()).unwrap();
    assert!(read == full);
    let bytes = prost::Message::encoded_len(&full.to_wire());
    assert!(bytes < crate::MAX_FRAME_BYTES / 2, "{bytes}");
}

#[tokio::test]
async fn policies_are_written_with_their_condition_and_their_writer() {
    let (recorder, twins) = connected();
    for if_match in [
        IfMatch::Absent,
        IfMatch::Any,
        IfMatch::Etag("MQ==".to_owned()),
    ] {
        let put = twins.put_policy(hub(), limited(), if_match.clone(), somebody());
        let written = Policy {
            etag: 9,
            ..limited()
        };
        assert!(put.await == Ok(written));
        let asked = Asked::PutPolicy(hub(), limited(), if_match.clone(), somebody());
        assert!(recorder.take() == asked);

        let name = "service".to_owned();
        let deleted = twins.delete_policy(hub(), name.clone(), if_match.clone(), somebody());
        let refused = deleted.await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidOperation);
        let asked = Asked::DeletePolicy(hub(), name, if_match, somebody());
        assert_eq!(recorder.take(), asked);
    }
}

#[tokio::test]
async fn authorities_are_written_with_their_condition_and_their_writer() {
    let (recorder, twins) = connected();
    for given in snapshot().authorities {
        let if_match = IfMatch::Etag("Mw==".to_owned());
        let put = twins.put_authority(hub(), given.clone(), if_match.clone(), somebody());
        let written = CertificateAuthority {
            etag: 9,
            ..given.clone()
        };
        assert_eq!(put.await, Ok(written));
        let asked = Asked::PutAuthority(hub(), given, if_match, somebody());
        assert_eq!(recorder.take(), asked);
    }
    let name = "plant".to_owned();
    let deleted = twins.delete_authority(hub(), name.clone(), IfMatch::Any, somebody());
    assert_eq!(deleted.await, Ok(()));
    let asked = Asked::DeleteAuthority(hub(), name, IfMatch::Any, somebody());
    assert_eq!(recorder.take(), asked);
}

#[tokio::test]
async fn what_is_out_of_bounds_does_not_reach_the_service() {
    let (recorder, twins) = connected();
    let refused = |result: Result<(), PeerError>| {
        assert_eq!(result.unwrap_err().code(), ErrorCode::ArgumentInvalid);
    };
    let short_key = Policy {
        keys: [vec![1; 15], vec![2; 32]],
        ..limited()
    };
    let long_name = Policy {
        name: "n".repeat(257),
        ..limited()
    };
    for policy in [short_key, long_name] {
        let put = twins.put_policy(hub(), policy, IfMatch::Any, somebody());
        refused(put.await.map(|_| ()));
    }
    let large = CertificateAuthority {
        certificate: Bytes::from(vec![7; 16 * 1024 + 1]),
        ..authority("a", Possession::Verified)
    };
    let put = twins.put_authority(hub(), large, IfMatch::Any, somebody());
    refused(put.await.map(|_| ()));
    let name = "n".repeat(257);
    refused(
        twins
            .delete_policy(hub(), name.clone(), IfMatch::Any, somebody())
            .await,
    );
    refused(
        twins
            .delete_authority(hub(), name, IfMatch::Any, somebody())
            .await,
    );
    assert_eq!(*recorder.asked.lock(), []);
}

#[tokio::test]
async fn a_long_description_of_the_writer_is_cut_and_does_not_stop_the_write() {
    let (recorder, twins) = connected();
    let by = Actor {
        credential: "\u{e9}".repeat(400),
        address: "a".repeat(100),
        door: "d".repeat(100),
    };
    let cut = Actor {
        credential: "\u{e9}".repeat(256),
        address: "a".repeat(64),
        door: "d".repeat(16),
    };
    let name = "plant".to_owned();
    let deleted = twins.delete_authority(hub(), name.clone(), IfMatch::Any, by);
    assert_eq!(deleted.await, Ok(()));
    let asked = Asked::DeleteAuthority(hub(), name, IfMatch::Any, cut);
    assert_eq!(recorder.take(), asked);
}

#[tokio::test]
async fn missed_changes_travel_in_their_order_and_notes_of_them_back() {
    let (recorder, twins) = connected();
    for since in [Since::Version(u64::MAX), Since::LastTold, Since::Now] {
        let answer = twins.missed_changes(DeviceKey(7), since).await;
        assert_eq!(answer, Ok(missed()));
        assert_eq!(recorder.take(), Asked::Missed(DeviceKey(7), since));
    }
    let told = vec![(DeviceKey(7), 9), (DeviceKey(8), u64::MAX)];
    assert_eq!(twins.note_told(told.clone()).await, Ok(()));
    assert_eq!(recorder.take(), Asked::Told(told));
}
