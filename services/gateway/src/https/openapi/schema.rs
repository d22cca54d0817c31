//! Shapes of bodies, for the description alone: handlers build and read JSON themselves.
//!
//! Whether they are true is found out by the property tests that run against the served description.

#![expect(
    dead_code,
    reason = "nothing is ever made of these types but their description"
)]
#![expect(
    clippy::struct_field_names,
    reason = "members have the names of the contract"
)]

pub(in crate::https) mod admin;
pub(in crate::https) mod bulk;
pub(in crate::https) mod failure;
pub(in crate::https) mod identity;
pub(in crate::https) mod job;
pub(in crate::https) mod limits;
pub(in crate::https) mod message;
pub(in crate::https) mod method;
pub(in crate::https) mod query;
pub(in crate::https) mod twin;

use utoipa::ToSchema;

/// Id of a device or module; case counts.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 128,
    pattern = "^[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}$",
    example = "boiler-7"
)]
pub(in crate::https) struct IdentityId(String);

/// An instant in UTC, with seven places of a second.
#[derive(ToSchema)]
#[schema(format = DateTime, example = "2026-01-05T09:12:31.4120000Z")]
pub(in crate::https) struct Instant(String);

/// A lock, as the `ETag` names it; with quotes or without.
#[derive(ToSchema)]
#[schema(format = "uuid")]
pub(in crate::https) struct Lock(String);
