//! gRPC carriers of the peer ports.
