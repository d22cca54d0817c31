use crate::layers::{Configuration, Layers, LoadError, to_toml};
use crate::process::Process;
use crate::sections::{Config, DeliveryCounting, DisabledConnack, LogFormat, ReplacedKeys};
use crate::violation::Checker;

/// Loads with variables and returns paths and messages of what is wrong.
fn wrong(settings: &[(&str, &str)]) -> Vec<String> {
    let mut layers = Layers::new();
    for (path, value) in settings {
        layers = layers.flag("--set", path, Some(value));
    }
    match layers.load::<Config>() {
        Ok(_) => Vec::new(),
        Err(LoadError::Invalid(violations)) => violations
            .list
            .into_iter()
            .map(|one| format!("{}: {}", one.path, one.message))
            .collect(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn defaults_break_no_rule() {
    let mut checker = Checker::default();
    Config::default().check(&mut checker);
    assert_eq!(checker.into_found(), []);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = Config::default();
    let printed = to_toml(&config);
    for line in [
        "mqtts_port = 8883",
        "amqps_port = 5671",
        "https_port = 443",
        "default_ttl = \"1h\"",
        "max_ttl = \"2d\"",
        "max_delivery_count = 10",
        "delivery_count = \"deliveries\"",
        "max_depth = 50",
        "max_message_bytes = \"64KiB\"",
        "flush_interval = \"15s\"",
        "flush_count = 64",
        "max_payload_bytes = \"128KiB\"",
        "max_tags_bytes = \"8KiB\"",
        "max_keep_alive = \"29m27s\"",
        "disabled_device_connack = 5",
        "idle_timeout = \"4m\"",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line} not in\n{printed}"
        );
    }
}

#[test]
fn printed_configuration_loads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("downlink.toml");
    let config: Config = Layers::new()
        .flag("--host", "hub.extra_host_names", Some("a.test, b.test"))
        .flag("--listen", "listen.addresses", Some("127.0.0.1,::1"))
        .flag("--set", "tls.certificate_file", Some("server.pem"))
        .flag("--set", "tls.key_file", Some("server.key"))
        .flag("--set", "mqtt.disabled_device_connack", Some(3))
        .flag("--set", "queue.delivery_count", Some("abandons"))
        .flag("--set", "twin.desired_replace_nulls", Some("nulls"))
        .flag("--set", "log.format", Some("json"))
        .load()
        .unwrap();
    assert_eq!(
        config.hub.host_names().collect::<Vec<_>>(),
        ["localhost", "a.test", "b.test"]
    );
    assert_eq!(config.listen.addresses.as_slice().len(), 2);
    assert_eq!(
        config.mqtt.disabled_device_connack,
        DisabledConnack::ServerUnavailable
    );
    assert_eq!(config.queue.delivery_count, DeliveryCounting::Abandons);
    assert_eq!(config.twin.desired_replace_nulls, ReplacedKeys::Nulls);
    assert_eq!(config.log.format, LogFormat::Json);
    std::fs::write(&path, to_toml(&config)).unwrap();
    assert_eq!(
        Layers::new().file(Some(path)).load::<Config>().unwrap(),
        config
    );
}

