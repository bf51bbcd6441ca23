//! The reader of syntax/ipset.rs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::syntax::ipset;

fuzz_target!(|text: &str| {
    let _ = ipset::read(text);
});
