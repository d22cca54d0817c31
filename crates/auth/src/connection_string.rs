//! Connection strings of devices and of policies (auth.md §2).

use std::fmt;
use std::str::FromStr;

use crate::key::{KeyError, SymmetricKey};
use crate::sas::MAX_TOKEN_BYTES;

#[cfg(test)]
mod tests;

/// A ready token, and room for everything beside it.
const MAX_CONNECTION_STRING_BYTES: usize = MAX_TOKEN_BYTES + 2_048;

/// Why a text is not a connection string of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// Longer than a connection string can be.
    #[error("connection string is too long")]
    TooLong,
    /// A part between `;` has no name and value.
    #[error("connection string has a part that is not name=value")]
    Malformed,
    /// A name that such a string does not have.
    #[error("connection string has an unknown part {0}")]
    Unknown(String),
    /// A name stands twice.
    #[error("connection string has {0} twice")]
    Duplicate(&'static str),
    /// A name is not there, or empty.
    #[error("connection string has no {0}")]
    Missing(&'static str),
    /// The host name has a character that no host name has.
    #[error("connection string has a malformed HostName")]
    HostName,
    /// The shared access key is not a key.
    #[error("connection string has a malformed SharedAccessKey")]
    Key(#[from] KeyError),
    /// Not exactly one kind of credential.
    #[error("connection string does not have exactly one credential")]
    Credential,
}

/// How a device proves itself.
#[derive(Clone, PartialEq, Eq)]
pub enum DeviceCredential {
    /// Its own key.
    Key(SymmetricKey),
    /// A token made elsewhere.
    Token(String),
    /// A client certificate, which is not part of the string.
    Certificate,
    /// The key of a policy that may act as any device.
    PolicyKey {
        /// The policy's name.
        policy: String,
        /// One of its keys.
        key: SymmetricKey,
    },
}

impl fmt::Debug for DeviceCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("Key(***)"),
            Self::Token(_) => f.write_str("Token(***)"),
            Self::Certificate => f.write_str("Certificate"),
            Self::PolicyKey { policy, .. } => write!(f, "PolicyKey({policy}, ***)"),
        }
    }
}

/// The connection string of a device or module; `Display` is the form the SDKs take, with its secret.
///
/// Ids stand as they are. One that holds `;` is legal for the hub and unusable in a connection string of any SDK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConnectionString {
    /// The hub's host name.
    pub host_name: String,
    /// The device's id.
    pub device_id: String,
    /// The module's id, if it is one.
    pub module_id: Option<String>,
    /// The gateway to connect to in the hub's place.
    pub gateway_host_name: Option<String>,
    /// How it proves itself.
    pub credential: DeviceCredential,
}

/// The connection string of a shared access policy; `Display` is the form the SDKs take, with its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConnectionString {
    /// The hub's host name.
    pub host_name: String,
    /// The policy's name.
    pub policy: String,
    /// One of its keys.
    pub key: SymmetricKey,
}

impl FromStr for DeviceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let mut parts = Parts::parse(text)?;
        let credential = parts.take_device_credential()?;
        Ok(Self {
            host_name: host_name(parts.require(Part::HostName)?)?,
            device_id: parts.require(Part::DeviceId)?.to_owned(),
            module_id: parts.take(Part::ModuleId).map(str::to_owned),
            gateway_host_name: parts
                .take(Part::GatewayHostName)
                .map(host_name)
                .transpose()?,
            credential,
        })
    }
}

impl FromStr for PolicyConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let mut parts = Parts::parse(text)?;
        let policy = Self {
            host_name: host_name(parts.require(Part::HostName)?)?,
            policy: parts.require(Part::SharedAccessKeyName)?.to_owned(),
            key: parts.require(Part::SharedAccessKey)?.parse()?,
        };
        parts.expect_nothing_else()?;
        Ok(policy)
    }
}

