//! From method and path to what is asked.
//!
//! Paths are matched by hand: fixed parts without case, ids with it and percent-decoded once,
//! `+` as it stands, one slash at the end allowed (registry.md §0.1).

use axum::http::Method;
use downlink_domain::ErrorCode;
use downlink_domain::access::{Access, Action};
use downlink_domain::id::{DeviceId, IdentityName, LockToken};
use percent_encoding::percent_decode_str;

use super::admin;
use super::bulk;
use super::device::DeviceCall;
use super::digital_twins::Command;
use super::error::{ApiError, Shape};
use super::jobs;
use super::modules;
use super::openapi::Document;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    ListDevices,
    GetDevice(DeviceId),
    PutDevice(DeviceId),
    DeleteDevice(DeviceId),
    /// Many identities at once.
    Many(bulk::Call),
    /// Modules of a device.
    Modules(DeviceId, modules::Call),
    PurgeMessages(DeviceId),
    CountDevices,
    CountConnected,
    /// Over all twins of the hub.
    Query,
    GetTwin(IdentityName),
    PatchTwin(IdentityName),
    ReplaceTwin(IdentityName),
    WatchTwin(IdentityName),
    InvokeMethod(IdentityName),
    GetDigitalTwin(DeviceId),
    PatchDigitalTwin(DeviceId),
    InvokeCommand(Command),
    ReceiveFeedback,
    CompleteFeedback(LockToken),
    AbandonFeedback(LockToken),
    /// What a device or a module asks for.
    Device(IdentityName, DeviceCall),
    /// Jobs.
    Job(jobs::Call),
    /// Policies and certificate authorities.
    Administer(admin::Call),
    /// The description of the calls.
    Read(Document),
    /// The beginning of a WebSocket.
    OpenWebSocket,
    /// Part of the contract that this hub does not offer.
    NotOffered(&'static str),
}

/// A path that the contract knows, with its decoded segments.
pub(super) struct Route {
    pub(super) segments: Vec<String>,
    pub(super) endpoint: Endpoint,
    pub(super) shape: Shape,
    pub(super) door: Door,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Back-ends.
    Service,
    /// Devices and modules.
    Device,
    /// Both: who it is shows inside the WebSocket.
    Either,
    /// Whoever asks, with no credential.
    Open,
}

/// Why there is no route.
pub(super) struct Unrouted {
    pub(super) error: ApiError,
    pub(super) shape: Shape,
    /// What the path would take, for the `Allow` header.
    pub(super) allowed: Vec<Method>,
}

impl Endpoint {
    /// What the endpoint does, and to which device (auth.md §4, §6.3); `None` where any credential of a back-end will
    /// do. The method of a call is in its body.
    pub(super) fn access(&self) -> Option<Access<'_>> {
        let to_hub = |action| Some(Access::to_hub(action));
        let to_device = |action, id| Some(Access::to_device(action, id));
        match self {
            Self::ListDevices => to_hub(Action::DevicesRead),
            Self::CountDevices => to_hub(Action::RegistryStatisticsRead),
            Self::CountConnected => to_hub(Action::ServiceStatisticsRead),
            Self::GetDevice(id) => to_device(Action::DevicesRead, id),
            Self::PutDevice(id) => to_device(Action::DevicesWrite, id),
            Self::DeleteDevice(id) => to_device(Action::DevicesDelete, id),
            Self::Modules(id, call) => to_device(call.action(), id),
            Self::PurgeMessages(id) => to_device(Action::PurgeQueue, id),
            Self::Query => to_hub(Action::TwinsRead),
            Self::GetTwin(name) | Self::WatchTwin(name) => {
                to_device(Action::TwinsRead, &name.device)
            }
            Self::GetDigitalTwin(id) => to_device(Action::TwinsRead, id),
            Self::PatchTwin(name) | Self::ReplaceTwin(name) => {
                to_device(Action::TwinsWrite, &name.device)
            }
            Self::PatchDigitalTwin(id) => to_device(Action::TwinsWrite, id),
            Self::InvokeMethod(name) => to_device(Action::InvokeMethod, &name.device),
            Self::InvokeCommand(command) => to_device(Action::InvokeMethod, &command.device),
            Self::ReceiveFeedback | Self::CompleteFeedback(_) | Self::AbandonFeedback(_) => {
                to_hub(Action::ReceiveFeedback)
            }
            Self::Job(call) => to_hub(call.action()),
            Self::Administer(call) => to_hub(call.action()),
            // Which rights, stands in the body.
            Self::Many(_)
            | Self::Device(..)
            | Self::Read(_)
            | Self::OpenWebSocket
            | Self::NotOffered(_) => None,
        }
    }
}

