//! Guesses of passwords: they are counted by account, by address and by both, and become slower the
//! more of them are wrong.
//!
//! A try counts from the moment that it is let in, so that many at once are no way around; when the
//! store has answered, it is taken back unless the password was wrong.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::engine::config::{Allowance, LoginGuard, Rates};
use crate::engine::rate::Bucket;
use crate::engine::recent::Recent;
use crate::engine::token::tag;
use crate::id::StoreToken;
use crate::protocol::ErrorCode;
use crate::protocol::request::UserRef;
use crate::secret::Secret;
use crate::store::{StoreFailure, StoreResult};
use crate::time::Timestamp;

/// Who tried how often.
#[derive(Debug, Default)]
pub(super) struct Guard {
    accounts: Recent<Account, Record>,
    networks: Recent<Network, Record>,
    pairs: Recent<(Account, Network), Record>,
    /// Where an account's password was known.
    known: Recent<(Account, Network), ()>,
    registrations: Recent<Network, Bucket>,
    /// What is under way, by the store request that will tell.
    tries: BTreeMap<StoreToken, Try>,
}

/// Where a client is: one IPv4 address, or the 64 bits of an IPv6 address that name a network,
/// since a network has any number of addresses to try from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Network(IpAddr);

/// An account as clients name it, known or unknown: by name, whatever the case, or by number. What is
/// kept has one size, and shows no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account([u8; 16]);

/// Who tries, and from where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    /// Absent where it is not known before the outcome.
    account: Option<Account>,
    network: Option<Network>,
    known: bool,
}

/// What was tried under one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    failures: u32,
    under_way: u32,
    failed_at: Timestamp,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Right,
    Wrong,
    /// Nobody looked at the password.
    Unknown,
}

impl Guard {
    /// Looks whether a try may begin; [`begin`](Self::begin) counts it.
    ///
    /// # Errors
    /// Says how long to wait.
    pub(super) fn admit(
        &self,
        limits: &LoginGuard,
        account: Option<Account>,
        network: Option<Network>,
        now: Timestamp,
    ) -> Result<Try, Duration> {
        let pair = account.zip(network);
        let known = pair.is_some_and(|pair| self.known.get(pair).is_some());
        let wait = |record: Option<&Record>, allowance: &Allowance| {
            record.map_or(Duration::ZERO, |it| it.wait(allowance, limits.forget, now))
        };
        let mut longest = pair.map_or(Duration::ZERO, |pair| {
            wait(self.pairs.get(pair), &limits.pair)
        });
        if !known {
            if let Some(account) = account {
                longest = longest.max(wait(self.accounts.get(account), &limits.account));
            }
            if let Some(network) = network {
                longest = longest.max(wait(self.networks.get(network), &limits.address));
            }
        }
        if longest > Duration::ZERO {
            return Err(longest);
        }
        Ok(Try {
            account,
            network,
            known,
        })
    }

    /// Counts a try whose outcome `token` will tell.
    pub(super) fn begin(&mut self, limits: &LoginGuard, token: StoreToken, attempt: Try) {
        self.each(limits, attempt, |record| record.under_way += 1);
        self.tries.insert(token, attempt);
    }

    /// Takes the outcome of a try, if `token` is one.
    pub(super) fn settle(
        &mut self,
        limits: &LoginGuard,
        token: StoreToken,
        result: &StoreResult,
        now: Timestamp,
    ) {
        let Some(attempt) = self.tries.remove(&token) else {
            return;
        };
        let outcome = Outcome::of(result);
        self.each(limits, attempt, |record| {
            record.settle(outcome, limits.forget, now);
        });
        let pair = attempt.account.zip(attempt.network);
        if let (Outcome::Right, Some(pair)) = (outcome, pair) {
            self.known.touch(pair, limits.entries);
            self.pairs.touch(pair, limits.entries).failures = 0;
        }
    }

    /// Counts an account that is being made.
    ///
    /// # Errors
    /// Says how long to wait.
    pub(super) fn register(
        &mut self,
        rates: &Rates,
        network: Network,
        now: Timestamp,
    ) -> Result<(), Duration> {
        self.registrations
            .touch(network, rates.guard.entries)
            .take(rates.registrations, now)
    }

    /// Returns how many tries are under way.
    pub(super) fn under_way(&self) -> usize {
        self.tries.len()
    }

    /// Returns the size of the largest of the tables, each of which has the same limit.
    pub(super) fn largest(&self) -> usize {
        self.accounts
            .len()
            .max(self.networks.len())
            .max(self.pairs.len())
            .max(self.known.len())
            .max(self.registrations.len())
    }

    /// Changes every record that a try counts in.
    fn each(&mut self, limits: &LoginGuard, attempt: Try, mut change: impl FnMut(&mut Record)) {
        let Try {
            account,
            network,
            known,
        } = attempt;
        let entries = limits.entries;
        if let Some(pair) = account.zip(network) {
            change(self.pairs.touch(pair, entries));
        }
        if known {
            return;
        }
        if let Some(network) = network {
            change(self.networks.touch(network, entries));
        }
        if let Some(account) = account {
            change(self.accounts.touch(account, entries));
        }
    }
}

