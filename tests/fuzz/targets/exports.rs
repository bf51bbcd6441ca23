//! `/etc/exports`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::syntax::exports;

fuzz_target!(|text: &str| {
    let _ = (exports::read(text), exports::nodes(text));
});
