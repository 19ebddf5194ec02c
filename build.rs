//! Builds the functions that stand in for libpcap until it is loaded, so that neither building nor running needs it.
//!
//! The `pcap` crate links with `-lpcap`. The archive made here carries that name and its directory is searched before
//! the system's, so that a build is the same with and without libpcap's development files.

use std::env;

const SHIM: &str = "src/capture/libpcap_shim.c";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SHIM}");
    let unix = env::var_os("CARGO_CFG_UNIX").is_some();
    if !unix {
        // dlopen is Unix's; elsewhere the system's library is linked.
        return;
    }
    // No metadata: it would link the archive into this crate, before the crate that refers to it.
    cc::Build::new()
        .file(SHIM)
        .std("c11")
        .define("_GNU_SOURCE", None)
        .flag("-fvisibility=hidden")
        .warnings(true)
        .extra_warnings(true)
        .cargo_metadata(false)
        .compile("pcap");
    let directory = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    println!("cargo::rustc-link-search=native={directory}");
}
