//! MariaDB dies, hangs and comes back, under load.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_std::task::{JoinHandle, block_on, sleep, spawn, spawn_blocking};
use parlor_core::id::{Place, UserId};
use parlor_core::store::{Read, StoreError, StoreFailure, StoreRequest, StoreResult};
use parlor_storage::{Options, SqlStore};

use common::server::Private;
use common::{PASSWORD, befriend, login, open_url, options, send, seq, user};

/// How long a test waits before it counts as hung.
const HUNG: Duration = Duration::from_secs(120);

/// How many users send at once.
const LANES: usize = 8;

/// Settings under which a dead server is noticed soon.
fn hasty() -> Options {
    Options {
        timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(6),
        ..options()
    }
}

/// A server of its own, and two stores on it.
struct Cluster {
    private: Private,
    stores: [SqlStore; 2],
}

impl Cluster {
    async fn start() -> Self {
        let private = spawn_blocking(|| Private::start(&[])).await;
        let url = private.server.create_database("chat").unwrap();
        let stores = [open_url(&url, hasty()).await, open_url(&url, hasty()).await];
        Self { private, stores }
    }

    async fn close(&self) {
        for store in &self.stores {
            store.close().await;
        }
    }
}

/// Users who send without a pause until they are told to end, and repeat what they have no answer to.
struct Load {
    pairs: Vec<(UserId, Place)>,
    ending: Arc<AtomicBool>,
    /// What was acknowledged: the number of each lane's keys.
    acknowledged: Arc<Mutex<BTreeMap<(usize, u64), u64>>>,
    failures: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Load {
    async fn start(cluster: &Cluster) -> Self {
        let [store, _] = &cluster.stores;
        let mut pairs = Vec::new();
        for lane in 0..LANES {
            let one = user(store, &format!("one {lane}")).await;
            let other = user(store, &format!("other {lane}")).await;
            pairs.push((one, befriend(store, one, other).await));
        }
        let mut load = Self {
            pairs,
            ending: Arc::default(),
            acknowledged: Arc::default(),
            failures: Arc::default(),
            tasks: Vec::new(),
        };
        for lane in 0..LANES {
            let stores = cluster.stores.clone();
            load.tasks.push(load.lane(lane, stores));
        }
        load
    }

    /// Sends one key after the other, each through either store until it is acknowledged.
    fn lane(&self, lane: usize, stores: [SqlStore; 2]) -> JoinHandle<u64> {
        let (user, place) = self.pairs[lane];
        let ending = Arc::clone(&self.ending);
        let (acknowledged, failures) = (Arc::clone(&self.acknowledged), Arc::clone(&self.failures));
        spawn(async move {
            for index in 0.. {
                if ending.load(Ordering::Relaxed) {
                    return index;
                }
                let mut tries = lane;
                let seq = loop {
                    tries += 1;
                    let request = send(user, place, &format!("key {lane}/{index}"));
                    let result = stores[tries % 2].execute(request).await;
                    if !failed(&result) {
                        break seq(result);
                    }
                    failures.fetch_add(1, Ordering::Relaxed);
                };
                acknowledged.lock().unwrap().insert((lane, index), seq.0);
            }
            unreachable!("there is always a next key")
        })
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many more are acknowledged.
    async fn wait_for(&self, more: usize) {
        let (start, end) = (Instant::now(), self.count() + more);
        while self.count() < end {
            assert!(start.elapsed() < HUNG, "nothing is acknowledged any more");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until something failed.
    async fn wait_for_failures(&self) {
        let start = Instant::now();
        while self.failures.load(Ordering::Relaxed) == 0 {
            assert!(start.elapsed() < HUNG, "nothing fails");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the load, and checks that each log holds each key once, where it was said to be.
    async fn end(self, cluster: &Cluster) {
        self.ending.store(true, Ordering::Relaxed);
        let mut sent = 0;
        for task in self.tasks {
            sent += task.await;
        }
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        assert_eq!(u64::try_from(acknowledged.len()).unwrap(), sent);
        let text = "SELECT sender_id, CONVERT(message_key USING utf8mb4), seq, conversation_id FROM message";
        let rows = cluster.private.server.execute("chat", text).unwrap();
        let mut stored = BTreeMap::new();
        for row in rows.lines() {
            let columns: Vec<&str> = row.split('\t').collect();
            let (lane, index) = columns[1]
                .strip_prefix("key ")
                .unwrap()
                .split_once('/')
                .unwrap();
            let key = (lane.parse().unwrap(), index.parse().unwrap());
            let before = stored.insert(key, columns[2].parse().unwrap());
            assert_eq!(before, None, "{key:?} is stored twice");
        }
        assert_eq!(
            stored, acknowledged,
            "what was acknowledged is stored, and nothing else"
        );
        let holes = "SELECT COUNT(*) FROM conversation c WHERE last_seq <> \
             (SELECT COUNT(*) FROM message m WHERE m.conversation_id = c.id)";
        assert_eq!(
            cluster.private.server.execute("chat", holes).unwrap(),
            "0\n"
        );
    }
}

/// Tells whether a store has failed; asserts that it says so as it must.
fn failed(result: &StoreResult) -> bool {
    match result {
        Err(StoreFailure::Failed(StoreError::Unavailable | StoreError::Unknown)) => true,
        Err(other) => panic!("a dead database is no reason for {other:?}"),
        Ok(_) => false,
    }
}

/// Waits until a request goes well.
async fn recovers(store: &SqlStore, request: StoreRequest) {
    let start = Instant::now();
    while failed(&store.execute(request.clone()).await) {
        assert!(start.elapsed() < HUNG, "it does not recover");
    }
}

#[test]
fn a_killed_database_loses_nothing_that_was_acknowledged() {
    block_on(async {
        let mut cluster = Cluster::start().await;
        let load = Load::start(&cluster).await;
        for _ in 0..3 {
            load.wait_for(200).await;
            load.failures.store(0, Ordering::Relaxed);
            cluster.private.server.server.kill9().unwrap();
            load.wait_for_failures().await;
            // Everybody is told, in time.
            let (one, _) = load.pairs[0];
            for store in &cluster.stores {
                let start = Instant::now();
                assert!(failed(&store.execute(login(one, PASSWORD)).await));
                assert!(start.elapsed() < Duration::from_secs(30));
            }
            cluster.private.server.server.restart().unwrap();
            for store in &cluster.stores {
                recovers(store, login(one, PASSWORD)).await;
            }
        }
        load.wait_for(200).await;
        load.end(&cluster).await;
        cluster.close().await;
    });
}

#[test]
fn a_database_that_hangs_is_given_up_and_comes_back() {
    block_on(async {
        let mut cluster = Cluster::start().await;
        let load = Load::start(&cluster).await;
        for _ in 0..2 {
            load.wait_for(100).await;
            load.failures.store(0, Ordering::Relaxed);
            cluster.private.server.server.stop().unwrap();
            load.wait_for_failures().await;
            let (one, _) = load.pairs[0];
            let roster = StoreRequest::Read(Read::Rosters(vec![one]));
            for store in &cluster.stores {
                let start = Instant::now();
                assert!(failed(&store.execute(login(one, PASSWORD)).await));
                assert!(failed(&store.execute(roster.clone()).await));
                assert!(start.elapsed() < Duration::from_secs(60));
            }
            cluster.private.server.server.cont().unwrap();
            for store in &cluster.stores {
                recovers(store, login(one, PASSWORD)).await;
            }
        }
        load.wait_for(200).await;
        load.end(&cluster).await;
        cluster.close().await;
    });
}
