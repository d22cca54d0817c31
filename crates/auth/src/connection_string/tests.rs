use proptest::prelude::*;

use super::{
    ConnectionStringError, DeviceConnectionString, DeviceCredential, PolicyConnectionString,
};
use crate::key::{KeyError, SymmetricKey};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn device(text: &str) -> Result<DeviceConnectionString, ConnectionStringError> {
    text.parse()
}

fn policy(text: &str) -> Result<PolicyConnectionString, ConnectionStringError> {
    text.parse()
}

#[test]
fn every_form_of_the_contract_reads_and_prints_the_same() {
    let token = "SharedAccessSignature sr=h.example.net&sig=a%3D&se=1";
    for text in [
        format!("HostName=h.example.net;DeviceId=d@1=x;SharedAccessKey={KEY}"),
        format!("HostName=h.example.net;DeviceId=d;SharedAccessSignature={token}"),
        "HostName=h.example.net;DeviceId=d;x509=true".to_owned(),
        format!("HostName=h;DeviceId=d;SharedAccessKeyName=device;SharedAccessKey={KEY}"),
        format!("HostName=h.example.net;DeviceId=d;ModuleId=$edgeHub;SharedAccessKey={KEY}"),
        format!("HostName=h;DeviceId=d;SharedAccessKey={KEY};GatewayHostName=edge.local"),
    ] {
        assert_eq!(device(&text).unwrap().to_string(), text);
    }
    let text = format!("HostName=h.example.net;SharedAccessKeyName=service;SharedAccessKey={KEY}");
    assert_eq!(policy(&text).unwrap().to_string(), text);
}

#[test]
fn parts_are_read_in_any_order_and_case() {
    let text = format!(" sharedaccesskey={KEY};DEVICEID=Dev1;hostname=h.example.net; ");
    let parsed = device(&text).unwrap();
    assert_eq!(parsed.device_id, "Dev1");
    assert_eq!(
        parsed.credential,
        DeviceCredential::Key(KEY.parse().unwrap())
    );
}

#[test]
fn what_is_wrong_is_named() {
    use ConnectionStringError::{
        Credential, Duplicate, HostName, Key, Malformed, Missing, TooLong, Unknown,
    };
    for (text, error) in [
        ("", Malformed),
        ("HostName", Malformed),
        (
            "HostName=h;DeviceId=d;Colour=red",
            Unknown("Colour".to_owned()),
        ),
        (
            "HostName=h;HostName=h;DeviceId=d;x509=true",
            Duplicate("HostName"),
        ),
        ("DeviceId=d;x509=true", Missing("HostName")),
        ("HostName=h;x509=true", Missing("DeviceId")),
        ("HostName=h;DeviceId=;x509=true", Missing("DeviceId")),
        ("HostName=h/x;DeviceId=d;x509=true", HostName),
        ("HostName=h;DeviceId=d", Credential),
        ("HostName=h;DeviceId=d;x509=false", Credential),
        (
            "HostName=h;DeviceId=d;x509=true;SharedAccessSignature=s",
            Credential,
        ),
        (
            "HostName=h;DeviceId=d;SharedAccessKeyName=device",
            Credential,
        ),
        (
            "HostName=h;DeviceId=d;SharedAccessKey=*",
            Key(KeyError::NotBase64),
        ),
        (&"x".repeat(10_000), TooLong),
    ] {
        assert_eq!(device(text), Err(error), "{text}");
    }
    let mixed = format!("HostName=h;SharedAccessKeyName=p;SharedAccessKey={KEY};DeviceId=d");
    assert_eq!(policy(&mixed), Err(Unknown("DeviceId".to_owned())));
}

#[test]
fn debug_form_shows_no_secret() {
    for text in [
        format!("HostName=h;DeviceId=d;SharedAccessKey={KEY}"),
        format!("HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature {KEY}"),
        format!("HostName=h;DeviceId=d;SharedAccessKeyName=p;SharedAccessKey={KEY}"),
    ] {
        let shown = format!("{:?}", device(&text).unwrap());
        assert!(shown.contains("***") && !shown.contains(KEY), "{shown}");
    }
}

proptest! {
    #[test]
    fn ids_without_a_semicolon_survive(
        device_id in "[A-Za-z0-9:.+%_#*?!(),=@$'-]{1,128}",
        module_id in prop::option::of("[A-Za-z0-9:.+%_#*?!(),=@$'-]{1,128}"),
        random in any::<[u8; 32]>(),
    ) {
        let made = DeviceConnectionString {
            host_name: "hub.example.net".to_owned(),
            device_id,
            module_id,
            gateway_host_name: None,
            credential: DeviceCredential::Key(SymmetricKey::from_random(random)),
        };
        prop_assert_eq!(device(&made.to_string()), Ok(made));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*", parts in "[A-Za-z=;]{0,100}") {
        for text in [text, parts] {
            let (_, _) = (device(&text).is_ok(), policy(&text).is_ok());
        }
    }
}
