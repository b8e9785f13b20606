//! The configuration file.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use parlor_core::engine::Registration;
use parlor_core::secret::Secret;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::logging::LogFormat;

use super::jwt::JwtTable;
use super::rates::{GuardTable, RatesTable};
use super::{ConfigError, Settings, TlsParts, listening, networks};

const POSITIVE: &str = "at least 1";

/// What a file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    listen: Option<String>,
    tls_listen: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    proxy_from: Option<Vec<String>>,
    store: Option<String>,
    migrate: Option<bool>,
    relay: Option<String>,
    admin: Option<String>,
    admin_token: Option<String>,
    relay_ca: Option<PathBuf>,
    secret: Option<String>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    registration: Option<RegistrationSetting>,
    limits: LimitsTable,
    timeouts: TimeoutsTable,
    rates: RatesTable,
    guard: GuardTable,
    password: PasswordTable,
    jwt: Option<JwtTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsTable {
    rates: Option<bool>,
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    pipeline: Option<usize>,
    store_requests: Option<usize>,
    outgoing_kib: Option<u32>,
    trail: Option<usize>,
    sessions: Option<u32>,
    friends: Option<u32>,
    groups: Option<u32>,
    conversations: Option<u32>,
    members: Option<u32>,
    invitations: Option<u32>,
    join_requests: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TimeoutsTable {
    idle_seconds: Option<u32>,
    login_seconds: Option<u32>,
    write_seconds: Option<u32>,
    drain_seconds: Option<u32>,
    proxy_seconds: Option<u32>,
    handshake_seconds: Option<u32>,
    session_days: Option<u32>,
    edit_hours: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PasswordTable {
    memory_kib: Option<u32>,
    iterations: Option<u32>,
}

impl File {
    /// Reads a file's text; fails with a line and what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            (line, error.message().replace('\n', "; "))
        })
    }

    /// Overrides the settings that the file names; returns what it says of TLS, which may be part of
    /// what is said.
    pub(super) fn apply(self, settings: &mut Settings) -> Result<TlsParts, ConfigError> {
        set(&mut settings.listen, self.listen.map(listening));
        if let Some(proxy_from) = self.proxy_from {
            settings.proxies.from = networks(&proxy_from)?;
        }
        set(&mut settings.store, self.store);
        set(&mut settings.migrate, self.migrate);
        set(&mut settings.log, self.log);
        set(&mut settings.log_format, self.log_format);
        settings.relay = self.relay.or(settings.relay.take());
        settings.admin = self.admin.or(settings.admin.take());
        let token = self.admin_token.map(Secret::new);
        settings.admin_token = token.or(settings.admin_token.take());
        settings.relay_ca = self.relay_ca.or(settings.relay_ca.take());
        settings.secret = self.secret.map(Secret::new).or(settings.secret.take());
        set(
            &mut settings.engine.registration,
            self.registration.map(|it| it.0),
        );
        self.limits.apply(settings)?;
        self.timeouts.apply(settings)?;
        if let Some(rates) = &mut settings.engine.rates {
            self.rates.apply(rates)?;
            self.guard.apply(&mut rates.guard)?;
        }
        self.password.apply(settings)?;
        settings.jwt = self
            .jwt
            .map(JwtTable::read)
            .transpose()?
            .or(settings.jwt.take());
        Ok(TlsParts {
            listen: self.tls_listen,
            certificate: self.tls_cert,
            key: self.tls_key,
        })
    }
}

impl LimitsTable {
    fn apply(self, settings: &mut Settings) -> Result<(), ConfigError> {
        let engine = &mut settings.engine;
        if self.rates == Some(false) {
            engine.rates = None;
        }
        positive(
            "limits.connections",
            &mut engine.connections,
            self.connections,
        )?;
        positive(
            "limits.connections_per_address",
            &mut engine.connections_per_address,
            self.connections_per_address,
        )?;
        positive("limits.pipeline", &mut engine.pipeline, self.pipeline)?;
        positive(
            "limits.store_requests",
            &mut engine.store_requests,
            self.store_requests,
        )?;
        if let Some(kib) = self.outgoing_kib {
            engine.outgoing = kib.checked_mul(1024).filter(|bytes| *bytes > 0).ok_or(
                ConfigError::OutOfRange {
                    key: "limits.outgoing_kib",
                    rule: "between 1 and 4194303",
                },
            )?;
        }
        set(&mut engine.trail, self.trail);
        let limits = &mut settings.limits;
        positive("limits.sessions", &mut limits.sessions, self.sessions)?;
        positive("limits.friends", &mut limits.friends, self.friends)?;
        positive("limits.groups", &mut limits.groups, self.groups)?;
        positive(
            "limits.conversations",
            &mut limits.conversations,
            self.conversations,
        )?;
        positive("limits.members", &mut limits.members, self.members)?;
        positive(
            "limits.invitations",
            &mut limits.invitations,
            self.invitations,
        )?;
        positive(
            "limits.join_requests",
            &mut limits.join_requests,
            self.join_requests,
        )
    }
}

