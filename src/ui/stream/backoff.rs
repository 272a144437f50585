//! How long to wait between two tries.

/// The wait after the first failure, in milliseconds. It doubles with each further failure.
const FIRST_WAIT: f64 = 1_000.0;

/// The longest wait, in milliseconds.
const LONGEST_WAIT: f64 = 15_000.0;

/// The wait after this many failures in a row: 1, 2, 4, 8, 15, 15 ... seconds, a fifth more or less by `jitter`
/// (0 to 1). In milliseconds.
pub(super) fn wait(failures: u32, jitter: f64) -> f64 {
    let doublings = failures.saturating_sub(1).min(4);
    let even = FIRST_WAIT * f64::from(1_u32 << doublings);
    (even * (0.8 + 0.4 * jitter)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread_by_a_fifth() {
        let even: Vec<f64> = (1..=7).map(|failures| wait(failures, 0.5)).collect();
        assert_eq!(even, [1_000.0, 2_000.0, 4_000.0, 8_000.0, 15_000.0, 15_000.0, 15_000.0]);
        assert!(wait(2, 0.0) < wait(2, 1.0));
        assert!(wait(99, 1.0) <= LONGEST_WAIT);
    }
}
