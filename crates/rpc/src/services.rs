//! Serves peer ports, with health and reflection, at a carrier.

use std::sync::Arc;

use downlink_ports::{
    ConnectionApi, FleetApi, GatewayApi, LimitsApi, MethodApi, QueryApi, QueueApi, RegistryApi,
    TwinApi,
};
use downlink_proto::FILE_DESCRIPTOR_SET;
use downlink_proto::v1::connection_service_server::ConnectionServiceServer;
use downlink_proto::v1::fleet_service_server::FleetServiceServer;
use downlink_proto::v1::gateway_service_server::GatewayServiceServer;
use downlink_proto::v1::limits_service_server::LimitsServiceServer;
use downlink_proto::v1::method_service_server::MethodServiceServer;
use downlink_proto::v1::query_service_server::QueryServiceServer;
use downlink_proto::v1::queue_service_server::QueueServiceServer;
use downlink_proto::v1::registry_service_server::RegistryServiceServer;
use downlink_proto::v1::twin_service_server::TwinServiceServer;
use downlink_runtime::{Lifecycle, OnError};
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::carrier::{Acceptor, MAX_FRAME_BYTES, server};
use crate::connections::ConnectionServer;
use crate::fleet::FleetServer;
use crate::gateway::GatewayServer;
use crate::limits::LimitsServer;
use crate::method::MethodServer;
use crate::query::QueryServer;
use crate::queue::QueueServer;
use crate::registry::RegistryServer;
use crate::serving::{CountLayer, Serving};
use crate::twin::TwinServer;

/// What is served at one carrier.
pub struct Services {
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    serving: Serving,
    lifecycle: Lifecycle,
}

impl Services {
    /// Makes an empty set whose tasks belong to `lifecycle`.
    ///
    /// They answer until the halt, because whatever drains may still call; health says
    /// `NOT_SERVING` from the drain on. Over TCP the drain of `lifecycle` begins with leaving:
    /// callers are told to go to other nodes, which takes a quarter of a second, or up to five
    /// where one has no other; and it ends when every call has its answer.
    pub fn new(lifecycle: &Lifecycle) -> Self {
        Self {
            routes: Routes::builder(),
            names: Vec::new(),
            serving: Serving::new(lifecycle.halt_token()),
            lifecycle: lifecycle.clone(),
        }
    }

    /// Adds the queue service.
    #[must_use]
    pub fn with_queue(self, api: Arc<dyn QueueApi>) -> Self {
        let service = QueueServiceServer::new(QueueServer::new(api, &self.serving))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds the method-router service.
    #[must_use]
    pub fn with_methods(self, api: Arc<dyn MethodApi>) -> Self {
        let service = MethodServiceServer::new(MethodServer::new(api, &self.serving))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds the twin service.
    #[must_use]
    pub fn with_twins(self, api: Arc<dyn TwinApi>) -> Self {
        let service = TwinServiceServer::new(TwinServer::new(api, &self.serving))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds the limits of hubs.
    #[must_use]
    pub fn with_limits(self, api: Arc<dyn LimitsApi>) -> Self {
        let service = LimitsServiceServer::new(LimitsServer::new(api))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds the jobs of the twin service.
    #[must_use]
    pub fn with_fleet(self, api: Arc<dyn FleetApi>) -> Self {
        let service = FleetServiceServer::new(FleetServer::new(api))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds queries.
    #[must_use]
    pub fn with_queries(self, api: Arc<dyn QueryApi>) -> Self {
        let service = QueryServiceServer::new(QueryServer::new(api))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds what gateways tell and ask of connections.
    #[must_use]
    pub fn with_connections(self, api: Arc<dyn ConnectionApi>) -> Self {
        let service = ConnectionServiceServer::new(ConnectionServer::new(api))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds the registry beside single identities.
    #[must_use]
    pub fn with_registry(self, api: Arc<dyn RegistryApi>) -> Self {
        let service = RegistryServiceServer::new(RegistryServer::new(api))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    /// Adds a gateway.
    #[must_use]
    pub fn with_gateway(self, api: Arc<dyn GatewayApi>) -> Self {
        let server = GatewayServer::new(api, &self.serving);
        let service = GatewayServiceServer::new(server).max_decoding_message_size(MAX_FRAME_BYTES);
        self.with(service)
    }

    fn with<S>(mut self, service: S) -> Self
    where
        S: tower::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<tonic::body::Body>,
                Error = std::convert::Infallible,
                Future: Send + 'static,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// Serves at `acceptor` in the background, with `grpc.health.v1` and reflection, until the
    /// halt; in process also until the last endpoint is dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(mut self, acceptor: Acceptor) {
        let (health, health_server) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the compiled schema is readable");
        self.routes.add_service(health_server);
        self.routes.add_service(reflection);
        let leave = self.take_leave_of_strangers(&acceptor);
        let watch = report_health(health, self.names, leave);
        self.lifecycle
            .spawn_background("rpc-health", OnError::Log, watch);
        let halt = self.lifecycle.halt_token();
        let serving = server()
            .layer(CountLayer(self.serving))
            .add_routes(self.routes.routes())
            .serve_with_incoming_shutdown(acceptor.into_stream(), halt.cancelled_owned());
        self.lifecycle
            .spawn_background("rpc-server", OnError::Shutdown, serving);
    }

    /// Spawns what drains before the service itself does, and what drains along with it. Returns
    /// the scope whose drain comes first.
    ///
    /// Callers of the same process need none of it: their scopes drain before this one.
    fn take_leave_of_strangers(&self, acceptor: &Acceptor) -> Lifecycle {
        if acceptor.local_addr().is_none() {
            return self.lifecycle.clone();
        }
        let scope = self.lifecycle.child("rpc");
        let (serving, leaving) = (self.serving.clone(), scope.clone());
        scope.spawn("rpc-leave", OnError::Log, async move {
            leaving.draining().await;
            serving.leave().await;
        });
        let (serving, draining) = (self.serving.clone(), self.lifecycle.clone());
        self.lifecycle
            .spawn("rpc-finish", OnError::Log, async move {
                draining.draining().await;
                serving.finish().await;
            });
        scope
    }
}

async fn report_health(health: HealthReporter, names: Vec<&'static str>, lifecycle: Lifecycle) {
    for name in &names {
        let serving = ServingStatus::Serving;
        health.set_service_status(*name, serving).await;
    }
    lifecycle.draining().await;
    // The empty name stands for the server as a whole.
    for name in names.iter().chain([&""]) {
        let not_serving = ServingStatus::NotServing;
        health.set_service_status(*name, not_serving).await;
    }
}
