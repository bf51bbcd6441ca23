//! The clocks of the live machine, as the initial time namespace has them. A time namespace (time_namespaces(7)) has
//! its own boot clock, which process start times follow too; the guard may run in another one.

use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Now;

/// Both clocks; the boot clock is that of the initial time namespace.
pub(super) fn now() -> Now {
    let here = i128::try_from(read(ClockId::Boottime).as_nanos()).unwrap_or(i128::MAX);
    let nanos = u64::try_from(here - offset()).unwrap_or(0);
    Now { wall: clock_gettime(ClockId::Realtime).tv_sec, boot: Duration::from_nanos(nanos) }
}

/// The monotonic clock, for differences only.
pub(super) fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// Converts a start time in ticks since boot to the initial time namespace.
pub(super) fn shared_ticks(ticks: u64) -> u64 {
    // USER_HZ is 100 wherever Linux runs this program.
    let ahead = offset() * i128::from(procfs::ticks_per_second()) / NANOS;
    u64::try_from(i128::from(ticks) - ahead).unwrap_or(0)
}

/// Sleeps.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Reads a clock that never goes below zero.
fn read(id: ClockId) -> Duration {
    let t = clock_gettime(id);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

const NANOS: i128 = 1_000_000_000;

/// How far our boot clock is ahead of the one in the initial time namespace, in nanoseconds.
fn offset() -> i128 {
    static OFFSET: OnceLock<i128> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        // The file describes our children's namespace (fs/proc/base.c, timens_offsets_show).
        if namespace("time") != namespace("time_for_children") {
            return 0;
        }
        fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| boot_offset(&text)).unwrap_or(0)
    })
}

/// The offset of the boot clock in nanoseconds, from a line such as `boottime 1000 0` (seconds, nanoseconds).
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
