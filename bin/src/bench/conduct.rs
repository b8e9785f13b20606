//! Carries a measurement out: shares the work, gives the orders, and adds up what came of it.

use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::{Child, Command as Process, Stdio};
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use thiserror::Error;

use super::arguments::{Arguments, Common};
use super::crew::{Crew, CrewError};
use super::latency::Latency;
use super::meter::{self, MeterError};
use super::order::{Command, Order, Outcome, Work};
use super::report::{Report, Used};
use super::router::Routing;

/// Descriptors of a worker that are no connections, generously.
const OTHER_DESCRIPTORS: u64 = 64;

/// Why there is no result.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Crew(#[from] CrewError),
    #[error(transparent)]
    Meter(#[from] MeterError),
    #[error("{0}")]
    Senseless(String),
    #[error("cannot find {address}: {error}; write --connect host:port")]
    Address { address: String, error: io::Error },
    #[error("{0} stands for no address; write --connect host:port")]
    Nowhere(String),
    #[error("cannot get random bytes from the system: {0}")]
    Random(getrandom::Error),
    #[error("cannot start the router: {0}")]
    Router(io::Error),
}

/// Measures what was asked.
pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let common = &arguments.common;
    let work = arguments.work.work().map_err(Failure::Senseless)?;
    let addresses = common
        .connect
        .iter()
        .map(|address| resolve(address))
        .collect::<Result<Vec<SocketAddr>, Failure>>()?;
    let limit = match common.with_router {
        Some(routing) if work.suits_router() => {
            let router = Router::start(routing).map_err(Failure::Router)?;
            let pids = [router.child.id()];
            let shown = vec![router.address.to_string()];
            let run = Run {
                work,
                common,
                addresses: vec![router.address],
                raw: true,
                server_pids: &pids,
                other_pids: &[],
            };
            Some(Box::new(run.measure(shown)?))
        }
        Some(_) => {
            let name = work.name();
            return Err(Failure::Senseless(format!("a router cannot do {name}")));
        }
        None => None,
    };
    let run = Run {
        work,
        common,
        addresses,
        raw: false,
        server_pids: &common.server_pid,
        other_pids: &common.other_pid,
    };
    let mut report = run.measure(common.connect.clone())?;
    report.router = limit;
    Ok(report)
}

fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let found = address.to_socket_addrs();
    let found = found.map_err(|error| Failure::Address {
        address: address.to_owned(),
        error,
    });
    found?
        .next()
        .ok_or_else(|| Failure::Nowhere(address.to_owned()))
}

/// One measurement.
struct Run<'a> {
    work: Work,
    common: &'a Common,
    addresses: Vec<SocketAddr>,
    raw: bool,
    server_pids: &'a [u32],
    other_pids: &'a [u32],
}

impl Run<'_> {
    fn measure(&self, connect: Vec<String>) -> Result<Report, Failure> {
        let run = getrandom::u32().map_err(Failure::Random)?;
        let orders = self.orders(&format!("{run:08x}"));
        let pids: Vec<u32> = [self.server_pids, self.other_pids].concat();
        let before = meter::read(&pids)?;
        let mut crew = Crew::start(&orders)?;
        let clients = crew.pids();
        crew.stage("registering and logging in");
        let group = crew.entered()?;
        crew.tell(Command::Relate { group })?;
        crew.stage("preparing");
        crew.ready()?;
        crew.stage("warming up");
        crew.tell(Command::Go)?;
        crew.pass(self.common.warmup)?;
        crew.stage("measuring");
        let (begin, clients_begin) = (meter::read(&pids)?, meter::read(&clients)?);
        crew.tell(Command::Begin)?;
        let began = Instant::now();
        crew.pass(match self.work {
            // It ends by itself.
            Work::Storm { .. } => self.common.patience,
            _ => self.common.seconds,
        })?;
        let measured = began.elapsed();
        crew.tell(Command::End)?;
        let (end, clients_end) = (meter::read(&pids)?, meter::read(&clients)?);
        crew.stage("waiting for what is on its way");
        let last = crew.stopped()?;
        crew.tell(Command::Drain { last })?;
        let outcomes = crew.outcomes()?;
        let mut usages = meter::usage(&before, &begin, &end);
        let other = usages.split_off(self.server_pids.len());
        let used = Used {
            server: usages,
            other,
            client_cpu_seconds: meter::cpu_seconds(&meter::usage(
                &clients_begin,
                &clients_begin,
                &clients_end,
            )),
        };
        let (sum, latency, lateness) = add_up(self.work, self.raw, outcomes);
        let mut report = Report::new(self.work, sum, measured, used);
        report.run = format!("{run:08x}");
        report.connect = connect;
        report.size = self.common.size;
        report.processes = orders.len();
        report.latency_us = latency.summary();
        report.lateness_us = lateness.summary();
        Ok(report)
    }

    /// Shares the work among workers.
    fn orders(&self, run: &str) -> Vec<Order> {
        let users = self.work.users();
        let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let room = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(2);
        let least = u64::from(users).div_ceil(room);
        let least = u32::try_from(least).unwrap_or(u32::MAX);
        let processes = self.common.processes.unwrap_or(1).max(least);
        let processes = processes.min(self.work.most_processes());
        let order = |(first, users)| Order {
            run: run.to_owned(),
            work: self.work,
            first,
            users,
            addresses: self.addresses.clone(),
            size: usize::try_from(self.common.size).unwrap_or(usize::MAX),
            raw: self.raw,
            patience_ms: u64::try_from(self.common.patience.as_millis()).unwrap_or(u64::MAX),
        };
        shares(users, self.work.together(), processes)
            .into_iter()
            .map(order)
            .collect()
    }
}

