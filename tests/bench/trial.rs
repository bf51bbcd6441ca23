//! What a trial costs on a host with 100,000 rules, in multiples of one `iptables-save` of the same host in the same
//! run: rules in another table than filter, and in filter; iptables-nft and iptables-legacy. Each figure that is over
//! its target is marked.
//!
//! `cargo bench --bench trial`, or `cargo bench --bench trial -- nft nat` for the lines that hold these words.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench prints figures, measures time and runs tools"
)]

use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// Rules of somebody else.
const RULES: usize = 100_000;

/// Rules of one of their chains.
const CHAIN: usize = 100;

/// At most so many saves: apply, keep, revert, status.
const NFT: [[f64; 4]; 2] = [[4.0, 0.5, 0.5, 0.5], [8.0, 0.5, 0.5, 0.5]];
const LEGACY: [f64; 4] = [12.0, 4.0, 4.0, 2.0];

const PLAN: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\"]\nto = [\"111\"]\n\
    [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n";

/// Many rules, each chain jumped to from `base`.
fn rules(table: &str, base: &str, target: &str) -> String {
    let chains = RULES / CHAIN;
    let mut text = format!("*{table}\n");
    for c in 0..chains {
        writeln!(text, ":SVC-{c:06} - [0:0]").unwrap();
    }
    // One chain that leads to them: the built-in ones stay short.
    writeln!(text, ":SERVICES - [0:0]\n-A {base} -m comment --comment \"portals\" -j SERVICES").unwrap();
    for c in 0..chains {
        let net = format!("10.{}.{}", c / 256, c % 256);
        writeln!(text, "-A SERVICES -d {net}.0/24 -p tcp -m tcp --dport 80 -j SVC-{c:06}").unwrap();
        for r in 1..CHAIN {
            writeln!(
                text,
                "-A SVC-{c:06} -s {net}.{r}/32 -p tcp -m comment --comment \"ns/svc{c}:http\" -m tcp --dport 80 \
                {target}"
            )
            .unwrap();
        }
    }
    text + "COMMIT\n"
}

/// Runs everything in a private namespace; one line a step: its name and its nanoseconds.
fn script(dir: &str, variant: &str) -> String {
    format!(
        r#"set -e
mount -t tmpfs none /run
ip link set lo up
for f in iptables ip6tables; do for x in "" -save -restore; do
    mount --bind /usr/sbin/xtables-{variant}-multi "$(readlink -f /usr/sbin/$f$x)"
done; done
export PORTCULLIS_RUN_DIR=/run/p PORTCULLIS_STATE_DIR={dir}/state
export PORTCULLIS_RULES_V4={dir}/rules.v4 PORTCULLIS_RULES_V6={dir}/rules.v6 XTABLES_LOCKFILE=/run/xtables.lock
iptables-restore < {dir}/rules
printf '*filter\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n' | iptables-restore --noflush
timed() {{
    what=$1; shift
    a=$(date +%s%N); "$@" > {dir}/out 2>&1 || {{ echo "failed $what: $(tr '\n' ' ' < {dir}/out)"; exit 1; }}
    b=$(date +%s%N); echo "$what $((b - a))"
}}
apply_nothing() {{
    {program} remove --yes --replace --allow-lockout --confirm-within 300s > {dir}/out 2>&1
    {program} keep --without-proof > {dir}/out 2>&1
}}
apply() {{ timed apply {program} apply {dir}/plan.toml --yes --replace --allow-lockout --confirm-within 300s; }}
for i in 1 2 3; do
    timed save iptables-save -c
    apply
    timed save iptables-save -c
    timed status {program} status
    timed revert {program} revert
    apply
    timed save iptables-save -c
    timed keep {program} keep --without-proof
    apply_nothing
done
"#,
        program = env!("CARGO_BIN_EXE_portcullis"),
    )
}

/// A step, its milliseconds, and how many saves that are.
type Took = (String, f64, f64);

/// Every step beside the save before it: whatever else the machine does then slows both down.
fn run(variant: &str, rules: &str) -> Result<Vec<Took>, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules"), rules).unwrap();
    std::fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    let out = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c"])
        .arg(script(&dir.path().display().to_string(), variant))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        return Err(format!("{}{}", text.lines().last().unwrap_or(""), String::from_utf8_lossy(&out.stderr)));
    }
    let mut save = f64::NAN;
    let mut all = Vec::new();
    for (what, took) in text.lines().filter_map(|l| l.split_once(' ')) {
        let took = took.parse::<f64>().unwrap() / 1e6;
        if what == "save" {
            save = took;
        }
        all.push((what.to_owned(), took, took / save));
    }
    Ok(all)
}

/// The middle of one step's times and of its ratios.
fn middle(all: &[Took], step: &str) -> (f64, f64) {
    let of = |value: fn(&Took) -> f64| {
        let mut values: Vec<f64> = all.iter().filter(|(what, ..)| what == step).map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (of(|t| t.1), of(|t| t.2))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    for variant in ["nft", "legacy"] {
        for (at, (table, base, target)) in
            [("nat", "PREROUTING", "-j DNAT --to-destination 10.1.0.1:8080"), ("filter", "FORWARD", "-j ACCEPT")]
                .into_iter()
                .enumerate()
        {
            let name = format!("iptables-{variant}, {RULES} rules in {table}");
            if !words.iter().all(|w| name.contains(w.as_str())) {
                continue;
            }
            let targets = if variant == "nft" { NFT[at] } else { LEGACY };
            let times = match run(variant, &rules(table, base, target)) {
                Ok(times) => times,
                Err(why) => {
                    println!("NOT RUN: {name}: {}", why.trim());
                    continue;
                }
            };
            println!("{name}: iptables-save {:.0} ms", middle(&times, "save").0);
            for (what, target) in ["apply", "keep", "revert", "status"].into_iter().zip(targets) {
                let (took, ratio) = middle(&times, what);
                let over = if ratio > target { "   OVER" } else { "" };
                println!("  {what:<7} {took:>6.0} ms   {ratio:>5.2} saves, at most {target}{over}");
            }
        }
    }
}
