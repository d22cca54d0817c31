//! Events in the order of their commit.
