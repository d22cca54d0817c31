//! The opening handshake (RFC 6455 §4.2), from the request's head to the answer's.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Subprotocol;

/// The one version there is.
pub(crate) const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Why a request opens no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// It is an ordinary request, or one over HTTP/2.
    #[error("this path takes a WebSocket handshake over HTTP/1.1 and nothing else")]
    NotAnUpgrade,
    /// Its version is another than 13.
    #[error("the version of the WebSocket must be 13")]
    Version,
    /// Its key is not 16 bytes in base64, or there are several.
    #[error("the key of the WebSocket must be one, of 16 bytes")]
    Key,
    /// It offers no protocol that is spoken here.
    #[error("the protocols offered must name AMQPWSB10 or mqtt")]
    Protocol,
}

/// A handshake that can be answered.
#[derive(Clone, Debug)]
pub(super) struct Handshake {
    pub(super) protocol: Subprotocol,
    /// The protocol as the client wrote it.
    offered: String,
    key: HeaderValue,
}

impl Handshake {
    /// Reads the head of a request; its path has been matched, its query means nothing.
    pub(super) fn read(parts: &Parts) -> Result<Self, HandshakeError> {
        let headers = &parts.headers;
        let is_upgrade = parts.version == Version::HTTP_11
            && has_token(headers, &UPGRADE, "websocket")
            && has_token(headers, &CONNECTION, "upgrade");
        if !is_upgrade {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(HandshakeError::Version);
        }
        let key = key(headers).ok_or(HandshakeError::Key)?.clone();
        let mut offers = tokens(headers, &SEC_WEBSOCKET_PROTOCOL);
        let (protocol, offered) = offers
            .find_map(|offer| Subprotocol::find(offer).map(|protocol| (protocol, offer.to_owned())))
            .ok_or(HandshakeError::Protocol)?;
        Ok(Self {
            protocol,
            offered,
            key,
        })
    }

    /// The answer, which ends HTTP on the connection.
    pub(super) fn answer(&self) -> Response<Body> {
        let accepted = derive_accept_key(self.key.as_bytes());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        for (name, value) in [
            (SEC_WEBSOCKET_ACCEPT, accepted),
            (SEC_WEBSOCKET_PROTOCOL, self.offered.clone()),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// The key as it was sent, which is what is hashed.
fn key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().filter(|_| keys.next().is_none())?;
    let bytes = BASE64_STANDARD.decode(key.as_bytes()).ok()?;
    (bytes.len() == 16).then_some(key)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

/// What a header lists, in all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn request(protocols: &[&str]) -> Parts {
        let mut request = Request::get("/$iothub/websocket")
            .header(UPGRADE, "WebSocket")
            .header(CONNECTION, "keep-alive, Upgrade")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        for protocol in protocols {
            request = request.header(SEC_WEBSOCKET_PROTOCOL, *protocol);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_key_is_answered_as_in_the_standard() {
        let answer = Handshake::read(&request(&["mqtt"])).unwrap().answer();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(
            answer.headers()[SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn the_first_known_protocol_is_chosen_and_echoed_as_it_was_written() {
        for (offered, protocol, echo) in [
            (&["AMQPWSB10"][..], Subprotocol::Amqp, "AMQPWSB10"),
            (&["amqpwsb10"], Subprotocol::Amqp, "amqpwsb10"),
            (&["MQTT"], Subprotocol::Mqtt, "MQTT"),
            (&["soap, mqtt ,AMQPWSB10"], Subprotocol::Mqtt, "mqtt"),
            (
                &["soap", "wamp,", "AmqpWsb10"],
                Subprotocol::Amqp,
                "AmqpWsb10",
            ),
        ] {
            let handshake = Handshake::read(&request(offered)).unwrap();
            assert_eq!(handshake.protocol, protocol, "{offered:?}");
            assert_eq!(handshake.answer().headers()[SEC_WEBSOCKET_PROTOCOL], echo);
        }
    }

    #[test]
    fn what_is_no_handshake_is_told_apart() {
        let refused = |change: &dyn Fn(&mut Parts)| {
            let mut parts = request(&["mqtt"]);
            change(&mut parts);
            Handshake::read(&parts).map(|_| ()).unwrap_err()
        };
        let put = |name: HeaderName, value: &'static str| {
            refused(&|parts| {
                let value = HeaderValue::from_static(value);
                parts.headers.insert(name.clone(), value);
            })
        };
        let not_an_upgrade = HandshakeError::NotAnUpgrade;
        assert_eq!(
            refused(&|p| drop(p.headers.remove(UPGRADE))),
            not_an_upgrade
        );
        assert_eq!(put(UPGRADE, "h2c"), not_an_upgrade);
        assert_eq!(put(CONNECTION, "keep-alive"), not_an_upgrade);
        assert_eq!(refused(&|p| p.version = Version::HTTP_10), not_an_upgrade);
        assert_eq!(refused(&|p| p.version = Version::HTTP_2), not_an_upgrade);
        assert_eq!(put(SEC_WEBSOCKET_VERSION, "8"), HandshakeError::Version);
        assert_eq!(put(SEC_WEBSOCKET_KEY, "c2hvcnQ="), HandshakeError::Key);
        assert_eq!(put(SEC_WEBSOCKET_KEY, "no base64 !"), HandshakeError::Key);
        let twice = refused(&|parts| {
            let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
            parts.headers.append(SEC_WEBSOCKET_KEY, key);
        });
        assert_eq!(twice, HandshakeError::Key);
        assert_eq!(
            put(SEC_WEBSOCKET_PROTOCOL, "mqttv5"),
            HandshakeError::Protocol
        );
    }
}
