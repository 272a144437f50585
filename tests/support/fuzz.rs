//! Hostile input: a target is given one input after another until its time is over, which is half a second, or what
//! `TIDINGS_FUZZ_SECONDS` says. The targets are the tests in modules named `hostile`; `cargo make fuzz` gives each a
//! minute.
//!
//! The tests within the library and those from outside both include this file.

use std::cell::RefCell;
use std::env;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

/// Seconds that each target takes.
const SECONDS: &str = "TIDINGS_FUZZ_SECONDS";
const DEFAULT_SECONDS: f64 = 0.5;

/// Inputs that are tried however slow the machine is.
const AT_LEAST: u32 = 16;

/// Tests inputs, and tells how many there were and which took longest. One that fails, or panics, is made as small as
/// it can be, and fails the test.
pub(crate) fn fuzz<S: Strategy>(target: &str, inputs: S, test: impl Fn(&S::Value) -> TestCaseResult) {
    let seconds = env::var(SECONDS).map_or(DEFAULT_SECONDS, |text| text.parse().expect("a number of seconds"));
    let (begun, time) = (Instant::now(), Duration::from_secs_f64(seconds));
    let slowest = RefCell::new(Slowest::default());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut count = 0;
    while count < AT_LEAST || begun.elapsed() < time {
        let input = inputs.new_tree(&mut runner).unwrap_or_else(|reason| panic!("{target}: no input: {reason}"));
        let outcome = runner.run_one(input, |input| {
            let begun = Instant::now();
            let outcome = test(&input);
            slowest.borrow_mut().see(begun.elapsed(), &input);
            outcome
        });
        if let Err(error) = outcome {
            panic!("{target}: {error}");
        }
        count += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    say(target, &format!("{count} inputs in {seconds:.1} s; the slowest took {}", slowest.take()));
}

/// Prints a figure: `--nocapture` shows it.
#[expect(clippy::print_stdout, reason = "figures are half of what fuzzing is for")]
pub(crate) fn say(target: &str, figure: &str) {
    println!("fuzz: {target}: {figure}");
}

/// What took longest, and how long.
#[derive(Default)]
pub(crate) struct Slowest {
    time: Duration,
    input: String,
}

impl Slowest {
    /// Takes note of the input if none took longer.
    pub(crate) fn see(&mut self, time: Duration, input: &impl std::fmt::Debug) {
        if time > self.time {
            *self = Self { time, input: format!("{input:?}") };
        }
    }
}

impl std::fmt::Display for Slowest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 100;
        let shown: String = self.input.chars().take(SHOWN).collect();
        let more = if self.input.len() > shown.len() { "…" } else { "" };
        write!(f, "{:.1} ms: {shown}{more}", self.time.as_secs_f64() * 1000.0)
    }
}
