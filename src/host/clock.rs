//! The clocks of the live machine, the same for everybody on it: a time namespace (time_namespaces(7)) shows its own
//! boot clock, and start times of processes by that clock, but the guard may live in another one.

use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Now;

/// Both clocks, the boot clock as the initial time namespace has it.
pub(super) fn now() -> Now {
    let here = i128::try_from(read(ClockId::Boottime).as_nanos()).unwrap_or(i128::MAX);
    let nanos = u64::try_from(here - offset()).unwrap_or(0);
    Now { wall: clock_gettime(ClockId::Realtime).tv_sec, boot: Duration::from_nanos(nanos) }
}

/// The monotonic clock, only good for differences.
pub(super) fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// A start time in ticks since boot, as the initial time namespace has it.
pub(super) fn shared_ticks(ticks: u64) -> u64 {
    // USER_HZ, which is 100 wherever Linux runs this program.
    let ahead = offset() * i128::from(procfs::ticks_per_second()) / NANOS;
    u64::try_from(i128::from(ticks) - ahead).unwrap_or(0)
}

/// Waits.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Seconds and nanoseconds of a clock that does not go below zero.
fn read(id: ClockId) -> Duration {
    let t = clock_gettime(id);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

const NANOS: i128 = 1_000_000_000;

/// How far our boot clock is ahead of that of the initial time namespace, in nanoseconds.
fn offset() -> i128 {
    static OFFSET: OnceLock<i128> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        // The file speaks of our children's namespace (fs/proc/base.c, timens_offsets_show).
        if namespace("time") != namespace("time_for_children") {
            return 0;
        }
        fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| boot_offset(&text)).unwrap_or(0)
    })
}

/// The line of the boot clock, e.g. `boottime  1000  0`: seconds and nanoseconds.
fn boot_offset(text: &str) -> Option<i128> {
    let words = text.lines().find_map(|l| l.strip_prefix("boottime"))?;
    let mut numbers = words.split_whitespace().map(str::parse::<i128>);
    let (seconds, nanos) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(seconds * NANOS + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace() {
        assert_eq!(
            boot_offset("monotonic           0         0\nboottime         1000       500\n"),
            Some(1_000_000_000_500)
        );
        assert_eq!(boot_offset("monotonic 0 0\nboottime -86400 0\n"), Some(-86_400 * NANOS));
        assert_eq!((boot_offset(""), boot_offset("boottime x\n")), (None, None));
    }
}
