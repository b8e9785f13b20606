//! Metrics as Prometheus reads them (OpenMetrics 1.0, text).

use std::fmt;

use parlor::Snapshot;
use parlor_core::engine::{Counts, Repairs, Tally, Waits};
use parlor_relay_redis::Counts as RelayCounts;
use parlor_storage::Status as StoreStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::gathered::Gathered;

/// Writes everything that was gathered.
///
/// # Errors
/// None that is known: it writes to memory.
pub(super) fn text(gathered: Gathered) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("parlor");
    registry.register_collector(Box::new(gathered));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Gathered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let Snapshot {
            counts,
            tally,
            repairs,
            ..
        } = &self.node;
        page.gauge(
            "ready",
            "Whether clients should be sent here",
            self.is_ready(),
        )?;
        page.gauge("draining", "Whether the node drains", self.node.draining)?;
        page.gauge(
            "store_up",
            "Whether the store answered just now",
            self.store_answers,
        )?;
        page.gauge(
            "relay_up",
            "Whether the relay is there, or none is needed",
            self.relay_is_there(),
        )?;
        page.counts(counts)?;
        page.tally(tally)?;
        page.repairs(repairs)?;
        page.store(&self.store)?;
        if let Some(relay) = &self.relay {
            page.relay(relay)?;
        }
        page.process(self)
    }
}

