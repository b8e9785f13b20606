//! Every limit of the configuration, every deadline, and that nothing is kept for what is gone.

use std::time::Duration;

use super::World;
use super::links::Link;
use super::queue::{Life, LinkId, Step};
use crate::engine::Counts;
use crate::id::StoreToken;
use crate::protocol::{Event, NoticeCode};
use crate::relay::Channel;
use crate::store::{Read, StoreRequest};
use crate::time::Timestamp;

/// What a frame weighs at least.
const LIGHTEST: u32 = 160;

/// How long after it is due something may happen: alarms ring in time.
const SLACK: Duration = Duration::from_secs(1);

/// How long a node without a connection may hold what belonged to one, beyond the time for which
/// its users count as online: a read that failed is tried again a second later.
const FORGETS_WITHIN: Duration = Duration::from_secs(5);

impl World<'_> {
    /// The tables of a node keep the limits of its configuration.
    pub(super) fn check_counts(&mut self, life: Life) {
        let node = self.nodes.get(life.node);
        let Some(node) = node.filter(|node| node.epoch == life.epoch) else {
            return;
        };
        let Some(engine) = &node.engine else { return };
        let (counts, config) = (engine.counts(), &self.plan.config);
        let closing = node
            .open
            .values()
            .filter(|id| self.links.get(id).is_some_and(|link| link.closing))
            .count();
        // Of its own, a node has a read of rosters, of heads, to verify and of changes, and a
        // write of cursors under way.
        let own = config.fetches + 5;
        let bounds = [
            (
                "connections",
                counts.connections,
                config.connections + closing,
            ),
            ("users", counts.users, self.ledger.accounts()),
            ("groups", counts.groups, self.ledger.logs()),
            (
                "store requests",
                counts.store_requests,
                config.store_requests + own,
            ),
            ("fetches", counts.fetches, self.ledger.logs()),
            ("fetches under way", node.fetching.len(), config.fetches),
            ("marks", counts.marks, 2 * config.marks),
            ("recalls", counts.recalls, config.recalls),
            ("subscriptions", counts.subscriptions, counts.users),
            ("watched", counts.watched, self.ledger.accounts()),
            (
                "questions",
                counts.questions,
                config.presence_questions + config.presence_lists,
            ),
            ("nodes", counts.nodes, config.nodes),
            ("addresses", counts.addresses, counts.connections),
            ("tries", counts.tries, config.store_requests),
            ("guarded", counts.guarded, self.plan.guarded()),
        ];
        let broken = bounds.into_iter().find(|(_, count, bound)| count > bound);
        let known = counts.connections == node.open.len();
        if let Some((what, count, bound)) = broken {
            self.fail(format!(
                "node {}: {count} {what}, at most {bound}",
                life.node
            ));
        } else if !known {
            self.fail(format!(
                "node {}: {counts:?} and other connections",
                life.node
            ));
        }
    }

    /// What is asked of the store at once is bounded.
    pub(super) fn check_submitted(
        &mut self,
        life: Life,
        token: StoreToken,
        request: &StoreRequest,
    ) {
        let config = &self.plan.config;
        let (count, most) = match request {
            StoreRequest::Read(Read::Rosters(users)) => (users.len(), config.batch),
            StoreRequest::Read(Read::Heads {
                conversations,
                users,
            }) => (conversations.len().max(users.len()), config.batch),
            StoreRequest::Mark(marks) => (marks.len(), 2 * config.marks),
            _ => (0, 0),
        };
        if count > most {
            self.fail(format!(
                "node {} asks for {count} at once, at most {most}: {request:?}",
                life.node
            ));
        }
        if let StoreRequest::Read(Read::Fetch { .. }) = request
            && let Some(node) = self.nodes.get_mut(life.node)
        {
            node.fetching.insert(token);
        }
    }

    /// Requests of a connection wait up to a limit; then it is not read from.
    pub(super) fn check_pipeline(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id).filter(|link| link.at_node) else {
            return;
        };
        let (waiting, most) = (link.asked.len(), self.plan.config.pipeline);
        if waiting > most {
            self.fail(format!("{waiting} requests of {id:?} wait, at most {most}"));
        } else if waiting == most && !link.closing && !link.paused && !link.input_ended {
            self.fail(format!(
                "{waiting} requests of {id:?} wait and it is read from"
            ));
        }
    }

    /// Events are pushed to who has credit, but those that cannot be fetched later.
    pub(super) fn check_credit(&mut self, id: LinkId, event: &Event) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let credit = self.plan.config.outgoing;
        let most = match event {
            Event::Message(_) | Event::Receipt { .. } | Event::Typing { .. } => credit,
            Event::Friend { .. } | Event::Group { .. } | Event::Presence { .. } => {
                credit.saturating_mul(4)
            }
            Event::Notice {
                code: NoticeCode::Slow,
                ..
            } => {
                self.check_slow(id);
                return;
            }
            Event::Notice { .. } => return,
        };
        if link.unwritten >= most {
            let unwritten = link.unwritten;
            self.fail(format!(
                "{id:?} has not read {unwritten} bytes and is sent {event:?}"
            ));
        }
    }

    /// Only who accepts nothing for long, or lets very much pile up, is closed for being slow.
    fn check_slow(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let config = &self.plan.config;
        let accepted_nothing_for = self.clock(link.life.node).since(link.accepted_at);
        let slow = link.unwritten > 0 && accepted_nothing_for >= config.write_timeout;
        if !slow && link.unwritten < config.outgoing.saturating_mul(4) {
            let unwritten = link.unwritten;
            self.fail(format!(
                "{id:?} is closed for slowness with {unwritten} bytes unread, {accepted_nothing_for:?} after it accepted some"
            ));
        }
    }

    /// A node sends something of this weight.
    pub(super) fn charge(&mut self, id: LinkId, weight: u32) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let now = self.clock(link.life.node);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.unwritten == 0 {
            link.accepted_at = now;
        }
        link.unwritten = link.unwritten.saturating_add(weight);
        let replies = link.replies_unwritten();
        let config = &self.plan.config;
        // One that finds the connection below its credit is taken, and those that wait are answered.
        let beyond = usize::try_from(config.outgoing / LIGHTEST).unwrap_or(usize::MAX);
        let most = beyond.saturating_add(config.pipeline).saturating_add(2);
        if replies > most {
            self.fail(format!("{replies} replies wait for {id:?}, at most {most}"));
        }
    }

    /// Looks whether a deadline has passed, and whether a node holds what is gone; later again.
    pub(super) fn watch(&mut self) {
        self.queue.push(self.now + SLACK, Step::Watch);
        let overdue = self.links.iter().find_map(|(id, link)| {
            let why = self.overdue(link)?;
            Some((*id, why))
        });
        if let Some((id, why)) = overdue {
            self.fail(format!("{id:?} is open still: {why}"));
        }
        for index in 0..self.nodes.len() {
            if let Err(problem) = self.check_forgotten(index) {
                self.fail(problem);
            }
        }
    }

    /// Tells why a connection should have been closed by its node.
    fn overdue(&self, link: &Link) -> Option<String> {
        let node = self.nodes.get(link.life.node)?;
        if !link.at_node || link.closing || node.epoch != link.life.epoch {
            return None;
        }
        let now = self.clock(link.life.node);
        let config = &self.plan.config;
        let late = |since: Timestamp, limit: Duration| now.since(since) > limit + SLACK;
        if link.unwritten > 0 && late(link.accepted_at, config.write_timeout) {
            return Some(format!("nothing accepted since {:?}", link.accepted_at));
        }
        if link.asked.is_empty() && !link.paused && late(link.heard_at, config.idle) {
            return Some(format!("nothing heard since {:?}", link.heard_at));
        }
        None
    }

    /// A node that has had no connection for a while holds nothing of one.
    fn check_forgotten(&self, index: usize) -> Result<(), String> {
        let Some(node) = self.nodes.get(index) else {
            return Ok(());
        };
        let (Some(since), Some(engine)) = (node.alone_since, &node.engine) else {
            return Ok(());
        };
        let alone_for = self.now.since(since);
        if node.draining || alone_for < self.plan.config.offline_after + FORGETS_WITHIN {
            return Ok(());
        }
        let Counts {
            connections,
            users,
            groups,
            fetches,
            subscriptions,
            ..
        } = engine.counts();
        let under_way = node.fetching.len();
        if (connections, users, groups, subscriptions) != (0, 0, 0, 0) || fetches > under_way {
            return Err(format!(
                "node {index} has had no connection for {alone_for:?} and holds {:?}",
                engine.counts()
            ));
        }
        if node.relay.wanted.iter().any(|it| *it != Channel::Nodes) {
            return Err(format!(
                "node {index} has had no connection for {alone_for:?} and listens to {:?}",
                node.relay.wanted
            ));
        }
        Ok(())
    }
}
