//! The reader of syntax/sockets.rs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::syntax::sockets;

fuzz_target!(|text: &str| {
    let _ = sockets::read(text);
});