#[test]
fn every_bound_of_the_contract_is_held() {
    for (path, inside, outside) in [
        ("queue.default_ttl", ["1m", "2d"], ["59s", "49h"]),
        ("queue.max_delivery_count", ["1", "100"], ["0", "101"]),
        ("queue.in_flight_window", ["1", "1000"], ["0", "1001"]),
        ("queue.max_depth", ["1", "100000"], ["0", "1000001"]),
        ("queue.feedback.ttl", ["1m", "2d"], ["59s", "49h"]),
        (
            "queue.feedback.lock_duration",
            ["5s", "300s"],
            ["4s", "301s"],
        ),
        (
            "queue.feedback.max_delivery_count",
            ["1", "100"],
            ["0", "101"],
        ),
        ("methods.response_slack", ["0", "2s"], ["-1s", "3s"]),
        ("mqtt.disabled_device_connack", ["3", "5"], ["4", "0"]),
        ("amqp.idle_timeout", ["5s", "240s"], ["4s", "241s"]),
        ("amqp.max_frame_bytes", ["512B", "1MiB"], ["511", "2MiB"]),
        ("listen.https_port", ["0", "65535"], ["65536", "-1"]),
    ] {
        for value in inside {
            assert_eq!(
                wrong(&[(path, value)]),
                Vec::<String>::new(),
                "{path} = {value}"
            );
        }
        for value in outside {
            let found = wrong(&[(path, value)]);
            assert_eq!(found.len(), 1, "{path} = {value}: {found:?}");
            assert!(found[0].starts_with(&format!("{path}: ")), "{found:?}");
        }
    }
}

#[test]
fn rules_across_fields_are_held() {
    for (settings, violation) in [
        (
            vec![("listen.amqps_port", "8883")],
            "listen.amqps_port: 8883 is the port of mqtts_port already",
        ),
        (
            vec![("tls.key_file", "server.key")],
            "tls.certificate_file: is missing: certificate_file and key_file go together",
        ),
        (
            vec![("queue.default_ttl", "2h"), ("queue.max_ttl", "1h")],
            "queue.default_ttl: 2h is not within 1m to 1h",
        ),
        (
            vec![
                ("queue.feedback.flush_interval", "1m"),
                ("queue.feedback.ttl", "1m"),
            ],
            "queue.feedback.flush_interval: is not less than ttl: reports would expire before they are sent",
        ),
        (
            vec![("queue.max_message_bytes", "512KiB")],
            "amqp.max_message_bytes: is less than queue.max_message_bytes: the largest messages could not be sent",
        ),
        (
            vec![("amqp.max_held_bytes", "128KiB")],
            "amqp.max_held_bytes: is less than max_message_bytes: the largest messages could not be taken",
        ),
        (
            vec![("hub.host_name", "a b")],
            "hub.host_name: \"a b\" is not a host name or ip address",
        ),
        (
            vec![("log.level", " ")],
            "log.level: is empty: to log nothing write off",
        ),
    ] {
        assert_eq!(wrong(&settings), [violation]);
    }
    let free = [("listen.amqps_port", "0"), ("listen.mqtts_port", "0")];
    assert_eq!(
        wrong(&free),
        Vec::<String>::new(),
        "free ports are never the same"
    );
}

