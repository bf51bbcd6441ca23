//! The reader of syntax/rpcinfo.rs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::syntax::rpcinfo;

fuzz_target!(|text: &str| {
    let _ = rpcinfo::read(text);
});
