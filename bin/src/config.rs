//! The settings of a server: flags beat the environment, which beats the file, which beats the
//! defaults.

mod file;
mod jwt;
mod print;
mod rates;
#[cfg(test)]
mod sample;

use std::path::{Path, PathBuf};
use std::time::Duration;

use parlor_core::engine::{Config, Registration};
use parlor_core::secret::Secret;
use parlor_core::store::Limits;
use parlor_transport_tcp::{BadNetwork, Network, ProxyOptions};
use thiserror::Error;

use crate::cli::ServeArguments;
use crate::logging::LogFormat;
use file::File;
pub(crate) use jwt::Jwt;

/// The variable that holds the secret. There is no flag for it: other users see command lines.
const SECRET_VARIABLE: &str = "PARLOR_SECRET";

/// The variable that holds what operators show. There is no flag for it either.
pub(crate) const ADMIN_TOKEN_VARIABLE: &str = "PARLOR_ADMIN_TOKEN";

/// The fewest bytes of what operators show.
const ADMIN_TOKEN_BYTES: usize = 16;

/// Where to listen with TLS, unless something else is said.
const TLS_LISTEN: &str = "127.0.0.1:6443";

/// The fewest bytes of a secret.
const SECRET_BYTES: usize = 32;

/// Everything that a server is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where to listen without TLS, `host:port`; `None` for nowhere.
    pub(crate) listen: Option<String>,
    /// Where to listen with TLS, and whom to show oneself as.
    pub(crate) tls: Option<Tls>,
    /// How long a handshake of TLS may take.
    pub(crate) handshake: Duration,
    /// Where operators look at the node, `host:port`; `None` for nowhere.
    pub(crate) admin: Option<String>,
    /// What operators show before they give orders; without one, only this machine may.
    pub(crate) admin_token: Option<Secret>,
    /// Which connections come from proxies.
    pub(crate) proxies: ProxyOptions,
    /// The URL of the store.
    pub(crate) store: String,
    /// Whether the server brings the store's tables up to date.
    pub(crate) migrate: bool,
    /// The URL of the relay.
    pub(crate) relay: Option<String>,
    /// The certificates, in PEM, that the relay's is checked against; `None` for the public ones.
    pub(crate) relay_ca: Option<PathBuf>,
    /// The cluster's secret; a single node without one takes that of its store.
    pub(crate) secret: Option<Secret>,
    /// What to log.
    pub(crate) log: String,
    /// How a line of the log looks.
    pub(crate) log_format: LogFormat,
    /// What passwords cost.
    pub(crate) password: Password,
    /// Which service vouches for its accounts; `None` for none.
    pub(crate) jwt: Option<Jwt>,
    /// The limits that the store keeps.
    pub(crate) limits: Limits,
    /// The engine's settings; its secret is set when the server starts.
    engine: Config,
}

/// Where to listen with TLS, and whom to show oneself as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Where, `host:port`.
    pub(crate) listen: String,
    /// The file with the certificate and those that lead to its authority, in PEM.
    pub(crate) certificate: PathBuf,
    /// The file with the certificate's key, in PEM.
    pub(crate) key: PathBuf,
}

/// The settings of TLS as they come together from flags, environment and file.
#[derive(Clone, Debug, Default)]
struct TlsParts {
    listen: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// What hashing a password costs (argon2id, RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Password {
    /// Memory in KiB.
    pub(crate) memory_kib: u32,
    /// Passes over it.
    pub(crate) iterations: u32,
}

/// What is wrong with the settings; one line that says what to do.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    #[error("TLS needs a certificate and its key: set both `tls_cert` and `tls_key`")]
    HalfTls,
    #[error("there is nowhere to listen: `listen` is \"none\", and TLS has no certificate")]
    NoListener,
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}:{line}: {message}", path.display())]
    Malformed {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("`{key}` must be {rule}")]
    OutOfRange {
        key: &'static str,
        rule: &'static str,
    },
    #[error("cannot read the key of `jwt.key`, {}: {error}", path.display())]
    JwtKey {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("`proxy_from`: {text:?} is {error}")]
    BadNetwork { text: String, error: BadNetwork },
    #[error(
        "the secret has {0} bytes and needs at least {SECRET_BYTES}; `openssl rand -hex 32` makes one"
    )]
    ShortSecret(usize),
    #[error("{0} is not UTF-8; `openssl rand -hex 32` makes a secret that is")]
    SecretEncoding(&'static str),
    #[error(
        "`admin_token` has {0} bytes and needs at least {ADMIN_TOKEN_BYTES}; `openssl rand -hex 32` makes one"
    )]
    ShortAdminToken(usize),
    #[error(
        "a node with a relay needs the cluster's secret: set `secret` in the file, or {SECRET_VARIABLE}, to the same on every node; `openssl rand -hex 32` makes one"
    )]
    RelayWithoutSecret,
}

