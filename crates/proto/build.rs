//! Compiles `proto/downlink/v1` in pure Rust; no installed protoc is needed.

use std::error::Error;
use std::path::Path;

use prost::Message;

const FILES: [&str; 5] = ["common", "gateway", "method", "queue", "twin"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let files: Vec<_> = FILES
        .iter()
        .map(|name| root.join(format!("downlink/v1/{name}.proto")))
        .collect();
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [&root])?;
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(
        Path::new(&out).join("downlink.v1.bin"),
        descriptors.encode_to_vec(),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(false)
        // Keys must not reach a log by way of a derived `Debug`.
        .skip_debug([".downlink.v1.SymmetricKeys", ".downlink.v1.Policy"])
        .compile_fds(descriptors)?;
    Ok(())
}
