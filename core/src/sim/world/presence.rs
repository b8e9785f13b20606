//! Who is online, as the relay knows it: whose channel somebody is subscribed to.

use std::collections::BTreeSet;

use super::World;
use super::faults::Fault;
use super::queue::{Life, Step};
use crate::engine::Input;
use crate::id::{StoreToken, UserId};
use crate::protocol::MAX_LIMIT;
use crate::relay::Channel;
use crate::time::Timestamp;

/// Subscriptions over a connection that is gone, which the relay has not noticed yet.
#[derive(Debug)]
pub(super) struct Stale {
    until: Timestamp,
    subscribed: BTreeSet<Channel>,
}

impl World<'_> {
    /// A node asks the relay who is online.
    pub(super) fn ask_presence(&mut self, life: Life, token: StoreToken, users: Vec<UserId>) {
        // A page of members is one question.
        let page = usize::try_from(MAX_LIMIT).unwrap_or(usize::MAX);
        let most = self.plan.config.presence_batch.max(page);
        if users.len() > most {
            let (node, asked) = (life.node, users.len());
            self.fail(format!(
                "node {node} asks about {asked} users at once, at most {most}"
            ));
        }
        let delay = self.random.millis(0, 3);
        let Some(node) = self.nodes.get(life.node) else {
            return;
        };
        let (line, up) = (node.relay.number, node.relay.up);
        let at = self.now + delay;
        if !self.plan.config.clustered {
            // Nobody is online elsewhere.
            let online = Some(Vec::new());
            let step = Step::Presence {
                life,
                token,
                online,
            };
            self.queue.push(at, step);
        } else if up {
            let step = Step::AskPresence {
                life,
                line,
                token,
                users,
            };
            self.queue.push(at, step);
        } else {
            self.answer_presence(life, token, None);
        }
    }

    /// The relay is asked: it counts who has subscribed to each user's channel.
    pub(super) fn presence_asked(
        &mut self,
        life: Life,
        line: u64,
        token: StoreToken,
        users: &[UserId],
    ) {
        let now = self.now;
        self.stale.retain(|stale| stale.until > now);
        let node = self.nodes.get(life.node);
        let same = node.is_some_and(|node| node.relay.up && node.relay.number == line);
        let lost = self.faults.hits(Fault::PresenceLost, &mut self.random);
        if !same || lost || self.relay_hangs_until > now {
            self.answer_presence(life, token, None);
            return;
        }
        let online = users.iter().copied().filter(|user| {
            let channel = Channel::User(*user);
            let lines = self.nodes.iter().map(|node| &node.relay);
            let gone = self.stale.iter().map(|stale| &stale.subscribed);
            lines
                .filter(|line| line.up)
                .map(|line| &line.subscribed)
                .chain(gone)
                .any(|subscribed| subscribed.contains(&channel))
        });
        let online = online.collect();
        self.answer_presence(life, token, Some(online));
    }

    /// Each question is answered once; that there is no answer takes a while to know.
    fn answer_presence(&mut self, life: Life, token: StoreToken, online: Option<Vec<UserId>>) {
        let late = self.faults.hits(Fault::PresenceLate, &mut self.random);
        let least = if online.is_none() { 200 } else { 0 };
        let delay = self
            .random
            .millis(least, if late { 4000 } else { least + 3 });
        let step = Step::Presence {
            life,
            token,
            online,
        };
        self.queue.push(self.now + delay, step);
    }

    pub(super) fn presence_told(
        &mut self,
        life: Life,
        token: StoreToken,
        online: Option<Vec<UserId>>,
    ) {
        self.say(|_| format!("relay   tells node {} who is online: {online:?}", life.node));
        self.feed(life, Input::Presence { token, online });
    }

    /// A connection to the relay is gone: the relay may take a while to notice.
    pub(super) fn leave_subscriptions(&mut self, subscribed: BTreeSet<Channel>) {
        if !subscribed.is_empty() && self.faults.hits(Fault::PresenceStale, &mut self.random) {
            let until = self.now + self.random.millis(100, 15_000);
            self.stale.push(Stale { until, subscribed });
        }
    }
}
