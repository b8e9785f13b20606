//! Plays seeds of the simulated world.
//!
//! `--seed N [--trace]` plays one and, with `--trace`, tells its story; `--seeds A..B` plays many on
//! all cores and counts what happened. Exits with 1 when a promise was broken, and with 2 when the
//! arguments make no sense. The last line says `all seeds passed` or `first failing seed: N`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program around the world: it has threads, a clock and a progress line"
)]

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parlor_core::engine::Repairs;
use parlor_core::sim::world::{self, Fault, Report};

fn main() -> ExitCode {
    match Arguments::read(std::env::args().skip(1)) {
        Some(Arguments::One { seed, trace }) => play_one(seed, trace),
        Some(Arguments::Many { first, end }) => play_many(first, end),
        None => {
            eprintln!("usage: simulate --seed N [--trace] | --seeds A..B");
            ExitCode::from(2)
        }
    }
}

enum Arguments {
    One { seed: u64, trace: bool },
    Many { first: u64, end: u64 },
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let (kind, value) = (arguments.next()?, arguments.next()?);
        match kind.as_str() {
            "--seed" => Some(Self::One {
                seed: value.parse().ok()?,
                trace: match arguments.next() {
                    None => false,
                    Some(option) => (option == "--trace").then_some(true)?,
                },
            }),
            "--seeds" => {
                let (first, end) = value.split_once("..")?;
                Some(Self::Many {
                    first: first.parse().ok()?,
                    end: end.parse().ok()?,
                })
            }
            _ => None,
        }
    }
}

fn play_one(seed: u64, trace: bool) -> ExitCode {
    println!("seed {seed}");
    let mut tell = |line: &str| {
        if writeln!(std::io::stdout(), "{line}").is_err() {
            // Whoever listened has heard enough.
            std::process::exit(0);
        }
    };
    let report = world::run(seed, if trace { Some(&mut tell) } else { None });
    let mut totals = Totals::default();
    totals.add(&report);
    totals.print();
    totals.conclude()
}

fn play_many(first: u64, end: u64) -> ExitCode {
    let next = AtomicU64::new(first);
    let running = AtomicBool::new(true);
    let totals = Mutex::new(Totals::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Each failure is told with its seed; what a panic prints itself would lack that.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end {
                            return;
                        }
                        let report = play_caught(seed);
                        if let Ok(mut totals) = totals.lock() {
                            totals.add(&report);
                        }
                    }
                })
            })
            .collect();
        let bar = scope.spawn(|| progress(&totals, &running, end.saturating_sub(first)));
        for player in players {
            let _ = player.join();
        }
        running.store(false, Ordering::Relaxed);
        bar.thread().unpark();
    });
    let Ok(totals) = totals.into_inner() else {
        return ExitCode::FAILURE;
    };
    totals.print();
    println!("{:.1} s", began.elapsed().as_secs_f64());
    totals.conclude()
}

/// Plays a seed; a panic is a failure like others.
fn play_caught(seed: u64) -> Report {
    catch_unwind(AssertUnwindSafe(|| world::run(seed, None))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            seed,
            failure: Some(format!("panic: {}", text.unwrap_or_default())),
            ..Report::default()
        }
    })
}

fn progress(totals: &Mutex<Totals>, running: &AtomicBool, seeds: u64) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    while running.load(Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_millis(500));
        if let Ok(totals) = totals.lock() {
            let (played, steps, failed) = (totals.seeds, totals.steps, totals.failures.len());
            let done = played.saturating_mul(40) / seeds.max(1);
            let bar: String = (0..40)
                .map(|at| if at < done { '#' } else { '.' })
                .collect();
            eprint!("\r[{bar}] {played} of {seeds} seeds, {steps} steps, {failed} failed ");
        }
    }
    eprintln!();
}

/// What happened in many runs.
#[derive(Default)]
struct Totals {
    seeds: u64,
    steps: u64,
    entries: u64,
    received: u64,
    slowest: Duration,
    faults: BTreeMap<Fault, u64>,
    done: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    repairs: Repairs,
    failures: BTreeMap<u64, String>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.entries += report.entries as u64;
        self.received += report.received;
        self.slowest = self.slowest.max(report.settled_after);
        self.repairs += report.repairs;
        sum(&mut self.faults, &report.faults);
        sum(&mut self.done, &report.done);
        sum(&mut self.refused, &report.refused);
        if let Some(what) = &report.failure {
            self.failures.insert(report.seed, what.clone());
        }
    }

    /// Lists what failed, and says how to see why.
    fn conclude(&self) -> ExitCode {
        for (seed, what) in &self.failures {
            println!("seed {seed}: {what}");
        }
        let Some(first) = self.failures.keys().next() else {
            println!("all seeds passed");
            return ExitCode::SUCCESS;
        };
        println!(
            "{} of {} seeds failed; the story of one: cargo run --release -p parlor-core --features sim --example simulate -- --seed {first} --trace",
            self.failures.len(),
            self.seeds
        );
        println!("first failing seed: {first}");
        ExitCode::FAILURE
    }

    fn print(&self) {
        let Self {
            seeds,
            steps,
            entries,
            received,
            slowest,
            ..
        } = self;
        println!("{seeds} seeds, {steps} steps, {entries} entries, shown {received} times");
        println!("settled within {} s of simulated time", slowest.as_secs());
        println!("faults:");
        for fault in Fault::ALL {
            let count = self.faults.get(&fault).copied().unwrap_or(0);
            println!("  {count:>10}  {fault:?}");
        }
        println!("operations (done, refused):");
        let ops: std::collections::BTreeSet<_> =
            self.done.keys().chain(self.refused.keys()).collect();
        for op in ops {
            let done = self.done.get(op).copied().unwrap_or(0);
            let refused = self.refused.get(op).copied().unwrap_or(0);
            println!("  {done:>10} {refused:>10}  {op}");
        }
        let repairs = &self.repairs;
        println!("repairs:");
        for (count, what) in [
            (repairs.gaps, "gaps fetched"),
            (repairs.heads, "newest numbers read again, with news"),
            (repairs.reconciled, "changes reconciled, with news"),
            (repairs.verified, "conversations verified, with news"),
            (repairs.rosters, "rosters read again, with news"),
            (repairs.retries, "rounds of failed reads repeated"),
            (repairs.starved, "sessions without credit caught up"),
        ] {
            println!("  {count:>10}  {what}");
        }
    }
}

fn sum<K: Ord + Copy>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(*key).or_default() += count;
    }
}
