//! What a relay tells its node.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use parlor_core::id::{StoreToken, SubscriptionToken, UserId};
use parlor_core::relay::RelayMessage;

/// Takes what a relay reports: the inputs of [`parlor_core::engine::Input`] that are a relay's.
///
/// All but [`Reports::relayed`] must return at once. They are called from the relay's tasks, and
/// [`Reports::presence`] also from the caller of `ask_presence`.
pub trait Reports: Send + Sync + 'static {
    /// Every channel of a subscription, and of those before, is confirmed.
    fn subscribed(&self, token: SubscriptionToken);
    /// Who of the users is online on any node; `None` where Redis did not say so in time. Exactly
    /// one for each question.
    fn presence(&self, token: StoreToken, online: Option<Vec<UserId>>);
    /// Both connections stand, and every channel is subscribed. Subscriptions from before are not
    /// confirmed apart.
    fn relay_up(&self);
    /// A connection is gone, or was never there.
    fn relay_lost(&self);
    /// A node told something. While the future waits, payloads wait in the relay's queue, and are
    /// dropped and counted when it is full.
    fn relayed(&self, message: RelayMessage) -> BoxFuture<'_, ()>;
}

/// Says when the relay as a whole comes and goes.
pub(crate) struct Status {
    reports: Arc<dyn Reports>,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    publishing: bool,
    subscribed: bool,
    reported: Option<bool>,
}

impl Status {
    /// Begins with nothing reported.
    pub(crate) fn new(reports: Arc<dyn Reports>) -> Self {
        Self {
            reports,
            now: Mutex::default(),
        }
    }

    /// Tells whether messages can be published.
    pub(crate) fn publishing(&self) -> bool {
        self.change(|now| now.publishing)
    }

    /// The connection that publishes came or went.
    pub(crate) fn set_publishing(&self, stands: bool) {
        self.report(stands, |now| now.publishing = stands);
    }

    /// The connection that subscribes has everything subscribed, or is gone.
    pub(crate) fn set_subscribed(&self, stands: bool) {
        self.report(stands, |now| now.subscribed = stands);
    }

    fn report(&self, stands: bool, change: impl FnOnce(&mut Now)) {
        // Reported with the lock held, so that the last report is true. Reports return at once.
        self.change(|now| {
            change(now);
            let up = now.publishing && now.subscribed;
            // When the first of the two is there, nothing is lost.
            if up != stands || now.reported.replace(up) == Some(up) {
                return;
            }
            if up {
                self.reports.relay_up();
            } else {
                self.reports.relay_lost();
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Now) -> T) -> T {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
