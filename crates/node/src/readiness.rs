//! Whether a process can do its work: its own start is over and what it needs answers.
//!
//! A store that goes away turns readiness off and never ends the process; when it is back,
//! readiness is too.

use std::sync::Arc;
use std::time::Duration;

use downlink_runtime::{Lifecycle, OnError};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Gauge, Meter};
use parking_lot::Mutex;
use tracing::{info, warn};

/// Time between two looks at a dependency.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a dependency may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Looks in a row that must fail: one slow answer is not an outage.
const FAILURES: u32 = 2;

/// The sum of what a process needs. Clones share it.
#[derive(Clone)]
pub struct Readiness {
    lifecycle: Lifecycle,
    state: Arc<Mutex<State>>,
    up: Gauge<u64>,
}

#[derive(Default)]
struct State {
    has_started: bool,
    /// Dependencies that do not answer, a handful.
    away: Vec<&'static str>,
}

impl Readiness {
    pub(crate) fn new(lifecycle: Lifecycle, meter: &Meter) -> Self {
        Self {
            lifecycle,
            state: Arc::default(),
            up: meter
                .u64_gauge("downlink_dependency_up")
                .with_description("1 while the dependency answers, else 0.")
                .build(),
        }
    }

    /// States that the start is over.
    pub fn started(&self) {
        let mut state = self.state.lock();
        state.has_started = true;
        self.publish(&state);
    }

    /// Watches the dependency `name` from now on; `ping` asks it for a sign of life.
    pub fn watch<P, F, E>(&self, name: &'static str, ping: P)
    where
        P: Fn() -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send,
    {
        let readiness = self.clone();
        readiness.set(name, true);
        let looking = async move { readiness.look(name, ping).await };
        // In the background: it must not hold up the drain.
        self.lifecycle
            .spawn_background("readiness", OnError::Log, looking);
    }

    async fn look<P, F, E>(&self, name: &'static str, ping: P)
    where
        P: Fn() -> F,
        F: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut failures = 0;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let cause = match tokio::time::timeout(DEADLINE, ping()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("it does not answer in time".to_owned()),
            };
            failures = if cause.is_some() { failures + 1 } else { 0 };
            match cause {
                None if self.set(name, true) => info!(dependency = name, "is back"),
                Some(cause) if failures >= FAILURES && self.set(name, false) => {
                    warn!(dependency = name, %cause, "is away, this process is not ready");
                }
                None | Some(_) => {}
            }
        }
    }

    /// Notes whether `name` answers; tells whether that is news.
    pub fn set(&self, name: &'static str, is_up: bool) -> bool {
        self.up
            .record(u64::from(is_up), &[KeyValue::new("dependency", name)]);
        let mut state = self.state.lock();
        let known = state.away.iter().position(|away| *away == name);
        match (known, is_up) {
            (Some(index), true) => {
                state.away.swap_remove(index);
            }
            (None, false) => state.away.push(name),
            (None, true) | (Some(_), false) => return false,
        }
        self.publish(&state);
        true
    }

    fn publish(&self, state: &State) {
        self.lifecycle
            .set_ready(state.has_started && state.away.is_empty());
    }
}
