//! No message that was acknowledged is lost at a power cut, on the embedded store.
//!
//! A server runs under `strace` while people talk. Out of the system calls comes what a disk would
//! hold at any moment that drops whatever was not synchronised, or keeps some sectors of it and not
//! others. On what it holds at many moments a store is opened, and at some of them a whole server is
//! started: everything that the server had begun to tell anybody must be there.
//!
//! `PARLOR_CUT_SEED` says what is written and when the power is cut; a run prints its own. A test that
//! fails keeps the folder with the trace and names it: `PARLOR_CUT_TRACE` reads that trace again.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

mod power_cut_world;
mod program_world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use tempfile::TempDir;

use power_cut_world::check::{Logs, check};
use power_cut_world::commits::{self, DATABASE, LOG};
use power_cut_world::cuts::{self, Checkpoint};
use power_cut_world::disk::{Disk, Image, lay};
use power_cut_world::plan::{KEY, Plan};
use power_cut_world::talk::{self, Promise};
use power_cut_world::trace::{self, Call, What};
use power_cut_world::{Random, read};

/// At how many promises the power is cut.
const PROMISES: usize = 25;

/// At how many writes to the log; those around checkpoints come on top.
const WRITES: usize = 15;

/// At how many of all these moments a whole server is started, twice each.
const SERVERS: usize = 4;

/// What was done, and what was promised.
struct Run {
    seed: u64,
    plan: Plan,
    calls: Vec<Call>,
    promises: Vec<Promise>,
    /// How many messages were acknowledged.
    acknowledged: usize,
    checkpoints: Vec<Checkpoint>,
    /// Where the trace is.
    folder: PathBuf,
    _temporary: TempDir,
}

/// The run as one of the tests has it. The last of them removes the folder.
struct Shared(Arc<Run>);

impl Deref for Shared {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if thread::panicking() {
            let folder = self.folder.display();
            println!(
                "the trace is kept: PARLOR_CUT_SEED={} PARLOR_CUT_TRACE={folder}",
                self.seed
            );
            // For good: whichever test ends last, its run is this one.
            std::mem::forget(Arc::clone(&self.0));
        }
    }
}

impl Run {
    /// Returns the one run that all tests look at.
    fn shared() -> Shared {
        static RUN: Mutex<Weak<Run>> = Mutex::new(Weak::new());
        let mut shared = RUN.lock().expect("another test has traced it");
        if let Some(run) = shared.upgrade() {
            return Shared(run);
        }
        let run = Arc::new(Self::new());
        *shared = Arc::downgrade(&run);
        Shared(run)
    }

    fn new() -> Self {
        let seed = std::env::var("PARLOR_CUT_SEED").map_or(1, |text| text.parse().unwrap());
        println!("PARLOR_CUT_SEED={seed}");
        let plan = Plan::new(seed);
        let temporary = TempDir::new().unwrap();
        let (folder, acknowledged) = match std::env::var("PARLOR_CUT_TRACE") {
            Ok(folder) => (PathBuf::from(folder), None),
            Err(_) => {
                // As strace shows it: without symbolic links.
                let folder = temporary.path().canonicalize().unwrap();
                let acknowledged = talk::record(&folder, &plan);
                (folder, Some(acknowledged))
            }
        };
        let trace = fs::read(folder.join("trace")).unwrap();
        let calls = trace::parse(&trace, folder.join("data").to_str().unwrap());
        let promises = talk::promises(&calls, &plan);
        let first = promises.first().expect("something was promised").line;
        let checkpoints = cuts::checkpoints(&calls, first);
        // What clients have got is in the trace, so none of it is overlooked there.
        let told: BTreeMap<u64, u64> = promises
            .iter()
            .filter(|promise| promise.acknowledges)
            .map(|promise| (promise.id, promise.seq))
            .collect();
        assert_eq!(told, acknowledged.unwrap_or_else(|| told.clone()));
        Self {
            seed,
            plan,
            calls,
            promises,
            acknowledged: told.len(),
            checkpoints,
            folder,
            _temporary: temporary,
        }
    }

