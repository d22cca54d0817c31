//! Compiles `proto` in pure Rust; no installed protoc is needed.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

/// What the services say to each other.
const INTERNAL: &[&str] = &[
    "common",
    "connections",
    "fleet",
    "gateway",
    "limits",
    "method",
    "query",
    "queue",
    "registry",
    "twin",
];
/// What back-ends say to the hub.
const PUBLIC: &[&str] = &[
    "cloud_to_device",
    "common",
    "feedback",
    "methods",
    "queries",
    "registry",
    "twins",
];

fn main() -> Result<(), Box<dyn Error>> {
    compile("downlink/v1", "downlink.v1", INTERNAL)?;
    compile("downlink/api/v1", "downlink.api.v1", PUBLIC)
}

/// Makes Rust and a descriptor set of the package in `folder`.
fn compile(folder: &str, package: &str, names: &[&str]) -> Result<(), Box<dyn Error>> {
    // Cargo runs this in the package's folder; a path fixed at compile time would outlive a checkout that moves.
    let root = Path::new("../../proto");
    let files: Vec<PathBuf> = names
        .iter()
        .map(|name| root.join(folder).join(format!("{name}.proto")))
        .collect();
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [root])?;
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(
        Path::new(&out).join(format!("{package}.bin")),
        descriptors.encode_to_vec(),
    )?;
    // Keys must not reach a log by way of a derived `Debug`.
    let secrets = ["SymmetricKeys", "Policy"].map(|name| format!(".{package}.{name}"));
    tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(false)
        .skip_debug(secrets)
        .compile_fds(descriptors)?;
    Ok(())
}
