//! What came of a measurement, as a table and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::latency::Summary;
use super::ledger::Faults;
use super::meter::{Usage, cpu_seconds};
use super::order::{Outcome, Work};

/// The result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) work: Work,
    /// Names the run: its users' names have it.
    pub(super) run: String,
    pub(super) connect: Vec<String>,
    /// Bytes of a message.
    pub(super) size: u32,
    /// Processes that the clients were spread over.
    pub(super) processes: usize,
    /// How long was measured.
    pub(super) seconds: f64,
    /// Messages from the first to the last, warm-up included.
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    /// Deliveries while it was measured.
    pub(super) deliveries: u64,
    pub(super) deliveries_per_second: f64,
    pub(super) deliveries_per_server_cpu_second: Option<f64>,
    /// Sessions that went on while it was measured.
    pub(super) resumes: u64,
    pub(super) resumes_per_second: f64,
    pub(super) resumes_per_server_cpu_second: Option<f64>,
    /// Requests that were refused for a while, and repeated, warm-up included.
    pub(super) refusals: u64,
    /// From when a message was due, or a client left, until it was there.
    pub(super) latency_us: Option<Summary>,
    /// From when a message was due until it was written.
    pub(super) lateness_us: Option<Summary>,
    pub(super) server: Vec<Usage>,
    pub(super) other: Vec<Usage>,
    pub(super) client_cpu_seconds: f64,
    /// Bytes that the server's memory has grown, for each connection.
    pub(super) rss_per_connection: Option<f64>,
    pub(super) void: bool,
    pub(super) faults: Faults,
    /// The same work over a router that only moves bytes.
    pub(super) router: Option<Box<Report>>,
}

/// What was used while it was measured.
pub(super) struct Used {
    pub(super) server: Vec<Usage>,
    pub(super) other: Vec<Usage>,
    pub(super) client_cpu_seconds: f64,
}

impl Report {
    pub(super) fn new(work: Work, sum: Outcome, measured: Duration, used: Used) -> Self {
        let seconds = measured.as_secs_f64();
        let server_seconds = cpu_seconds(&used.server);
        let per_cpu = |count: u64| (server_seconds > 0.0).then(|| float(count) / server_seconds);
        let grown = used
            .server
            .iter()
            .map(|it| it.rss.saturating_sub(it.rss_before));
        let grown = (!used.server.is_empty()).then(|| float(grown.sum()));
        Self {
            work,
            run: String::new(),
            connect: Vec::new(),
            size: 0,
            processes: 0,
            seconds,
            sent: sum.sent,
            acknowledged: sum.acknowledged,
            delivered: sum.deliveries,
            deliveries: sum.measured,
            deliveries_per_second: float(sum.measured) / seconds,
            deliveries_per_server_cpu_second: per_cpu(sum.measured),
            resumes: sum.resumes,
            resumes_per_second: float(sum.resumes) / seconds,
            resumes_per_server_cpu_second: per_cpu(sum.resumes),
            refusals: sum.refusals,
            latency_us: None,
            lateness_us: None,
            rss_per_connection: grown.map(|bytes| bytes / f64::from(work.users())),
            server: used.server,
            other: used.other,
            client_cpu_seconds: used.client_cpu_seconds,
            void: sum.faults.count > 0,
            faults: sum.faults,
            router: None,
        }
    }

    /// Tells whether the result is void, or that of the router is.
    pub(super) fn is_void(&self) -> bool {
        self.void || self.router.as_ref().is_some_and(|it| it.is_void())
    }

