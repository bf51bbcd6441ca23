//! The real tool with which we are compared, in the same run.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench measures time and runs tools")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The time that `iptables-save` needs for the rules, in a private namespace; `None` without root.
pub fn save_time(text: &str, backend: &str) -> Option<Duration> {
    let file = std::env::temp_dir().join(format!("portcullis-bench-{}.rules", std::process::id()));
    std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
    let script = format!(
        "iptables-{backend}-restore < {0} && for i in 1 2 3; do a=$(date +%s%N); iptables-{backend}-save > /dev/null; \
            b=$(date +%s%N); echo $((b - a)); done",
        file.display(),
    );
    let out = Command::new("unshare")
        .args(["-n", "sh", "-c", &script])
        .env("XTABLES_LOCKFILE", file.with_extension("lock"))
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let _ = std::fs::remove_file(&file);
    let _ = std::fs::remove_file(file.with_extension("lock"));
    String::from_utf8(out.stdout).ok()?.lines().filter_map(|l| l.parse().ok()).map(Duration::from_nanos).min()
}