/// Finds what `method` on `path` (not decoded, without its query) asks for.
pub(super) fn find(method: &Method, path: &str) -> Result<Route, Unrouted> {
    let unrouted = |error| Unrouted {
        error,
        shape: Shape::Classic,
        allowed: Vec::new(),
    };
    let segments = decode(path).map_err(unrouted)?;
    let lower: Vec<String> = segments.iter().map(|s| s.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let shape = match *lower.as_slice() {
        ["twins", .., "methods"] if lower.len() > 2 => Shape::Nested,
        ["digitaltwins", .., "commands", _] => Shape::Nested,
        _ => Shape::Classic,
    };
    let door = match *lower.as_slice() {
        ["devices", _, "messages" | "files", ..]
        | ["devices", _, "modules", _, "messages" | "files", ..] => Door::Device,
        ["$iothub" | "$servicebus", "websocket"] => Door::Either,
        ["openapi.json"] | ["docs", ..] => Door::Open,
        _ => Door::Service,
    };
    let known = known(&lower, &segments).map_err(|error| Unrouted {
        error,
        shape,
        allowed: Vec::new(),
    })?;
    if known.is_empty() {
        return Err(unrouted(nothing()));
    }
    let allowed: Vec<Method> = known.iter().map(|(method, _)| method.clone()).collect();
    let found = known.into_iter().find(|(known, _)| known == method);
    let (_, endpoint) = found.ok_or_else(|| Unrouted {
        error: ApiError::new(
            ErrorCode::GenericMethodNotAllowed,
            "the path does not take this method",
        ),
        shape,
        allowed,
    })?;
    Ok(Route {
        segments,
        endpoint,
        shape,
        door,
    })
}

/// The answer where there is nothing.
pub(super) fn nothing() -> ApiError {
    let text = "there is nothing at this path";
    ApiError::new(ErrorCode::GenericNotFound, text)
}

fn decode(path: &str) -> Result<Vec<String>, ApiError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let decoded = path.split('/').map(|segment| {
        let decoded = percent_decode_str(segment).decode_utf8();
        decoded.map(std::borrow::Cow::into_owned)
    });
    decoded
        .collect::<Result<_, _>>()
        .map_err(|_| ApiError::new(ErrorCode::ArgumentInvalid, "the path is not UTF-8"))
}

type Known = Vec<(Method, Endpoint)>;

/// What the path takes; empty when it is none of ours.
fn known(lower: &[&str], segments: &[String]) -> Result<Known, ApiError> {
    match *lower {
        ["devices", ref rest @ ..] => devices(rest, segments),
        ["twins", ref rest @ ..] => twins(rest, segments),
        ["statistics", "devices"] => Ok(vec![(Method::GET, Endpoint::CountDevices)]),
        ["statistics", "service"] => Ok(vec![(Method::GET, Endpoint::CountConnected)]),
        ["messages", "servicebound", ref rest @ ..] => service_bound(rest, segments),
        ["$iothub" | "$servicebus", "websocket"] => {
            Ok(vec![(Method::GET, Endpoint::OpenWebSocket)])
        }
        ["admin", ref rest @ ..] => Ok(admin::known(rest, segments)
            .into_iter()
            .map(|(method, call)| (method, Endpoint::Administer(call)))
            .collect()),
        ["jobs", "v2", ref rest @ ..] => {
            let known = jobs::known(rest, segments)?.into_iter();
            Ok(known
                .map(|(method, call)| (method, Endpoint::Job(call)))
                .collect())
        }
        ["jobs" | "$admin", ..] => Ok(any("import and export")),
        ["configurations", ..] => Ok(any("configurations")),
        ["digitaltwins", ref rest @ ..] => digital_twins(rest, segments),
        ref path => Ok(Document::at(path)
            .map(|document| (Method::GET, Endpoint::Read(document)))
            .into_iter()
            .collect()),
    }
}

