//! The store keeps every promise of the ports, on connections of its own and behind a pooler.

#[path = "support/fresh.rs"]
mod fresh;

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
    use super::{Subject, fresh};

    async fn subject() -> Subject {
        let url = fresh::database().await;
        let pooled = fresh::behind_pooler(&url).await;
        Subject::of(fresh::open(fresh::pooled(&pooled)).await, ())
    }

    downlink_ports::conformance_tests!(subject);
}
