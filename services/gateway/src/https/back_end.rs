//! One request of a back-end: who it is, what it may do, its body, and the use case.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::access::{Access, Action, Actor};
use downlink_domain::device::IfMatch;
use downlink_domain::id::DeviceId;
use downlink_domain::limits::HubOperation;
use downlink_domain::policy::Coverage;
use downlink_ports::ItemType;
use tokio::time::timeout;

use super::answer::Answer;
use super::error::ApiError;
use super::route::{Door, Endpoint, Route};
use super::{
    USE_CASE_DEADLINE, admin, bulk, devices, digital_twins, jobs, messages, methods, modules,
    query, request, statistics, twin_events, twins,
};
use crate::audit::{self, Origin};
use crate::authenticate::Principal;
use crate::limits::class_of;
use crate::shared::Shared;
use crate::websocket::HandshakeError;
use crate::{identities, metrics};

/// What a back-end asks, as far as it is known before its body says more.
struct Asked<'a> {
    shared: &'a Arc<Shared>,
    parts: &'a Parts,
    path: &'a [&'a str],
    by: Principal,
    body: Bytes,
}

/// Serves one request of a back-end.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    route: Route,
    parts: &Parts,
    body: &mut Body,
) -> Result<Answer, ApiError> {
    let path: Vec<&str> = route.segments.iter().map(String::as_str).collect();
    match route.door {
        Door::Service => {}
        // Answered before, each where its own way begins.
        Door::Device | Door::Either | Door::Open => {
            return Err(ApiError::invalid(&HandshakeError::NotAnUpgrade));
        }
    }
    let by = admit(shared, &route.endpoint, &path, parts).await?;
    let body = read_body(shared, &route.endpoint, parts, body).await?;
    let asked = Asked {
        shared,
        parts,
        path: &path,
        by,
        body,
    };
    match route.endpoint {
        // These wait for a device, within times of their own.
        Endpoint::InvokeMethod(name) => {
            let call = methods::parse(&asked.body)?;
            asked.may_invoke(&name.device, &call).await?;
            methods::invoke(shared, name, call).await
        }
        Endpoint::InvokeCommand(command) => {
            let call = digital_twins::asked(&command, &parts.uri, &asked.body)?;
            asked.may_invoke(&command.device, &call).await?;
            digital_twins::invoke(shared, command.device, call).await
        }
        endpoint => timeout(USE_CASE_DEADLINE, asked.answer(endpoint))
            .await
            .map_err(|_| ApiError::deadline())?,
    }
}

/// Reads the body of a call that has one, within the bound of its kind.
async fn read_body(
    shared: &Shared,
    endpoint: &Endpoint,
    parts: &Parts,
    body: &mut Body,
) -> Result<Bytes, ApiError> {
    let options = &shared.options.https;
    let most = match endpoint {
        Endpoint::PutDevice(_)
        | Endpoint::Many(_)
        | Endpoint::PatchTwin(_)
        | Endpoint::ReplaceTwin(_)
        | Endpoint::InvokeMethod(_)
        | Endpoint::InvokeCommand(_)
        | Endpoint::PatchDigitalTwin(_)
        | Endpoint::Query => options.max_body_bytes,
        Endpoint::Modules(_, call) if call.has_body() => options.max_body_bytes,
        Endpoint::Job(jobs::Call::Create(_)) => jobs::MAX_BODY_BYTES,
        Endpoint::Administer(call) if call.has_body() => admin::MAX_BODY_BYTES,
        _ => return Ok(Bytes::new()),
    };
    request::read_body_within(&parts.headers, body, most, options).await
}

impl Asked<'_> {
    fn actor(&self) -> Actor {
        audit::actor(Some(&self.by), self.parts.extensions.get(), "https")
    }

    fn if_match(&self) -> Result<IfMatch, ApiError> {
        request::if_match(&self.parts.headers)
    }

    async fn authorize(&self, access: &Access<'_>) -> Result<(), ApiError> {
        let origin = origin(self.parts);
        authorize(self.shared, &self.by, access, self.path, origin).await
    }

    /// Checks the right to the method that the body names.
    async fn may_invoke(&self, device: &DeviceId, call: &methods::Asked) -> Result<(), ApiError> {
        let access = Access {
            method: Some(&call.name),
            ..Access::to_device(Action::InvokeMethod, device)
        };
        self.authorize(&access).await
    }

    async fn answer(&self, endpoint: Endpoint) -> Result<Answer, ApiError> {
        let (shared, body) = (self.shared, &self.body);
        match endpoint {
            Endpoint::WatchTwin(name) => {
                twin_events::watch(shared, name, self.by.clone(), self.parts).await
            }
            Endpoint::Job(jobs::Call::Create(id)) => {
                let spec = jobs::parse(id, body, shared.peers.clock.now())?;
                let order = jobs::order(&spec)?;
                self.authorize(&jobs::access(&order)).await?;
                // How many a condition finds tells what is in their twins.
                if spec.condition.trim() != "*" {
                    self.authorize(&Access::to_hub(Action::TwinsRead)).await?;
                }
                jobs::create(shared, spec, self.actor()).await
            }
            Endpoint::Administer(call) => {
                let reading = Access::to_hub(Action::AdministrationRead);
                let caller = admin::Caller {
                    actor: self.actor(),
                    may_read: self.by.coverage(&reading, self.path) == Coverage::Yes,
                };
                admin::answer(shared, call, caller, self.if_match()?, body).await
            }
            Endpoint::Modules(device, call) => {
                let caller = modules::Caller {
                    actor: self.actor(),
                    is_policy: self.by.policy().is_some(),
                };
                modules::answer(shared, device, call, caller, self.if_match()?, body).await
            }
            Endpoint::Many(call) => {
                let caller = identities::Caller {
                    principal: &self.by,
                    actor: self.actor(),
                    origin: origin(self.parts),
                };
                bulk::answer(shared, call, caller, body).await
            }
            Endpoint::Query => {
                let page = query::ask(shared, &self.parts.headers, body).await?;
                // What is read shows in the query's text alone.
                if page.item_type == ItemType::DeviceJob {
                    self.authorize(&Access::to_hub(Action::JobsRead)).await?;
                }
                Ok(query::answer(page))
            }
            endpoint => use_case(shared, endpoint, self.parts, body, || self.actor()).await,
        }
    }
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
        | Endpoint::Query
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
