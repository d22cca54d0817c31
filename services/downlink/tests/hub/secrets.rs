//! What nobody may read in the logs: keys, tokens, passwords, private keys.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::io::AsyncWriteExt as _;
use tonic::Code;

use crate::support::{Hub, command};
use crate::wire::{Amqp, Mqtt, ask, get_over_grpc, key_of, new_device, primary_key, token};

const HOST: &str = "localhost";
const DEVICE: &str = "/devices/dev-1?api-version=2021-04-12";

/// Texts that must not be found, in every spelling they may have been written in.
#[derive(Default)]
struct Secrets(BTreeSet<String>);

impl Secrets {
    fn text(&mut self, text: &str) {
        assert!(text.len() >= 8, "{text:?} would be found by chance");
        self.0.insert(text.to_owned());
        self.0.insert(hex(text.as_bytes()));
        self.0
            .insert(format!("{:?}", text.as_bytes()).replace(['[', ']'], ""));
    }

    fn key(&mut self, key: &[u8]) {
        self.text(&STANDARD.encode(key));
        self.0.insert(URL_SAFE_NO_PAD.encode(key));
        self.0.insert(hex(key));
        self.0.insert(format!("{key:?}").replace(['[', ']'], ""));
    }

    /// The whole of a token, and the signature that makes it one.
    fn token(&mut self, token: &str) {
        self.text(token);
        let (_, signature) = token.split_once("sig=").expect("as it was made here");
        let (signature, _) = signature.split_once('&').expect("as it was made here");
        self.text(signature);
        let plain = signature
            .replace("%2B", "+")
            .replace("%2F", "/")
            .replace("%3D", "=");
        self.key(&STANDARD.decode(plain).expect("as it was made here"));
    }

    fn private_key(&mut self, file: &Path) {
        for line in fs::read_to_string(file)
            .expect("as it was made here")
            .lines()
        {
            if !line.starts_with("-----") {
                self.text(line);
            }
        }
    }

