//! Administration of the hub: its policies with their keys, its certificate authorities, and its limits.
//!
//! Azure keeps this outside of a hub, so paths and documents are the product's own; `api-version`, credentials, conditions
//! and errors are those of the other calls. Whoever may write but not read is never shown a key.

use axum::http::Method;
use downlink_domain::ErrorCode;
use downlink_domain::access::{Action, Actor};
use downlink_domain::device::IfMatch;
use downlink_ports::AccessSnapshot;

use super::answer::Answer;
use super::error::ApiError;
use crate::shared::Shared;

pub(super) mod authorities;
mod authority_json;
pub(super) mod limits;
pub(super) mod policies;
mod policy_json;

/// Most bytes of a body: a certificate, or a policy with the largest scope, and room to spare.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

/// How often a write is tried that others keep overtaking.
const MAX_TRIES: usize = 5;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    ListPolicies,
    GetPolicy(String),
    PutPolicy(String),
    DeletePolicy(String),
    RegenerateKeys(String),
    ListAuthorities,
    GetAuthority(String),
    PutAuthority(String),
    DeleteAuthority(String),
    ChallengeAuthority(String),
    VerifyAuthority(String),
    GetLimits,
    PutLimits,
    PatchLimits,
    ListDeviceLimits,
    GetDeviceLimits(String),
    PutDeviceLimits(String),
    DeleteDeviceLimits(String),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) actor: Actor,
    /// Whether it may read what it has written.
    pub(super) may_read: bool,
}

impl Call {
    /// What the call does.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::ListPolicies
            | Self::GetPolicy(_)
            | Self::ListAuthorities
            | Self::GetAuthority(_)
            | Self::GetLimits
            | Self::ListDeviceLimits
            | Self::GetDeviceLimits(_) => Action::AdministrationRead,
            Self::PutPolicy(_)
            | Self::DeletePolicy(_)
            | Self::RegenerateKeys(_)
            | Self::PutAuthority(_)
            | Self::DeleteAuthority(_)
            | Self::ChallengeAuthority(_)
            | Self::VerifyAuthority(_)
            | Self::PutLimits
            | Self::PatchLimits
            | Self::PutDeviceLimits(_)
            | Self::DeleteDeviceLimits(_) => Action::AdministrationWrite,
        }
    }

    /// Whether the call says more in its body.
    pub(super) fn has_body(&self) -> bool {
        matches!(
            self,
            Self::PutPolicy(_)
                | Self::RegenerateKeys(_)
                | Self::PutAuthority(_)
                | Self::VerifyAuthority(_)
                | Self::PutLimits
                | Self::PatchLimits
                | Self::PutDeviceLimits(_)
        )
    }
}

/// What a path below `/admin` takes; `segments` are those of the whole path. Empty when there is nothing.
pub(super) fn known(rest: &[&str], segments: &[String]) -> Vec<(Method, Call)> {
    let name = || segments.get(2).cloned().unwrap_or_default();
    match *rest {
        ["policies"] => vec![(Method::GET, Call::ListPolicies)],
        ["policies", _] => vec![
            (Method::GET, Call::GetPolicy(name())),
            (Method::PUT, Call::PutPolicy(name())),
            (Method::DELETE, Call::DeletePolicy(name())),
        ],
        ["policies", _, "regenerate"] => vec![(Method::POST, Call::RegenerateKeys(name()))],
        ["certificates"] => vec![(Method::GET, Call::ListAuthorities)],
        ["certificates", _] => vec![
            (Method::GET, Call::GetAuthority(name())),
            (Method::PUT, Call::PutAuthority(name())),
            (Method::DELETE, Call::DeleteAuthority(name())),
        ],
        ["certificates", _, "verificationcode"] => {
            vec![(Method::POST, Call::ChallengeAuthority(name()))]
        }
        ["limits"] => vec![
            (Method::GET, Call::GetLimits),
            (Method::PUT, Call::PutLimits),
            (Method::PATCH, Call::PatchLimits),
        ],
        ["limits", "devices"] => vec![(Method::GET, Call::ListDeviceLimits)],
        ["limits", "devices", _] => {
            let id = || segments.get(3).cloned().unwrap_or_default();
            vec![
                (Method::GET, Call::GetDeviceLimits(id())),
                (Method::PUT, Call::PutDeviceLimits(id())),
                (Method::DELETE, Call::DeleteDeviceLimits(id())),
            ]
        }
        ["certificates", _, "verify"] => vec![(Method::POST, Call::VerifyAuthority(name()))],
        _ => Vec::new(),
    }
}