fn devices(rest: &[&str], segments: &[String]) -> Result<Known, ApiError> {
    let id = || device_id(&segments[1]);
    Ok(match *rest {
        [] => vec![
            (Method::GET, Endpoint::ListDevices),
            (Method::POST, Endpoint::Many(bulk::Call::Write)),
        ],
        [name] => {
            let mut known = vec![
                (Method::GET, Endpoint::GetDevice(id()?)),
                (Method::PUT, Endpoint::PutDevice(id()?)),
                (Method::DELETE, Endpoint::DeleteDevice(id()?)),
            ];
            if name == "query" {
                known.push((Method::POST, Endpoint::Query));
            }
            known
        }
        ["keys", "regenerate"] => {
            vec![(Method::POST, Endpoint::Many(bulk::Call::RegenerateKeys))]
        }
        [_, "commands"] => vec![(Method::DELETE, Endpoint::PurgeMessages(id()?))],
        [_, "applyconfigurationcontent"] => {
            vec![(Method::POST, Endpoint::NotOffered("configurations"))]
        }
        [_, "modules"] => vec![(Method::GET, Endpoint::Modules(id()?, modules::Call::List))],
        [_, "modules", _] => {
            let module = segments[3]
                .parse()
                .map_err(|error| ApiError::invalid(&error))?;
            let device = id()?;
            modules::Call::known(&module)
                .map(|(method, call)| (method, Endpoint::Modules(device.clone(), call)))
                .into()
        }
        [_, "messages" | "files", ..] => own(id()?.into(), &rest[1..], &segments[2..]),
        [_, "modules", _, "messages" | "files", ..] => {
            let module = segments[3].parse();
            let name = IdentityName {
                device: id()?,
                module: Some(module.map_err(|error| ApiError::invalid(&error))?),
            };
            own(name, &rest[3..], &segments[4..])
        }
        _ => Vec::new(),
    })
}

/// What an identity asks for below its own path (http-device.md §1.1).
fn own(name: IdentityName, rest: &[&str], segments: &[String]) -> Known {
    let reference = || segments[2].clone();
    let (method, call) = match *rest {
        ["messages", "events"] => (Method::POST, DeviceCall::SendTelemetry),
        ["messages", "devicebound"] => (Method::GET, DeviceCall::Receive),
        ["messages", "devicebound", _] => (Method::DELETE, DeviceCall::Complete(reference())),
        ["messages", "devicebound", _, "abandon"] => {
            (Method::POST, DeviceCall::Abandon(reference()))
        }
        ["files"] | ["files", "notifications"] | ["files", "notifications", _] => {
            (Method::POST, DeviceCall::UploadFile)
        }
        _ => return Vec::new(),
    };
    vec![(method, Endpoint::Device(name, call))]
}

fn twins(rest: &[&str], segments: &[String]) -> Result<Known, ApiError> {
    let (name, rest) = match *rest {
        [_, "modules", _, ref rest @ ..] => (module(&segments[1], &segments[3])?, rest),
        [_, ref rest @ ..] => (device_id(&segments[1])?.into(), rest),
        [] => return Ok(Vec::new()),
    };
    Ok(match *rest {
        [] => vec![
            (Method::GET, Endpoint::GetTwin(name.clone())),
            (Method::PATCH, Endpoint::PatchTwin(name.clone())),
            (Method::PUT, Endpoint::ReplaceTwin(name)),
        ],
        ["methods"] => vec![(Method::POST, Endpoint::InvokeMethod(name))],
        ["events"] => vec![(Method::GET, Endpoint::WatchTwin(name))],
        _ => Vec::new(),
    })
}