    #[track_caller]
    fn assert_absent(&self, log: &str) {
        for secret in &self.0 {
            if let Some(at) = log.find(secret.as_str()) {
                let line = log[..at].rfind('\n').map_or(0, |end| end + 1);
                let rest = &log[line..];
                panic!(
                    "{secret:?} is in the log: {}",
                    rest.lines().next().expect("as it was made here")
                );
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Credentials of back-ends: the one that is good, and those that are not.
fn credentials(hub: &Hub, secrets: &mut Secrets) -> Vec<String> {
    let owner = key_of(
        hub.facts["policies"]["iothubowner"]
            .as_str()
            .expect("as it was made here"),
    );
    let (wrong, name) = ([7_u8; 32], Some("iothubowner"));
    secrets.key(&wrong);
    let tokens = [
        token(HOST, &owner, name, true),
        token(HOST, &owner, name, false),
        token(HOST, &wrong, name, true),
        token(HOST, &owner, Some("nobody"), true),
        token("elsewhere.example", &owner, name, true),
    ];
    for token in &tokens {
        secrets.token(token);
    }
    let jwt = {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let (head, claims) = (
            r#"{"alg":"none"}"#,
            r#"{"iss":"https://issuer.example","sub":"x"}"#,
        );
        let signature = part("a signature of nobody in particular");
        secrets.text(&signature);
        format!("Bearer {}.{}.{signature}", part(head), part(claims))
    };
    let odd = "SharedAccessSignature sr=s3cret-of-the-odd-one&sig=%zz&se=x".to_owned();
    secrets.text("s3cret-of-the-odd-one");
    let plain = "hunter2-is-no-token".to_owned();
    secrets.text(&plain);
    tokens.into_iter().chain([jwt, odd, plain]).collect()
}

#[test]
fn a_secret_is_found_however_it_is_spelled() {
    let key = [200_u8; 32];
    let token = token(HOST, &key, None, true);
    let mut secrets = Secrets::default();
    secrets.key(&key);
    secrets.token(&token);
    let (_, signature) = token.split_once("sig=").unwrap();
    for told in [
        format!("authorization: {token}"),
        format!("signature {signature}"),
        format!("key = {}", STANDARD.encode(key)),
        format!("key = {key:?}"),
        format!("key = {}", hex(&key)),
    ] {
        let searched = std::panic::catch_unwind(|| secrets.assert_absent(&format!("a\n{told}\n")));
        assert!(searched.is_err(), "{told}");
    }
    secrets.assert_absent("nothing of it");
}

/// Keys that the hub makes for itself.
fn note_what_a_start_makes(hub: &Hub, data: &Path, secrets: &mut Secrets) {
    for (_, string) in hub.facts["policies"]
        .as_object()
        .expect("as it was made here")
    {
        secrets.key(&key_of(string.as_str().expect("as it was made here")));
    }
    secrets.key(&key_of(
        hub.facts["device"]["connectionString"]
            .as_str()
            .expect("as it was made here"),
    ));
    for file in ["server.key", "ca.key"] {
        secrets.private_key(&data.join(file));
    }
}

#[tokio::test]
async fn no_key_token_or_password_is_in_the_logs_however_much_is_logged() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("log");
    let log = File::create(&path).unwrap();
    let more = ["--set", "log.level=trace"];
    let hub = Hub::start_logging(data.path(), &more, log.into());
    let mut secrets = Secrets::default();
    note_what_a_start_makes(&hub, data.path(), &mut secrets);
    let credentials = credentials(&hub, &mut secrets);

    let (good, bad) = credentials.split_first().unwrap();
    let io = hub.tls("https").await;
    let (status, answer) = ask(io, ("PUT", DEVICE), (HOST, good), &new_device("dev-1")).await;
    assert_eq!(status, 200, "{answer}");
    let key = primary_key(&answer);
    secrets.key(&key);
    for credential in &credentials {
        let is_good = credential == good;
        let io = hub.tls("https").await;
        let (status, _) = ask(io, ("GET", DEVICE), (HOST, credential), "").await;
        assert_eq!(status == 200, is_good, "https: {status}");
        let mut amqp = Amqp::open(hub.tls("amqps").await, HOST).await;
        let status = amqp.put_token(HOST, credential).await;
        assert_eq!(status == 200, is_good, "amqp: {status}");
        let code = get_over_grpc(hub.tls("grpc").await, credential, "dev-1").await;
        assert_eq!(code == Code::Ok, is_good, "grpc: {code:?}");
    }
    let scope = format!("{HOST}/devices/dev-1");
    let of_device = [
        (token(&scope, &key, None, true), 0),
        (token(&scope, &key, None, false), 5),
        (token(&scope, &[9; 32], None, true), 5),
    ];
    for (token, _) in &of_device {
        secrets.token(token);
    }
    let others = bad.iter().map(|credential| (credential.clone(), 5));
    for (password, expected) in of_device.clone().into_iter().chain(others) {
        let io = hub.tls("mqtts").await;
        let (_, code) = Mqtt::connect(io, HOST, "dev-1", &password).await;
        assert_eq!(code, expected);
    }
    // What a device asks for over HTTPS, with good tokens and bad ones.
    for (token, _) in &of_device {
        let path = "/devices/dev-1/messages/deviceBound?api-version=2021-04-12";
        let (status, _) = ask(hub.tls("https").await, ("GET", path), (HOST, token), "").await;
        assert_ne!(status, 500);
    }
    // And by a door that is not for it.
    for door in ["mqtts", "amqps", "https", "grpc"] {
        let mut io = hub.tls(door).await;
        let _ = io.write_all(good.as_bytes()).await;
        let _ = io.shutdown().await;
    }
    assert_eq!(hub.signal_and_wait("INT"), Some(0));
    let log = fs::read_to_string(path).unwrap();
    assert!(log.contains("TRACE"), "the log says everything");
    assert!(log.contains("dev-1"), "the log tells of what was done");
    secrets.assert_absent(&log);
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("as it was made here");
    let (out, err) = (output.stdout, output.stderr);
    String::from_utf8(out).expect("as it was made here")
        + &String::from_utf8(err).expect("as it was made here")
}

#[test]
fn printed_settings_hide_what_is_secret() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("password");
    fs::write(&file, "s3cret-of-a-file\n").unwrap();
    let printed = output(
        command(data.path())
            .args([
                "--set",
                "storage.postgres.url=postgres://u:s3cret-of-a-flag@h/d",
            ])
            .env("DOWNLINK_PRESENCE__REDIS__PASSWORD", "s3cret-of-a-variable")
            .env("DOWNLINK_PRESENCE__REDIS__SENTINEL_PASSWORD_FILE", &file)
            .arg("--print-config"),
    );
    assert!(printed.contains("sentinel_password = \"***\""), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[test]
fn a_database_that_cannot_be_reached_is_told_without_its_password() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downlink"));
    // Port 1 refuses at once.
    let url = "storage.postgres.url=postgres://somebody:s3cret-of-a-url@127.0.0.1:1/d";
    let told = output(command.arg("hub").args([
        "--set",
        "storage.kind=postgres",
        "--set",
        url,
        "--set",
        "storage.postgres.connect_timeout=1s",
        "--set",
        "log.level=trace",
    ]));
    assert!(!told.is_empty());
    assert!(!told.contains("s3cret"), "{told}");
}
