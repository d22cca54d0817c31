//! Several nodes over real TCP.
