//! The reader of syntax/docker_ps.rs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::syntax::docker_ps;

fuzz_target!(|text: &str| {
    let _ = docker_ps::read(text);
});
