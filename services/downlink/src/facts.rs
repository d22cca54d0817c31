//! What a user needs to know to connect: printed at the end of the start and kept in
//! `connect.json`.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_domain::device::{Authentication, Device};
use downlink_domain::policy::Policy;
use downlink_node::doors::Ports;
use serde_json::{Map, Value, json};

/// What clients prove themselves by.
#[derive(Debug)]
pub struct Credentials {
    /// Host name of connection strings.
    pub host_name: String,
    /// Policies of the hub.
    pub policies: Vec<Policy>,
    /// The demo device.
    pub device: Option<Device>,
}

/// Everything a client needs.
#[derive(Debug)]
pub struct Facts {
    /// Connection strings.
    pub credentials: Credentials,
    /// Connection strings of further hubs.
    pub further: Vec<Credentials>,
    /// Certificate authority that clients must trust.
    pub ca_file: String,
    /// Ports in use.
    pub ports: Ports,
}

impl Credentials {
    fn policy_string(&self, policy: &Policy) -> String {
        let key = STANDARD.encode(&policy.keys[0]);
        let (host, name) = (&self.host_name, &policy.name);
        format!("HostName={host};SharedAccessKeyName={name};SharedAccessKey={key}")
    }

    fn service_string(&self) -> Option<String> {
        let owner = self
            .policies
            .iter()
            .find(|policy| policy.name == "iothubowner")?;
        Some(self.policy_string(owner))
    }

    fn device_string(&self) -> Option<String> {
        let device = self.device.as_ref()?;
        let Authentication::Sas(keys) = &device.authentication else {
            return None;
        };
        let key = STANDARD.encode(&keys.primary);
        let (host, id) = (&self.host_name, &device.name.device);
        Some(format!(
            "HostName={host};DeviceId={id};SharedAccessKey={key}"
        ))
    }

    /// Connection strings by policy, and of the device.
    pub fn to_json(&self) -> Value {
        let policies: Map<String, Value> = self
            .policies
            .iter()
            .map(|policy| {
                (
                    policy.name.clone(),
                    Value::String(self.policy_string(policy)),
                )
            })
            .collect();
        let device = self.device.as_ref().map(|device| {
            json!({
                "id": device.name.device.as_str(),
                "connectionString": self.device_string(),
            })
        });
        json!({
            "hostName": self.host_name,
            "policies": policies,
            "device": device,
        })
    }

    /// A line for each policy, and one for the device, by their names.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for policy in &self.policies {
            let _ = writeln!(text, "{:<20} {}", policy.name, self.policy_string(policy));
        }
        if let (Some(device), Some(string)) = (&self.device, self.device_string()) {
            let _ = writeln!(text, "{:<20} {string}", device.name.device);
        }
        text
    }
}

impl Facts {
    fn to_json(&self) -> Value {
        let Ports {
            mqtts,
            amqps,
            https,
            grpc,
            metrics,
        } = self.ports;
        let mut facts = self.credentials.to_json();
        let further = self.further.iter().map(Credentials::to_json);
        facts["furtherHubs"] = further.collect();
        facts["caFile"] = self.ca_file.as_str().into();
        facts["ports"] = json!({
            "mqtts": mqtts,
            "amqps": amqps,
            "https": https,
            "grpc": grpc,
            "metrics": metrics,
        });
        facts
    }

    /// Writes `connect.json` in `folder`, readable by its owner only: it holds keys.
    ///
    /// # Errors
    /// What the file system answers; the old file stays whole then.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.to_json()).map_err(io::Error::other)?;
        text.push('\n');
        let temporary = folder.join("connect.json.new");
        write_private(&temporary, text.as_bytes())?;
        std::fs::rename(temporary, folder.join("connect.json"))
    }

    /// The last lines of the start.
    pub fn to_text(&self) -> String {
        let Ports {
            mqtts,
            amqps,
            https,
            grpc,
            metrics,
        } = self.ports;
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<8} {value}");
        };
        line(
            "service",
            self.credentials
                .service_string()
                .as_deref()
                .unwrap_or("(no iothubowner policy)"),
        );
        line(
            "device",
            self.credentials
                .device_string()
                .as_deref()
                .unwrap_or("(no device with keys)"),
        );
        line("ca", &self.ca_file);
        let doors =
            format!("mqtts {mqtts}, amqps {amqps}, https {https}, grpc {grpc}, metrics {metrics}");
        line("ports", &doors);
        let ca = &self.ca_file;
        let _ = write!(
            text,
            "\nTry next: put the service string into azure-iothub or azure-iot-hub and the device \
             string into azure-iot-device,\nwith NODE_EXTRA_CA_CERTS={ca} (Node) or \
             server_verification_cert (Python); the sample is in README.md."
        );
        text
    }
}

#[cfg(unix)]
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(not(unix))]
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::write(path, bytes)
}
