//! Where Redis is: the forms of a relay's URL.

use std::fmt;
use std::str::FromStr as _;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, TlsCertificates};

use crate::client::error::OpenError;

/// The ports that servers and sentinels listen on unless told otherwise.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// What a relay's URL says.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// What the servers are to each other.
    pub(crate) kind: Kind,
    /// Where to ask first; at least one.
    pub(crate) seeds: Vec<(String, u16)>,
    /// The URL without user and password, for logs and errors.
    pub(crate) shown: String,
    tls: bool,
    roots: Option<Vec<u8>>,
    /// Has the address of the first seed, the user and the password.
    info: ConnectionInfo,
}

/// What the servers are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is one.
    Single,
    /// The seeds are sentinels, who know where the master of this name is.
    Sentinel {
        /// The name.
        master: String,
    },
    /// The seeds are members of a Redis Cluster.
    Cluster,
}

impl Endpoint {
    /// Reads a URL: `redis://[user:password@]host[:port][/]`, with TLS `rediss://`; several sentinels
    /// and the master's name, `redis+sentinel://[user:password@]host[:port],../master`; or members
    /// of a cluster, `redis+cluster://[user:password@]host[:port],..`. User and password are
    /// percent-encoded; they are for the servers, and for sentinels that ask for a password.
    ///
    /// # Errors
    /// It is none of these, or the certificates cannot be read.
    pub(crate) fn parse(url: &str, roots: Option<&[u8]>) -> Result<Self, OpenError> {
        let shown = shown(url);
        let wrong = |reason: &str| OpenError::Url {
            url: shown.clone(),
            reason: reason.to_owned(),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        if rest.contains(['?', '#']) {
            return Err(wrong("it has a query or a fragment"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let (scheme, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            (scheme, "") => (scheme, Kind::Single),
            (scheme, "sentinel") if path.is_empty() => {
                let _ = scheme;
                return Err(wrong("the master's name is missing"));
            }
            (scheme, "sentinel") => {
                let master = path.to_owned();
                (scheme, Kind::Sentinel { master })
            }
            (scheme, "cluster") => (scheme, Kind::Cluster),
            _ => return Err(wrong("its scheme")),
        };
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wrong("its scheme")),
        };
        if !path.is_empty() && !matches!(kind, Kind::Sentinel { .. }) {
            return Err(wrong("channels belong to no database: leave out the path"));
        }
        let port = match kind {
            Kind::Sentinel { .. } => SENTINEL_PORT,
            Kind::Single | Kind::Cluster => PORT,
        };
        let mut seeds = Vec::new();
        let mut first = None;
        for host in hosts.split(',') {
            // A URL of its own, so that one parser knows about hosts, ports and percent signs.
            let info = ConnectionInfo::from_str(&format!("redis://{user}{host}"))
                .map_err(|error| wrong(&format!("{host:?}: {}", error.category())))?;
            if let ConnectionAddr::Tcp(name, given) = info.addr() {
                let port = if has_port(host) { *given } else { port };
                seeds.push((name.clone(), port));
            }
            first.get_or_insert(info);
        }
        let info = first.ok_or_else(|| wrong("no host"))?;
        if kind == Kind::Single && seeds.len() > 1 {
            return Err(wrong("several hosts are a cluster, or sentinels"));
        }
        let settings = info.redis_settings().clone();
        let info = info
            .set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3))
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let endpoint = Self {
            kind,
            seeds,
            shown,
            tls,
            roots: roots.map(<[u8]>::to_vec),
            info,
        };
        endpoint.check()?;
        Ok(endpoint)
    }

    /// Returns how to connect to a server.
    pub(crate) fn server(&self, host: &str, port: u16) -> redis::RedisResult<Client> {
        self.client(self.info.clone(), host, port)
    }

    /// Returns how to connect to a sentinel, in the second version of the protocol, which old ones
    /// know; with the servers' user and password, or without.
    pub(crate) fn sentinel(
        &self,
        host: &str,
        port: u16,
        login: bool,
    ) -> redis::RedisResult<Client> {
        let settings = if login {
            let settings = self.info.redis_settings().clone();
            settings.set_protocol(ProtocolVersion::RESP2)
        } else {
            redis::RedisConnectionInfo::default()
        };
        let settings = settings.set_skip_set_lib_name();
        let info = self.info.clone().set_redis_settings(settings);
        self.client(info, host, port)
    }

