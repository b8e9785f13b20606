//! The effective settings, as a file that says the same.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use parlor_core::engine::Registration;

use super::{Settings, jwt, rates, without_password};

impl fmt::Display for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listen = self.listen.as_deref().unwrap_or("none");
        writeln!(out, "listen = {}", quoted(listen))?;
        match &self.tls {
            Some(tls) => {
                writeln!(out, "tls_listen = {}", quoted(&tls.listen))?;
                writeln!(out, "tls_cert = {}", path(&tls.certificate))?;
                writeln!(out, "tls_key = {}", path(&tls.key))?;
            }
            None => writeln!(out, "# tls_cert, tls_key: not set, TLS is off")?,
        }
        let networks: Vec<String> = self
            .proxies
            .from
            .iter()
            .map(|network| quoted(&network.to_string()).to_string())
            .collect();
        writeln!(out, "proxy_from = [{}]", networks.join(", "))?;
        writeln!(out, "store = {}", quoted(&self.store_without_password()))?;
        writeln!(out, "migrate = {}", self.migrate)?;
        match &self.admin {
            Some(admin) => writeln!(out, "admin = {}", quoted(admin))?,
            None => writeln!(out, "# admin: none, nobody looks")?,
        }
        match self.admin_token {
            Some(_) => writeln!(out, "# admin_token: set")?,
            None => writeln!(out, "# admin_token: not set, orders come from this machine")?,
        }
        match &self.relay {
            Some(relay) => writeln!(out, "relay = {}", quoted(&without_password(relay)))?,
            None => writeln!(out, "# relay: none, this node is alone")?,
        }
        if let Some(relay_ca) = &self.relay_ca {
            writeln!(out, "relay_ca = {}", path(relay_ca))?;
        }
        match self.secret {
            Some(_) => writeln!(out, "# secret: set")?,
            None => writeln!(out, "# secret: not set, the store's own is used")?,
        }
        writeln!(out, "log = {}", quoted(&self.log))?;
        writeln!(out, "log_format = \"{}\"", self.log_format)?;
        match &self.engine.registration {
            Registration::Open => writeln!(out, "registration = \"open\"")?,
            Registration::Closed => writeln!(out, "registration = \"closed\"")?,
            Registration::Invite(codes) => {
                writeln!(out, "# registration: {} invitation codes", codes.len())?;
            }
        }
        self.limits(out)?;
        self.timeouts(out)?;
        if let Some(rates) = &self.engine.rates {
            rates::print(rates, out)?;
        }
        writeln!(out, "\n[password]")?;
        writeln!(out, "memory_kib = {}", self.password.memory_kib)?;
        writeln!(out, "iterations = {}", self.password.iterations)?;
        jwt::print(self.jwt.as_ref(), out)
    }
}

impl Settings {
    fn limits(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (engine, limits) = (&self.engine, &self.limits);
        writeln!(out, "\n[limits]")?;
        writeln!(out, "rates = {}", engine.rates.is_some())?;
        writeln!(out, "connections = {}", engine.connections)?;
        writeln!(
            out,
            "connections_per_address = {}",
            engine.connections_per_address
        )?;
        writeln!(out, "pipeline = {}", engine.pipeline)?;
        writeln!(out, "store_requests = {}", engine.store_requests)?;
        writeln!(out, "outgoing_kib = {}", engine.outgoing / 1024)?;
        writeln!(out, "trail = {}", engine.trail)?;
        writeln!(out, "sessions = {}", limits.sessions)?;
        writeln!(out, "friends = {}", limits.friends)?;
        writeln!(out, "groups = {}", limits.groups)?;
        writeln!(out, "conversations = {}", limits.conversations)?;
        writeln!(out, "members = {}", limits.members)?;
        writeln!(out, "invitations = {}", limits.invitations)?;
        writeln!(out, "join_requests = {}", limits.join_requests)
    }

    fn timeouts(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (engine, limits) = (&self.engine, &self.limits);
        let hours = |time: Duration| time.as_secs() / 3600;
        writeln!(out, "\n[timeouts]")?;
        writeln!(out, "idle_seconds = {}", engine.idle.as_secs())?;
        writeln!(out, "login_seconds = {}", engine.login_timeout.as_secs())?;
        writeln!(out, "write_seconds = {}", engine.write_timeout.as_secs())?;
        writeln!(out, "drain_seconds = {}", engine.drain.as_secs())?;
        writeln!(out, "proxy_seconds = {}", self.proxies.timeout.as_secs())?;
        writeln!(out, "handshake_seconds = {}", self.handshake.as_secs())?;
        writeln!(
            out,
            "session_days = {}",
            hours(limits.session_lifetime) / 24
        )?;
        writeln!(out, "edit_hours = {}", hours(limits.edit_window))
    }
}

/// Returns a TOML string.
fn quoted(text: &str) -> toml::Value {
    toml::Value::String(text.to_owned())
}

fn path(path: &Path) -> toml::Value {
    quoted(&path.display().to_string())
}