/// Finds out the settings.
///
/// # Errors
/// Says what is wrong with them.
pub(crate) fn load(arguments: &ServeArguments) -> Result<Settings, ConfigError> {
    let secret = from_environment(SECRET_VARIABLE)?;
    let admin_token = from_environment(ADMIN_TOKEN_VARIABLE)?;
    let file = match &arguments.config {
        Some(path) => read(path)?,
        None => File::default(),
    };
    let mut settings = Settings::default();
    let tls = file.apply(&mut settings)?;
    let from_outside = |value: &Option<String>| given(value.clone());
    if let Some(listen) = from_outside(&arguments.listen) {
        settings.listen = listening(listen);
    }
    let parts = TlsParts {
        listen: from_outside(&arguments.tls_listen).or(tls.listen),
        certificate: path_given(&arguments.tls_cert).or(tls.certificate),
        key: path_given(&arguments.tls_key).or(tls.key),
    };
    settings.tls = parts.whole()?;
    // Like any other setting, one that is empty in the environment counts as not given.
    if arguments.proxy_from.iter().any(|it| !it.is_empty()) {
        settings.proxies.from = networks(&arguments.proxy_from)?;
    }
    if let Some(store) = from_outside(&arguments.store) {
        settings.store = store;
    }
    if let Some(log) = from_outside(&arguments.log) {
        settings.log = log;
    }
    settings.log_format = arguments.log_format.unwrap_or(settings.log_format);
    settings.relay = from_outside(&arguments.relay).or(settings.relay);
    settings.admin = from_outside(&arguments.admin).or(settings.admin);
    settings.admin_token = admin_token.or(settings.admin_token);
    settings.secret = secret.or(settings.secret);
    settings.check()?;
    Ok(settings)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Some("127.0.0.1:6000".to_owned()),
            admin: None,
            admin_token: None,
            tls: None,
            handshake: Duration::from_secs(10),
            proxies: ProxyOptions::default(),
            store: "sqlite:parlor.db".to_owned(),
            migrate: true,
            relay: None,
            relay_ca: None,
            secret: None,
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            password: Password::default(),
            jwt: None,
            limits: Limits::default(),
            engine: Config::new(Secret::new("")),
        }
    }
}

impl Default for Password {
    /// The first choice of OWASP's password storage cheat sheet: 19 MiB and two passes.
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            iterations: 2,
        }
    }
}

impl Settings {
    /// Returns the engine's configuration.
    pub(crate) fn engine(&self, secret: Secret, seed: u64) -> Config {
        Config {
            secret,
            seed,
            clustered: self.relay.is_some(),
            ..self.engine.clone()
        }
    }

    /// Returns the store's URL without its password.
    pub(crate) fn store_without_password(&self) -> String {
        without_password(&self.store)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.listen.is_none() && self.tls.is_none() {
            return Err(ConfigError::NoListener);
        }
        let codes = match &self.engine.registration {
            Registration::Invite(codes) => codes.as_slice(),
            Registration::Open | Registration::Closed => &[],
        };
        if codes.iter().any(|code| code.expose().is_empty()) {
            return Err(ConfigError::OutOfRange {
                key: "registration",
                rule: "\"open\", \"closed\", or a list of invitation codes, none of them empty",
            });
        }
        let token = self.admin_token.as_ref().map(|token| token.expose().len());
        if let Some(bytes) = token.filter(|bytes| *bytes < ADMIN_TOKEN_BYTES) {
            return Err(ConfigError::ShortAdminToken(bytes));
        }
        match &self.secret {
            Some(secret) if secret.expose().len() < SECRET_BYTES => {
                Err(ConfigError::ShortSecret(secret.expose().len()))
            }
            None if self.relay.is_some() => Err(ConfigError::RelayWithoutSecret),
            _ => Ok(()),
        }
    }
}

impl TlsParts {
    /// Puts them together; a certificate and its key are enough.
    fn whole(self) -> Result<Option<Tls>, ConfigError> {
        match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Ok(Some(Tls {
                listen: self.listen.unwrap_or_else(|| TLS_LISTEN.to_owned()),
                certificate,
                key,
            })),
            (None, None) if self.listen.is_none() => Ok(None),
            _ => Err(ConfigError::HalfTls),
        }
    }
}

/// Reads where to listen without TLS.
fn listening(text: String) -> Option<String> {
    (text != "none").then_some(text)
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    File::parse(&text).map_err(|(line, message)| ConfigError::Malformed {
        path: path.to_owned(),
        line,
        message,
    })
}

