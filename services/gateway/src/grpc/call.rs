//! One call: who makes it, until when.

use std::future::pending;
use std::sync::Arc;

use downlink_domain::access::{Access, Action, Actor};
use downlink_domain::limits::HubOperation;
use downlink_ports::ItemType;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Status};

use super::status;
use crate::arrival::Arrival;
use crate::audit::{self, Origin};
use crate::authenticate::{Denied, Principal};
use crate::https::error::ApiError;
use crate::https::serve::Activity;
use crate::limits::class_of;
use crate::metrics::Door;
use crate::shared::Shared;

/// What the gate knows of a call.
pub(super) struct Call {
    pub(super) principal: Principal,
    /// The caller's.
    pub(super) deadline: Option<Instant>,
    /// Of the connection it came on.
    pub(super) activity: Option<Arc<Activity>>,
    /// How that connection came.
    pub(super) arrival: Option<Arc<Arrival>>,
}

/// Why a stream ends although nobody has closed it.
pub(super) enum Ending {
    /// Its caller waits no longer: what is under way is given up.
    Deadline,
    /// Its token has run out or counts no more, or the node goes away: what was taken is finished.
    Soft(Status),
}

impl Call {
    /// Splits a request that has passed the gate.
    pub(super) fn open<T>(request: Request<T>) -> Result<(Arc<Self>, T), ApiError> {
        let (_, extensions, message) = request.into_parts();
        let call = extensions.get::<Arc<Self>>().cloned();
        let call = call.ok_or_else(|| {
            let code = downlink_domain::ErrorCode::ServerError;
            ApiError::new(code, "the call did not pass its gate")
        })?;
        Ok((call, message))
    }

    /// Who asks, for the audit.
    pub(super) fn actor(&self) -> Actor {
        audit::actor(Some(&self.principal), self.arrival.as_ref(), "grpc")
    }

    /// Refuses a caller without the right to do what `access` asks to what `path` names, which is the path of the same
    /// thing over HTTPS or AMQP: tokens are scoped by it.
    pub(super) async fn authorize(
        &self,
        shared: &Shared,
        access: &Access<'_>,
        path: &[&str],
    ) -> Result<(), ApiError> {
        let checking = shared
            .authenticator
            .authorize(&self.principal, access, path);
        let checked = checking.await;
        checked.inspect_err(|denied| self.note(shared, access.action, path, denied))?;
        match class_of(access.action) {
            // They take of the rate by what they bring.
            None | Some(HubOperation::C2dSend | HubOperation::MethodCall) => {}
            Some(class) => shared.limits.admit(class, 1).await?,
        }
        Ok(())
    }

    /// Refuses a caller without the right to read the twins of the whole hub, and takes of the rate of queries.
    pub(super) async fn authorize_query(&self, shared: &Shared) -> Result<(), ApiError> {
        let (access, path) = (Access::to_hub(Action::TwinsRead), ["devices", "query"]);
        let authenticator = &shared.authenticator;
        let checked = authenticator
            .authorize(&self.principal, &access, &path)
            .await;
        checked.inspect_err(|denied| self.note(shared, access.action, &path, denied))?;
        shared.limits.admit(HubOperation::Query, 1).await?;
        Ok(())
    }

    /// Refuses a caller without the right to rows of this kind; which they are shows in the query's text alone.
    pub(super) async fn authorize_rows(
        &self,
        shared: &Shared,
        kind: ItemType,
    ) -> Result<(), ApiError> {
        if kind != ItemType::DeviceJob {
            return Ok(());
        }
        let (access, path) = (Access::to_hub(Action::JobsRead), ["devices", "query"]);
        self.authorize(shared, &access, &path).await
    }

    /// Refuses a caller without the right to do `action` to any device; to which, is to be checked for each.
    pub(super) fn authorize_any(
        &self,
        shared: &Shared,
        action: Action,
        path: &[&str],
    ) -> Result<(), ApiError> {
        let authenticator = &shared.authenticator;
        let checked = authenticator.authorize_any(&self.principal, action, path);
        checked.inspect_err(|denied| self.note(shared, action, path, denied))?;
        Ok(())
    }

    fn note(&self, shared: &Shared, action: Action, path: &[&str], denied: &Denied) {
        let (origin, principal) = (self.origin(), &self.principal);
        shared.audit.denied(origin, principal, action, path, denied);
    }

    /// Where the caller came from.
    pub(super) fn origin(&self) -> Origin {
        Origin::http(Door::Grpc, self.arrival.as_ref())
    }

    /// Waits until a stream of this call must end.
    ///
    /// # Cancellation
    /// Safe: it only waits.
    pub(super) async fn ending(&self, shared: &Shared) -> Ending {
        let grace_ends_at = self.principal.expires_at() + shared.options.grpc.token_grace;
        let deadline = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = deadline => Ending::Deadline,
            () = shared.peers.clock.sleep_until(grace_ends_at) => Ending::Soft(status::expired()),
            () = shared.access.ended(self.principal.credential()) => Ending::Soft(status::revoked()),
            () = shared.lifecycle.draining() => Ending::Soft(status::going_away()),
        }
    }
}
