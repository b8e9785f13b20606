//! Who may give a node orders.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST};
use parlor_core::secret::Secret;
use sha2::Sha256;
use thiserror::Error;

/// What is signed with a token, to compare one with another in a time that tells nothing.
const WITNESS: &[u8] = b"parlor admin";

/// Whom the side port obeys: who has the token, or, where there is none, who is on this machine.
#[derive(Clone)]
pub(crate) struct Authority {
    witness: Option<[u8; 32]>,
}

/// Why someone is not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Denied {
    #[error("a token is needed: set PARLOR_ADMIN_TOKEN, or name its file with --token-file")]
    TokenMissing,
    #[error("the token is not this node's `admin_token`")]
    TokenWrong,
    #[error(
        "without a token, orders are taken from this machine alone: set `admin_token` in the node's file, or PARLOR_ADMIN_TOKEN, or ask from there"
    )]
    Elsewhere,
    #[error(
        "without a token, orders are taken under an address or `localhost` alone, so that no web page can give any under a name of its own"
    )]
    Renamed,
}

impl Authority {
    /// Asks for a token, if there is one. White space around it does not count: a header has none.
    pub(crate) fn new(token: Option<&Secret>) -> Self {
        Self {
            witness: token.map(|token| mac(token.expose().trim()).finalize().into_bytes().into()),
        }
    }

    /// Looks whether a request may give orders.
    ///
    /// # Errors
    /// Says why not.
    pub(super) fn check(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Denied> {
        let Some(witness) = &self.witness else {
            return is_local(headers, peer);
        };
        let given = headers.get(AUTHORIZATION).ok_or(Denied::TokenMissing)?;
        let given = given.to_str().map_err(|_| Denied::TokenWrong)?;
        let token = given.strip_prefix("Bearer ").ok_or(Denied::TokenWrong)?;
        let right = mac(token.trim()).verify_slice(witness);
        right.map_err(|_| Denied::TokenWrong)
    }
}

/// A page in a browser on this machine reaches this port as well, and a name server can give its
/// name this machine's address: then the name is in the request.
fn is_local(headers: &HeaderMap, peer: SocketAddr) -> Result<(), Denied> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(Denied::Elsewhere);
    }
    let Some(host) = headers.get(HOST) else {
        return Ok(());
    };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    match is_address || name.eq_ignore_ascii_case("localhost") {
        true => Ok(()),
        false => Err(Denied::Renamed),
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(token: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("any length");
    mac.update(WITNESS);
    mac
}

#[cfg(test)]
mod tests {
    use super::{Authority, Denied};
    use hyper::HeaderMap;
    use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
    use parlor_core::secret::Secret;

    fn check(token: Option<&str>, headers: &[(&str, &str)], peer: &str) -> Result<(), Denied> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = match *name {
                "host" => HOST,
                _ => AUTHORIZATION,
            };
            map.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let token = token.map(Secret::new);
        Authority::new(token.as_ref()).check(&map, peer.parse().unwrap())
    }

    #[test]
    fn a_token_is_needed_where_there_is_one_wherever_one_is() {
        let token = Some("a token of more than 16 bytes");
        let with = |text| [("authorization", text)];
        for peer in ["127.0.0.1:5", "192.0.2.7:5"] {
            let right = with("Bearer a token of more than 16 bytes");
            assert_eq!(check(token, &right, peer), Ok(()));
            let spaced = token.map(|token| format!(" {token}\n"));
            assert_eq!(check(spaced.as_deref(), &right, peer), Ok(()));
            assert_eq!(check(token, &[], peer), Err(Denied::TokenMissing));
            for wrong in [
                "Bearer ",
                "Bearer a token of more than 16 byte",
                "Bearer a token of more than 16 bytes.",
                "Basic a token of more than 16 bytes",
                "a token of more than 16 bytes",
            ] {
                assert_eq!(check(token, &with(wrong), peer), Err(Denied::TokenWrong));
            }
        }
    }

    #[test]
    fn without_a_token_this_machine_is_obeyed_under_its_own_names() {
        for peer in [
            "127.0.0.1:5",
            "127.8.8.8:5",
            "[::1]:5",
            "[::ffff:127.0.0.1]:5",
        ] {
            assert_eq!(check(None, &[], peer), Ok(()));
        }
        assert_eq!(check(None, &[], "192.0.2.7:5"), Err(Denied::Elsewhere));
        for host in [
            "127.0.0.1:6001",
            "[::1]:6001",
            "localhost",
            "LocalHost:6001",
        ] {
            assert_eq!(check(None, &[("host", host)], "127.0.0.1:5"), Ok(()));
        }
        for host in ["evil.example:6001", "localhost.evil.example", "", "x:y"] {
            let denied = check(None, &[("host", host)], "127.0.0.1:5");
            assert_eq!(denied, Err(Denied::Renamed), "{host}");
        }
    }
}