impl TimeoutsTable {
    fn apply(self, settings: &mut Settings) -> Result<(), ConfigError> {
        if self.drain_seconds.is_some_and(|seconds| seconds > 20) {
            return Err(ConfigError::OutOfRange {
                key: "timeouts.drain_seconds",
                rule: "at most 20: a drain ends within 30 seconds",
            });
        }
        let seconds = |count: Option<u32>| count.map(|it| Duration::from_secs(it.into()));
        let hours = |count: Option<u32>| count.map(|it| Duration::from_secs(u64::from(it) * 3600));
        let days = |count: Option<u32>| count.map(|it| Duration::from_secs(u64::from(it) * 86_400));
        let engine = &mut settings.engine;
        let limits = &mut settings.limits;
        for (key, slot, value) in [
            (
                "timeouts.idle_seconds",
                &mut engine.idle,
                seconds(self.idle_seconds),
            ),
            (
                "timeouts.login_seconds",
                &mut engine.login_timeout,
                seconds(self.login_seconds),
            ),
            (
                "timeouts.write_seconds",
                &mut engine.write_timeout,
                seconds(self.write_seconds),
            ),
            (
                "timeouts.drain_seconds",
                &mut engine.drain,
                seconds(self.drain_seconds),
            ),
            (
                "timeouts.proxy_seconds",
                &mut settings.proxies.timeout,
                seconds(self.proxy_seconds),
            ),
            (
                "timeouts.handshake_seconds",
                &mut settings.handshake,
                seconds(self.handshake_seconds),
            ),
            (
                "timeouts.session_days",
                &mut limits.session_lifetime,
                days(self.session_days),
            ),
            (
                "timeouts.edit_hours",
                &mut limits.edit_window,
                hours(self.edit_hours),
            ),
        ] {
            positive(key, slot, value)?;
        }
        Ok(())
    }
}

impl PasswordTable {
    fn apply(self, settings: &mut Settings) -> Result<(), ConfigError> {
        if self.memory_kib.is_some_and(|kib| kib < 8) {
            return Err(ConfigError::OutOfRange {
                key: "password.memory_kib",
                rule: "at least 8",
            });
        }
        let password = &mut settings.password;
        positive(
            "password.memory_kib",
            &mut password.memory_kib,
            self.memory_kib,
        )?;
        positive(
            "password.iterations",
            &mut password.iterations,
            self.iterations,
        )
    }
}

/// Overrides a setting that is named.
pub(super) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// Overrides a setting that is named and must not be zero.
pub(super) fn positive<T: Default + PartialEq>(
    key: &'static str,
    slot: &mut T,
    value: Option<T>,
) -> Result<(), ConfigError> {
    if value.as_ref() == Some(&T::default()) {
        return Err(ConfigError::OutOfRange {
            key,
            rule: POSITIVE,
        });
    }
    set(slot, value);
    Ok(())
}

/// `"open"`, `"closed"`, or a list of invitation codes.
struct RegistrationSetting(Registration);

impl<'de> Deserialize<'de> for RegistrationSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RegistrationVisitor)
    }
}

struct RegistrationVisitor;

impl<'de> Visitor<'de> for RegistrationVisitor {
    type Value = RegistrationSetting;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"open\", \"closed\", or a list of invitation codes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RegistrationSetting, E> {
        match text {
            "open" => Ok(RegistrationSetting(Registration::Open)),
            "closed" => Ok(RegistrationSetting(Registration::Closed)),
            // What was written may be a code: it is not repeated.
            _ => Err(E::custom(
                "`registration` is \"open\", \"closed\", or a list of invitation codes",
            )),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RegistrationSetting, A::Error> {
        let mut codes = Vec::new();
        while let Some(code) = list.next_element::<String>()? {
            codes.push(Secret::new(code));
        }
        if codes.is_empty() {
            return Err(A::Error::custom(
                "`registration` has no invitation codes; write \"closed\" to let nobody in",
            ));
        }
        Ok(RegistrationSetting(Registration::Invite(codes)))
    }
}
