//! Rules that are read only as far as needed: most rules of a long chain are of another protocol, address or port,
//! which their first words tell. Only the others are worked out, once.

use std::cell::OnceCell;

use super::cell::Cell;
use super::compile::{Ready, compile};
use super::world::World;
use crate::model::{Family, Net, Proto, Rule};

/// A rule, worked out when it is first needed.
pub(super) struct Lazy {
    /// It is of another protocol.
    never: bool,
    src: Option<Net>,
    dst: Option<Net>,
    dport: Option<u16>,
    /// Boxed: most rules never need it.
    ready: OnceCell<Box<Ready>>,
}

impl Lazy {
    /// Reads the first words: what `iptables-save` writes before any match module, and a plain `--dport N`.
    pub(super) fn new(rule: &Rule, family: Family, proto: Proto) -> Self {
        let mut out = Self { never: false, src: None, dst: None, dport: None, ready: OnceCell::new() };
        let mut words = rule.text.split(' ');
        let mut positive = true;
        while let Some(word) = words.next() {
            match word {
                "!" => {
                    positive = false;
                    continue;
                }
                "-s" | "-d" | "-p" | "-i" | "-o" => {
                    let Some(value) = words.next() else { break };
                    if value == "!" {
                        break;
                    }
                    if positive {
                        match word {
                            "-s" => out.src = Net::parse(value, family),
                            "-d" => out.dst = Net::parse(value, family),
                            "-p" if value != "all" && value != "0" => out.never = Proto::parse(value).is_some_and(|p| p != proto),
                            _ => {}
                        }
                    }
                }
                "-m" => {
                    // `-m tcp --dport N`; other modules may hold quoted text, where words mean nothing.
                    if !matches!(words.next(), Some("tcp" | "udp")) {
                        break;
                    }
                    if words.next() == Some("--dport") {
                        out.dport = words.next().and_then(|p| p.parse().ok());
                    }
                    break;
                }
                _ => break,
            }
            positive = true;
        }
        out
    }

    /// Whether it certainly matches none of these packets.
    pub(super) fn misses(&self, cells: &[Cell]) -> bool {
        self.never || cells.iter().all(|c| {
            self.dport.is_some_and(|p| !c.rest.dport.contains(p))
                || self.dst.is_some_and(|n| !c.rest.dst.may_meet(n))
                || self.src.is_some_and(|n| !c.src.may_meet(n))
        })
    }

    /// The rule, worked out.
    pub(super) fn ready(&self, world: &World, rule: &Rule, proto: Proto) -> &Ready {
        self.ready.get_or_init(|| Box::new(compile(world, rule, proto)))
    }
}
