//! Everything that the side port tells, at one moment.

use std::time::{Duration, Instant};

use async_std::future::timeout;
use futures::join;
use parlor::Snapshot;
use parlor_relay_redis::Counts as RelayCounts;
use parlor_storage::Status as StoreStatus;
use serde::Serialize;

use super::process::Process;
use super::wire::{Status, json};
use super::{ANSWER, Sources};

/// What the engine, the store, the relay and the system say.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) node: Snapshot,
    pub(super) store: StoreStatus,
    pub(super) store_answers: bool,
    /// How long the store took to answer.
    pub(super) store_took: Duration,
    /// Absent for a node that is alone.
    pub(super) relay: Option<RelayCounts>,
    pub(super) process: Process,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    store: &'static str,
    relay: &'static str,
    draining: bool,
}

impl Gathered {
    /// Asks everyone at once; `None` when the engine does not answer.
    pub(super) async fn from(sources: &Sources) -> Option<Self> {
        let asked = Instant::now();
        let store = async {
            let answers = timeout(ANSWER, sources.store.cluster()).await;
            (matches!(answers, Ok(Ok(_))), asked.elapsed())
        };
        let (node, (store_answers, store_took)) =
            join!(timeout(ANSWER, sources.node.inspect()), store);
        Some(Self {
            node: node.ok()?.ok()?,
            store: sources.store.status(),
            store_answers,
            store_took,
            relay: sources
                .relay
                .as_ref()
                .map(|relay| relay.counters().counts()),
            process: Process::look(),
        })
    }

    /// Tells whether clients should be sent here.
    pub(super) fn is_ready(&self) -> bool {
        self.store_answers && self.relay_is_there() && !self.node.draining
    }

    /// Tells whether there is a relay, or none is needed.
    pub(super) fn relay_is_there(&self) -> bool {
        self.relay.is_none() || self.node.relay_is_up
    }

    /// Says in JSON whether clients should be sent here, and if not, why.
    pub(super) fn readiness(&self) -> String {
        json(&self.read())
    }

    /// Says in JSON what the status page shows.
    pub(super) fn status(&self) -> String {
        let Snapshot {
            counts,
            tally,
            repairs,
            ..
        } = &self.node;
        let refused = |((_, code), count): (&(_, Option<_>), &u64)| match code {
            Some(_) => *count,
            None => 0,
        };
        let Readiness {
            ready,
            store,
            relay,
            draining,
        } = self.read();
        json(&Status {
            ready,
            store: store.to_owned(),
            relay: relay.to_owned(),
            draining,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            connections: counts.connections,
            users: counts.users,
            groups: counts.groups,
            other_nodes: counts.nodes,
            requests: tally.requests.values().sum(),
            refused: tally.requests.iter().map(refused).sum(),
            entries: tally.entries,
            pushes: tally.pushes,
            repairs: repairs.gaps + repairs.heads + repairs.reconciled + repairs.verified,
            store_waiting: self.store.writing + self.store.reading,
            store_took_ms: u64::try_from(self.store_took.as_millis()).unwrap_or(u64::MAX),
            relay_dropped: self.relay.map_or(0, |relay| relay.dropped),
            resident_bytes: self.process.resident_bytes,
            cpu_seconds: self.process.cpu_seconds,
        })
    }

    fn read(&self) -> Readiness {
        Readiness {
            ready: self.is_ready(),
            store: match self.store_answers {
                true => "up",
                false => "down",
            },
            relay: match (&self.relay, self.node.relay_is_up) {
                (None, _) => "none",
                (Some(_), true) => "up",
                (Some(_), false) => "down",
            },
            draining: self.node.draining,
        }
    }
}
