//! Keeps certificates as their files are.

use std::sync::Arc;
use std::time::Duration;

use downlink_runtime::tls::Look;
use downlink_runtime::{Lifecycle, OnError, ServerCertificates};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

/// Starts to look at the files of `certificates` every `interval`.
pub(super) fn start(
    certificates: &Arc<ServerCertificates>,
    interval: Duration,
    meter: &Meter,
    lifecycle: &Lifecycle,
) {
    let ends = Arc::downgrade(certificates);
    meter
        .i64_observable_gauge("downlink.certificates.end")
        .with_unit("s")
        .with_description("when the first of the certificates in use ends, since the Unix epoch")
        .with_callback(move |observer| {
            if let Some(end) = ends.upgrade().and_then(|held| held.first_end()) {
                observer.observe(end, &[]);
            }
        })
        .build();
    let reloads = meter
        .u64_counter("downlink.certificates.reloads")
        .with_description("certificates whose files had changed, by outcome")
        .build();
    let watching = watch(Arc::clone(certificates), interval, reloads);
    // In the background: handshakes under way in a drain are none the worse for it.
    lifecycle.spawn_background("certificates", OnError::Shutdown, watching);
}

async fn watch(
    certificates: Arc<ServerCertificates>,
    interval: Duration,
    reloads: Counter<u64>,
) -> Result<(), tokio::task::JoinError> {
    let mut pace = tokio::time::interval(interval);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let certificates = Arc::clone(&certificates);
        // Files may lie where reading them takes its time.
        let looks = tokio::task::spawn_blocking(move || certificates.look_again()).await?;
        for look in looks {
            tell(look, &reloads);
        }
    }
}

fn tell(look: Look, reloads: &Counter<u64>) {
    let file = look.certificate.display();
    let outcome = match look.outcome {
        Ok(()) => {
            info!(certificate.file = %file, "a changed certificate is in use");
            "loaded"
        }
        Err(refusal) => {
            let error = format!("{:#}", anyhow::Error::from(refusal));
            error!(
                certificate.file = %file,
                error,
                "a changed certificate cannot be used, the former stays"
            );
            "refused"
        }
    };
    reloads.add(1, &[KeyValue::new("outcome", outcome)]);
}