    fn title(&self) -> String {
        let size = self.size;
        match self.work {
            Work::Pairs { pairs, window } => {
                format!("{pairs} pairs, {window} messages of {size} bytes under way in each")
            }
            Work::Flood { pairs, rate } => {
                format!("{pairs} pairs, {rate} messages of {size} bytes a second")
            }
            Work::Group {
                members,
                senders,
                window,
            } => format!(
                "a group of {members}, {senders} of whom send, {window} messages of {size} bytes \
                 under way from each"
            ),
            Work::Idle {
                connections,
                friends,
            } => format!("{connections} connections with {friends} friends each"),
            Work::Storm {
                connections,
                messages,
            } => format!("{connections} connections break, and come back to {messages} messages"),
            Work::Replay { readers, messages } => {
                format!("{readers} users come back to {messages} messages of {size} bytes")
            }
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        let rate = |count: u64, rate: f64| format!("{} ({}/s)", thousands(count), whole(rate));
        if self.deliveries > 0 {
            let text = rate(self.deliveries, self.deliveries_per_second);
            rows.push(("deliveries", text));
        }
        if self.resumes > 0 {
            rows.push(("resumes", rate(self.resumes, self.resumes_per_second)));
        }
        if self.refusals > 0 {
            rows.push(("refused for a while", thousands(self.refusals)));
        }
        let times = |times: Summary| {
            let [p50, p99, p999, max] = [times.p50, times.p99, times.p999, times.max].map(ms);
            format!("p50 {p50}, p99 {p99}, p99.9 {p999}, most {max} ms")
        };
        let what = match self.work {
            Work::Storm { .. } => "until a client is back",
            Work::Replay { .. } => "until a client has all",
            _ => "latency",
        };
        rows.extend(self.latency_us.map(|it| (what, times(it))));
        rows.extend(self.lateness_us.map(|it| ("sent late by", times(it))));
        for (name, usages) in [("server", &self.server), ("other", &self.other)] {
            for it in usages {
                let (before, now) = (mib(it.rss_before), mib(it.rss));
                let (pid, cpu) = (it.pid, it.cpu_seconds);
                let text = format!("pid {pid}: {cpu:.2} s of CPU, RSS {before} → {now} MiB");
                rows.push((name, text));
            }
        }
        let per_cpu = [
            (self.deliveries, self.deliveries_per_server_cpu_second),
            (self.resumes, self.resumes_per_server_cpu_second),
        ];
        for ((count, rate), name) in per_cpu.into_iter().zip([
            "deliveries per server-CPU-second",
            "resumes per server-CPU-second",
        ]) {
            if let Some(rate) = rate.filter(|_| count > 0) {
                rows.push((name, whole(rate)));
            }
        }
        if let (Work::Idle { .. }, Some(bytes)) = (self.work, self.rss_per_connection) {
            let text = format!("{:.2} KiB", bytes / 1024.0);
            rows.push(("server's RSS per connection", text));
        }
        let (clients, processes) = (self.client_cpu_seconds, self.processes);
        let text = format!("{clients:.2} s of CPU in {processes} processes");
        rows.push(("clients", text));
        rows.push(("checks", self.verdict()));
        rows
    }

    fn verdict(&self) -> String {
        if self.void {
            return format!("VOID: {} faults", self.faults.count);
        }
        match self.work {
            Work::Idle { .. } => "all stayed connected".to_owned(),
            _ => "nothing lost, doubled or out of order".to_owned(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(router) = &self.router {
            writeln!(formatter, "over a router that only moves bytes:\n{router}")?;
        }
        let (title, seconds) = (self.title(), self.seconds);
        writeln!(formatter, "{title}; {seconds:.2} s measured\n")?;
        for (name, text) in self.rows() {
            writeln!(formatter, "  {name:32}  {text}")?;
        }
        for fault in &self.faults.told {
            writeln!(formatter, "    {fault}")?;
        }
        Ok(())
    }
}

/// Makes a fraction of a count; exact up to 2^53.
fn float(count: u64) -> f64 {
    count as f64
}

/// Shows a number without its fraction.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    thousands(digits.parse().unwrap_or_default())
}

/// Shows a number with its thousands apart.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Shows microseconds in milliseconds.
fn ms(micros: u64) -> String {
    format!("{:.2}", float(micros) / 1000.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", float(bytes) / 1024.0 / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Report, Used, thousands};
    use crate::bench::meter::Usage;
    use crate::bench::order::{Outcome, Work};

    fn report(faults: &[&str]) -> Report {
        let mut sum = Outcome {
            measured: 1_234_567,
            ..Outcome::default()
        };
        for fault in faults {
            sum.faults.add(|| (*fault).to_owned());
        }
        let usage = Usage {
            pid: 7,
            cpu_seconds: 2.0,
            rss_before: 1024 * 1024,
            rss: 3 * 1024 * 1024,
        };
        let used = Used {
            server: vec![usage.clone(), usage],
            other: Vec::new(),
            client_cpu_seconds: 1.5,
        };
        let work = Work::Idle {
            connections: 1024,
            friends: 10,
        };
        Report::new(work, sum, Duration::from_secs(10), used)
    }

    #[test]
    fn figures_are_those_of_all_servers_together() {
        let report = report(&[]);
        let rate = report.deliveries_per_server_cpu_second;
        assert_eq!(rate, Some(1_234_567.0 / 4.0));
        assert_eq!(report.rss_per_connection, Some(4096.0));
        let text = report.to_string();
        for part in [
            "1024 connections with 10 friends each; 10.00 s measured",
            "1,234,567 (123,457/s)",
            "pid 7: 2.00 s of CPU, RSS 1.0 → 3.0 MiB",
            "308,642",
            "4.00 KiB",
            "all stayed connected",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_void_result_says_so_everywhere() {
        let mut good = report(&[]);
        assert!(!good.is_void());
        let void = report(&["2 came after 2"]);
        let text = void.to_string();
        assert!(text.contains("VOID: 1 faults") && text.contains("2 came after 2"));
        assert_eq!(serde_json::to_value(&void).unwrap()["void"], true);
        assert!(void.is_void());
        good.router = Some(Box::new(void));
        assert!(good.is_void());
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(12_345_678), "12,345,678");
    }
}
