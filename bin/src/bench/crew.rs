//! The workers, as the one that gives the orders sees them.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::order::{Command, Order, Outcome, Said};
use thiserror::Error;

/// How often someone looks at what it says.
const GLANCE: Duration = Duration::from_secs(1);

/// Why there is no result.
#[derive(Debug, Error)]
pub(super) enum CrewError {
    #[error("cannot start a worker: {0}")]
    Start(io::Error),
    #[error("{0}")]
    Failed(String),
    #[error("a worker has ended before its work had")]
    Ended,
    #[error("a worker says what nobody understands: {0}")]
    Garbled(serde_json::Error),
    #[error("a worker does not listen: {0}")]
    Deaf(io::Error),
}

/// The workers.
pub(super) struct Crew {
    workers: Vec<Worker>,
    heard: Receiver<(usize, Result<Said, CrewError>)>,
    progress: Progress,
    stage: String,
    counted: (Instant, u64),
}

/// One of them, and the last that it said of each kind.
struct Worker {
    child: Child,
    orders: ChildStdin,
    prepared: (u64, u64),
    entered: bool,
    group: Option<u64>,
    ready: bool,
    deliveries: u64,
    finished: bool,
    stopped: Option<u64>,
    outcome: Option<Outcome>,
}

impl Crew {
    /// Starts a worker for each order.
    pub(super) fn start(orders: &[Order]) -> Result<Self, CrewError> {
        let (sender, heard) = channel();
        let mut workers = Vec::new();
        for order in orders {
            let mut worker = Worker::start().map_err(CrewError::Start)?;
            let said = worker.child.stdout.take();
            let (sender, number) = (sender.clone(), workers.len());
            workers.push(worker);
            thread::spawn(move || {
                for line in said.into_iter().flat_map(|it| BufReader::new(it).lines()) {
                    let Ok(line) = line else {
                        break;
                    };
                    let said = serde_json::from_str(&line).map_err(CrewError::Garbled);
                    if sender.send((number, said)).is_err() {
                        return;
                    }
                }
                // Nobody may be there any more to care.
                let _over = sender.send((number, Err(CrewError::Ended)));
            });
            if let Some(worker) = workers.last_mut() {
                worker.tell(order)?;
            }
        }
        Ok(Self {
            workers,
            heard,
            progress: Progress::new(),
            stage: String::new(),
            counted: (Instant::now(), 0),
        })
    }