/// Returns the first user and the number of users of each process; pairs stay together, and nobody
/// has nothing to do.
fn shares(users: u32, together: u32, processes: u32) -> Vec<(u32, u32)> {
    let units = users / together;
    let processes = processes.clamp(1, units.max(1));
    let mut first = 0;
    let mut found = Vec::new();
    for process in 0..processes {
        let share = units / processes + u32::from(process < units % processes);
        found.push((first, share * together));
        first += share * together;
    }
    found
}

/// Adds up what came of all workers' work, and checks the sums.
fn add_up(work: Work, raw: bool, outcomes: Vec<Outcome>) -> (Outcome, Latency, Latency) {
    let mut sum = Outcome::default();
    let (mut latency, mut lateness) = (Latency::new(), Latency::new());
    for outcome in outcomes {
        sum.sent += outcome.sent;
        sum.acknowledged += outcome.acknowledged;
        sum.deliveries += outcome.deliveries;
        sum.measured += outcome.measured;
        sum.resumes += outcome.resumes;
        sum.refusals += outcome.refusals;
        sum.faults.merge(outcome.faults);
        latency.merge(&outcome.latency);
        lateness.merge(&outcome.lateness);
    }
    let copies = match work {
        Work::Pairs { .. } | Work::Flood { .. } => Some(1),
        Work::Group { members, .. } => Some(u64::from(members) - 1),
        Work::Idle { .. } | Work::Storm { .. } | Work::Replay { .. } => None,
    };
    if let Some(copies) = copies {
        let (sent, acknowledged, deliveries) = (sum.sent, sum.acknowledged, sum.deliveries);
        if deliveries != sent * copies || (!raw && acknowledged != sent) {
            sum.faults.add(|| {
                format!(
                    "{sent} messages were sent, {acknowledged} acknowledged, {} were to be \
                     delivered and {deliveries} were",
                    sent * copies
                )
            });
        }
    }
    (sum, latency, lateness)
}

/// A byte router of our own; it ends with this.
struct Router {
    child: Child,
    address: SocketAddr,
}

impl Router {
    fn start(routing: Routing) -> io::Result<Self> {
        let mut child = Process::new(std::env::current_exe()?)
            .args(["bench-router", "--by", routing.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut ready)?;
        }
        let address = ready.trim().rsplit_once(' ');
        let address = address.and_then(|(_, address)| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other("it does not say where it listens"));
        Ok(Self {
            address: address?,
            child,
        })
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{add_up, shares};
    use crate::bench::order::{Outcome, Work};

    #[test]
    fn every_user_is_in_one_share_and_pairs_are_whole() {
        for (users, together, processes) in [
            (10, 2, 1),
            (10, 2, 3),
            (2, 2, 5),
            (7, 1, 3),
            (60_000, 1, 4),
            (20_002, 2, 2),
        ] {
            let shares = shares(users, together, processes);
            assert!(shares.len() <= usize::try_from(processes).unwrap());
            let mut next = 0;
            for (first, count) in shares {
                assert_eq!(first, next);
                assert!(count > 0 && count % together == 0);
                next += count;
            }
            assert_eq!(next, users);
        }
    }

    fn outcome(sent: u64, acknowledged: u64, deliveries: u64) -> Outcome {
        Outcome {
            sent,
            acknowledged,
            deliveries,
            ..Outcome::default()
        }
    }

    #[test]
    fn the_sums_must_agree() {
        let group = Work::Group {
            members: 3,
            senders: 1,
            window: 1,
        };
        let pairs = Work::Pairs {
            pairs: 2,
            window: 1,
        };
        for (work, raw, outcomes, faults) in [
            (pairs, false, vec![outcome(2, 2, 2), outcome(3, 3, 3)], 0),
            (pairs, false, vec![outcome(2, 2, 2), outcome(3, 3, 2)], 1),
            (pairs, false, vec![outcome(2, 1, 2)], 1),
            (pairs, true, vec![outcome(2, 0, 2)], 0),
            // The sender's process and another one's.
            (group, false, vec![outcome(5, 5, 5), outcome(0, 0, 5)], 0),
            (group, false, vec![outcome(5, 5, 5), outcome(0, 0, 4)], 1),
        ] {
            let sum = add_up(work, raw, outcomes.clone()).0;
            assert_eq!(sum.faults.count, faults, "{outcomes:?}");
        }
    }
}
