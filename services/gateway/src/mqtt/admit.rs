//! From the first byte to CONNACK: read CONNECT, check who it is, restore the session, enter the hub.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};
use downlink_domain::Timestamp;
use downlink_domain::code::Connack as Answer;
use downlink_domain::id::IdentityName;
use downlink_domain::presence::Protocol;
use downlink_mqtt::identity::ClientIdentity;
use downlink_mqtt::limits::{MAX_CONNECT_PACKET_BYTES, MAX_FIELD_BYTES, MAX_PACKET_BYTES};
use downlink_mqtt::packet::{ClientPacket, Connack, ConnectReturnCode, FrameReader};
use downlink_mqtt::session::Refusal as ConnectRefusal;
use downlink_mqtt::session::{AwaitingConnect, ConnectRequest, Session, SessionOptions, Will};
use downlink_ports::PeerError;
use tokio::io::AsyncRead;
use tokio::time::timeout_at;
use tracing::warn;

use super::conversation::{Held, Persistence, Work, to_hub_subscriptions};
use super::{scratch, stored_session};
use crate::arrival::{Arrival, Carrier};
use crate::audit::Origin;
use crate::authenticate::{AuthenticatedDevice, Cause, Credential, Refusal, RefusalKind};
use crate::device::{DeviceSession, OpenError, Stamp};
use crate::metrics::{Door, RefusedFor};
use crate::shared::Shared;

/// A connection whose CONNECT was accepted; its CONNACK is the first thing to write.
pub(super) struct Admitted {
    pub(super) frames: FrameReader,
    /// What the client sent after CONNECT without waiting for the answer.
    pub(super) backlog: Bytes,
    pub(super) machine: Session<Held>,
    pub(super) session: DeviceSession<Work>,
    pub(super) persistence: Persistence,
    pub(super) will: Option<Will>,
    pub(super) connack: Connack,
    pub(super) expires_at: Timestamp,
}

