//! What something took: time, and the processor's time of this process.

use std::fmt;
use std::fs::read_to_string;
use std::time::{Duration, Instant};

/// How many ticks of `/proc/self/stat` Linux makes of a second.
const TICKS: f64 = 100.0;

/// When something began.
pub(crate) struct Meter {
    began: Instant,
    ticks: Option<u64>,
}

/// How many messages there were, and what they took.
pub(crate) struct Rate {
    messages: u64,
    took: Duration,
    /// Seconds, where the system tells.
    processor: Option<f64>,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
            ticks: ticks(),
        }
    }

    pub(crate) fn rate(&self, messages: u64) -> Rate {
        let took = self.began.elapsed();
        let ticks = ticks().zip(self.ticks).map(|(end, begin)| end - begin);
        Rate {
            messages,
            took,
            processor: ticks.map(|ticks| ticks as f64 / TICKS),
        }
    }
}

impl Rate {
    /// Messages per second of the processor, where the system tells, or else per second.
    pub(crate) fn value(&self) -> f64 {
        let seconds = self.processor.unwrap_or(self.took.as_secs_f64());
        self.messages as f64 / seconds
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let rate = self.messages as f64 / seconds;
        let messages = self.messages;
        write!(
            formatter,
            "{messages} messages in {seconds:.1} s: {rate:.0} per second"
        )?;
        if self.processor.is_some() {
            write!(formatter, ", {:.0} per CPU-second", self.value())?;
        }
        Ok(())
    }
}

/// Fields 14 and 15 of `/proc/self/stat` (`proc_pid_stat(5)`): in user and in system mode.
fn ticks() -> Option<u64> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}
