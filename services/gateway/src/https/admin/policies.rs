//! Shared access policies: read, create, replace, give new keys.

use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::policy::{Policy, check_policy_name};
use serde_json::Value;

use super::policy_json::{self, NewKeys, PolicySpec};
use super::{condition_on, not_found, read, settle_races};
use crate::https::answer::Answer;
use crate::https::error::ApiError;
use crate::https::openapi::schema::admin as schema;
use crate::https::request::parse_object;
use crate::shared::Shared;

/// Bytes of a key that the hub makes (auth.md §1).
const KEY_BYTES: usize = 32;

/// Lists the policies of the hub.
#[utoipa::path(
    get,
    path = "/admin/policies",
    tag = "administration",
    operation_id = "listPolicies",
    responses((status = 200, description = "All of them.", body = Vec<schema::Policy>)),
)]
pub(in crate::https) async fn list(shared: &Shared) -> Result<Answer, ApiError> {
    let policies = read(shared).await?.policies;
    let documents = policies.iter().map(|it| policy_json::document(it, true));
    Ok(Answer::json(&Value::Array(documents.collect())).unstored())
}

/// Reads a policy.
#[utoipa::path(
    get,
    path = "/admin/policies/{name}",
    tag = "administration",
    operation_id = "getPolicy",
    params(
        ("name" = schema::Name, Path, description = "The policy."),
    ),
    responses((status = 200, description = "The policy.", body = schema::Policy, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn get(shared: &Shared, name: &str) -> Result<Policy, ApiError> {
    let policies = read(shared).await?.policies;
    let found = policies.into_iter().find(|policy| policy.name == name);
    found.ok_or_else(|| not_found(name))
}

/// Creates a policy, or replaces one. Keys that are left out are made for a new one and kept for an old one.
#[utoipa::path(
    put,
    path = "/admin/policies/{name}",
    tag = "administration",
    operation_id = "putPolicy",
    params(
        ("name" = schema::Name, Path, description = "The policy."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = schema::NewPolicy,
    responses((status = 200, description = "The policy as it is now.", body = schema::Policy, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn put(
    shared: &Shared,
    name: &str,
    if_match: IfMatch,
    by: Actor,
    body: &[u8],
) -> Result<Policy, ApiError> {
    check_policy_name(name).map_err(|error| ApiError::invalid(&error))?;
    let spec = PolicySpec::parse(&parse_object(body)?, name)?;
    if if_match == IfMatch::Absent {
        let keys = spec.keys.clone().unwrap_or_else(|| mint_both(shared));
        return write(shared, spec.apply(name, keys), if_match, by).await;
    }
    let attempt = || async {
        let current = get(shared, name).await?;
        let condition = condition_on(current.etag_text(), &if_match)?;
        let keys = spec.keys.clone().unwrap_or(current.keys);
        write(shared, spec.apply(name, keys), condition, by.clone()).await
    };
    settle_races(&if_match, attempt).await
}

/// Gives a policy another primary key, or secondary key, or both. Tokens of the old ones hold no more.
#[utoipa::path(
    post,
    path = "/admin/policies/{name}/regenerate",
    tag = "administration",
    operation_id = "regeneratePolicyKeys",
    params(
        ("name" = schema::Name, Path, description = "The policy."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = schema::NewKeys,
    responses((status = 200, description = "The policy with its keys.", body = schema::Policy, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn regenerate(
    shared: &Shared,
    name: &str,
    if_match: IfMatch,
    by: Actor,
    body: &[u8],
) -> Result<Policy, ApiError> {
    let asked = NewKeys::parse(&parse_object(body)?)?;
    let mut minted = mint_both(shared);
    for (place, given) in asked.given.into_iter().enumerate() {
        if let Some(given) = given {
            minted[place] = given;
        }
    }
    let attempt = || async {
        let mut policy = get(shared, name).await?;
        let condition = condition_on(policy.etag_text(), &if_match)?;
        for place in asked.places {
            policy.keys[*place].clone_from(&minted[*place]);
        }
        write(shared, policy, condition, by.clone()).await
    };
    settle_races(&if_match, attempt).await
}

/// Deletes a policy; what lives by it ends.
#[utoipa::path(
    delete,
    path = "/admin/policies/{name}",
    tag = "administration",
    operation_id = "deletePolicy",
    params(
        ("name" = schema::Name, Path, description = "The policy."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    responses((status = 204, description = "It is gone.")),
)]
pub(in crate::https) async fn delete(
    shared: &Shared,
    name: String,
    if_match: IfMatch,
    by: Actor,
) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let twins = &shared.peers.twins;
    twins.delete_policy(hub, name, if_match, by).await?;
    Ok(Answer::empty())
}

async fn write(
    shared: &Shared,
    policy: Policy,
    if_match: IfMatch,
    by: Actor,
) -> Result<Policy, ApiError> {
    let hub = shared.options.hub.clone();
    let written = shared.peers.twins.put_policy(hub, policy, if_match, by);
    Ok(written.await?)
}

fn mint_both(shared: &Shared) -> [Vec<u8>; 2] {
    [(); 2].map(|()| {
        let mut key = [0; KEY_BYTES];
        shared.peers.ids.fill_random(&mut key);
        key.to_vec()
    })
}
