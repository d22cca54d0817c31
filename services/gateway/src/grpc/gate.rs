//! What every call passes before its rpc: credential and deadline; and after it: its count.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Status;
use tonic::codegen::Service;
use tonic::service::Routes;

use super::call::Call;
use super::counted::Counted;
use super::rpc::Rpc;
use super::{status, timeout};
use crate::arrival::Arrival;
use crate::audit::Origin;
use crate::https::error::ApiError;
use crate::https::serve::Activity;
use crate::https::{USE_CASE_DEADLINE, request};
use crate::metrics::Door;
use crate::shared::Shared;

#[derive(Clone)]
struct Gate {
    shared: Arc<Shared>,
    routes: Routes,
}

/// Puts the gate before `routes`.
pub(super) fn router(shared: Arc<Shared>, routes: Routes) -> Router {
    Router::new()
        .fallback(pass)
        .with_state(Gate { shared, routes })
}

async fn pass(State(gate): State<Gate>, mut request: Request<Body>) -> Response<Body> {
    let Gate { shared, mut routes } = gate;
    let Some(rpc) = Rpc::of_path(request.uri().path()) else {
        // Health and reflection; anything else is answered as unimplemented.
        let answered = timeout(USE_CASE_DEADLINE, routes.call(request)).await;
        return match answered {
            Ok(Ok(response)) => response.map(Body::new),
            Err(_) => status::deadline().into_http(),
        };
    };
    let deadline = match authenticate(&shared, &mut request).await {
        Ok(deadline) => deadline,
        Err(status) => return refuse(&shared, rpc, status),
    };
    let longest = Instant::now() + rpc.longest();
    let limit = deadline.map_or(longest, |deadline| deadline.min(longest));
    let answered = timeout_at(limit, routes.call(request)).await;
    match answered {
        Ok(Ok(response)) => finish(shared, rpc, response.map(Body::new)),
        Err(_) if deadline == Some(limit) => refuse(&shared, rpc, status::deadline()),
        Err(_) => refuse(&shared, rpc, ApiError::deadline().into()),
    }
}

/// Checks the credential and notes with the request who calls and until when; answers the caller's
/// deadline.
async fn authenticate(
    shared: &Shared,
    request: &mut Request<Body>,
) -> Result<Option<Instant>, Status> {
    let deadline = read_deadline(request.headers())?;
    let credential = request::credential(request.headers());
    let checking = timeout(USE_CASE_DEADLINE, shared.authenticator.service(credential));
    let checked = match deadline {
        None => checking.await,
        Some(deadline) => timeout_at(deadline, checking)
            .await
            .map_err(|_| status::deadline())?,
    };
    let arrival: Option<Arc<Arrival>> = request.extensions().get().cloned();
    let origin = Origin::http(Door::Grpc, arrival.as_ref());
    let principal = checked
        .map_err(|_| ApiError::deadline())?
        .inspect_err(|refusal| shared.audit.refused_service(origin, credential, refusal))
        .map_err(ApiError::from)?;
    let activity = request.extensions().get::<Arc<Activity>>().cloned();
    if let Some(activity) = &activity {
        activity.set_known();
    }
    let call = Call {
        principal,
        deadline,
        activity,
        arrival,
    };
    request.extensions_mut().insert(Arc::new(call));
    Ok(deadline)
}

fn read_deadline(headers: &HeaderMap) -> Result<Option<Instant>, ApiError> {
    let timeout =
        timeout::read(headers).map_err(|()| ApiError::invalid(&"the grpc-timeout is malformed"))?;
    // One that no clock can express is none.
    Ok(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
}

fn refuse(shared: &Shared, rpc: Rpc, status: Status) -> Response<Body> {
    shared.metrics.rpcs.ended(rpc, status.code());
    tracing::debug!(rpc = rpc.name(), code = ?status.code(), "a call was refused");
    status.into_http()
}

fn finish(shared: Arc<Shared>, rpc: Rpc, response: Response<Body>) -> Response<Body> {
    if let Some(status) = response.extensions().get::<Status>() {
        return refuse(&shared, rpc, status::of_unreadable(status.clone()));
    }
    match status::code_in(response.headers()) {
        Some(code) => {
            shared.metrics.rpcs.ended(rpc, code);
            response
        }
        None => response.map(|body| Body::new(Counted::new(body, rpc, shared))),
    }
}