/// Does what is asked.
pub(super) async fn answer(
    shared: &Shared,
    call: Call,
    caller: Caller,
    if_match: IfMatch,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let Caller {
        actor: by,
        may_read,
    } = caller;
    let policy = |policy| policy_json::answer(&policy, may_read);
    let authority = |authority| authority_json::answer(&authority);
    Ok(match call {
        Call::ListPolicies => policies::list(shared).await?,
        Call::GetPolicy(name) => policy(policies::get(shared, &name).await?),
        Call::PutPolicy(name) => policy(policies::put(shared, &name, if_match, by, body).await?),
        Call::RegenerateKeys(name) => {
            policy(policies::regenerate(shared, &name, if_match, by, body).await?)
        }
        Call::DeletePolicy(name) => policies::delete(shared, name, if_match, by).await?,
        Call::ListAuthorities => authorities::list(shared).await?,
        Call::GetAuthority(name) => authority(authorities::get(shared, &name).await?),
        Call::PutAuthority(name) => {
            authority(authorities::put(shared, &name, if_match, by, body).await?)
        }
        Call::ChallengeAuthority(name) => {
            authority(authorities::challenge(shared, &name, if_match, by).await?)
        }
        Call::VerifyAuthority(name) => {
            authority(authorities::verify(shared, &name, if_match, by, body).await?)
        }
        Call::GetLimits => limits::get(shared).await?,
        Call::PutLimits => limits::put(shared, if_match, by, body).await?,
        Call::PatchLimits => limits::patch(shared, if_match, by, body).await?,
        Call::ListDeviceLimits => limits::list_devices(shared).await?,
        Call::GetDeviceLimits(id) => limits::get_device(shared, &id).await?,
        Call::PutDeviceLimits(id) => limits::put_device(shared, &id, if_match, by, body).await?,
        Call::DeleteDeviceLimits(id) => limits::delete_device(shared, &id, if_match, by).await?,
        Call::DeleteAuthority(name) => authorities::delete(shared, name, if_match, by).await?,
    })
}

/// What stands in the store now: what the gateway believes by may be older.
async fn read(shared: &Shared) -> Result<AccessSnapshot, ApiError> {
    let hub = shared.options.hub.clone();
    let snapshot = shared.peers.twins.access(hub, None).await?;
    Ok(snapshot.unwrap_or_default())
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(
        ErrorCode::GenericNotFound,
        format!("{name:?} does not exist"),
    )
}

/// The condition of a write that rests on a record with `etag` and must not lose what others write meanwhile.
fn condition_on(etag: String, if_match: &IfMatch) -> Result<IfMatch, ApiError> {
    if *if_match == IfMatch::Absent || if_match.names(&etag) {
        return Ok(IfMatch::Etag(etag));
    }
    Err(ApiError::new(
        ErrorCode::PreconditionFailed,
        "the etag is not the current one",
    ))
}

/// Reads, changes and writes again where another write came between, unless the caller said what it rests on.
async fn settle_races<T, F>(if_match: &IfMatch, attempt: impl Fn() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    for _ in 1..MAX_TRIES {
        let outcome = attempt().await;
        let is_overtaken = outcome
            .as_ref()
            .is_err_and(|error| error.code == ErrorCode::PreconditionFailed);
        if !is_overtaken || matches!(if_match, IfMatch::Etag(_)) {
            return outcome;
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often a write is tried that is overtaken so many times, and how it ends.
    async fn tries(overtaken: usize, if_match: &IfMatch) -> (usize, Result<(), ErrorCode>) {
        let tried = Cell::new(0);
        let attempt = || async {
            tried.set(tried.get() + 1);
            if tried.get() <= overtaken {
                return Err(ApiError::new(ErrorCode::PreconditionFailed, "overtaken"));
            }
            Ok(())
        };
        let outcome = settle_races(if_match, attempt).await;
        (tried.get(), outcome.map_err(|error| error.code))
    }

    #[tokio::test]
    async fn a_write_that_others_overtake_is_tried_again_unless_it_rests_on_an_etag() {
        let overtaken = Err(ErrorCode::PreconditionFailed);
        for if_match in [IfMatch::Any, IfMatch::Absent] {
            assert_eq!(tries(0, &if_match).await, (1, Ok(())));
            assert_eq!(tries(4, &if_match).await, (5, Ok(())));
            assert_eq!(tries(5, &if_match).await, (5, overtaken));
        }
        let etag = IfMatch::Etag("MQ==".to_owned());
        assert_eq!(tries(1, &etag).await, (1, overtaken));
    }
}
