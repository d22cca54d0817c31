//! The project commands: `cargo xtask test`.
fn main() {}
