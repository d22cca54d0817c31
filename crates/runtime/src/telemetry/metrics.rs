//! Metrics: declared through the OpenTelemetry interface, collected when someone asks, rendered as Prometheus text.

use std::fmt;

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

/// Why metrics cannot be collected or rendered.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The collector could not be set up.
    #[error("cannot set up metrics")]
    SetUp(#[from] OTelSdkError),
    /// The values could not be rendered.
    #[error("cannot render metrics")]
    Render(#[from] prometheus::Error),
}

/// The metrics of one process; clones are the same metrics.
///
/// Passed to whoever declares instruments; there is no global one.
#[derive(Clone)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Makes an empty set of metrics whose `target_info` carries `service_name`.
    ///
    /// # Errors
    /// [`MetricsError::SetUp`].
    pub fn new(service_name: &'static str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        // The empty builder: the other one reads the environment.
        let resource = Resource::builder_empty()
            .with_service_name(service_name)
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource)
            .build();
        Ok(Self { provider, registry })
    }

    /// Returns the meter through which one crate declares its instruments.
    ///
    /// Names read `downlink.<service>.<noun>[.<aspect>]` and come out with underscores and, for counters, `_total`.
    /// Recording with labels looks them up each time (about 100 ns); on hot paths use
    /// [`hot_counters`](super::hot_counters).
    pub fn meter(&self, scope: &'static str) -> Meter {
        self.provider.meter(scope)
    }

    /// Renders all values in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// [`MetricsError::Render`].
    pub fn render(&self) -> Result<Vec<u8>, MetricsError> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
