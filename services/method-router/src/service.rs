//! The service as one object.

use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError};
use downlink_ports::{Gateways, MethodApi, PresenceDirectory};
use downlink_runtime::{Lifecycle, OnError};
use opentelemetry::metrics::Meter;
use tokio_util::sync::CancellationToken;

use crate::config::MethodOptions;
use crate::in_flight::InFlight;
use crate::invoke;
use crate::metrics::MethodMetrics;

/// What the service calls.
#[derive(Clone)]
pub struct MethodDeps {
    /// Who is connected where.
    pub presence: Arc<dyn PresenceDirectory>,
    /// Who hands calls to devices.
    pub gateways: Arc<dyn Gateways>,
    /// Where metrics are declared.
    pub meter: Meter,
}

/// What calls share.
pub(crate) struct Shared {
    pub(crate) options: MethodOptions,
    pub(crate) deps: MethodDeps,
    pub(crate) in_flight: InFlight,
    pub(crate) drain: CancellationToken,
    metrics: MethodMetrics,
}

/// The method-router service. Clones are the same service.
#[derive(Clone)]
pub struct MethodRouter {
    shared: Arc<Shared>,
}

impl MethodRouter {
    /// Starts the service in the scope `lifecycle`.
    ///
    /// When the scope drains, new calls and those that wait for their device are refused as
    /// unavailable; those that were handed to a device keep their time.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(options: MethodOptions, deps: MethodDeps, lifecycle: &Lifecycle) -> Self {
        let metrics = MethodMetrics::declare(&deps.meter);
        let in_flight = InFlight::new(
            options.max_per_device,
            options.max_in_flight,
            metrics.in_flight.clone(),
        );
        let shared = Arc::new(Shared {
            options,
            deps,
            in_flight,
            drain: lifecycle.drain_token(),
            metrics,
        });
        let waited_for = Arc::clone(&shared);
        lifecycle.spawn("method calls", OnError::Log, async move {
            waited_for.drain.cancelled().await;
            waited_for.in_flight.emptied().await;
        });
        Self { shared }
    }
}

#[async_trait]
impl MethodApi for MethodRouter {
    async fn invoke(&self, call: MethodCall) -> Result<MethodAnswer, MethodError> {
        let recorder = self.shared.metrics.start(call.payload.len());
        let outcome = invoke::invoke(&self.shared, call).await;
        recorder.finish(&outcome);
        outcome
    }
}