impl fmt::Display for DeviceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName={};DeviceId={}", self.host_name, self.device_id)?;
        if let Some(module_id) = &self.module_id {
            write!(f, ";ModuleId={module_id}")?;
        }
        match &self.credential {
            DeviceCredential::Key(key) => write!(f, ";SharedAccessKey={key}")?,
            DeviceCredential::Token(token) => write!(f, ";SharedAccessSignature={token}")?,
            DeviceCredential::Certificate => f.write_str(";x509=true")?,
            DeviceCredential::PolicyKey { policy, key } => {
                write!(f, ";SharedAccessKeyName={policy};SharedAccessKey={key}")?;
            }
        }
        if let Some(gateway) = &self.gateway_host_name {
            write!(f, ";GatewayHostName={gateway}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PolicyConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host_name,
            policy,
            key,
        } = self;
        write!(
            f,
            "HostName={host_name};SharedAccessKeyName={policy};SharedAccessKey={key}"
        )
    }
}

fn host_name(text: &str) -> Result<String, ConnectionStringError> {
    let is_host_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.len() <= 253 && text.bytes().all(is_host_byte) {
        Ok(text.to_owned())
    } else {
        Err(ConnectionStringError::HostName)
    }
}

/// The parts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    HostName,
    DeviceId,
    ModuleId,
    GatewayHostName,
    SharedAccessKeyName,
    SharedAccessKey,
    SharedAccessSignature,
    X509,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::HostName,
        Self::DeviceId,
        Self::ModuleId,
        Self::GatewayHostName,
        Self::SharedAccessKeyName,
        Self::SharedAccessKey,
        Self::SharedAccessSignature,
        Self::X509,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::HostName => "HostName",
            Self::DeviceId => "DeviceId",
            Self::ModuleId => "ModuleId",
            Self::GatewayHostName => "GatewayHostName",
            Self::SharedAccessKeyName => "SharedAccessKeyName",
            Self::SharedAccessKey => "SharedAccessKey",
            Self::SharedAccessSignature => "SharedAccessSignature",
            Self::X509 => "x509",
        }
    }

    /// Compares without case, as C# does.
    fn find(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|name| name.text().eq_ignore_ascii_case(text))
    }
}

/// The parts of a connection string, each at most once.
struct Parts<'a> {
    values: [Option<&'a str>; Part::ALL.len()],
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, ConnectionStringError> {
        if text.len() > MAX_CONNECTION_STRING_BYTES {
            return Err(ConnectionStringError::TooLong);
        }
        let mut parts = Self {
            values: [None; Part::ALL.len()],
        };
        // A final separator is a habit of people who paste.
        for part in text.trim().trim_end_matches(';').split(';') {
            let (name, value) = part
                .split_once('=')
                .ok_or(ConnectionStringError::Malformed)?;
            let name = Part::find(name.trim())
                .ok_or_else(|| ConnectionStringError::Unknown(name.trim().to_owned()))?;
            if value.is_empty() {
                return Err(ConnectionStringError::Missing(name.text()));
            }
            if parts.values[name as usize].replace(value).is_some() {
                return Err(ConnectionStringError::Duplicate(name.text()));
            }
        }
        Ok(parts)
    }

    fn take(&mut self, name: Part) -> Option<&'a str> {
        self.values[name as usize].take()
    }

    fn require(&mut self, name: Part) -> Result<&'a str, ConnectionStringError> {
        self.take(name)
            .ok_or(ConnectionStringError::Missing(name.text()))
    }

    fn take_device_credential(&mut self) -> Result<DeviceCredential, ConnectionStringError> {
        let (key, policy) = (
            self.take(Part::SharedAccessKey),
            self.take(Part::SharedAccessKeyName),
        );
        let (token, certificate) = (
            self.take(Part::SharedAccessSignature),
            self.take(Part::X509),
        );
        match (key, policy, token, certificate) {
            (Some(key), None, None, None) => Ok(DeviceCredential::Key(key.parse()?)),
            (Some(key), Some(policy), None, None) => Ok(DeviceCredential::PolicyKey {
                policy: policy.to_owned(),
                key: key.parse()?,
            }),
            (None, None, Some(token), None) => Ok(DeviceCredential::Token(token.to_owned())),
            (None, None, None, Some(flag)) if flag.eq_ignore_ascii_case("true") => {
                Ok(DeviceCredential::Certificate)
            }
            _ => Err(ConnectionStringError::Credential),
        }
    }

    fn expect_nothing_else(&self) -> Result<(), ConnectionStringError> {
        let rest = Part::ALL
            .into_iter()
            .find(|name| self.values[*name as usize].is_some());
        match rest {
            None => Ok(()),
            Some(name) => Err(ConnectionStringError::Unknown(name.text().to_owned())),
        }
    }
}