    /// Returns the workers' processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.workers.iter().map(|it| it.child.id()).collect()
    }

    /// Says what is going on from now on.
    pub(super) fn stage(&mut self, stage: &str) {
        stage.clone_into(&mut self.stage);
        self.progress.next();
    }

    /// Tells all workers something.
    pub(super) fn tell(&mut self, command: Command) -> Result<(), CrewError> {
        self.workers.iter_mut().try_for_each(|it| it.tell(&command))
    }

    /// Waits until everyone is logged in; returns the group that was made.
    pub(super) fn entered(&mut self) -> Result<Option<u64>, CrewError> {
        self.all(|worker| worker.entered)?;
        Ok(self.workers.iter().find_map(|worker| worker.group))
    }

    /// Waits until all is prepared.
    pub(super) fn ready(&mut self) -> Result<(), CrewError> {
        self.all(|worker| worker.ready)
    }

    /// Lets time pass; less of it, once nobody has anything to do.
    pub(super) fn pass(&mut self, time: Duration) -> Result<(), CrewError> {
        let end = Instant::now() + time;
        while !self.workers.iter().all(|worker| worker.finished) {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            self.hear(rest)?;
        }
        Ok(())
    }

    /// Waits until all that was sent is answered; returns the highest number in a log.
    pub(super) fn stopped(&mut self) -> Result<u64, CrewError> {
        self.all(|worker| worker.stopped.is_some())?;
        let last = self.workers.iter().filter_map(|worker| worker.stopped);
        Ok(last.max().unwrap_or(0))
    }

    /// Waits until all is done.
    pub(super) fn outcomes(mut self) -> Result<Vec<Outcome>, CrewError> {
        self.all(|worker| worker.outcome.is_some())?;
        self.progress.end();
        let outcomes = self.workers.iter_mut().map(|it| it.outcome.take());
        Ok(outcomes.flatten().collect())
    }

    fn all(&mut self, is_so: impl Fn(&Worker) -> bool) -> Result<(), CrewError> {
        while !self.workers.iter().all(&is_so) {
            self.hear(GLANCE)?;
        }
        Ok(())
    }

    /// Hears what one of them says, for at most so long.
    fn hear(&mut self, wait: Duration) -> Result<(), CrewError> {
        match self.heard.recv_timeout(wait.min(GLANCE)) {
            Ok((number, said)) => {
                if let Some(worker) = self.workers.get_mut(number) {
                    worker.hear(said)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(CrewError::Ended),
        }
        if self.progress.is_due() {
            let line = self.line();
            self.progress.show(&line);
        }
        Ok(())
    }

    fn line(&mut self) -> String {
        let deliveries: u64 = self.workers.iter().map(|it| it.deliveries).sum();
        if deliveries == 0 {
            let prepared = self.workers.iter().map(|it| it.prepared);
            let (done, all) = prepared.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
            return format!("{}: {done} of {all}", self.stage);
        }
        let (since, before) = std::mem::replace(&mut self.counted, (Instant::now(), deliveries));
        let new = u128::from(deliveries.saturating_sub(before));
        let rate = new * 1000 / since.elapsed().as_millis().max(1);
        format!("{}: {deliveries} deliveries, {rate}/s", self.stage)
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let mut child = Process::new(std::env::current_exe()?)
            .arg("bench-worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        Ok(Self {
            child,
            orders: orders.ok_or_else(|| io::Error::other("it has no stdin"))?,
            prepared: (0, 0),
            entered: false,
            group: None,
            ready: false,
            deliveries: 0,
            finished: false,
            stopped: None,
            outcome: None,
        })
    }

    fn tell(&mut self, what: &impl serde::Serialize) -> Result<(), CrewError> {
        let mut line = serde_json::to_vec(what).map_err(CrewError::Garbled)?;
        line.push(b'\n');
        let told = self.orders.write_all(&line);
        told.and_then(|()| self.orders.flush())
            .map_err(CrewError::Deaf)
    }

    fn hear(&mut self, said: Result<Said, CrewError>) -> Result<(), CrewError> {
        match said {
            Ok(Said::Prepared { done, all }) => self.prepared = (done, all),
            Ok(Said::Entered { group }) => {
                self.entered = true;
                self.group = group;
            }
            Ok(Said::Ready) => self.ready = true,
            Ok(Said::Count { deliveries }) => self.deliveries = deliveries,
            Ok(Said::Finished) => self.finished = true,
            Ok(Said::Stopped { last }) => self.stopped = Some(last),
            Ok(Said::Done(outcome)) => self.outcome = Some(*outcome),
            Ok(Said::Failed { why }) => return Err(CrewError::Failed(why)),
            // Who has said all may go.
            Err(CrewError::Ended) if self.outcome.is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.progress.end();
        for worker in &mut self.workers {
            // It may have ended already.
            let _gone = worker.child.kill();
            let _gone = worker.child.wait();
        }
    }
}

/// A line on stderr that says what is going on: the same one again and again on a terminal, one a
/// second elsewhere.
struct Progress {
    terminal: bool,
    next: Instant,
    width: usize,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            next: Instant::now() + GLANCE,
            width: 0,
        }
    }

    /// Shows the next line as soon as there is one.
    fn next(&mut self) {
        self.next = Instant::now();
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    fn show(&mut self, line: &str) {
        self.next = Instant::now() + if self.terminal { GLANCE / 4 } else { GLANCE };
        let mut out = io::stderr().lock();
        // Nobody has to watch.
        let _closed = if self.terminal {
            let width = self.width;
            self.width = line.chars().count();
            write!(out, "\r{line:width$}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
    }

    /// Leaves the terminal as it was.
    fn end(&mut self) {
        if self.terminal && self.width > 0 {
            let (empty, width) = ("", self.width);
            let mut out = io::stderr().lock();
            let _closed = write!(out, "\r{empty:width$}\r").and_then(|()| out.flush());
            self.width = 0;
        }
    }
}
