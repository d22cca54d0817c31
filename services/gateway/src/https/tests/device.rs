//! Who is served as a device, and what the others are told (http-device.md §1, §6).

use std::time::Duration;

use downlink_auth::{Resource, sign};
use downlink_domain::device::{Authentication, Device, DeviceSpec, DeviceStatus};
use downlink_domain::id::IdentityName;
use downlink_ports::{Clock, DeviceRegistry};
use downlink_testkit::a_device_spec;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::connections::{open, read_answer};
use super::*;

pub(super) const EVENTS: &str = "/devices/dev-1/messages/events";
pub(super) const INBOX: &str = "/devices/dev-1/messages/deviceBound";

/// A client on HTTP/1.1 whose every byte is the test's.
pub(super) struct Raw {
    peer: DuplexStream,
    _served: JoinHandle<()>,
    token: String,
}

/// What came back, as it came.
#[derive(Debug)]
pub(super) struct RawReply {
    pub(super) status: u16,
    /// The lines after the first, up to the empty one.
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

impl Raw {
    /// Connects; requests carry `token` unless it is empty.
    pub(super) fn open(hub: &TestHub, token: &str) -> Self {
        let (peer, served) = open(hub);
        Self {
            peer,
            _served: served,
            token: token.to_owned(),
        }
    }

    /// Asks as the device, with its own key.
    pub(super) fn of(hub: &TestHub, device: &Device) -> Self {
        Self::open(hub, &hub.device_token(device))
    }

    /// Asks for `path` under some version, with these lines among the headers.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> RawReply {
        let mark = if path.contains('?') { '&' } else { '?' };
        let uri = format!("{path}{mark}api-version=2020-09-30");
        self.ask_exactly(method, &uri, headers, body).await
    }

    /// Asks for `uri` as it stands.
    pub(super) async fn ask_exactly(
        &mut self,
        method: &str,
        uri: &str,
        headers: &[&str],
        body: &str,
    ) -> RawReply {
        let mut request = format!("{method} {uri} HTTP/1.1\r\nHost: hub.test\r\n");
        if !self.token.is_empty() {
            request.extend(["Authorization: ", &self.token, "\r\n"]);
        }
        for header in headers {
            request.extend([header, "\r\n"]);
        }
        let length = body.len().to_string();
        request.extend(["Content-Length: ", &length, "\r\n\r\n", body]);
        self.peer.write_all(request.as_bytes()).await.unwrap();
        let text = read_answer(&mut self.peer).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        RawReply {
            status: status.parse().unwrap(),
            headers: lines.map(str::to_owned).collect(),
            body: body.to_owned(),
        }
    }
}

impl RawReply {
    /// The value of a header whose name has exactly this case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Status and code of a failure.
    pub(super) fn code(&self) -> (u16, &str) {
        (
            self.status,
            self.header("iothub-errorcode").unwrap_or_default(),
        )
    }
}

#[tokio::test]
async fn whoever_does_not_prove_to_be_the_device_is_unauthorized() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let other = hub.device("dev-2").await;
    let own = hub.device_token(&device);
    let expired = {
        let Authentication::Sas(keys) = &device.authentication else {
            panic!("no keys")
        };
        let resource = Resource::Device { device_id: "dev-1" };
        let long_ago = hub.shared.peers.clock.now().as_seconds() - 3600;
        sign(&resource.uri("hub.test"), &keys.primary, long_ago, None)
    };
    for token in [
        "",
        "nonsense",
        &own.replace("sig=", "sig=A"),
        &hub.device_token(&other),
        &hub.policy_token("service"),
        &hub.policy_token("registryRead"),
        &expired,
    ] {
        let mut client = Raw::open(&hub, token);
        for (method, path) in [
            ("POST", EVENTS),
            ("GET", INBOX),
            ("DELETE", "/devices/dev-1/messages/deviceBound/x"),
            ("POST", "/devices/dev-1/messages/deviceBound/x/abandon"),
            ("POST", "/devices/dev-1/files"),
        ] {
            let refused = client.ask(method, path, &[], "").await;
            assert_eq!(
                refused.code(),
                (401, "IotHubUnauthorized"),
                "{token} {path}"
            );
            assert!(
                refused
                    .body
                    .contains("\"Message\":\"ErrorCode:IotHubUnauthorized;")
            );
        }
    }
    let mut client = Raw::of(&hub, &device);
    let unknown = client
        .ask("GET", "/devices/nobody/messages/deviceBound", &[], "")
        .await;
    assert_eq!(unknown.code(), (401, "IotHubUnauthorized"));
    assert!(hub.telemetry().await.is_empty());
    let refused = r#"downlink_gateway_connects_refused_total{cause="unauthorized"}"#;
    assert_eq!(hub.metric(refused), 36);
}

