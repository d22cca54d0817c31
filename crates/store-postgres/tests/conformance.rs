//! The store keeps every promise of the ports, on connections of its own and behind a pooler.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

#[path = "support/fresh.rs"]
mod fresh;
#[path = "support/pooler.rs"]
mod pooler;

use downlink_ports::testsuite::Subject;

mod direct {
    use super::{Subject, fresh};

    async fn subject() -> Subject {
        let url = fresh::database().await;
        Subject::of(fresh::open(fresh::options(&url)).await, ())
    }

    downlink_ports::conformance_tests!(subject);
}

mod behind_pgbouncer {
    use super::{Subject, fresh, pooler};

    async fn subject() -> Subject {
        let url = fresh::database().await;
        let pooled = pooler::behind_pooler(&url).await;
        Subject::of(fresh::open(pooler::pooled(&pooled)).await, ())
    }

    downlink_ports::conformance_tests!(subject);
}
