//! A hub's issuers before a test issuer, on a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::access::{Action, Actions};
use downlink_oidc::{Algorithm, Bearer, BearerError, IssuerOptions, Issuers};
use downlink_ports::Clock;
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_testkit::ManualClock;
use serde_json::{Value, json};

use crate::issuer::TestIssuer;

pub const AUDIENCE: &str = "https://hub.test";

pub struct Bench {
    pub issuers: Issuers,
    pub clock: ManualClock,
    pub metrics: Metrics,
    lifecycle: Lifecycle,
}

impl Bench {
    pub fn new(options: Vec<IssuerOptions>) -> Self {
        let (clock, lifecycle) = (ManualClock::default(), Lifecycle::new());
        let metrics = Metrics::new("test").unwrap();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let meter = metrics.meter("downlink.oidc");
        let issuers = Issuers::start(options, &["hub.test"], &shared, &meter, &lifecycle);
        Self {
            issuers: issuers.unwrap(),
            clock,
            metrics,
            lifecycle,
        }
    }

    /// Issuers that trust `issuer` alone.
    pub fn of(issuer: &TestIssuer) -> Self {
        Self::new(vec![options(issuer)])
    }

    pub fn now(&self) -> i64 {
        self.clock.now().as_seconds()
    }

    pub async fn verify(&self, token: &str) -> Result<Bearer, BearerError> {
        self.issuers.verify(token, self.now()).await
    }

    /// Claims of `issuer` that hold now, with the right to send.
    pub fn claims(&self, issuer: &TestIssuer) -> Value {
        json!({
            "iss": issuer.address,
            "aud": AUDIENCE,
            "sub": "back-end",
            "iat": self.now(),
            "exp": self.now() + 3_600,
            "roles": ["sender"],
        })
    }

    pub fn metric(&self, line: &str) -> String {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let mut lines = text.lines().filter(|one| one.contains(line));
        lines
            .next()
            .unwrap_or_else(|| panic!("no {line} in\n{text}"))
            .to_owned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.lifecycle.halt_token().cancel();
    }
}

/// Trusts `issuer` with every algorithm.
pub fn options(issuer: &TestIssuer) -> IssuerOptions {
    IssuerOptions {
        audiences: vec!["https://{HostName}".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        mapping: vec![("sender".to_owned(), Actions::of(&[Action::SendMessage]))],
        authorities: issuer.authority.clone(),
        allow_http: true,
        fetch_timeout: Duration::from_secs(5),
        ..IssuerOptions::new(&issuer.address)
    }
}