fn digital_twins(rest: &[&str], segments: &[String]) -> Result<Known, ApiError> {
    let id = || device_id(&segments[1]);
    let command = |component: Option<usize>, name: usize| {
        Ok::<_, ApiError>(Endpoint::InvokeCommand(Command {
            device: id()?,
            component: component.map(|at| segments[at].clone()),
            name: segments[name].clone(),
        }))
    };
    Ok(match *rest {
        [_] => vec![
            (Method::GET, Endpoint::GetDigitalTwin(id()?)),
            (Method::PATCH, Endpoint::PatchDigitalTwin(id()?)),
        ],
        [_, "commands", _] => vec![(Method::POST, command(None, 3)?)],
        [_, "components", _, "commands", _] => vec![(Method::POST, command(Some(3), 5)?)],
        _ => Vec::new(),
    })
}

fn module(device: &str, module: &str) -> Result<IdentityName, ApiError> {
    let module = module.parse();
    Ok(IdentityName {
        device: device_id(device)?,
        module: Some(module.map_err(|error| ApiError::invalid(&error))?),
    })
}

fn service_bound(rest: &[&str], segments: &[String]) -> Result<Known, ApiError> {
    let lock = || lock_token(&segments[3]);
    Ok(match *rest {
        ["feedback"] => vec![(Method::GET, Endpoint::ReceiveFeedback)],
        ["feedback", _] => vec![(Method::DELETE, Endpoint::CompleteFeedback(lock()?))],
        ["feedback", _, "abandon"] => vec![(Method::POST, Endpoint::AbandonFeedback(lock()?))],
        ["filenotifications", ..] => any("file uploads"),
        _ => Vec::new(),
    })
}

fn any(what: &'static str) -> Known {
    [
        Method::GET,
        Method::PUT,
        Method::POST,
        Method::PATCH,
        Method::DELETE,
    ]
    .map(|method| (method, Endpoint::NotOffered(what)))
    .into()
}

fn device_id(text: &str) -> Result<DeviceId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(&error))
}

