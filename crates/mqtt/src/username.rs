//! The user name of CONNECT (mqtt.md §2.2).

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::identity::ClientIdentity;

/// A user name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    /// The hub as the client names it; compare with [`Username::names_host`].
    pub host: String,
    /// Whose connection it is to be.
    pub identity: ClientIdentity,
    /// The API version, which is accepted whatever it says.
    pub api_version: Option<String>,
    /// The client's agent text.
    pub device_client_type: Option<String>,
    /// The model of a plug-and-play device.
    pub model_id: Option<String>,
    /// The chain of devices that authenticate for each other.
    pub auth_chain: Option<String>,
}

/// A user name that fits no form of the grammar; the answer is CONNACK 5 (mqtt.md §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("user name is not of the form host/device[/module]/?query")]
pub struct UsernameError;

impl Username {
    /// Parses `{host}/{device}[/{module}]/[?]{query}` and the older forms without a query.
    ///
    /// Ids are raw and may hold `?`, `%`, `#` and `=`, so the structure decides: the last segment is the query
    /// if it begins with `?` or `api-version=`, and two or three segments remain. Values are percent-decoded
    /// with `+` left alone; what cannot be decoded stays as it is, for nothing in it decides anything.
    ///
    /// # Errors
    /// [`UsernameError`] when no form fits.
    pub fn parse(username: &str) -> Result<Self, UsernameError> {
        let (path, query) = split_query(username);
        let mut segments = path.split('/');
        let host = segments
            .next()
            .filter(|host| !host.is_empty())
            .ok_or(UsernameError)?;
        let device_id = segments.next().ok_or(UsernameError)?;
        let identity = match segments.next() {
            None => ClientIdentity::device(device_id),
            Some(module_id) => ClientIdentity::module(device_id, module_id),
        };
        if segments.next().is_some() {
            return Err(UsernameError);
        }
        let mut parsed = Self {
            host: host.to_owned(),
            identity: identity.ok_or(UsernameError)?,
            api_version: None,
            device_client_type: None,
            model_id: None,
            auth_chain: None,
        };
        for pair in query.split('&') {
            parsed.take_pair(pair);
        }
        Ok(parsed)
    }

    /// Returns whether the user name means the hub called `host`; case does not count.
    pub fn names_host(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    fn take_pair(&mut self, pair: &str) {
        let Some((key, value)) = pair.split_once('=') else {
            return;
        };
        let field = match key {
            "api-version" => &mut self.api_version,
            "DeviceClientType" => &mut self.device_client_type,
            "model-id" => &mut self.model_id,
            "auth-chain" => &mut self.auth_chain,
            _ => return,
        };
        // The first of a repeated key wins.
        field.get_or_insert_with(|| percent_decode_str(value).decode_utf8_lossy().into_owned());
    }
}

/// Splits into the path without its closing slash and the query without its question mark.
fn split_query(username: &str) -> (&str, &str) {
    let Some((path, last)) = username.rsplit_once('/') else {
        return (username, "");
    };
    if last.is_empty() {
        return (path, "");
    }
    if let Some(query) = last.strip_prefix('?') {
        return (path, query);
    }
    if last.starts_with("api-version=") {
        return (path, last);
    }
    (username, "")
}

#[cfg(test)]
mod tests;
