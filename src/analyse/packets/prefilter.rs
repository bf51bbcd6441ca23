//! Rules that are read only as far as needed: most rules of a long chain are of another protocol, address or port,
//! which their first words tell. Only the others are worked out, once.

use std::cell::OnceCell;

use crate::analyse::packets::cell::Cell;
use crate::analyse::packets::compile::{Ready, compile};
use crate::analyse::surroundings::Surroundings;
use crate::model::{Family, Net, Proto, Rule};

/// A rule, worked out when it is first needed.
pub struct Prefiltered {
    /// It is of another protocol.
    never: bool,
    src: Option<Net>,
    dst: Option<Net>,
    dport: Option<u16>,
    /// Boxed: most rules never need it.
    ready: OnceCell<Box<Ready>>,
}

impl Prefiltered {
    /// Reads what `iptables-save` writes before any match module, and a plain `--dport N`.
    pub fn new(rule: &Rule, family: Family, proto: Proto) -> Self {
        let mut out = Self { never: false, src: None, dst: None, dport: None, ready: OnceCell::new() };
        for option in rule.options() {
            let value = option.value.filter(|_| !option.negated);
            match &*option.name {
                "-s" => out.src = value.and_then(|v| Net::parse(&v, family)),
                "-d" => out.dst = value.and_then(|v| Net::parse(&v, family)),
                "-p" => {
                    out.never = value
                        .filter(|v| v != "all" && v != "0")
                        .and_then(|v| Proto::parse(&v))
                        .is_some_and(|p| p != proto);
                }
                "--dport" => out.dport = value.and_then(|v| v.parse().ok()),
                "-i" | "-o" => {}
                // Further words are looked at by those few whose first ones meet the packet.
                "-m" if value.is_some_and(|m| matches!(&*m, "tcp" | "udp")) => {}
                _ => break,
            }
        }
        out
    }

    /// Whether it certainly matches none of these packets.
    pub fn misses(&self, cells: &[Cell]) -> bool {
        self.never
            || cells.iter().all(|c| {
                self.dport.is_some_and(|p| !c.rest.dport.contains(p))
                    || self.dst.is_some_and(|n| !c.rest.dst.may_meet(n))
                    || self.src.is_some_and(|n| !c.src.may_meet(n))
            })
    }

    /// The rule, worked out.
    pub fn ready(&self, world: &Surroundings, rule: &Rule, proto: Proto) -> &Ready {
        self.ready.get_or_init(|| Box::new(compile(world, rule, proto)))
    }
}
