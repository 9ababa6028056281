//! Takes in the bundle of Yjs for the notes page of the demo, where `web/demo/yjs/build.sh` has made it. Everything else builds
//! without it.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let root = env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it");
    let bundle = Path::new(&root).join("target/demo/yjs.js");
    // A file that is missing would count as changed at each build.
    if bundle.exists() {
        println!("cargo:rerun-if-changed={}", bundle.display());
    }
    let out = env::var_os("OUT_DIR").expect("Cargo sets it");
    // Empty: there is none.
    fs::write(Path::new(&out).join("yjs.js"), fs::read(bundle).unwrap_or_default())
        .expect("Cargo's directory takes files");
}
