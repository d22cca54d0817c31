use super::*;

#[track_caller]
fn parse(username: &str) -> Username {
    Username::parse(username).unwrap()
}

#[track_caller]
fn device(id: &str) -> ClientIdentity {
    ClientIdentity::device(id).unwrap()
}

#[track_caller]
fn module(device_id: &str, module_id: &str) -> ClientIdentity {
    ClientIdentity::module(device_id, module_id).unwrap()
}

#[test]
fn node_form_leaves_the_model_id_raw() {
    let username = parse(
        "hub.test/dev1/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1\
         &DeviceClientType=azure-iot-device%2F1.18.0%20(node%20v18)",
    );
    assert_eq!(username.host, "hub.test");
    assert_eq!(username.identity, device("dev1"));
    assert_eq!(username.api_version.as_deref(), Some("2021-04-12"));
    assert_eq!(
        username.model_id.as_deref(),
        Some("dtmi:com:example:Thermostat;1")
    );
    assert_eq!(
        username.device_client_type.as_deref(),
        Some("azure-iot-device/1.18.0 (node v18)")
    );
}

#[test]
fn python_form_parses_with_and_without_a_model() {
    let plain = parse(
        "hub.test/dev1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.9.0\
         %283.9%3BLinux%29",
    );
    assert_eq!(
        plain.device_client_type.as_deref(),
        Some("azure-iot-device-iothub-py/2.9.0(3.9;Linux)")
    );
    let model = parse(
        "hub.test/dev1/?api-version=2020-09-30&DeviceClientType=py&model-id=dtmi%3Acom%3Ax%3B1",
    );
    assert_eq!(model.model_id.as_deref(), Some("dtmi:com:x;1"));
}

#[test]
fn java_form_of_a_module_parses() {
    let username = parse(
        "hub.test/dev1/mod1/?api-version=2020-09-30&model-id=dtmi%3Ax%3B1\
         &DeviceClientType=com.microsoft.azure.sdk.iot%20v2",
    );
    assert_eq!(username.identity, module("dev1", "mod1"));
    assert_eq!(
        username.device_client_type.as_deref(),
        Some("com.microsoft.azure.sdk.iot v2")
    );
}

#[test]
fn csharp_form_carries_an_auth_chain() {
    let username = parse(
        "hub.test/dev1/?api-version=2020-09-30&DeviceClientType=.NET%2F1.42%20(x)\
         &auth-chain=leaf%3Bedge&model-id=dtmi%3Ax%3B1",
    );
    assert_eq!(username.auth_chain.as_deref(), Some("leaf;edge"));
    assert_eq!(
        username.device_client_type.as_deref(),
        Some(".NET/1.42 (x)")
    );
}

#[test]
fn c_form_with_lower_case_hex_parses() {
    let username = parse(
        "hub.test/dev1/?api-version=2020-09-30\
         &DeviceClientType=iothubclient%2f1.9.0%20(native%3b%20Linux)",
    );
    assert_eq!(
        username.device_client_type.as_deref(),
        Some("iothubclient/1.9.0 (native; Linux)")
    );
}

#[test]
fn old_c_form_without_a_question_mark_parses() {
    let username = parse("hub.test/dev1/api-version=2016-11-14&DeviceClientType=x");
    assert_eq!(username.identity, device("dev1"));
    assert_eq!(username.api_version.as_deref(), Some("2016-11-14"));
}

#[test]
fn forms_without_a_query_parse() {
    assert_eq!(parse("hub.test/dev1").identity, device("dev1"));
    assert_eq!(parse("hub.test/dev1/").identity, device("dev1"));
    assert_eq!(parse("hub.test/dev1/mod1").identity, module("dev1", "mod1"));
    assert_eq!(
        parse("hub.test/dev1/mod1/").identity,
        module("dev1", "mod1")
    );
    assert_eq!(parse("hub.test/dev1/?").identity, device("dev1"));
}

#[test]
fn ids_with_every_allowed_character_stay_raw() {
    let id = "aZ09-:.+%_#*?!(),=@;$'%41";
    let username = parse(&format!("hub.test/{id}/?api-version=2021-04-12"));
    assert_eq!(username.identity, device(id));
    assert!(username.identity.is_named_by(id));
    let pair = parse(&format!("hub.test/{id}/{id}/?api-version=2021-04-12"));
    assert_eq!(pair.identity, module(id, id));
    assert!(pair.identity.is_named_by(&format!("{id}/{id}")));
}

#[test]
fn an_id_that_begins_like_a_query_is_an_id_when_a_query_follows() {
    assert_eq!(parse("hub.test/?x/?api-version=1").identity, device("?x"));
    assert_eq!(
        parse("hub.test/api-version=/api-version=1").identity,
        device("api-version=")
    );
}

#[test]
fn the_first_of_a_repeated_key_wins_and_unknown_keys_are_ignored() {
    let username = parse("h/d/?api-version=1&api-version=2&what=3&bare&model-id=");
    assert_eq!(username.api_version.as_deref(), Some("1"));
    assert_eq!(username.model_id.as_deref(), Some(""));
    assert_eq!(username.device_client_type, None);
}

#[test]
fn plus_is_a_plus_and_undecodable_values_stay() {
    let username = parse("h/d/?DeviceClientType=a+b%zz&model-id=%ff");
    assert_eq!(username.device_client_type.as_deref(), Some("a+b%zz"));
    assert_eq!(username.model_id.as_deref(), Some("\u{FFFD}"));
}

#[test]
fn host_is_compared_without_case() {
    let username = parse("Hub.Test/dev1");
    assert!(username.names_host("hub.test"));
    assert!(!username.names_host("other.test"));
}

#[test]
fn malformed_names_are_refused() {
    for name in [
        "",
        "hub",
        "hub/",
        "/dev",
        "hub//",
        "hub//?api-version=1",
        "hub/?api-version=1",
        "hub/d//?api-version=1",
        "hub/d/m/x/?api-version=1",
        "hub/d/m/x",
        "//",
        "hub/d//",
    ] {
        assert_eq!(Username::parse(name), Err(UsernameError), "{name}");
    }
}

#[test]
fn a_client_id_must_equal_the_identity_byte_for_byte() {
    let identity = module("dev1", "mod1");
    assert!(identity.is_named_by("dev1/mod1"));
    for other in [
        "dev1",
        "dev1/",
        "dev1/Mod1",
        "dev1/mod1/",
        "dev1mod1",
        "",
        "dev/1mod1",
    ] {
        assert!(!identity.is_named_by(other), "{other}");
    }
    assert!(!device("dev1").is_named_by("Dev1"));
    assert!(!device("dev1").is_named_by("dev1/mod1"));
}