#[tokio::test]
async fn a_policy_that_connects_devices_speaks_for_any_of_them() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut client = Raw::open(&hub, &hub.policy_token("device"));
    assert_eq!(client.ask("POST", EVENTS, &[], "x").await.status, 204);
    let event = hub.telemetry().await.remove(0);
    let method = "iothub-connection-auth-method";
    let method = event.properties.iter().find(|(name, _)| name == method);
    assert_eq!(
        method.unwrap().1,
        r#"{"scope":"hub","type":"sas","issuer":"iothub"}"#
    );
    let unknown = client
        .ask("POST", "/devices/nobody/messages/events", &[], "")
        .await;
    assert_eq!(unknown.code(), (401, "IotHubUnauthorized"));
}

#[tokio::test]
async fn a_disabled_device_is_told_so_if_it_holds_its_key() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let disable = |spec: &mut DeviceSpec| spec.status = DeviceStatus::Disabled;
    hub.change_unannounced(&device, disable).await;
    let refused = Raw::of(&hub, &device).ask("GET", INBOX, &[], "").await;
    assert_eq!(refused.code(), (403, "DeviceDisabled"));
    let refused = Raw::open(&hub, "nonsense").ask("GET", INBOX, &[], "").await;
    assert_eq!(refused.code(), (401, "IotHubUnauthorized"));
}

#[tokio::test]
async fn every_version_of_the_sdks_is_served_and_a_missing_one_is_not() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    for version in [
        "2021-04-12",
        "2016-11-14",
        "2016-02-03",
        "2019-10-01",
        "2030-01-01-preview",
    ] {
        let uri = format!("{INBOX}?api-version={version}");
        assert_eq!(
            client.ask_exactly("GET", &uri, &[], "").await.status,
            204,
            "{version}"
        );
    }
    for uri in [
        INBOX.to_owned(),
        format!("{INBOX}?api-version="),
        format!("{INBOX}?api-version=new"),
    ] {
        let refused = client.ask_exactly("GET", &uri, &[], "").await;
        assert_eq!(refused.code(), (400, "InvalidProtocolVersion"), "{uri}");
    }
}

#[tokio::test]
async fn ids_of_every_allowed_character_and_paths_of_any_case_are_found() {
    let hub = TestHub::new().await;
    let id = "aZ09-:.+%_#*?!(),=@;$'";
    let device = hub.device(id).await;
    let mut client = Raw::of(&hub, &device);
    let all: Vec<String> = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let all = all.concat();
    let usual = "aZ09-%3A.%2B%25_%23*%3F!()%2C%3D%40%3B%24'";
    for encoded in [all.as_str(), usual] {
        for path in [
            "messages/deviceBound",
            "Messages/devicebound/",
            "MESSAGES/DEVICEBOUND",
        ] {
            let path = format!("/Devices/{encoded}/{path}");
            assert_eq!(
                client.ask("GET", &path, &[], "").await.status,
                204,
                "{path}"
            );
        }
        let to = format!("iothub-to: /devices/{encoded}/messages/events");
        let path = format!("/devices/{encoded}/messages/events");
        assert_eq!(client.ask("POST", &path, &[&to], "x").await.status, 204);
    }
    for event in hub.telemetry().await {
        assert_eq!(event.device, Some(id.parse().unwrap()));
        assert!(!event.properties.iter().any(|(name, _)| name == "to"));
    }
    let wrong_case = id
        .to_ascii_lowercase()
        .replace('%', "%25")
        .replace(['#', '?'], "");
    let path = format!("/devices/{wrong_case}/messages/deviceBound");
    assert_eq!(client.ask("GET", &path, &[], "").await.status, 401);
}

