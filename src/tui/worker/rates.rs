//! Reads the counters repeatedly while they are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::host::Host;
use crate::model::{Backend, Family, Ruleset};
use crate::observe::firewall;
use crate::tui::facts::{Rate, Rates};

/// Pause between two readings.
const EVERY: Duration = Duration::from_secs(2);

/// A reading that takes longer than this costs a host with very many rules too much.
const DEAREST: Duration = Duration::from_millis(500);

/// The counter of each rule, and what it gained per second since the previous reading.
pub fn gained(before: Option<&[Option<Ruleset>; 2]>, now: &[Option<Ruleset>; 2], seconds: f64) -> Rates {
    let mut out = Rates::default();
    for family in Family::BOTH {
        let Some(set) = &now[family.index()] else { continue };
        let old = before.and_then(|b| b[family.index()].as_ref());
        for table in &set.tables {
            for chain in &table.chains {
                let was = old.and_then(|o| o.chain(&table.name, &chain.name));
                let rates = chain
                    .rules
                    .iter()
                    .enumerate()
                    .map(|(n, r)| {
                        // A rule that moved or was reloaded has no previous reading.
                        let same =
                            was.and_then(|w| w.rules.get(n)).filter(|w| w.text == r.text && w.packets <= r.packets);
                        let per_second = same.map_or(0.0, |w| (r.packets - w.packets) as f64 / seconds.max(0.1));
                        Rate { packets: r.packets, per_second }
                    })
                    .collect();
                out.rules.insert((family, table.name.clone(), chain.name.clone()), rates);
            }
        }
    }
    out
}

/// Reads until the flag is cleared or the receiver is gone; reports why it stops by itself.
pub fn watch(
    host: Arc<dyn Host + Send + Sync>,
    backend: Option<Backend>,
    on: Arc<AtomicBool>,
    mut tell: impl FnMut(Result<Rates, String>) -> bool + Send + 'static,
) {
    thread::spawn(move || {
        let mut last: Option<([Option<Ruleset>; 2], Duration)> = None;
        while on.load(Ordering::SeqCst) {
            let begun = host.now().boot;
            let sets =
                Family::BOTH.map(|f| firewall::rules(host.as_ref(), f, backend, false).ok().map(|(_, set, _)| set));
            let ended = host.now().boot;
            if sets.iter().all(Option::is_none) {
                tell(Err("the counters cannot be read".into()));
                return;
            }
            let since = last.as_ref().map_or(EVERY, |(_, at)| ended.saturating_sub(*at));
            let rates = gained(last.as_ref().map(|(s, _)| s), &sets, since.as_secs_f64());
            last = Some((sets, ended));
            if !on.load(Ordering::SeqCst) || !tell(Ok(rates)) {
                return;
            }
            if ended.saturating_sub(begun) > DEAREST {
                tell(Err(format!(
                    "reading the counters takes {} ms here: they are no longer read",
                    ended.saturating_sub(begun).as_millis()
                )));
                return;
            }
            host.pause(EVERY);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::iptables_save;

    #[test]
    fn a_rule_gains_per_second_and_a_moved_rule_has_no_past() {
        let read = |text: &str| [Some(iptables_save::read(text, Family::V4).0), None];
        let before =
            read("*filter\n:INPUT ACCEPT [0:0]\n[10:0] -A INPUT -p tcp -j ACCEPT\n[5:0] -A INPUT -j DROP\nCOMMIT\n");
        let now = read(
            "*filter\n:INPUT ACCEPT [0:0]\n[30:0] -A INPUT -p tcp -j ACCEPT\n[7:0] -A INPUT -p udp -j DROP\nCOMMIT\n",
        );
        let rates = gained(Some(&before), &now, 2.0);
        let input = &rates.rules[&(Family::V4, "filter".to_owned(), "INPUT".to_owned())];
        assert_eq!(input[0], Rate { packets: 30, per_second: 10.0 });
        assert_eq!(input[1], Rate { packets: 7, per_second: 0.0 });
        assert!(gained(None, &now, 2.0).rules.values().flatten().all(|r| r.per_second == 0.0));
    }
}