/// What is missing for a process, by path.
fn missing_for(process: Process, settings: &[(&str, &str)]) -> Vec<String> {
    let mut layers = Layers::new();
    for (path, value) in settings {
        layers = layers.flag("--set", path, Some(value));
    }
    match layers.load_for::<Config>(|config, checker| process.check(config, checker)) {
        Ok(_) => Vec::new(),
        Err(LoadError::Invalid(found)) => found.list.into_iter().map(|one| one.path).collect(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_process_of_its_own_names_everything_it_lacks_at_once() {
    assert_eq!(missing_for(Process::AllInOne, &[]), Vec::<String>::new());
    assert_eq!(
        missing_for(Process::Queue, &[]),
        ["storage.kind", "presence.kind"]
    );
    assert_eq!(missing_for(Process::MethodRouter, &[]), ["presence.kind"]);
    assert_eq!(
        missing_for(
            Process::Gateway,
            &[
                ("peers.listen_address", "0.0.0.0"),
                ("presence.kind", "redis")
            ]
        ),
        [
            "presence.redis.urls",
            "tls.certificate_file",
            "peers.queue",
            "peers.methods",
            "peers.twins",
            "peers.advertise"
        ]
    );
}

#[test]
fn shared_stores_that_are_chosen_must_be_named() {
    let chosen = [
        ("storage.kind", "postgres"),
        ("presence.kind", "redis"),
        ("events.kind", "kafka"),
    ];
    let found = wrong(&chosen);
    let paths: Vec<_> = found
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        paths,
        [
            "storage.postgres.url",
            "presence.redis.urls",
            "events.kafka.brokers"
        ]
    );
}

#[test]
fn a_password_in_a_url_that_is_printed_is_refused() {
    let found = wrong(&[("presence.redis.urls", "redis://:hush@cache:6379")]);
    assert!(
        found[0].contains("set username and password instead"),
        "{found:?}"
    );
    assert!(!found[0].contains("hush"), "{found:?}");
}

#[test]
fn further_hubs_are_tables_that_every_layer_can_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("downlink.toml");
    let text = "[hub.further.north]\nhost_name = \"n.test\"\ncertificate_file = \"n.pem\"\nkey_file = \"n.key\"\n";
    std::fs::write(&path, text).unwrap();
    let config: Config = Layers::new()
        .file(Some(path.clone()))
        .variables([
            ("DOWNLINK_HUB__FURTHER__SOUTH__HOST_NAME", "s.test"),
            (
                "DOWNLINK_HUB__FURTHER__NORTH__EXTRA_HOST_NAMES",
                "nn.test, nnn.test",
            ),
        ])
        .flag(
            "--set",
            "hub.further.south.extra_host_names",
            Some("ss.test"),
        )
        .load()
        .unwrap();
    assert_eq!(
        config.hub.all_host_names().collect::<Vec<_>>(),
        [
            "localhost",
            "n.test",
            "nn.test",
            "nnn.test",
            "s.test",
            "ss.test"
        ]
    );
    let north = &config.hub.further["north"];
    assert_eq!(north.key_file.as_deref(), Some("n.key".as_ref()));
    std::fs::write(&path, to_toml(&config)).unwrap();
    let again = Layers::new().file(Some(path)).load::<Config>();
    assert_eq!(again.unwrap(), config);
}

#[test]
fn beside_further_hubs_every_audience_of_a_token_names_its_hub() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("downlink.toml");
    let load = |audience: &str, further: &str| {
        let text = format!(
            "[[oidc.issuers]]\nissuer = \"https://issuer.test\"\naudiences = [\"{audience}\"]\n{further}"
        );
        std::fs::write(&path, text).unwrap();
        Layers::new().file(Some(path.clone())).load::<Config>()
    };
    let further = "[hub.further.north]\nhost_name = \"n.test\"\n";
    assert!(load("api", "").is_ok());
    assert!(load("https://{HostName}", further).is_ok());
    let refused = load("api", further).unwrap_err().to_string();
    assert!(refused.contains("oidc.issuers"), "{refused}");
}

#[test]
fn hubs_share_no_name_and_certificates_come_with_keys() {
    let found = wrong(&[
        ("hub.host_name", "hub.test"),
        ("hub.further.a.host_name", "HUB.test"),
        ("hub.further.b.host_name", "b.test"),
        ("hub.further.b.extra_host_names", "c.test,b.test"),
        ("hub.further.b.key_file", "b.key"),
        ("hub.further.c.host_name", "c.test"),
        ("hub.further.d.extra_host_names", "d.test"),
        ("hub.further.f.host_name", "f.test"),
        ("hub.further.f.extra_host_names", "127.0.0.2"),
        ("hub.further.E.host_name", "e.test"),
    ]);
    assert_eq!(
        found,
        [
            "hub.further.E: is not a name of 1 to 32 of a-z, 0-9, - and _",
            "hub.further.a.host_name: \"HUB.test\" is a name of another hub",
            "hub.further.b.certificate_file: is missing: certificate_file and key_file go together",
            "hub.further.c.host_name: \"c.test\" is a name of another hub",
            "hub.further.d.host_name: \"\" is not a host name or ip address",
            "hub.further.f.host_name: is or has an ip address: clients do not give it in their handshake, and reach \
             the first hub",
        ]
    );
}
