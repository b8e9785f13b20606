//! How long things took, in a histogram that is exact to three digits.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest time that is told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// How often something took how long.
#[derive(Clone, Debug)]
pub(super) struct Latency(Histogram<u64>);

/// A histogram on its way to another process: values in microseconds, and how often they occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded(Vec<(u64, u64)>);

/// What is told of a histogram, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// Half took no longer.
    pub(super) p50: u64,
    /// 99 of 100 took no longer.
    pub(super) p99: u64,
    /// 999 of 1000 took no longer.
    pub(super) p999: u64,
    /// None took longer.
    pub(super) max: u64,
    /// How many there were.
    pub(super) count: u64,
}

impl Latency {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        Self(histogram.unwrap_or_else(|error| unreachable!("fixed bounds: {error}")))
    }

    /// Records what took so many microseconds.
    pub(super) fn record(&mut self, micros: u64) {
        self.0.saturating_record(micros.max(1));
    }

    /// Adds what another process has recorded.
    pub(super) fn merge(&mut self, recorded: &Recorded) {
        for (value, count) in &recorded.0 {
            self.0.saturating_record_n(*value, *count);
        }
    }

    /// Returns all that was recorded.
    pub(super) fn recorded(&self) -> Recorded {
        let values = self.0.iter_recorded();
        let pair = |value: hdrhistogram::iterators::IterationValue<u64>| {
            (value.value_iterated_to(), value.count_at_value())
        };
        Recorded(values.map(pair).collect())
    }

    /// Returns what is told of it; `None` where nothing was recorded.
    pub(super) fn summary(&self) -> Option<Summary> {
        let at = |quantile: f64| self.0.value_at_quantile(quantile);
        (!self.0.is_empty()).then(|| Summary {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
            count: self.0.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Latency, Recorded};

    #[test]
    fn what_two_processes_recorded_adds_up() {
        let mut parts = [Latency::new(), Latency::new()];
        let mut whole = Latency::new();
        for value in 0..10_000_u64 {
            let micros = value * value % 1_000_003;
            parts[usize::from(value % 3 == 0)].record(micros);
            whole.record(micros);
        }
        let mut merged = Latency::new();
        for part in &parts {
            let text = serde_json::to_string(&part.recorded()).unwrap();
            let sent: Recorded = serde_json::from_str(&text).unwrap();
            merged.merge(&sent);
        }
        assert_eq!(merged.recorded(), whole.recorded());
        assert_eq!(merged.summary(), whole.summary());
        assert_eq!(merged.summary().unwrap().count, 10_000);
    }

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut latency = Latency::new();
        for value in 1..=1000 {
            latency.record(value * 100);
        }
        let summary = latency.summary().unwrap();
        for (told, exact) in [
            (summary.p50, 50_000),
            (summary.p99, 99_000),
            (summary.p999, 99_900),
            (summary.max, 100_000),
        ] {
            assert!(told.abs_diff(exact) * 1000 <= exact, "{told} for {exact}");
        }
    }

    #[test]
    fn nothing_has_no_summary_and_too_long_is_not_lost() {
        let mut latency = Latency::new();
        assert_eq!(latency.summary(), None);
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.summary().unwrap().count, 2);
    }
}