    /// Cuts the power at a line, where some syncs may do nothing, and drops all that is not durable;
    /// returns what is wrong then.
    fn cut(&self, line: usize, ignored: &dyn Fn(&Call) -> bool) -> Vec<String> {
        let mut disk = Disk::new(&self.calls, ignored);
        disk.play(line);
        self.complaints(&disk.dropped(), due(&self.promises, line))
    }

    /// Opens a store on what a disk holds; returns what is wrong.
    fn complaints(&self, image: &Image, due: &[Promise]) -> Vec<String> {
        let folder = TempDir::new().unwrap();
        lay(image, folder.path());
        match read::with_store(folder.path()) {
            Ok(logs) => check(&self.plan, &logs, due),
            Err(error) => vec![format!("it cannot be read: {error}")],
        }
    }

    fn count(&self, wanted: impl Fn(&What) -> bool) -> usize {
        self.calls.iter().filter(|call| wanted(&call.what)).count()
    }
}

/// Returns what was promised up to a line.
fn due(promises: &[Promise], line: usize) -> &[Promise] {
    let end = promises.partition_point(|promise| promise.line <= line);
    &promises[..end]
}

/// Every sync does what it should.
fn honest(_: &Call) -> bool {
    false
}

#[test]
fn an_acknowledged_message_outlives_a_power_cut() {
    let run = Run::shared();
    let mut random = Random(run.seed);
    let near = cuts::around(&run.checkpoints, &run.calls, &mut random);
    let mut moments = cuts::promised(&run.promises, PROMISES, &mut random);
    let first = run.promises[0].line;
    moments.extend(cuts::writing(&run.calls, first, WRITES, &mut random));
    moments.extend(&near);
    moments.extend(run.calls.last().map(|call| call.begin));
    let servers = with_servers(&moments, &near, &mut random);
    let mut disk = Disk::new(&run.calls, &honest);
    let mut unsynced = 0;
    for line in &moments {
        disk.play(*line);
        unsynced += usize::from(disk.unsynced() > 0);
        let due = due(&run.promises, *line);
        let torn = disk.torn(&mut Random(run.seed ^ *line as u64));
        for (how, image) in [("dropped", disk.dropped()), ("torn", torn)] {
            let complaints = if servers.contains(line) {
                check(&run.plan, &served(&image), due)
            } else {
                run.complaints(&image, due)
            };
            assert_eq!(complaints, [""; 0], "a cut at line {}, {how}", line + 1);
        }
    }
    println!(
        "{} messages, {} times shown; {} cuts in two ways, {} around checkpoints, {unsynced} while \
         something was not durable, {} with a server",
        run.acknowledged,
        run.promises.len() - run.acknowledged,
        moments.len(),
        near.len(),
        servers.len(),
    );
    assert!(run.acknowledged > 500, "{} messages", run.acknowledged);
    assert!(unsynced > 10, "nothing could be lost");
}

/// Chooses at which moments a server is started: half of them around checkpoints.
fn with_servers(
    moments: &BTreeSet<usize>,
    near: &BTreeSet<usize>,
    random: &mut Random,
) -> BTreeSet<usize> {
    let moments: Vec<usize> = moments.iter().copied().collect();
    let near: Vec<usize> = near.iter().copied().collect();
    let mut chosen = BTreeSet::new();
    while chosen.len() < SERVERS {
        let from = if chosen.len() % 2 == 0 {
            &near
        } else {
            &moments
        };
        chosen.insert(*random.one_of(from));
    }
    chosen
}

/// Starts a server on what a disk holds, and reads it as clients do.
fn served(image: &Image) -> Logs {
    let folder = TempDir::new().unwrap();
    lay(image, folder.path());
    read::with_server(folder.path())
}