impl Record {
    /// Returns how long to wait before the next try.
    fn wait(&self, allowance: &Allowance, forget: Duration, now: Timestamp) -> Duration {
        let failures = self.remembered(forget, now);
        if failures.saturating_add(self.under_way) < allowance.failures {
            return Duration::ZERO;
        }
        if self.under_way > 0 {
            // From here on one after the other.
            return allowance.delay;
        }
        let doublings = failures.saturating_sub(allowance.failures);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let delay = allowance
            .delay
            .saturating_mul(factor)
            .min(allowance.most_delay);
        (self.failed_at + delay).since(now)
    }

    fn settle(&mut self, outcome: Outcome, forget: Duration, now: Timestamp) {
        self.under_way = self.under_way.saturating_sub(1);
        if outcome == Outcome::Wrong {
            self.failures = self.remembered(forget, now).saturating_add(1);
            self.failed_at = now;
        }
    }

    fn remembered(&self, forget: Duration, now: Timestamp) -> u32 {
        let old = now >= self.failed_at + forget;
        if old { 0 } else { self.failures }
    }
}

impl Network {
    pub(super) const fn of(address: IpAddr) -> Self {
        let IpAddr::V6(address) = address.to_canonical() else {
            return Self(address.to_canonical());
        };
        let prefix = address.to_bits() >> 64 << 64;
        Self(IpAddr::V6(Ipv6Addr::from_bits(prefix)))
    }
}

impl Account {
    /// Nobody can choose names whose tags meet, since the tag is made with the cluster's secret.
    pub(super) fn of(who: &UserRef, secret: &Secret) -> Self {
        Self(match who {
            UserRef::Id(user) => tag(secret, b"guard user", &user.0.to_be_bytes()),
            UserRef::Name(name) => tag(secret, b"guard name", name.key().as_str().as_bytes()),
        })
    }
}

impl Outcome {
    fn of(result: &StoreResult) -> Self {
        match result {
            Ok(_) => Self::Right,
            Err(StoreFailure::Refused(error)) if error.code == ErrorCode::BadCredentials => {
                Self::Wrong
            }
            Err(_) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::{Account, Network, Outcome, Record};
    use crate::engine::config::Allowance;
    use crate::id::UserId;
    use crate::name::Name;
    use crate::protocol::ErrorCode;
    use crate::protocol::request::UserRef;
    use crate::secret::Secret;
    use crate::store::StoreFailure;
    use crate::time::Timestamp;

    const ALLOWANCE: Allowance = Allowance {
        failures: 2,
        delay: Duration::from_secs(1),
        most_delay: Duration::from_secs(10),
    };
    const FORGET: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp(1_000_000);

    fn fail(record: &mut Record, now: Timestamp) {
        record.under_way += 1;
        record.settle(Outcome::Wrong, FORGET, now);
    }

    #[test]
    fn delays_double_up_to_the_longest_and_are_forgotten() {
        let mut record = Record::default();
        let mut waits = Vec::new();
        for _ in 0..40 {
            fail(&mut record, START);
            waits.push(record.wait(&ALLOWANCE, FORGET, START).as_secs());
        }
        assert_eq!(waits[..7], [0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(waits[39], 10);
        let later = |seconds| START + Duration::from_secs(seconds);
        assert_eq!(
            record.wait(&ALLOWANCE, FORGET, later(9)),
            Duration::from_secs(1)
        );
        assert_eq!(record.wait(&ALLOWANCE, FORGET, later(10)), Duration::ZERO);
        fail(&mut record, later(59));
        assert_eq!(record.failures, 41);
        fail(&mut record, later(119));
        assert_eq!(record.failures, 1);
    }

    #[test]
    fn tries_under_way_count_and_go_on_one_by_one() {
        let mut record = Record {
            under_way: 1,
            ..Record::default()
        };
        assert_eq!(record.wait(&ALLOWANCE, FORGET, START), Duration::ZERO);
        record.under_way = 2;
        assert_eq!(record.wait(&ALLOWANCE, FORGET, START), ALLOWANCE.delay);
        record.settle(Outcome::Unknown, FORGET, START);
        record.settle(Outcome::Right, FORGET, START);
        assert_eq!(record, Record::default());
    }

    #[test]
    fn only_wrong_credentials_are_a_failure() {
        for (code, outcome) in [
            (ErrorCode::BadCredentials, Outcome::Wrong),
            (ErrorCode::TokenExpired, Outcome::Unknown),
        ] {
            let refused = StoreFailure::Refused(code.into());
            assert_eq!(Outcome::of(&Err(refused)), outcome, "{code}");
        }
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let network = |text: &str| Network::of(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("10.0.0.1"), network("::ffff:10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:0:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }

    #[test]
    fn an_account_is_one_whatever_the_case_and_hides_its_name() {
        let secret = Secret::new("a secret of at least thirty-two bytes");
        let name = |text| Account::of(&UserRef::Name(Name::new(text).unwrap()), &secret);
        assert_eq!(name("Alice"), name("aLICE"));
        assert_ne!(name("alice"), name("bob"));
        assert_ne!(name("1"), Account::of(&UserRef::Id(UserId(1)), &secret));
        let other = Secret::new("another secret of at least thirty-two");
        let elsewhere = Account::of(&UserRef::Name(Name::new("alice").unwrap()), &other);
        assert_ne!(name("alice"), elsewhere);
    }
}