/// What is being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counts(&mut self, counts: &Counts) -> fmt::Result {
        let Counts {
            connections,
            users,
            groups,
            store_requests,
            fetches,
            marks,
            marks_written: _,
            recalls,
            refresh,
            subscriptions,
            watched,
            questions,
            nodes,
            addresses,
            tries,
            guarded,
            alarms,
        } = *counts;
        for (name, help, value) in [
            ("connections", "Open connections", connections),
            ("users", "Users with a session here", users),
            ("groups", "Groups with a member here", groups),
            ("nodes", "Other nodes that are heard of", nodes),
            ("addresses", "Addresses with connections", addresses),
            (
                "pending_store_requests",
                "Store requests under way",
                store_requests,
            ),
            ("pending_fetches", "Conversations being fetched", fetches),
            ("pending_cursors", "Cursors to be written", marks),
            ("pending_refreshes", "Rows to be read again", refresh),
            (
                "pending_subscriptions",
                "Subscriptions not confirmed",
                subscriptions,
            ),
            (
                "pending_questions",
                "Questions to the relay under way",
                questions,
            ),
            ("pending_logins", "Passwords being checked", tries),
            ("watched_users", "Friends elsewhere", watched),
            ("remembered_recalls", "Recalls remembered", recalls),
            (
                "guard_entries",
                "The largest table of the login guard",
                guarded,
            ),
            (
                "pending_alarms",
                "Moments at which something is looked at again",
                alarms,
            ),
        ] {
            self.gauge(name, help, value as u64)?;
        }
        Ok(())
    }

    fn tally(&mut self, tally: &Tally) -> fmt::Result {
        let Tally {
            connections,
            requests,
            waits,
            commits,
            arrivals,
            entries,
            pushes,
            notices,
        } = tally;
        self.counter("connections_made", "Connections that came", *connections)?;
        let mut family = self.0.encode_descriptor(
            "requests",
            "Answered requests by operation and outcome",
            None,
            MetricType::Counter,
        )?;
        for ((op, code), count) in requests {
            let op = op.unwrap_or("unreadable");
            let outcome = code.map_or("ok", |code| code.as_str());
            let labels = [("op", op), ("outcome", outcome)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = self.0.encode_descriptor(
            "notices",
            "Notices to clients, such as why they were closed",
            None,
            MetricType::Counter,
        )?;
        for (code, count) in notices {
            let labels = [("code", code.as_str())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        self.counter(
            "entries",
            "Log entries committed for clients here",
            *entries,
        )?;
        self.counter("pushes", "Log entries pushed to connections", *pushes)?;
        for (name, help, waits) in [
            (
                "request_seconds",
                "Time from a request's arrival to its answer, after its commit where it has one",
                waits,
            ),
            (
                "commit_seconds",
                "Time from a request's arrival to the commit of what it added to logs",
                commits,
            ),
            (
                "push_seconds",
                "Time from a log entry's moment in the store to its push to a connection that was \
                 there, by the clocks of database and node",
                arrivals,
            ),
        ] {
            self.waits(name, help, waits)?;
        }
        Ok(())
    }

    fn waits(&mut self, name: &str, help: &str, waits: &Waits) -> fmt::Result {
        let bounds = Waits::BOUNDS.iter().map(|millis| seconds(*millis));
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(waits.counts).collect();
        let count = waits.counts.iter().sum();
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(waits.sum.as_secs_f64(), count, &buckets, None)
    }

    fn repairs(&mut self, repairs: &Repairs) -> fmt::Result {
        let Repairs {
            gaps,
            heads,
            reconciled,
            verified,
            rosters,
            retries,
            starved,
        } = *repairs;
        let mut family = self.0.encode_descriptor(
            "repairs",
            "What was found although a message between nodes was missed, by how",
            None,
            MetricType::Counter,
        )?;
        for (path, count) in [
            ("gap", gaps),
            ("heads", heads),
            ("reconcile", reconciled),
            ("verify", verified),
            ("roster", rosters),
            ("retry", retries),
            ("lag", starved),
        ] {
            let labels = [("path", path)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn store(&mut self, status: &StoreStatus) -> fmt::Result {
        let StoreStatus {
            transactions,
            changes,
            repeats,
            failures,
            hashes,
            commits,
            reads,
            writing,
            reading,
            hashing,
        } = *status;
        for (name, help, count) in [
            (
                "store_transactions",
                "Committed transactions of changes",
                transactions,
            ),
            ("store_changes", "Changes in these transactions", changes),
            (
                "store_repeats",
                "Transactions that were tried again",
                repeats,
            ),
            ("store_failures", "Changes that failed", failures),
            ("store_hashes", "Passwords hashed, or compared", hashes),
        ] {
            self.counter(name, help, count)?;
        }
        for (name, help, count) in [
            ("store_writing", "Changes and cursors under way", writing),
            ("store_reading", "Reads under way", reading),
            (
                "store_hashing",
                "Requests with a password under way",
                hashing,
            ),
        ] {
            self.gauge(name, help, count as u64)?;
        }
        let help = "Time that a committed transaction took";
        self.waits("store_commit_seconds", help, &commits)?;
        let help = "Time that a read took, of many together as one";
        self.waits("store_read_seconds", help, &reads)
    }

    fn relay(&mut self, counts: &RelayCounts) -> fmt::Result {
        let RelayCounts {
            published,
            dropped,
            received,
            overrun,
            forged,
            unknown,
            reconnects,
            acknowledged,
        } = *counts;
        for (name, help, count) in [
            (
                "relay_published",
                "Messages that the relay accepted",
                published,
            ),
            (
                "relay_dropped",
                "Messages that the relay did not accept",
                dropped,
            ),
            ("relay_received", "Messages of other nodes", received),
            (
                "relay_overrun",
                "Messages dropped for want of time",
                overrun,
            ),
            ("relay_forged", "Payloads that no node signed", forged),
            (
                "relay_unknown",
                "Payloads of another version of Parlor",
                unknown,
            ),
            ("relay_reconnects", "Connections made anew", reconnects),
        ] {
            self.counter(name, help, count)?;
        }
        let help = "Time that the relay took to accept what was published together";
        self.waits("relay_publish_seconds", help, &acknowledged)
    }

    fn process(&mut self, gathered: &Gathered) -> fmt::Result {
        let process = gathered.process;
        if let Some(bytes) = process.resident_bytes {
            self.gauge("process_resident_bytes", "Memory in use", bytes)?;
        }
        if let Some(count) = process.descriptors {
            self.gauge("process_descriptors", "Open file descriptors", count)?;
        }
        if let Some(seconds) = process.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let metric = self.0.encode_descriptor(
                "process_cpu_seconds",
                "CPU time used",
                None,
                MetricType::Counter,
            )?;
            counter.encode(metric)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(metric)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<u64>) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value.into()).encode(metric)
    }
}

/// Milliseconds in seconds.
fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}
