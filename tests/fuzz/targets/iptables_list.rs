//! `iptables -L`: the reader is total, and `iptables_save` can read what it makes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::model::Family;
use portcullis::syntax::{iptables_list, iptables_save};

fuzz_target!(|text: &str| {
    for family in Family::BOTH {
        let (set, _) = iptables_list::read(text, family);
        let written = iptables_save::write(&set, true);
        let (back, _) = iptables_save::read(&written, family);
        assert_eq!(iptables_save::write(&back, true), written);
        for rule in set.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules) {
            let _ = rule.spec(family);
        }
    }
});
