//! Back-ends over HTTPS (registry.md §0–§2, twins.md, methods.md, c2d.md §6–§7), and the way to the WebSockets.
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
use downlink_domain::message::Verdict;
use downlink_domain::policy::Permission;
use tokio::time::timeout;

use self::answer::Answer;
use self::error::{ApiError, Shape, Tracking};
use self::route::{Door, Endpoint, Route};
use self::serve::Activity;
use crate::authenticate::Principal;
use crate::shared::Shared;
use crate::websocket::{self, HandshakeError};

mod answer;
mod deadlines;
mod devices;
pub(crate) mod error;
pub(crate) mod facts;
pub(crate) mod identity;
mod messages;
pub(crate) mod methods;
pub(crate) mod request;
mod route;
pub(crate) mod serve;
mod statistics;
#[cfg(test)]
mod tests;
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
            let tracking = tracking(&shared);
            let mut response = unrouted.error.into_response(unrouted.shape, &tracking);
            if let Some(allow) = allow(&unrouted.allowed) {
                response.headers_mut().insert(ALLOW, allow);
            }
            response
        }
        Ok(route) if route.endpoint == Endpoint::OpenWebSocket => {
            open_websocket(&shared, &parts, &body)
        }
        Ok(route) => {
            let shape = route.shape;
            match answer(&shared, route, &parts, &mut body).await {
                Ok(answer) => answer.into_response(),
                Err(error) => {
                    let tracking = tracking(&shared);
                    let code = error.code.name();
                    tracing::debug!(tracking.id, code, "a request was refused");
                    error.into_response(shape, &tracking)
                }
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
        let mut response = refusal.into_response(Shape::Classic, &tracking(shared));
        if error == HandshakeError::Version {
            let headers = response.headers_mut();
            headers.insert(SEC_WEBSOCKET_VERSION, websocket::VERSION);
        }
        response
    })
}

async fn answer(
    shared: &Shared,
    route: Route,
    parts: &Parts,
    body: &mut Body,
) -> Result<Answer, ApiError> {
    if route.door == Door::Service {
        authorize(shared, &route, parts).await?;
    }
    let body = match route.endpoint {
        Endpoint::PutDevice(_)
        | Endpoint::PatchTwin(_)
        | Endpoint::ReplaceTwin(_)
        | Endpoint::InvokeMethod(_) => {
            request::read_body(&parts.headers, body, &shared.options.https).await?
        }
        _ => bytes::Bytes::new(),
    };
    if let Endpoint::InvokeMethod(id) = route.endpoint {
        return methods::invoke(shared, id, &body).await;
    }
    let answering = use_case(shared, route.endpoint, parts, &body);
    timeout(USE_CASE_DEADLINE, answering)
        .await
        .map_err(|_| ApiError::deadline())?
}

async fn authorize(shared: &Shared, route: &Route, parts: &Parts) -> Result<(), ApiError> {
    let credential = request::credential(&parts.headers);
    let checking = shared.authenticator.service(credential);
    let checked = timeout(USE_CASE_DEADLINE, checking).await;
    let principal = checked.map_err(|_| ApiError::deadline())??;
    request::check_version(&parts.uri)?;
    let Some(permission) = route.endpoint.permission() else {
        return Ok(());
    };
    let segments: Vec<&str> = route.segments.iter().map(String::as_str).collect();
    check_right(&principal, permission, &segments)
}

/// Refuses who has not the right to what `path` names by its decoded segments.
pub(crate) fn check_right(
    principal: &Principal,
    permission: Permission,
    path: &[&str],
) -> Result<(), ApiError> {
    if principal.allows(permission, path) {
        return Ok(());
    }
    tracing::debug!(
        policy = principal.policy(),
        ?permission,
        "a right is missing"
    );
    Err(ApiError::new(
        ErrorCode::IotHubUnauthorizedAccess,
        "the policy or the scope of the token does not allow this",
    ))
}

async fn use_case(
    shared: &Shared,
    endpoint: Endpoint,
    parts: &Parts,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let if_match = || request::if_match(&parts.headers);
    match endpoint {
        Endpoint::ListDevices => devices::list(shared, &parts.uri).await,
        Endpoint::GetDevice(id) => devices::get(shared, id).await,
        Endpoint::PutDevice(id) => devices::put(shared, id, if_match()?, body).await,
        Endpoint::DeleteDevice(id) => devices::delete(shared, id, if_match()?).await,
        Endpoint::PurgeMessages(id) => messages::purge(shared, id).await,
        Endpoint::CountDevices => statistics::devices(shared).await,
        Endpoint::CountConnected => statistics::connected(shared).await,
        Endpoint::GetTwin(id) => twins::get(shared, id).await,
        Endpoint::PatchTwin(id) => twins::patch(shared, id, if_match()?, body).await,
        Endpoint::ReplaceTwin(id) => twins::replace(shared, id, if_match()?, body).await,
        Endpoint::InvokeMethod(id) => methods::invoke(shared, id, body).await,
        Endpoint::ReceiveFeedback => messages::receive_feedback(shared).await,
        Endpoint::CompleteFeedback(token) => {
            messages::settle_feedback(shared, token, Verdict::Complete).await
        }
        Endpoint::AbandonFeedback(token) => {
            messages::settle_feedback(shared, token, Verdict::Abandon).await
        }
        Endpoint::MissingModule(code) => Err(ApiError::new(code, "the module is not registered")),
        // Answered before a credential is looked for.
        Endpoint::OpenWebSocket => Err(ApiError::invalid(&HandshakeError::NotAnUpgrade)),
        Endpoint::NotOffered(what) => Err(ApiError::new(
            ErrorCode::OperationNotAvailableInCurrentTier,
            format!("this hub does not offer {what}"),
        )),
    }
}

fn tracking(shared: &Shared) -> Tracking {
    let mut random = [0; 16];
    shared.peers.ids.fill_random(&mut random);
    let gateway = shared.options.id.as_str().bytes();
    Tracking {
        id: format!("{:032x}", u128::from_be_bytes(random)),
        gateway: gateway.fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte)),
        at: shared.peers.clock.now(),
    }
}

fn allow(methods: &[Method]) -> Option<HeaderValue> {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", "))
        .ok()
        .filter(|allow| !allow.is_empty())
}
