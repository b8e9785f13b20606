//! The part of the configuration file that says how often: rates, and the guard of logins.

use std::fmt;
use std::time::Duration;

use parlor_core::engine::{Allowance, LoginGuard, Rate, Rates};
use serde::Deserialize;

use super::ConfigError;
use super::file::positive;

/// Seconds in an hour.
const HOUR: u32 = 3600;

/// `[rates]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RatesTable {
    requests: Option<RateTable>,
    logins: Option<RateTable>,
    sends: Option<RateTable>,
    registrations: Option<RateTable>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateTable {
    burst: u32,
    per_second: Option<u32>,
    per_hour: Option<u32>,
}

/// `[guard]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GuardTable {
    pair: Option<AllowanceTable>,
    address: Option<AllowanceTable>,
    account: Option<AllowanceTable>,
    forget_minutes: Option<u32>,
    entries: Option<usize>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowanceTable {
    failures: u32,
    delay_seconds: u32,
    most_delay_seconds: u32,
}

impl RatesTable {
    /// Overrides the rates that the file names.
    pub(super) fn apply(self, rates: &mut Rates) -> Result<(), ConfigError> {
        for (key, slot, value) in [
            ("rates.requests", &mut rates.requests, self.requests),
            ("rates.logins", &mut rates.logins, self.logins),
            ("rates.sends", &mut rates.sends, self.sends),
            (
                "rates.registrations",
                &mut rates.registrations,
                self.registrations,
            ),
        ] {
            if let Some(table) = value {
                *slot = table.rate().ok_or(ConfigError::OutOfRange {
                    key,
                    rule: "`burst` and one of `per_second` (to 1000000) and `per_hour`, each at least 1 (`limits.rates = false` turns rates off)",
                })?;
            }
        }
        Ok(())
    }
}

impl RateTable {
    fn rate(self) -> Option<Rate> {
        let per_hour = match (self.per_second, self.per_hour) {
            (Some(count), None) => count.checked_mul(HOUR),
            (None, count) => count,
            (Some(_), Some(_)) => None,
        };
        let rate = Rate {
            burst: self.burst,
            per_hour: per_hour?,
        };
        (rate.burst > 0 && rate.per_hour > 0).then_some(rate)
    }
}

impl GuardTable {
    /// Overrides the settings of the guard that the file names.
    pub(super) fn apply(self, guard: &mut LoginGuard) -> Result<(), ConfigError> {
        positive("guard.entries", &mut guard.entries, self.entries)?;
        if let Some(minutes) = self.forget_minutes {
            guard.forget = Duration::from_secs(u64::from(minutes) * 60);
        }
        for (key, slot, value) in [
            ("guard.pair", &mut guard.pair, self.pair),
            ("guard.address", &mut guard.address, self.address),
            ("guard.account", &mut guard.account, self.account),
        ] {
            let table = value.unwrap_or_else(|| AllowanceTable::of(slot));
            *slot = table
                .allowance(guard.forget)
                .ok_or(ConfigError::OutOfRange {
                    key,
                    rule: "`failures` and `delay_seconds` of at least 1, and a `most_delay_seconds` from that up to less than `forget_minutes`",
                })?;
        }
        Ok(())
    }
}

impl AllowanceTable {
    fn of(allowance: &Allowance) -> Self {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Self {
            failures: allowance.failures,
            delay_seconds: seconds(allowance.delay),
            most_delay_seconds: seconds(allowance.most_delay),
        }
    }

    fn allowance(self, forget: Duration) -> Option<Allowance> {
        let Self {
            failures,
            delay_seconds,
            most_delay_seconds,
        } = self;
        let allowance = Allowance {
            failures,
            delay: Duration::from_secs(delay_seconds.into()),
            most_delay: Duration::from_secs(most_delay_seconds.into()),
        };
        let fits = failures > 0
            && delay_seconds > 0
            && delay_seconds <= most_delay_seconds
            && allowance.most_delay < forget;
        fits.then_some(allowance)
    }
}

/// Writes both tables as a file that says the same.
pub(super) fn print(rates: &Rates, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(out, "\n[rates]")?;
    for (name, Rate { burst, per_hour }) in [
        ("requests", rates.requests),
        ("logins", rates.logins),
        ("sends", rates.sends),
        ("registrations", rates.registrations),
    ] {
        let (unit, count) = if per_hour % HOUR == 0 {
            ("per_second", per_hour / HOUR)
        } else {
            ("per_hour", per_hour)
        };
        writeln!(out, "{name} = {{ burst = {burst}, {unit} = {count} }}")?;
    }
    let guard = &rates.guard;
    writeln!(out, "\n[guard]")?;
    for (name, allowance) in [
        ("pair", guard.pair),
        ("address", guard.address),
        ("account", guard.account),
    ] {
        let AllowanceTable {
            failures,
            delay_seconds,
            most_delay_seconds,
        } = AllowanceTable::of(&allowance);
        writeln!(
            out,
            "{name} = {{ failures = {failures}, delay_seconds = {delay_seconds}, most_delay_seconds = {most_delay_seconds} }}"
        )?;
    }
    writeln!(out, "forget_minutes = {}", guard.forget.as_secs() / 60)?;
    writeln!(out, "entries = {}", guard.entries)
}