#[tokio::test]
async fn a_module_sends_and_asks_under_its_own_name() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let name = IdentityName {
        device: "dev-1".parse().unwrap(),
        module: Some("mod-1".parse().unwrap()),
    };
    let hub_name = hub.shared.options.hub.clone();
    let by = downlink_domain::access::Actor::operator();
    let now = hub.clock.now();
    let module = hub
        .store
        .create(hub_name, name, a_device_spec(), by, now)
        .await;
    let module = module.unwrap().unwrap();
    let Authentication::Sas(keys) = &module.authentication else {
        panic!("no keys")
    };
    let resource = Resource::Module {
        device_id: "dev-1",
        module_id: "mod-1",
    };
    let later = now.as_seconds() + 60;
    let token = sign(&resource.uri("hub.test"), &keys.primary, later, None);
    let mut client = Raw::open(&hub, &token);
    let own = "/devices/dev-1/modules/mod-1/messages";
    let headers = [format!("iothub-to: {own}/events")];
    let sent = client
        .ask("POST", &format!("{own}/events"), &[&headers[0]], "21.5")
        .await;
    assert_eq!(sent.status, 204);
    let event = hub.telemetry().await.remove(0);
    assert_eq!(event.module.unwrap().as_str(), "mod-1");
    let inbox = format!("{own}/deviceBound");
    assert_eq!(client.ask("GET", &inbox, &[], "").await.status, 204);
    assert_eq!(client.ask("GET", INBOX, &[], "").await.status, 401);
}

#[tokio::test]
async fn what_a_path_does_not_take_or_does_not_lead_to_is_said() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    let wrong = client.ask("GET", EVENTS, &[], "").await;
    assert_eq!(wrong.code(), (405, "GenericMethodNotAllowed"));
    assert_eq!(wrong.header("allow"), Some("POST"));
    let nowhere = client
        .ask("POST", "/devices/dev-1/messages/nowhere", &[], "")
        .await;
    assert_eq!(nowhere.code(), (404, "GenericNotFound"));
    for path in ["files", "files/notifications", "files/notifications/id"] {
        let path = format!("/devices/dev-1/{path}");
        let refused = client.ask("POST", &path, &[], "{}").await;
        assert_eq!(refused.code(), (400, "DefaultStorageEndpointNotConfigured"));
    }
}

#[tokio::test]
async fn while_services_are_away_or_busy_devices_are_told_when_to_come_again() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    for (method, path) in [("POST", EVENTS), ("GET", INBOX)] {
        hub.backend.set_down(true);
        let away = client.ask(method, path, &[], "x").await;
        assert_eq!(away.code(), (503, "ServiceUnavailable"));
        assert_eq!(away.header("retry-after"), Some("5"));
        hub.backend.set_down(false);
        hub.backend.set_busy(true);
        let busy = client.ask(method, path, &[], "x").await;
        assert_eq!(busy.code(), (429, "ThrottlingException"));
        assert_eq!(busy.header("retry-after"), Some("5"));
        hub.backend.set_busy(false);
        assert_eq!(client.ask(method, path, &[], "x").await.status, 204);
    }
}

#[tokio::test]
async fn a_device_over_https_is_connected_to_nothing() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    assert_eq!(client.ask("GET", INBOX, &[], "").await.status, 204);
    assert_eq!(hub.shared.peers.presence.connected_count().await, Ok(0));
    assert_eq!(
        hub.shared.peers.presence.lookup(&[device.key]).await,
        Ok(vec![None])
    );
    let call = ask(&hub, Method::POST, "/twins/dev-1/methods").text(r#"{"methodName":"m"}"#);
    assert_eq!(call.code().await, refused(404, "DeviceNotOnline"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let hub = TestHub::with(|options| options.https.body_deadline = Duration::from_secs(5)).await;
    let device = hub.device("dev-1").await;
    let (mut peer, _served) = open(&hub);
    let token = hub.device_token(&device);
    let head = format!(
        "POST {EVENTS}?api-version=2021-04-12 HTTP/1.1\r\nhost: hub.test\r\nauthorization: {token}\r\n\
         content-length: 100\r\n\r\nsome of it"
    );
    peer.write_all(head.as_bytes()).await.unwrap();
    let answer = read_answer(&mut peer).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(hub.telemetry().await.is_empty());
}