/// Reads the networks of trusted proxies.
fn networks(texts: &[String]) -> Result<Vec<Network>, ConfigError> {
    let read = |text: &String| {
        text.parse().map_err(|error| ConfigError::BadNetwork {
            text: text.clone(),
            error,
        })
    };
    texts.iter().map(read).collect()
}

/// Takes a secret from the environment; an empty one counts as not given.
pub(crate) fn from_environment(variable: &'static str) -> Result<Option<Secret>, ConfigError> {
    match std::env::var(variable) {
        Ok(secret) => Ok(given(Some(secret)).map(Secret::new)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::SecretEncoding(variable)),
    }
}

/// Takes a setting from the environment or a flag; an empty one counts as not given.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn path_given(value: &Option<PathBuf>) -> Option<PathBuf> {
    value.clone().filter(|path| !path.as_os_str().is_empty())
}

/// Returns a URL without the password in it.
pub(crate) fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let (user_info, host) = rest.rsplit_once('@')?;
        let (user, _) = user_info.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, File, Settings, without_password};

    pub(super) fn settings(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let file = File::parse(text).map_err(|(line, message)| format!("{line}: {message}"))?;
        let applied = file.apply(&mut settings).and_then(|tls| {
            settings.tls = tls.whole()?;
            settings.check()
        });
        applied.map_err(|error: ConfigError| error.to_string())?;
        Ok(settings)
    }

    /// Every key, with another value than its default.
    const EVERY_KEY: &str = r#"
        listen = "[::1]:7000"
        tls_listen = "[::1]:7001"
        tls_cert = "/tmp/cert.pem"
        tls_key = "/tmp/key.pem"
        store = "sqlite:/tmp/x.db"
        migrate = false
        password = { memory_kib = 8, iterations = 1 }
        jwt = { algorithm = "EdDSA", key = "/tmp/jwt.pem", issuer = "us", audience = "you", name_claim = "nick" }
        secret = "0123456789abcdef0123456789abcdef"
        proxy_from = ["10.1.2.3/8", "::1"]
        relay = "rediss://u:p@host"
        admin = "127.0.0.1:6001"
        admin_token = "fedcba9876543210"
        relay_ca = "/tmp/ca.pem"
        log = "debug"
        log_format = "json"
        registration = ["come", "in"]
        [limits]
        rates = false
        connections = 10
        connections_per_address = 9
        pipeline = 11
        store_requests = 12
        trail = 13
        outgoing_kib = 64
        sessions = 2
        friends = 3
        groups = 4
        conversations = 5
        members = 6
        invitations = 7
        join_requests = 8
        [timeouts]
        idle_seconds = 91
        login_seconds = 61
        write_seconds = 31
        drain_seconds = 5
        proxy_seconds = 4
        handshake_seconds = 3
        session_days = 1
        edit_hours = 2
    "#;

    #[test]
    fn every_key_has_its_effect() {
        let settings = settings(EVERY_KEY).unwrap();
        let printed = settings.to_string();
        for line in [
            r#"listen = "[::1]:7000""#,
            r#"tls_listen = "[::1]:7001""#,
            r#"tls_cert = "/tmp/cert.pem""#,
            r#"tls_key = "/tmp/key.pem""#,
            r#"store = "sqlite:/tmp/x.db""#,
            "migrate = false",
            r#"relay = "rediss://u:***@host""#,
            r#"admin = "127.0.0.1:6001""#,
            r#"relay_ca = "/tmp/ca.pem""#,
            "# admin_token: set",
            "# secret: set",
            r#"proxy_from = ["10.0.0.0/8", "::1/128"]"#,
            r#"log = "debug""#,
            r#"log_format = "json""#,
            "# registration: 2 invitation codes",
            "rates = false",
            "connections = 10",
            "connections_per_address = 9",
            "pipeline = 11",
            "store_requests = 12",
            "trail = 13",
            "outgoing_kib = 64",
            "sessions = 2",
            "friends = 3",
            "groups = 4",
            "conversations = 5",
            "members = 6",
            "invitations = 7",
            "join_requests = 8",
            "idle_seconds = 91",
            "login_seconds = 61",
            "write_seconds = 31",
            "drain_seconds = 5",
            "proxy_seconds = 4",
            "handshake_seconds = 3",
            "session_days = 1",
            "edit_hours = 2",
            "memory_kib = 8",
            "iterations = 1",
            r#"algorithm = "EdDSA""#,
            r#"key = "/tmp/jwt.pem""#,
            r#"issuer = "us""#,
            r#"audience = "you""#,
            r#"name_claim = "nick""#,
        ] {
            assert!(printed.lines().any(|it| it == line), "{line}\n{printed}");
        }
        assert!(!printed.contains("0123456789"), "{printed}");
        assert!(!printed.contains("fedcba"), "{printed}");
        assert!(!format!("{settings:?}").contains("fedcba"));
        assert!(!printed.contains("come"), "{printed}");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let printed = Settings::default().to_string();
        assert_eq!(settings(&printed).unwrap().to_string(), printed);
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let pair = "tls_cert = \"c\"\ntls_key = \"k\"\n";
        let printed = settings(pair).unwrap().to_string();
        assert!(
            printed.contains("tls_listen = \"127.0.0.1:6443\""),
            "{printed}"
        );
        let alone = settings(&format!("listen = \"none\"\n{pair}")).unwrap();
        assert_eq!(alone.listen, None);
        let printed = alone.to_string();
        assert_eq!(settings(&printed).unwrap().to_string(), printed);
        for half in [
            "tls_cert = \"c\"",
            "tls_key = \"k\"",
            "tls_listen = \"a:1\"",
        ] {
            let error = settings(half).unwrap_err();
            assert!(error.contains("`tls_cert` and `tls_key`"), "{error}");
        }
        let error = settings("listen = \"none\"").unwrap_err();
        assert!(error.contains("nowhere to listen"), "{error}");
    }

    #[test]
    fn rates_are_set_one_by_one() {
        let settings = settings("[rates]\nsends = { burst = 7, per_second = 8 }").unwrap();
        let printed = settings.to_string();
        assert!(
            printed.contains("sends = { burst = 7, per_second = 8 }"),
            "{printed}"
        );
        assert!(
            printed.contains("logins = { burst = 10, per_second = 1 }"),
            "{printed}"
        );
        let settings = self::settings(
            r#"
            rates.registrations = { burst = 1, per_hour = 7 }
            [guard]
            pair = { failures = 2, delay_seconds = 3, most_delay_seconds = 4 }
            forget_minutes = 2
            entries = 5
            address = { failures = 1, delay_seconds = 1, most_delay_seconds = 1 }
            account = { failures = 6, delay_seconds = 1, most_delay_seconds = 119 }
            "#,
        )
        .unwrap();
        let printed = settings.to_string();
        for line in [
            "registrations = { burst = 1, per_hour = 7 }",
            "pair = { failures = 2, delay_seconds = 3, most_delay_seconds = 4 }",
            "account = { failures = 6, delay_seconds = 1, most_delay_seconds = 119 }",
            "forget_minutes = 2",
            "entries = 5",
        ] {
            assert!(printed.lines().any(|it| it == line), "{line}\n{printed}");
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let error = settings("listen = \"a:1\"\n\nlisten_on = 5").unwrap_err();
        assert!(error.starts_with("3: unknown field `listen_on`"), "{error}");
        let error = settings("[limits]\nfriend = 5").unwrap_err();
        assert!(error.starts_with("2: unknown field `friend`"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (text, key) in [
            ("[limits]\nconnections = 0", "connections"),
            ("[limits]\noutgoing_kib = 0", "outgoing_kib"),
            ("[timeouts]\ndrain_seconds = 30", "drain_seconds"),
            ("[rates]\nlogins = { burst = 0, per_second = 1 }", "logins"),
            ("[rates]\nlogins = { burst = 1 }", "logins"),
            (
                "[rates]\nsends = { burst = 1, per_hour = 1, per_second = 1 }",
                "sends",
            ),
            ("[guard]\nforget_minutes = 15", "guard.pair"),
            ("[guard]\nentries = 0", "guard.entries"),
            ("[timeouts]\nproxy_seconds = 0", "proxy_seconds"),
            ("[timeouts]\nhandshake_seconds = 0", "handshake_seconds"),
            ("proxy_from = [\"10.0.0.0/33\"]", "10.0.0.0/33"),
            ("registration = [\"\"]", "registration"),
            ("secret = \"short\"", "secret"),
            ("admin_token = \"short\"", "admin_token"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        let error = settings("registration = \"maybe\"").unwrap_err();
        assert!(error.contains("closed"), "{error}");
    }

    #[test]
    fn a_relay_needs_a_secret() {
        let error = settings("relay = \"redis://localhost\"").unwrap_err();
        assert!(error.contains("PARLOR_SECRET"), "{error}");
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (url, shown) in [
            ("sqlite:parlor.db", "sqlite:parlor.db"),
            ("mysql://u:p@ss@host/db", "mysql://u:***@host/db"),
            ("mysql://u@host/db", "mysql://u@host/db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
