use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Configuration, Layers, LoadError, to_toml};
use crate::human::HumanDuration;
use crate::secret::Secret;
use crate::sections::Config;
use crate::violation::{Checker, Violation};

/// A configuration with a secret, as a service with a database has one.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    store: Store,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Store {
    user: String,
    password: Secret,
    timeout: HumanDuration,
}

impl Configuration for Sample {
    const SECRETS: &'static [&'static str] = &["store.password"];

    fn check(&self, checker: &mut Checker) {
        checker.section("store", |at| {
            at.require(!self.store.user.is_empty(), "user", "is empty");
            at.require(
                self.store.password.expose() != "guest",
                "password",
                "is too simple",
            );
        });
    }
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn violations<C: Configuration + std::fmt::Debug>(layers: Layers) -> Vec<Violation> {
    match layers.load::<C>() {
        Err(LoadError::Invalid(violations)) => violations.list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_layer_stands_above_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[queue]\nmax_depth = 1\nmax_delivery_count = 2\nin_flight_window = 3\n";
    let config: Config = Layers::new()
        .file(Some(file(folder.path(), "downlink.toml", text)))
        .variables([
            ("DOWNLINK_QUEUE__MAX_DELIVERY_COUNT", "20"),
            ("DOWNLINK_QUEUE__IN_FLIGHT_WINDOW", "30"),
        ])
        .flag("--window", "queue.in_flight_window", Some(300))
        .flag("--depth", "queue.max_depth", None::<u32>)
        .load()
        .unwrap();
    assert_eq!(config.queue.max_depth.get(), 1, "file");
    assert_eq!(
        config.queue.max_delivery_count.get(),
        20,
        "environment over file"
    );
    assert_eq!(
        config.queue.in_flight_window.get(),
        300,
        "flag over environment"
    );
    assert_eq!(config.queue.lock_duration.to_string(), "1m", "default");
}

#[test]
fn variables_reach_nested_sections_and_others_are_left_alone() {
    let config: Config = Layers::new()
        .variables([
            ("DOWNLINK_QUEUE__FEEDBACK__FLUSH_INTERVAL", "2s"),
            ("DOWNLINK_HUB__HOST_NAME", "12345"),
            ("DOWNLINK_PORT", "tcp://10.0.0.1:443"),
            ("DOWNLINK_CONFIG", "/etc/downlink.toml"),
            ("OTHER__SECTION", "x"),
        ])
        .load()
        .unwrap();
    assert_eq!(config.queue.feedback.flush_interval.to_string(), "2s");
    assert_eq!(
        config.hub.host_name, "12345",
        "digits are text where the setting is text"
    );
}

#[test]
fn every_violation_is_reported_at_once_with_path_and_source() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[queue]\nmax_depth = \"many\"\ncolour = 1\ndefault_ttl = \"5 parsecs\"\n[nowhere]\nx = 1\n";
    let path = file(folder.path(), "downlink.toml", text);
    let from_file = format!("file {}", path.display());
    let found = violations::<Config>(
        Layers::new()
            .file(Some(path))
            .variables([("DOWNLINK_MQTT__MAX_SUBSCRIPTIONS", "1000")])
            .flag("--https-port", "listen.https_port", Some("https")),
    );
    let mut summary: Vec<(&str, &str)> = found
        .iter()
        .map(|one| (one.path.as_str(), one.source.as_str()))
        .collect();
    summary.sort_unstable();
    assert_eq!(
        summary,
        [
            ("listen.https_port", "flag --https-port"),
            (
                "mqtt.max_subscriptions",
                "environment variable DOWNLINK_MQTT__MAX_SUBSCRIPTIONS"
            ),
            ("nowhere", from_file.as_str()),
            ("queue.colour", from_file.as_str()),
            ("queue.default_ttl", from_file.as_str()),
            ("queue.max_depth", from_file.as_str()),
        ]
    );
    let message = |path: &str| &found.iter().find(|one| one.path == path).unwrap().message;
    assert!(message("queue.colour").starts_with("there is no such setting; there are: "));
    assert!(message("queue.default_ttl").starts_with("not a duration: "));
    assert_eq!(
        message("mqtt.max_subscriptions"),
        "1000 is not within 1 to 100"
    );
}

