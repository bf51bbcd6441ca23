//! A whole paste: formats detected by content, then every reader that fits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::observe::capture::{Input, captured};

fuzz_target!(|text: &str| {
    let _ = captured(&[Input { name: "-".to_owned(), text: text.to_owned(), family: None }]);
});