    /// Tells whether there is a password.
    pub(crate) fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    fn client(&self, info: ConnectionInfo, host: &str, port: u16) -> redis::RedisResult<Client> {
        if !self.tls {
            return Client::open(info.set_addr(ConnectionAddr::Tcp(host.to_owned(), port)));
        }
        let info = info.set_addr(ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: false,
            tls_params: None,
        });
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: self.roots.clone(),
        };
        Client::build_with_tls(info, certificates)
    }

    /// Finds out whether the certificates can be read.
    fn check(&self) -> Result<(), OpenError> {
        let empty = self.tls && self.roots.as_ref().is_some_and(Vec::is_empty);
        let reason = match self.server("localhost", PORT) {
            Err(error) => error.to_string(),
            Ok(_) if empty => "there are none".to_owned(),
            Ok(_) => return Ok(()),
        };
        Err(OpenError::Roots {
            relay: self.shown.clone(),
            reason,
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

/// Leaves user and password out of a URL.
fn shown(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        // A password may hold a slash that ought to be encoded: the last sign counts.
        let (_, hosts) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://{hosts}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

/// Tells whether a port stands behind a host, which may be an IPv6 address in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'))
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Kind};
    use crate::client::error::OpenError;

    fn read(url: &str) -> (Kind, Vec<(String, u16)>, bool) {
        let endpoint = Endpoint::parse(url, None).unwrap();
        (endpoint.kind, endpoint.seeds, endpoint.tls)
    }

    fn seeds(of: &[(&str, u16)]) -> Vec<(String, u16)> {
        of.iter()
            .map(|(host, port)| ((*host).to_owned(), *port))
            .collect()
    }

    #[test]
    fn the_forms_of_a_url() {
        let single = |host, port, tls| (Kind::Single, seeds(&[(host, port)]), tls);
        assert_eq!(read("redis://a"), single("a", 6379, false));
        assert_eq!(read("redis://a/"), single("a", 6379, false));
        assert_eq!(read("redis://u:p@a:7000"), single("a", 7000, false));
        assert_eq!(read("rediss://[::1]:7000"), single("::1", 7000, true));
        assert_eq!(read("rediss://[::1]"), single("::1", 6379, true));
        let master = "main".to_owned();
        let sentinels = seeds(&[("a", 26_379), ("b", 7)]);
        assert_eq!(
            read("redis+sentinel://:p@a,b:7/main"),
            (Kind::Sentinel { master }, sentinels, false)
        );
        let members = seeds(&[("a", 6379), ("b", 7)]);
        assert_eq!(
            read("rediss+cluster://a,b:7"),
            (Kind::Cluster, members, true)
        );
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let endpoint = Endpoint::parse("redis://us%65r:p%40ss%2fword@a", None).unwrap();
        let settings = endpoint.info.redis_settings();
        assert_eq!(settings.username(), Some("user"));
        assert_eq!(settings.password(), Some("p@ss/word"));
        assert_eq!(format!("{endpoint:?}"), "redis://a");
    }

    #[test]
    fn what_is_no_relay_is_refused_without_its_password() {
        for wrong in [
            "",
            "redis",
            "redis://",
            "http://u:secret@a",
            "redis+star://u:secret@a",
            "redis://u:secret@a:99999",
            "redis://u:secret@a/0",
            "redis://u:secret@a,b",
            "redis://u:secret@a?x=1",
            "rediss://u:secret@a#insecure",
            "redis+sentinel://u:secret@a,b",
            "redis+cluster://u:secret@a,,b",
            "redis+cluster://u:secret@a/b",
        ] {
            let error = Endpoint::parse(wrong, None).unwrap_err();
            assert!(matches!(error, OpenError::Url { .. }), "{wrong}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn certificates_must_be_some() {
        let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for roots in ["", wrong] {
            let error = Endpoint::parse("rediss://a", Some(roots.as_bytes())).unwrap_err();
            assert!(matches!(error, OpenError::Roots { .. }), "{error}");
        }
    }
}