#[test]
fn section_that_is_no_table_and_list_with_a_bad_item_are_violations_too() {
    let folder = tempfile::tempdir().unwrap();
    let text = "queue = 3\n[listen]\naddresses = [\"127.0.0.1\", \"here\"]\n";
    let path = file(folder.path(), "downlink.toml", text);
    let mut paths: Vec<String> = violations::<Config>(Layers::new().file(Some(path)))
        .into_iter()
        .map(|one| one.path)
        .collect();
    paths.sort_unstable();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(
        paths[0].starts_with("listen.addresses") && paths[1] == "queue",
        "{paths:?}"
    );
}

#[test]
fn file_that_cannot_be_read_or_parsed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let error = Layers::new()
        .file(Some(missing))
        .load::<Config>()
        .unwrap_err();
    assert!(error.to_string().ends_with("missing.toml"), "{error}");
    let broken = file(folder.path(), "broken.toml", "[queue\n");
    let error = Layers::new()
        .file(Some(broken))
        .load::<Config>()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("broken.toml is not toml") && error.contains("line 1"),
        "{error}"
    );
}

#[test]
fn secret_comes_from_its_setting_or_its_file_and_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "password", "0123 \n");
    for layers in [
        Layers::new().variables([("DOWNLINK_STORE__PASSWORD", "0123 ")]),
        Layers::new().variables([("DOWNLINK_STORE__PASSWORD_FILE", path.to_str().unwrap())]),
    ] {
        let sample: Sample = layers
            .flag("--user", "store.user", Some("hub"))
            .load()
            .unwrap();
        assert_eq!(sample.store.password.expose(), "0123 ");
        let printed = format!("{sample:?} {} {}", sample.store.password, to_toml(&sample));
        assert!(
            printed.contains("password = \"***\"") && !printed.contains("0123"),
            "{printed}"
        );
    }
}

#[test]
fn mistakes_around_secrets_name_setting_and_source_and_not_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let user = || Layers::new().flag("--user", "store.user", Some("hub"));
    let simple = file(folder.path(), "simple", "guest");
    let found = violations::<Sample>(
        user().variables([("DOWNLINK_STORE__PASSWORD_FILE", simple.to_str().unwrap())]),
    );
    assert_eq!(
        found[0].to_string(),
        "store.password: is too simple (from environment variable DOWNLINK_STORE__PASSWORD_FILE)"
    );

    let both = [
        ("DOWNLINK_STORE__PASSWORD", "s3cret"),
        ("DOWNLINK_STORE__PASSWORD_FILE", "x"),
    ];
    let found = violations::<Sample>(user().variables(both));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "give password or password_file, not both");

    let missing = [("DOWNLINK_STORE__PASSWORD_FILE", "/nowhere/at/all")];
    let found = violations::<Sample>(user().variables(missing));
    assert_eq!(found[0].path, "store.password_file");
    assert!(
        found[0]
            .message
            .starts_with("cannot read /nowhere/at/all: ")
    );
}

#[test]
fn a_secret_is_not_told_with_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    for text in [
        "[store]\npassword = 271828\n",
        "[store]\npassword = 2.71828\n",
        "[store]\npassword = \"271828\n",
        "[store]\npassword = 271828 x\n",
        "[store]\npassword = \"271828\"\npassword = \"271828\"\n",
    ] {
        let path = file(folder.path(), "downlink.toml", text);
        let refused = Layers::new().file(Some(path)).load::<Sample>();
        let told = refused.unwrap_err().to_string();
        assert!(!told.contains("71828"), "{told}");
        assert!(
            told.contains("password") || told.contains("line "),
            "{told}"
        );
        assert!(told.lines().all(|line| line.contains(": ")), "{told}");
    }
}
