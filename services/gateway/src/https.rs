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
use downlink_domain::access::{Access, Action, Actor};
use downlink_domain::limits::HubOperation;
use downlink_domain::policy::Coverage;
use tokio::time::timeout;

use self::answer::Answer;
use self::error::{ApiError, Shape};
use self::route::{Door, Endpoint, Route};
use self::serve::Activity;
use crate::audit::{self, Origin};
use crate::identities;
use crate::authenticate::Principal;
use crate::limits::class_of;
use crate::metrics;
use crate::shared::Shared;
use crate::tracking::Tracking;
use crate::websocket::{self, HandshakeError};

mod admin;
mod answer;
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
            match answer(&shared, route, &parts, &mut body).await {
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

async fn answer(
    shared: &Arc<Shared>,
    route: Route,
    parts: &Parts,
    body: &mut Body,
) -> Result<Answer, ApiError> {
    let path: Vec<&str> = route.segments.iter().map(String::as_str).collect();
    let caller = match route.door {
        Door::Service => Some(admit(shared, &route.endpoint, &path, parts).await?),
        Door::Device | Door::Either | Door::Open => None,
    };
    let body = match route.endpoint {
        Endpoint::PutDevice(_)
        | Endpoint::Many(_)
        | Endpoint::PatchTwin(_)
        | Endpoint::ReplaceTwin(_)
        | Endpoint::InvokeMethod(_)
        | Endpoint::InvokeCommand(_)
        | Endpoint::PatchDigitalTwin(_)
        | Endpoint::Query => {
            request::read_body(&parts.headers, body, &shared.options.https).await?
        }
        Endpoint::Modules(_, ref call) if call.has_body() => {
            request::read_body(&parts.headers, body, &shared.options.https).await?
        }
        Endpoint::Job(jobs::Call::Create(_)) => {
            let most = jobs::MAX_BODY_BYTES;
            request::read_body_within(&parts.headers, body, most, &shared.options.https).await?
        }
        Endpoint::Administer(ref call) if call.has_body() => {
            let most = admin::MAX_BODY_BYTES;
            request::read_body_within(&parts.headers, body, most, &shared.options.https).await?
        }
        _ => bytes::Bytes::new(),
    };
    let called = match &route.endpoint {
        Endpoint::InvokeMethod(name) => Some((name.clone(), methods::parse(&body)?)),
        Endpoint::InvokeCommand(command) => {
            let asked = digital_twins::asked(command, &parts.uri, &body)?;
            Some((command.device.clone().into(), asked))
        }
        _ => None,
    };
    if let (Some((name, asked)), Some(caller)) = (called, &caller) {
        let access = Access {
            method: Some(&asked.name),
            ..Access::to_device(Action::InvokeMethod, &name.device)
        };
        authorize(shared, caller, &access, &path, origin(parts)).await?;
        return match route.endpoint {
            Endpoint::InvokeCommand(command) => {
                digital_twins::invoke(shared, command.device, asked).await
            }
            _ => methods::invoke(shared, name, asked).await,
        };
    }
    if let (Endpoint::WatchTwin(name), Some(caller)) = (&route.endpoint, &caller) {
        let watching = twin_events::watch(shared, name.clone(), caller.clone(), parts);
        let watched = timeout(USE_CASE_DEADLINE, watching).await;
        return watched.map_err(|_| ApiError::deadline())?;
    }
    let by = || audit::actor(caller.as_ref(), parts.extensions.get(), "https");
    if let (Endpoint::Job(jobs::Call::Create(id)), Some(caller)) = (&route.endpoint, &caller) {
        let spec = jobs::parse(id.clone(), &body, shared.peers.clock.now())?;
        let order = jobs::order(&spec)?;
        authorize(shared, caller, &jobs::access(&order), &path, origin(parts)).await?;
        let answered = timeout(USE_CASE_DEADLINE, jobs::create(shared, spec, by())).await;
        return answered.map_err(|_| ApiError::deadline())?;
    }
    if let (Endpoint::Administer(call), Some(principal)) = (&route.endpoint, &caller) {
        let reading = Access::to_hub(Action::AdministrationRead);
        let caller = admin::Caller {
            actor: by(),
            may_read: principal.coverage(&reading, &path) == Coverage::Yes,
        };
        let if_match = request::if_match(&parts.headers)?;
        let answering = admin::answer(shared, call.clone(), caller, if_match, &body);
        let answered = timeout(USE_CASE_DEADLINE, answering).await;
        return answered.map_err(|_| ApiError::deadline())?;
    }
    if let (Endpoint::Modules(device, call), Some(principal)) = (&route.endpoint, &caller) {
        let caller = modules::Caller {
            actor: by(),
            is_policy: principal.policy().is_some(),
        };
        let if_match = request::if_match(&parts.headers)?;
        let (device, call) = (device.clone(), call.clone());
        let answering = modules::answer(shared, device, call, caller, if_match, &body);
        let answered = timeout(USE_CASE_DEADLINE, answering).await;
        return answered.map_err(|_| ApiError::deadline())?;
    }
    if let (Endpoint::Many(call), Some(principal)) = (&route.endpoint, &caller) {
        let caller = identities::Caller {
            principal,
            actor: by(),
            origin: origin(parts),
        };
        let answering = bulk::answer(shared, *call, caller, &body);
        let answered = timeout(USE_CASE_DEADLINE, answering).await;
        return answered.map_err(|_| ApiError::deadline())?;
    }
    let answering = use_case(shared, route.endpoint, parts, &body, by);
    timeout(USE_CASE_DEADLINE, answering)
        .await
        .map_err(|_| ApiError::deadline())?
}

/// Finds out who a back-end is, and that it may do what `endpoint` does as far as that is known without its body.
async fn admit(
    shared: &Shared,
    endpoint: &Endpoint,
    path: &[&str],
    parts: &Parts,
) -> Result<Principal, ApiError> {
    let credential = request::credential(&parts.headers);
    let checking = shared.authenticator.service(credential);
    let checked = timeout(USE_CASE_DEADLINE, checking).await;
    let caller = checked.map_err(|_| ApiError::deadline())?;
    let origin = origin(parts);
    let caller = caller.inspect_err(|refusal| {
        shared.audit.refused_service(origin, credential, refusal);
    })?;
    request::check_version(&parts.uri)?;
    match endpoint.access() {
        // Which method, stands in the body.
        Some(Access {
            action: action @ Action::InvokeMethod,
            ..
        }) => {
            let checked = shared.authenticator.authorize_any(&caller, action, path);
            let audit = &shared.audit;
            checked.inspect_err(|denied| audit.denied(origin, &caller, action, path, denied))?;
        }
        Some(access) => {
            authorize(shared, &caller, &access, path, origin).await?;
            let class = match endpoint {
                Endpoint::Query => Some(HubOperation::Query),
                _ => class_of(access.action),
            };
            if let Some(class) = class {
                shared.limits.admit(class, 1).await?;
            }
        }
        None if matches!(endpoint, Endpoint::Many(_)) => {
            // Each item is checked for itself; whoever may do none of it sends nothing.
            let may = |action| shared.authenticator.authorize_any(&caller, action, path);
            let action = Action::DevicesWrite;
            let checked =
                may(action).or_else(|denied| may(Action::DevicesDelete).map_err(|_| denied));
            let audit = &shared.audit;
            checked.inspect_err(|denied| audit.denied(origin, &caller, action, path, denied))?;
        }
        None => {}
    }
    Ok(caller)
}

async fn authorize(
    shared: &Shared,
    caller: &Principal,
    access: &Access<'_>,
    path: &[&str],
    origin: Origin,
) -> Result<(), ApiError> {
    let checking = shared.authenticator.authorize(caller, access, path);
    let checked = timeout(USE_CASE_DEADLINE, checking).await;
    let checked = checked.map_err(|_| ApiError::deadline())?;
    let audit = &shared.audit;
    checked.inspect_err(|denied| audit.denied(origin, caller, access.action, path, denied))?;
    Ok(())
}

fn origin(parts: &Parts) -> Origin {
    Origin::http(metrics::Door::Https, parts.extensions.get())
}

async fn use_case(
    shared: &Shared,
    endpoint: Endpoint,
    parts: &Parts,
    body: &[u8],
    by: impl Fn() -> Actor,
) -> Result<Answer, ApiError> {
    let if_match = || request::if_match(&parts.headers);
    match endpoint {
        Endpoint::ListDevices => devices::list(shared, &parts.uri).await,
        Endpoint::GetDevice(id) => devices::get(shared, id).await,
        Endpoint::PutDevice(id) => devices::put(shared, id, if_match()?, body, by()).await,
        Endpoint::DeleteDevice(id) => devices::delete(shared, id, if_match()?, by()).await,
        Endpoint::PurgeMessages(id) => messages::purge(shared, id, by()).await,
        Endpoint::CountDevices => statistics::devices(shared).await,
        Endpoint::CountConnected => statistics::connected(shared).await,
        Endpoint::Query => query::query(shared, &parts.headers, body).await,
        Endpoint::GetTwin(id) => twins::get(shared, id).await,
        Endpoint::PatchTwin(id) => twins::patch(shared, id, if_match()?, body).await,
        Endpoint::ReplaceTwin(id) => twins::replace(shared, id, if_match()?, body).await,
        Endpoint::GetDigitalTwin(id) => digital_twins::get(shared, id).await,
        Endpoint::PatchDigitalTwin(id) => digital_twins::patch(shared, id, if_match()?, body).await,
        Endpoint::Job(jobs::Call::List) => jobs::list(shared, &parts.uri, &parts.headers).await,
        Endpoint::Job(jobs::Call::Get(id)) => jobs::get(shared, id).await,
        Endpoint::Job(jobs::Call::Cancel(id)) => jobs::cancel(shared, id, by()).await,
        Endpoint::ReceiveFeedback => messages::receive_feedback(shared).await,
        Endpoint::CompleteFeedback(token) => messages::complete_feedback(shared, token).await,
        Endpoint::AbandonFeedback(token) => messages::abandon_feedback(shared, token).await,
        // Answered before, each where its own way begins.
        Endpoint::OpenWebSocket
        | Endpoint::InvokeMethod(_)
        | Endpoint::InvokeCommand(_)
        | Endpoint::WatchTwin(_)
        | Endpoint::Job(jobs::Call::Create(_))
        | Endpoint::Administer(_)
        | Endpoint::Many(_)
        | Endpoint::Modules(..)
        | Endpoint::Read(_)
        | Endpoint::Device(..) => Err(ApiError::invalid(&HandshakeError::NotAnUpgrade)),
        Endpoint::NotOffered(what) => Err(ApiError::new(
            ErrorCode::OperationNotAvailableInCurrentTier,
            format!("this hub does not offer {what}"),
        )),
    }
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