/// A connection that does not come about.
pub(super) struct Refused {
    /// The last bytes for the client, if any.
    pub(super) answer: BytesMut,
    /// What is counted; nothing when the client left by itself or the gateway is going away.
    pub(super) cause: Option<RefusedFor>,
    /// What is logged.
    pub(super) error: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Refused {
    fn silently(cause: Option<RefusedFor>) -> Self {
        Self {
            answer: BytesMut::new(),
            cause,
            error: None,
        }
    }

    fn with_code(code: ConnectReturnCode, cause: Option<RefusedFor>) -> Self {
        let mut answer = BytesMut::new();
        Connack::Refused(code).encode(&mut answer);
        Self {
            answer,
            cause,
            error: None,
        }
    }

    /// CONNACK 5, the one answer to every kind of wrong credential (mqtt.md §3).
    fn unauthorized() -> Self {
        Self::with_code(
            ConnectReturnCode::NotAuthorized,
            Some(RefusedFor::Unauthorized),
        )
    }

    /// CONNACK 3, after which every SDK tries again.
    fn unavailable() -> Self {
        Self::with_code(
            ConnectReturnCode::ServerUnavailable,
            Some(RefusedFor::Unavailable),
        )
    }

    /// What the catalogue has for `error`: 3 where it passes, and 5 where it does not.
    fn by_peer(error: &PeerError) -> Self {
        match error.code().connack() {
            Answer::ServerUnavailable => Self::unavailable(),
            Answer::NotAuthorized => Self::with_code(
                ConnectReturnCode::NotAuthorized,
                Some(RefusedFor::Unavailable),
            ),
        }
    }

    fn because(mut self, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.error = Some(Box::new(error));
        self
    }

    fn by_form(refusal: ConnectRefusal) -> Self {
        let mut answer = BytesMut::new();
        refusal.encode(&mut answer);
        let cause = match refusal {
            ConnectRefusal::Username(_) | ConnectRefusal::ClientId => RefusedFor::Unauthorized,
            ConnectRefusal::Will(_)
            | ConnectRefusal::ProtocolLevel(_)
            | ConnectRefusal::Violation(_) => RefusedFor::Violation,
        };
        Self {
            answer,
            cause: Some(cause),
            error: Some(Box::new(refusal)),
        }
    }

    fn by_authenticator(refusal: Refusal, disabled_connack: u8) -> Self {
        match refusal.kind() {
            RefusalKind::Unauthorized => Self::unauthorized(),
            RefusalKind::Unavailable => refusal
                .peer_error()
                .map_or_else(Self::unavailable, Self::by_peer),
            RefusalKind::Disabled => {
                let code = match disabled_connack {
                    3 => ConnectReturnCode::ServerUnavailable,
                    _ => ConnectReturnCode::NotAuthorized,
                };
                Self::with_code(code, Some(RefusedFor::Disabled))
            }
        }
        .because(refusal)
    }
}

/// Takes a connection from its first byte to the answer to CONNECT.
///
/// Nothing is read beyond the chunk that ends CONNECT until the client is known.
pub(super) async fn admit<S: AsyncRead + Unpin>(
    shared: &Arc<Shared>,
    io: &mut S,
    arrival: Arrival,
) -> Result<Box<Admitted>, Refused> {
    let deadline = arrival.accepted_at + shared.options.mqtt.connect_deadline;
    let mut frames = FrameReader::new(MAX_CONNECT_PACKET_BYTES);
    let drain = shared.lifecycle.drain_token();
    let (packet, backlog) = tokio::select! {
        biased;
        () = drain.cancelled() => return Err(Refused::silently(None)),
        first = timeout_at(deadline, first_packet(&mut frames, io)) => match first {
            Err(_) => return Err(Refused::silently(Some(RefusedFor::Deadline))),
            Ok(first) => first?,
        },
    };
    let request = AwaitingConnect
        .on_packet(packet)
        .map_err(Refused::by_form)?;
    // A peer that cannot be asked in time is unavailable: the client learns that it should come again.
    let device = timeout_at(deadline, identify(shared, &request, &arrival)).await;
    let device = device.map_err(|_| Refused::unavailable())??;
    if shared.lifecycle.is_draining() {
        return Err(Refused::with_code(
            ConnectReturnCode::ServerUnavailable,
            None,
        ));
    }
    let largest = shared
        .options
        .max_telemetry_bytes
        .saturating_add(MAX_FIELD_BYTES + 16);
    frames.set_max_packet_bytes(largest.max(MAX_PACKET_BYTES));
    let reading = Reading {
        frames,
        backlog,
        protocol: match arrival.carrier {
            Carrier::Tls => Protocol::Mqtt,
            Carrier::WebSocket => Protocol::MqttWs,
        },
    };
    enter(shared, request, device, reading).await
}

/// Where reading goes on after CONNECT.
struct Reading {
    protocol: Protocol,
    frames: FrameReader,
    backlog: Bytes,
}

/// Reads the first packet, and keeps what came with it.
async fn first_packet<S: AsyncRead + Unpin>(
    frames: &mut FrameReader,
    io: &mut S,
) -> Result<(ClientPacket, Bytes), Refused> {
    loop {
        let read = poll_fn(|cx| {
            let outcome = ready!(scratch::poll_read(io, cx, |chunk| take_first(
                frames, chunk
            )));
            Poll::Ready(outcome)
        });
        // A stream that breaks before CONNECT is nobody's fault worth counting.
        let first = read.await.map_err(|_| Refused::silently(None))??;
        if let Some(first) = first {
            return Ok(first);
        }
    }
}

fn take_first(
    frames: &mut FrameReader,
    chunk: &[u8],
) -> Result<Option<(ClientPacket, Bytes)>, Refused> {
    if chunk.is_empty() {
        return Err(Refused::silently(None));
    }
    let mut rest = chunk;
    let form = |error| Refused::by_form(ConnectRefusal::from(error));
    let Some(frame) = frames.next(&mut rest).map_err(form)? else {
        return Ok(None);
    };
    let packet = frame.into_client_packet().map_err(form)?;
    Ok(Some((packet, Bytes::copy_from_slice(rest))))
}

/// Checks the names of a CONNECT, and its token or, where it has none, the certificate of its TLS
/// handshake (auth.md §5).
async fn identify(
    shared: &Shared,
    request: &ConnectRequest,
    arrival: &Arrival,
) -> Result<AuthenticatedDevice, Refused> {
    let origin = Origin {
        door: Door::Mqtt,
        peer: arrival.peer,
    };
    if !shared.authenticator.is_our_name(&request.username.host) {
        let refusal = Refusal::of(Cause::OtherHub);
        shared.audit.refused(origin, "", "", &refusal);
        return Err(Refused::unauthorized());
    }
    let name = to_name(&request.identity).ok_or_else(Refused::unauthorized)?;
    let disabled_connack = shared.options.mqtt.disabled_connack;
    let refuse = |refusal| {
        shared.audit.refused_device(origin, &name, &refusal);
        Refused::by_authenticator(refusal, disabled_connack)
    };
    let credential = credential_of(request, arrival).map_err(|cause| refuse(Refusal::of(cause)))?;
    let device = shared.authenticator.device(&name, credential).await;
    device.map_err(refuse)
}

/// What a client shows: SDKs that have a certificate send no password, or an empty one.
fn credential_of<'a>(
    request: &'a ConnectRequest,
    arrival: &'a Arrival,
) -> Result<Credential<'a>, Cause> {
    match (request.password.as_deref(), &arrival.certificates) {
        (None | Some(b""), Some(chain)) => Ok(Credential::Certificate(chain)),
        (None | Some(b""), None) => Err(Cause::NoCredential),
        (Some(password), _) => match std::str::from_utf8(password) {
            Ok(token) => Ok(Credential::Token(token)),
            Err(_) => Err(Cause::Malformed),
        },
    }
}

