//! The description of the calls in `OpenAPI`, made from what stands above each handler, and the page that shows it.
//!
//! How a new call gets into it: `docs/rest.md`. What calls have in common (`api-version`, credentials, failures) is added
//! here, so that no handler repeats it.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Response};
use bytes::Bytes;
use utoipa::OpenApi;

use self::common::Common;
use super::{
    admin, bulk, device, devices, digital_twins, jobs, messages, methods, modules, query,
    statistics, twin_events, twins,
};

mod common;
pub(super) mod schema;
#[cfg(test)]
mod tests;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Downlink",
        description = "The calls that back-ends and devices make over HTTPS. They are those of Azure IoT Hub's service \
                       and device interfaces, and the administration of the hub itself below `/admin`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        devices::list,
        devices::get,
        devices::put,
        devices::delete,
        modules::list,
        modules::get,
        modules::put,
        modules::delete,
        bulk::write,
        bulk::regenerate_keys,
        statistics::devices,
        statistics::connected,
        query::ask,
        twins::get,
        twins::patch,
        twins::replace,
        twin_events::watch,
        digital_twins::get,
        digital_twins::patch,
        digital_twins::invoke,
        methods::invoke,
        jobs::create,
        jobs::get,
        jobs::cancel,
        jobs::list,
        messages::purge,
        messages::receive_feedback,
        messages::complete_feedback,
        messages::abandon_feedback,
        device::telemetry::store,
        device::messages::receive,
        device::messages::complete,
        device::messages::abandon,
        admin::policies::list,
        admin::policies::get,
        admin::policies::put,
        admin::policies::delete,
        admin::policies::regenerate,
        admin::authorities::list,
        admin::authorities::get,
        admin::authorities::put,
        admin::authorities::delete,
        admin::authorities::challenge,
        admin::authorities::verify,
        admin::limits::get,
        admin::limits::put,
        admin::limits::patch,
        admin::limits::list_devices,
        admin::limits::get_device,
        admin::limits::put_device,
        admin::limits::delete_device,
    ),
    // What bodies name comes by itself; what paths and the common parts name does not.
    components(schemas(
        schema::IdentityId,
        schema::Lock,
        schema::admin::Name,
        schema::failure::ClassicFailure,
        schema::failure::FlatFailure,
        schema::identity::Top,
        schema::job::JobName,
    )),
    tags(
        (name = "identities", description = "Devices and modules, and how many there are."),
        (name = "twins", description = "What devices should be, and what they say they are."),
        (name = "methods", description = "Calls to devices that are online."),
        (name = "jobs", description = "Twin updates and method calls for many devices."),
        (name = "messages", description = "Queues of cloud-to-device messages and their feedback."),
        (name = "devices", description = "What devices and modules themselves ask for."),
        (name = "administration", description = "Policies, certificate authorities and limits of the hub."),
    ),
    modifiers(&Common),
)]
struct Described;

/// The description as JSON, made once.
static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| {
    // Maps with text as keys, numbers and text: there is nothing that JSON cannot hold.
    let described = Described::openapi().to_json().unwrap_or_default();
    Bytes::from(described)
});

/// What is served to whoever asks: it says nothing of this hub but its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// `/openapi.json`.
    Description,
    /// `/docs`.
    Page,
    /// `/docs/page.js`.
    Script,
    /// `/docs/page.css`.
    Style,
}

/// The page runs its own script alone and asks this host alone.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

impl Document {
    pub(super) fn at(path: &[&str]) -> Option<Self> {
        match *path {
            ["openapi.json"] => Some(Self::Description),
            ["docs"] => Some(Self::Page),
            ["docs", "page.js"] => Some(Self::Script),
            ["docs", "page.css"] => Some(Self::Style),
            _ => None,
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let (content_type, body) = match self {
            Self::Description => ("application/json; charset=utf-8", DESCRIPTION.clone()),
            Self::Page => (
                "text/html; charset=utf-8",
                bundled(include_str!("openapi/page.html")),
            ),
            Self::Script => (
                "text/javascript; charset=utf-8",
                bundled(include_str!("openapi/page.js")),
            ),
            Self::Style => (
                "text/css; charset=utf-8",
                bundled(include_str!("openapi/page.css")),
            ),
        };
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
        let no_sniff = HeaderValue::from_static("nosniff");
        headers.insert(HeaderName::from_static("x-content-type-options"), no_sniff);
        response
    }
}

fn bundled(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
