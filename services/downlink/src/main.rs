//! The all-in-one hub.
fn main() {}
