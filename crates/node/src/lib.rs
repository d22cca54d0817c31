//! What the processes of the services have in common: settings, adapters, peers, readiness.