#[test]
fn each_acknowledgement_comes_after_the_sync_of_its_commit() {
    let run = Run::shared();
    let mut disk = Disk::new(&run.calls, &honest);
    disk.play(usize::MAX);
    let commits = commits::read(&run.calls, &disk, &run.plan);
    assert_eq!(early(&run, &disk, &run.promises), [0; 0]);
    let syncs = run.count(|what| matches!(what, What::Synced { .. }));
    let writes = run.count(|what| matches!(what, What::Wrote { name, .. } if name == LOG));
    let begun_anew = run.checkpoints.iter().filter(|it| it.begun_anew.is_some());
    let begun_anew = begun_anew.count();
    println!(
        "{} commits of {} messages and more, {syncs} syncs, {writes} writes of the log; {} checkpoints of {:?} writes, the log was \
         begun anew {begun_anew} times",
        commits.count,
        run.acknowledged,
        run.checkpoints.len(),
        run.checkpoints
            .iter()
            .map(|it| it.written.len())
            .collect::<Vec<_>>(),
    );
    // Messages share commits, and each commit has its sync.
    assert!(
        commits.count < run.acknowledged,
        "{} commits",
        commits.count
    );
    assert!(commits.count > 50, "{} commits", commits.count);
    assert!(syncs >= commits.count, "{syncs} syncs");
    // Most fit into one write, which SQLite by itself makes two for each page.
    assert!(writes < 2 * commits.count, "{writes} writes");
    // The last checkpoint is that of the store's end.
    assert!(run.checkpoints.len() > 1, "there was no checkpoint");
    assert!(begun_anew > 0, "the log was not begun anew");
}

/// Returns the messages that were promised before they were durable.
fn early(run: &Run, disk: &Disk, promises: &[Promise]) -> Vec<u64> {
    let durable_since = commits::read(&run.calls, disk, &run.plan).durable_since;
    let is_early = |promise: &&Promise| {
        let since = durable_since.get(&promise.id);
        since.is_none_or(|since| *since > promise.line)
    };
    promises
        .iter()
        .filter(is_early)
        .map(|promise| promise.id)
        .collect()
}

/// The checks bite: a log that is never synchronised loses what was acknowledged.
#[test]
fn without_the_syncs_of_the_log_messages_are_missed() {
    let run = Run::shared();
    let first = run.promises[0].line;
    let faulty = |call: &Call| {
        call.begin > first && matches!(&call.what, What::Synced { name } if name == LOG)
    };
    let mut disk = Disk::new(&run.calls, &faulty);
    disk.play(usize::MAX);
    assert!(early(&run, &disk, &run.promises).len() > run.acknowledged);
    // Until the log is copied, nothing but the log has them.
    let line = due(&run.promises, run.checkpoints[0].written[0])
        .last()
        .unwrap()
        .line;
    let complaints = run.cut(line, &faulty);
    let lost = complaints
        .iter()
        .filter(|complaint| complaint.contains("is lost"));
    assert!(lost.count() > 100, "{complaints:?}");
}

/// A database that is not synchronised before its log is overwritten loses what was in that.
#[test]
fn without_the_syncs_of_the_database_messages_are_missed() {
    let run = Run::shared();
    let faulty = |call: &Call| matches!(&call.what, What::Synced { name } if name == DATABASE);
    let begun_anew = run.checkpoints.iter().find_map(|it| it.begun_anew).unwrap();
    assert_ne!(run.cut(begun_anew, &faulty), [""; 0]);
    assert_eq!(run.cut(begun_anew, &honest), [""; 0]);
}

/// A file whose name is not durable is not there.
#[test]
fn without_the_syncs_of_the_folder_everything_is_missed() {
    let run = Run::shared();
    let faulty = |call: &Call| matches!(call.what, What::SyncedFolder);
    let line = run.promises.last().unwrap().line;
    assert_ne!(run.cut(line, &faulty), [""; 0]);
}

/// An acknowledgement that does not wait for its sync is noticed.
#[test]
fn an_acknowledgement_before_the_sync_is_missed() {
    let run = Run::shared();
    let mut disk = Disk::new(&run.calls, &honest);
    disk.play(usize::MAX);
    let since = commits::read(&run.calls, &disk, &run.plan).durable_since;
    let too_early = |promise: &Promise| Promise {
        line: since[&promise.id] - 1,
        ..promise.clone()
    };
    let mut promises: Vec<Promise> = run.promises.iter().map(too_early).collect();
    promises.sort_by_key(|promise| promise.line);
    assert_eq!(early(&run, &disk, &promises).len(), promises.len());
    let Promise { line, id, .. } = promises[promises.len() / 2];
    let mut disk = Disk::new(&run.calls, &honest);
    disk.play(line);
    let complaints = run.complaints(&disk.dropped(), due(&promises, line));
    let lost = format!("{KEY}{id} is lost");
    assert!(
        complaints.iter().any(|it| it.starts_with(&lost)),
        "{complaints:?}"
    );
}
