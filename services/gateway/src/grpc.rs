//! Back-ends over gRPC: package `downlink.api.v1`, with health and reflection.
//!
//! A call passes, in this order: its credential, its deadline, its message, its right. Nothing of a
//! message is read before the caller has proved who it is. Health and reflection are open: what
//! they say is no secret.

use std::sync::Arc;

use axum::Router;
use downlink_proto::API_FILE_DESCRIPTOR_SET;
use downlink_proto::api::v1::cloud_to_device_server::CloudToDeviceServer;
use downlink_proto::api::v1::feedback_server::FeedbackServer;
use downlink_proto::api::v1::methods_server::MethodsServer;
use downlink_proto::api::v1::queries_server::QueriesServer;
use downlink_proto::api::v1::registry_server::RegistryServer;
use downlink_proto::api::v1::twins_server::TwinsServer;
use downlink_runtime::{Lifecycle, Listener, OnError, TlsAcceptor};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::{v1, v1alpha};

use crate::arrival::Arrival;
use crate::https::serve::{Terms, serve_on};
use crate::hubs::Hubs;
use crate::metrics;
use crate::options::GrpcOptions;
use crate::shared::Shared;

mod answers;
mod call;
mod commands;
mod counted;
mod feedback;
mod gate;
mod methods;
mod queries;
mod registry;
mod rpc;
mod rpc_metrics;
mod send_stream;
mod status;
#[cfg(test)]
mod tests;
mod timeout;
mod twins;
mod watch;

pub use self::rpc_metrics::RpcMetrics;

/// Largest message of a service that carries no batches of messages.
const MAX_SMALL_BYTES: usize = 1024 * 1024;
/// Unread bytes of a stream and of a connection: sixteen streams whose readers wait, and the others go on.
const WINDOWS: (u32, u32) = (512 * 1024, 8 * 1024 * 1024);
/// Largest request for health or reflection: strangers may fill no more than this.
const MAX_OPEN_BYTES: usize = 16 * 1024;

/// The services of the public API.
pub(crate) struct Api {
    shared: Arc<Shared>,
}

/// Opens the door. Drain: streams end with `UNAVAILABLE`, calls in work are finished as over HTTPS.
pub(crate) fn open(
    hubs: &Hubs<Arc<Shared>>,
    scope: &Lifecycle,
    listeners: Vec<Listener>,
    tls: &TlsAcceptor,
) {
    if listeners.is_empty() {
        return;
    }
    let by_hub = hubs.map(|shared| (Arc::clone(shared), router(shared)));
    let terms = Arc::new(terms(&hubs.first().options.grpc));
    for listener in listeners {
        let (hubs, tls) = (by_hub.clone(), tls.clone());
        let terms = Arc::clone(&terms);
        listener.serve(scope, "grpc", move |tcp, peer| {
            let (hubs, tls) = (hubs.clone(), tls.clone());
            let allowed = Arc::clone(&terms);
            async move {
                let door = metrics::Door::Grpc;
                let arrival = Arrival::over_tls(Some(peer));
                let (first, _) = hubs.first();
                if let Some(io) = crate::handshake(first, door, &tls, tcp).await {
                    let (shared, router) = hubs.of(&io).clone();
                    let _ = serve_on(&shared.lifecycle, &allowed, router, io, &arrival).await;
                }
            }
        });
    }
}

fn terms(options: &GrpcOptions) -> Terms {
    Terms {
        task: "grpc.stream",
        is_http2_only: true,
        header_deadline: options.preface_deadline,
        write_deadline: options.write_deadline,
        max_streams: options.max_streams,
        windows: WINDOWS,
        stranger_idle_limit: options.preface_deadline + options.write_deadline,
        idle_limit: options.idle_timeout,
    }
}

/// Makes the routes, and starts what stands behind them.
fn router(shared: &Arc<Shared>) -> Router {
    let api = Arc::new(Api {
        shared: Arc::clone(shared),
    });
    let most = shared.options.grpc.max_message_bytes;
    let small = most.min(MAX_SMALL_BYTES);
    let (reporter, health) = tonic_health::server::health_reporter();
    let (reflection, older_reflection) = reflection();
    let watching = report_health(reporter, shared.lifecycle.clone());
    shared
        .lifecycle
        .spawn_background("grpc.health", OnError::Log, watching);
    let routes = Routes::new(health.max_decoding_message_size(MAX_OPEN_BYTES))
        .add_service(reflection.max_decoding_message_size(MAX_OPEN_BYTES))
        .add_service(older_reflection.max_decoding_message_size(MAX_OPEN_BYTES))
        .add_service(
            CloudToDeviceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(most),
        )
        .add_service(FeedbackServer::from_arc(Arc::clone(&api)).max_decoding_message_size(small))
        .add_service(MethodsServer::from_arc(Arc::clone(&api)).max_decoding_message_size(small))
        .add_service(TwinsServer::from_arc(Arc::clone(&api)).max_decoding_message_size(small))
        .add_service(QueriesServer::from_arc(Arc::clone(&api)).max_decoding_message_size(small))
        .add_service(RegistryServer::from_arc(api).max_decoding_message_size(small))
        .prepare();
    gate::router(Arc::clone(shared), routes)
}

/// The schema to whoever asks; in the older form too, which is all that some tools speak.
fn reflection() -> (
    v1::ServerReflectionServer<impl v1::ServerReflection>,
    v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>,
) {
    let schemas = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(API_FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let readable = "the compiled schemas are readable";
    (
        schemas().build_v1().expect(readable),
        schemas().build_v1alpha().expect(readable),
    )
}

/// Says `SERVING` until the drain and `NOT_SERVING` from then on.
async fn report_health(health: HealthReporter, lifecycle: Lifecycle) {
    // The empty name stands for the door as a whole.
    let names = [
        "",
        CloudToDeviceServer::<Api>::NAME,
        FeedbackServer::<Api>::NAME,
        MethodsServer::<Api>::NAME,
        TwinsServer::<Api>::NAME,
        QueriesServer::<Api>::NAME,
        RegistryServer::<Api>::NAME,
    ];
    for name in names {
        health
            .set_service_status(name, ServingStatus::Serving)
            .await;
    }
    lifecycle.draining().await;
    for name in names {
        let not_serving = ServingStatus::NotServing;
        health.set_service_status(name, not_serving).await;
    }
}