/// Takes the token with the quotes of the `ETag` header it came in, or without.
fn lock_token(text: &str) -> Result<LockToken, ApiError> {
    let bare = text.trim_matches('"');
    bare.parse().map_err(|error| ApiError::invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(method: &Method, path: &str) -> Option<Endpoint> {
        find(method, path).ok().map(|route| route.endpoint)
    }

    fn device(id: &str) -> DeviceId {
        id.parse().unwrap()
    }

    #[test]
    fn fixed_parts_match_without_case_and_with_a_slash_at_the_end() {
        for path in ["/devices", "/devices/", "/Devices", "/DEVICES/"] {
            assert_eq!(
                endpoint(&Method::GET, path),
                Some(Endpoint::ListDevices),
                "{path}"
            );
        }
        let twin = Endpoint::GetTwin(device("Dev-1").into());
        assert_eq!(endpoint(&Method::GET, "/Twins/Dev-1/"), Some(twin));
        for path in [
            "/messages/serviceBound/feedback",
            "/messages/servicebound/Feedback",
        ] {
            assert_eq!(
                endpoint(&Method::GET, path),
                Some(Endpoint::ReceiveFeedback)
            );
        }
    }

    #[test]
    fn ids_are_decoded_once_and_taken_raw() {
        for (path, id) in [
            ("/devices/a%2Bb", "a+b"),
            ("/devices/a+b", "a+b"),
            ("/devices/a%2540b", "a%40b"),
            ("/devices/it's(1),=@;$*!:", "it's(1),=@;$*!:"),
            ("/devices/100%", "100%"),
            ("/devices/commands", "commands"),
        ] {
            let expected = Endpoint::GetDevice(device(id));
            assert_eq!(endpoint(&Method::GET, path), Some(expected), "{path}");
        }
    }

    #[test]
    fn websockets_have_two_paths_of_any_letter_case_and_one_method() {
        for path in [
            "/$iothub/websocket",
            "/$iothub/websocket/",
            "/$IoTHub/WebSocket",
            "/%24iothub/websocket",
            "/$servicebus/websocket",
            "/%24ServiceBus/websocket/",
        ] {
            let found = find(&Method::GET, path).ok();
            let found = found.map(|route| (route.endpoint, route.door));
            assert_eq!(
                found,
                Some((Endpoint::OpenWebSocket, Door::Either)),
                "{path}"
            );
            let refused = find(&Method::POST, path).map(|_| ()).unwrap_err();
            assert_eq!(refused.error.code, ErrorCode::GenericMethodNotAllowed);
        }
        assert_eq!(endpoint(&Method::GET, "/$iothub/websocket/more"), None);
    }

    #[test]
    fn a_bad_id_is_an_argument_error() {
        for path in [
            "/devices/a%20b",
            "/devices/a%2Fb",
            "/twins/%FF",
            "/devices//commands",
        ] {
            let Err(unrouted) = find(&Method::DELETE, path).map(|_| ()) else {
                panic!("{path}");
            };
            assert_eq!(unrouted.error.code, ErrorCode::ArgumentInvalid, "{path}");
        }
    }

    #[test]
    fn an_unknown_path_is_not_found_and_a_wrong_method_not_allowed() {
        let failure = |method, path| find(&method, path).map(|_| ()).unwrap_err();
        for path in [
            "/",
            "",
            "/nothing",
            "/devices/a/b",
            "/twins",
            "/twins/a/b/c",
        ] {
            let code = failure(Method::GET, path).error.code;
            assert_eq!(code, ErrorCode::GenericNotFound, "{path}");
        }
        let wrong = failure(Method::POST, "/twins/dev-1");
        assert_eq!(wrong.error.code, ErrorCode::GenericMethodNotAllowed);
        assert_eq!(wrong.allowed, [Method::GET, Method::PATCH, Method::PUT]);
    }

    #[test]
    fn what_is_not_offered_says_so() {
        for path in ["/jobs/create", "/$admin/x"] {
            let found = endpoint(&Method::POST, path);
            assert!(matches!(found, Some(Endpoint::NotOffered(_))), "{path}");
        }
        let route = find(&Method::POST, "/devices/d/messages/events")
            .ok()
            .unwrap();
        assert_eq!(route.door, Door::Device);
    }

    #[test]
    fn modules_have_twins_and_methods_beside_their_device() {
        let module = IdentityName {
            device: device("d"),
            module: Some("M".parse().unwrap()),
        };
        for (method, path, expected) in [
            (
                Method::GET,
                "/twins/d/modules/M",
                Endpoint::GetTwin(module.clone()),
            ),
            (
                Method::PATCH,
                "/twins/d/Modules/M/",
                Endpoint::PatchTwin(module.clone()),
            ),
            (
                Method::PUT,
                "/twins/d/modules/M",
                Endpoint::ReplaceTwin(module.clone()),
            ),
            (
                Method::GET,
                "/twins/d/modules/M/events",
                Endpoint::WatchTwin(module.clone()),
            ),
            (
                Method::POST,
                "/twins/d/modules/M/methods",
                Endpoint::InvokeMethod(module),
            ),
            (
                Method::GET,
                "/twins/d/events",
                Endpoint::WatchTwin(device("d").into()),
            ),
        ] {
            assert_eq!(endpoint(&method, path), Some(expected), "{path}");
        }
        assert_eq!(endpoint(&Method::GET, "/twins/d/modules"), None);
    }

    #[test]
    fn commands_of_a_digital_twin_name_their_component() {
        let command = |component: Option<&str>| {
            Endpoint::InvokeCommand(Command {
                device: device("d"),
                component: component.map(str::to_owned),
                name: "Reboot".to_owned(),
            })
        };
        let post = |path| endpoint(&Method::POST, path);
        assert_eq!(post("/digitaltwins/d/commands/Reboot"), Some(command(None)));
        assert_eq!(
            post("/digitalTwins/d/components/C%201/commands/Reboot"),
            Some(command(Some("C 1")))
        );
        assert_eq!(post("/digitaltwins/d/components/c"), None);
    }

    #[test]
    fn method_calls_have_the_nested_shape() {
        for path in ["/twins/d/methods", "/twins/d/modules/m/methods"] {
            let shape = find(&Method::POST, path).ok().unwrap().shape;
            assert_eq!(shape, Shape::Nested);
        }
        let shape = find(&Method::GET, "/twins/methods").ok().unwrap().shape;
        assert_eq!(shape, Shape::Classic);
    }
}
