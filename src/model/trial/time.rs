//! How long a trial may last, and how to write that.

use std::time::Duration;

/// Shortest and longest trial, in seconds.
pub const TRIAL_LIMITS: (u64, u64) = (10, 3600);

/// Reads `90`, `90s`, `2m` or `1h`; the error is one sentence.
pub fn trial_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.find(|c: char| !c.is_ascii_digit()).map_or((text, "s"), |i| text.split_at(i));
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    number
        .parse::<u64>()
        .ok()
        .filter(|_| scale > 0)
        .and_then(|n| n.checked_mul(scale))
        .filter(|n| (TRIAL_LIMITS.0..=TRIAL_LIMITS.1).contains(n))
        .map(Duration::from_secs)
        .ok_or_else(|| "a time from 10s to 1h, like 60s or 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_limits() {
        let seconds = |t: &str| trial_time(t).ok().map(|d| d.as_secs());
        assert_eq!(
            [seconds("90"), seconds("90s"), seconds("2m"), seconds("1h")],
            [Some(90), Some(90), Some(120), Some(3600)]
        );
        assert!(["", "9", "2h", "5x", "-60", "99999999999999999999", "m"].iter().all(|t| seconds(t).is_none()));
    }
}
