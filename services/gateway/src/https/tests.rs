//! The door driven in process, everything behind it in memory.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, IF_MATCH};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError};
use downlink_ports::MethodApi;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;
use tower::ServiceExt;

use super::router;
use crate::fakes::TestHub;

mod authorities;
mod bulk;
mod catalogue;
mod connections;
mod conventions;
mod device;
mod device_messages;
mod device_telemetry;
mod digital_twins;
mod identities;
mod jobs;
mod limits;
mod messages;
mod methods;
mod modules;
mod policies;
mod queries;
mod rights;
mod twins;
mod watching;

const VERSION: &str = "api-version=2021-04-12";

/// A request in the making.
struct Ask<'a> {
    hub: &'a TestHub,
    request: axum::http::request::Builder,
    body: String,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Asks with a token of `iothubowner` and the usual version; `path` has no query.
fn ask<'a>(hub: &'a TestHub, method: Method, path: &str) -> Ask<'a> {
    ask_with(
        hub,
        method,
        &format!("{path}?{VERSION}"),
        &hub.policy_token("iothubowner"),
    )
}

/// Asks for `uri` as it stands.
fn ask_with<'a>(hub: &'a TestHub, method: Method, uri: &str, token: &str) -> Ask<'a> {
    let request = Request::builder().method(method).uri(uri);
    Ask {
        hub,
        request: request.header(AUTHORIZATION, token),
        body: String::new(),
    }
}

impl Ask<'_> {
    fn if_match(mut self, condition: &str) -> Self {
        self.request = self.request.header(IF_MATCH, condition);
        self
    }

    fn body(mut self, body: &Value) -> Self {
        self.body = body.to_string();
        self
    }

    fn text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    async fn send(self) -> Reply {
        let request = self.request.body(Body::from(self.body)).unwrap();
        let router = router(Arc::clone(&self.hub.shared));
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends and gives the body of a success.
    #[track_caller]
    fn json(self) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.send().await;
            assert_eq!(reply.status, StatusCode::OK, "{caller}: {:?}", reply.body);
            reply.json()
        }
    }

    /// Sends and gives status and code of a failure.
    async fn code(self) -> (u16, String) {
        let reply = self.send().await;
        let code = reply.headers.get("iothub-errorcode");
        let code = code.map(|code| code.to_str().unwrap().to_owned());
        (reply.status.as_u16(), code.unwrap_or_default())
    }
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A method router that writes down its calls and gives one answer.
struct Scripted {
    calls: Mutex<Vec<MethodCall>>,
    answer: Result<MethodAnswer, MethodError>,
}

#[async_trait]
impl MethodApi for Scripted {
    async fn invoke(&self, call: MethodCall) -> Result<MethodAnswer, MethodError> {
        self.calls.lock().push(call);
        self.answer.clone()
    }
}

/// A hub with `dev-1`, all of whose method calls end in `answer`.
async fn hub_answering(answer: Result<MethodAnswer, MethodError>) -> (TestHub, Arc<Scripted>) {
    let mut hub = TestHub::new().await;
    hub.device("dev-1").await;
    let scripted = Arc::new(Scripted {
        calls: Mutex::default(),
        answer,
    });
    let shared = Arc::get_mut(&mut hub.shared).expect("nobody else holds it yet");
    shared.peers.methods = Arc::clone(&scripted) as Arc<dyn MethodApi>;
    (hub, scripted)
}
