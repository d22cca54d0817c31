//! Presence in Redis keeps every promise of the ports, whatever the topology.

use downlink_ports::testsuite::presence::Presence;
use downlink_presence_redis::RedisOptions;

use crate::support;

async fn subject(options: RedisOptions) -> Presence {
    Presence::of(support::open(options).await)
}

mod single {
    async fn presence() -> super::Presence {
        super::subject(super::support::single()).await
    }
    downlink_ports::presence_conformance_tests!(presence);
}

mod sentinel {
    async fn presence() -> super::Presence {
        super::subject(super::support::sentinel()).await
    }
    downlink_ports::presence_conformance_tests!(presence);
}

mod cluster {
    async fn presence() -> super::Presence {
        super::subject(super::support::cluster()).await
    }
    downlink_ports::presence_conformance_tests!(presence);
}
