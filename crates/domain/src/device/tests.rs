use super::*;

fn keys(primary: u8, secondary: u8) -> Authentication {
    Authentication::Sas(SymmetricKeys {
        primary: vec![primary; 32],
        secondary: vec![secondary; 32],
    })
}

fn spec(authentication: Authentication) -> DeviceSpec {
    DeviceSpec::of(authentication)
}

fn device() -> Device {
    let name: crate::id::DeviceId = "dev-1".parse().unwrap();
    Device {
        key: DeviceKey(7),
        hub: "hub.example".parse().unwrap(),
        name: name.into(),
        generation: GenerationId(1),
        etag: 241_791_198,
        status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_at: Timestamp::UNSET,
        authentication: keys(1, 2),
        is_edge: false,
        connection_state_updated_at: Timestamp::UNSET,
        last_activity_at: Timestamp::UNSET,
        is_connected: false,
        model_id: String::new(),
        managed_by: None,
        device_scope: None,
        parent_scopes: Vec::new(),
    }
}

#[test]
fn the_etag_is_the_base64_of_the_decimal_counter() {
    assert_eq!(device().etag_text(), "MjQxNzkxMTk4");
}

#[test]
fn a_write_raises_the_etag_and_stamps_a_changed_status() {
    let now = Timestamp::from_millis(5);
    let same = device().rewritten(spec(keys(1, 2)), now);
    assert_eq!(
        (same.etag, same.status_updated_at),
        (241_791_199, Timestamp::UNSET)
    );
    let disabled = DeviceSpec {
        status: DeviceStatus::Disabled,
        ..spec(keys(1, 2))
    };
    let next = device().rewritten(disabled, now);
    assert_eq!(
        (next.status, next.status_updated_at),
        (DeviceStatus::Disabled, now)
    );
}

#[test]
fn connections_end_when_what_proved_them_is_gone() {
    let now = Timestamp::from_millis(5);
    let after = |spec: DeviceSpec| device().find_revocation(&device().rewritten(spec, now));
    assert_eq!(after(spec(keys(1, 2))), None);
    assert_eq!(after(spec(keys(2, 1))), None);
    assert_eq!(after(spec(keys(1, 3))), Some(DisconnectReason::KeysChanged));
    assert_eq!(
        after(spec(Authentication::CertificateAuthority)),
        Some(DisconnectReason::KeysChanged)
    );
    let disabled = DeviceSpec {
        status: DeviceStatus::Disabled,
        ..spec(keys(1, 3))
    };
    assert_eq!(after(disabled), Some(DisconnectReason::Disabled));
}

#[test]
fn fields_outside_their_rules_are_refused() {
    assert_eq!(spec(keys(1, 2)).check(), Ok(()));
    let sized = |bytes| {
        spec(Authentication::Sas(SymmetricKeys {
            primary: vec![0; bytes],
            secondary: vec![0; 32],
        }))
        .check()
    };
    assert_eq!((sized(16), sized(64)), (Ok(()), Ok(())));
    assert_eq!(sized(15), Err(DeviceSpecError::Key));
    assert_eq!(sized(65), Err(DeviceSpecError::Key));
    let printed = |text: &str| {
        spec(Authentication::SelfSigned {
            primary: Some(text.to_owned()),
            secondary: None,
        })
        .check()
    };
    assert_eq!(printed(&"aB".repeat(20)), Ok(()));
    assert_eq!(printed(&"0f".repeat(32)), Ok(()));
    assert_eq!(printed("ab:cd"), Err(DeviceSpecError::Thumbprint));
    let reason = |chars: usize| {
        DeviceSpec {
            status_reason: Some("é".repeat(chars)),
            ..spec(keys(1, 2))
        }
        .check()
    };
    assert_eq!(reason(128), Ok(()));
    assert_eq!(reason(129), Err(DeviceSpecError::StatusReason));
}

#[test]
fn an_absent_condition_names_no_etag() {
    assert!(!IfMatch::Absent.names("x"));
    assert!(IfMatch::Any.names("x"));
    assert!(IfMatch::Etag("x".into()).names("x"));
    assert!(!IfMatch::Etag("x".into()).names("y"));
}