fn to_name(identity: &ClientIdentity) -> Option<IdentityName> {
    let device = identity.device_id().parse().ok()?;
    let module = identity.module_id().map(str::parse).transpose().ok()?;
    Some(IdentityName { device, module })
}

/// Makes the session and enters the connection; what is given up on the way leaves nothing behind.
async fn enter(
    shared: &Arc<Shared>,
    request: ConnectRequest,
    authenticated: AuthenticatedDevice,
    reading: Reading,
) -> Result<Box<Admitted>, Refused> {
    let AuthenticatedDevice {
        opened,
        expires_at,
        by,
    } = authenticated;
    let device = opened.device;
    let options = &shared.options;
    let session_options = SessionOptions {
        window: options.c2d_window,
        max_subscriptions: options.mqtt.max_subscriptions,
        max_message_bytes: options.max_telemetry_bytes,
        ..SessionOptions::new(request.keep_alive.at_most(options.mqtt.max_keep_alive))
    };
    let mut machine = Session::new(request.identity, session_options, std::time::Duration::ZERO);
    let mut is_restored = false;
    if let Some(stored) = &opened.session {
        if request.clean_session {
            let removed = shared
                .peers
                .twins
                .save_sessions(vec![(device.key, None)])
                .await;
            removed.map_err(|error| Refused::by_peer(&error).because(error))?;
        } else {
            is_restored = restore(&mut machine, stored);
        }
    }
    let model_id = request.username.model_id.filter(|model| !model.is_empty());
    let stamp = Stamp::new(&device, by, model_id.map(String::into_boxed_str));
    let subscriptions = to_hub_subscriptions(machine.subscriptions());
    let session = DeviceSession::open(
        Arc::clone(shared),
        device,
        reading.protocol,
        subscriptions,
        stamp,
    );
    let mut session = session.await.map_err(refuse_entry)?;
    if is_restored && subscriptions.desired {
        session.resume_desired();
    }
    let persistence = if request.clean_session {
        Persistence::Clean
    } else {
        Persistence::Stored
    };
    Ok(Box::new(Admitted {
        frames: reading.frames,
        backlog: reading.backlog,
        machine,
        session,
        persistence,
        will: request.will,
        connack: Connack::Accepted {
            session_present: is_restored,
        },
        expires_at,
    }))
}

fn refuse_entry(error: OpenError) -> Refused {
    match error {
        OpenError::Unavailable(ref peer) => Refused::by_peer(peer).because(error),
        OpenError::Superseded => Refused::silently(None).because(error),
        OpenError::Revoked => Refused::unauthorized().because(error),
    }
}

/// Makes the stored subscriptions active; a session that cannot be read counts as none.
fn restore(machine: &mut Session<Held>, stored: &[u8]) -> bool {
    let restored = stored_session::decode(stored)
        .map_err(|error| error.to_string())
        .and_then(|stored| machine.restore(&stored).map_err(|error| error.to_string()));
    if let Err(error) = &restored {
        warn!(
            device.id = machine.identity().device_id(),
            error, "stored session is dropped"
        );
    }
    restored.is_ok()
}
