//! Back-ends over HTTPS (registry.md §0–§2, twins.md, methods.md, c2d.md §6–§7), devices (http-device.md), and the way to
//! the WebSockets.
//!
//! A request passes, in this order: its path, its credential, its `api-version`, its right, its
//! body. Nothing of a body is read before the caller has proved who it is.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::State;
use axum::http::header::{ALLOW, CONNECTION, SEC_WEBSOCKET_VERSION};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use downlink_domain::ErrorCode;

use self::error::{ApiError, Shape};
use self::route::{Endpoint, Route};
use self::serve::Activity;
use crate::shared::Shared;
use crate::tracking::Tracking;
use crate::websocket::{self, HandshakeError};

mod admin;
mod answer;
mod back_end;
mod bulk;
mod deadlines;
mod device;
mod devices;
mod digital_twins;
pub(crate) mod error;
pub(crate) mod facts;
mod header_case;
pub(crate) mod identity;
mod jobs;
mod messages;
pub(crate) mod methods;
pub(crate) mod modules;
mod openapi;
mod query;
pub(crate) mod request;
mod route;
pub(crate) mod serve;
mod statistics;
#[cfg(test)]
mod tests;
mod twin_events;
mod twins;

pub(crate) use self::deadlines::Guarded;
pub(crate) use self::devices::not_found;
pub(crate) use self::serve::serve;

/// Longest time for a use case that waits for no device.
pub(crate) const USE_CASE_DEADLINE: Duration = Duration::from_secs(30);

/// Makes the routes: one, since paths are matched without case and decoded by hand.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(dispatch).with_state(shared)
}

async fn dispatch(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, mut body) = request.into_parts();
    let mut response = match route::find(request::method(&parts), parts.uri.path()) {
        Err(unrouted) => {
            let mut response = refuse(&shared, &parts, unrouted.error, unrouted.shape);
            if let Some(allow) = allow(&unrouted.allowed) {
                response.headers_mut().insert(ALLOW, allow);
            }
            response
        }
        Ok(route) if route.endpoint == Endpoint::OpenWebSocket => {
            open_websocket(&shared, &parts, &body)
        }
        Ok(Route {
            endpoint: Endpoint::Read(document),
            ..
        }) => read_document(&shared, &parts, document),
        Ok(Route {
            endpoint: Endpoint::Device(name, call),
            ..
        }) => match device::answer(&shared, &name, &call, &parts, &mut body).await {
            Ok(response) => response,
            Err(refused) => refused.into_response(&Tracking::new(&shared), &parts),
        },
        Ok(route) => {
            let shape = route.shape;
            match back_end::answer(&shared, route, &parts, &mut body).await {
                Ok(answer) => answer.into_response(),
                Err(error) => refuse(&shared, &parts, error, shape),
            }
        }
    };
    shared.metrics.request_answered(response.status().as_u16());
    let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_upgraded && !request::discard_rest(&parts, &mut body).await {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    let id = shared.peers.ids.lock_token().to_string();
    if let Ok(id) = HeaderValue::try_from(id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-ms-request-id"), id);
    }
    response
}

/// Answers with a part of the description of the calls, if that is served.
fn read_document(shared: &Shared, parts: &Parts, document: openapi::Document) -> Response<Body> {
    if shared.options.https.has_api_documents {
        return document.into_response();
    }
    refuse(shared, parts, route::nothing(), Shape::Classic)
}

/// Answers a handshake. Who the caller is will be asked inside the WebSocket.
fn open_websocket(shared: &Shared, parts: &Parts, body: &Body) -> Response<Body> {
    let activity = parts.extensions.get::<Arc<Activity>>();
    let activity = activity.filter(|_| body.is_end_stream());
    let opened = match activity {
        Some(activity) => websocket::accept(parts, activity.upgrade_slot()),
        None => Err(HandshakeError::NotAnUpgrade),
    };
    opened.unwrap_or_else(|error| {
        tracing::debug!(%error, "a websocket was refused");
        let text = error.to_string();
        let refusal = ApiError::new(ErrorCode::GenericBadRequest, text);
        let mut response = refuse(shared, parts, refusal, Shape::Classic);
        if error == HandshakeError::Version {
            let headers = response.headers_mut();
            headers.insert(SEC_WEBSOCKET_VERSION, websocket::VERSION);
        }
        response
    })
}

/// The answer to a request that failed, and the line of the log that its tracking id leads to.
fn refuse(shared: &Shared, parts: &Parts, error: ApiError, shape: Shape) -> Response<Body> {
    let tracking = Tracking::new(shared);
    error.log(&tracking, parts);
    error.into_response(shape, &tracking)
}

fn allow(methods: &[Method]) -> Option<HeaderValue> {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", "))
        .ok()
        .filter(|allow| !allow.is_empty())
}
