//! Networks of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A network in CIDR notation, such as `10.0.0.0/8` or `2001:db8::/32`; a bare address is a network
/// of its own.
///
/// An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address, in
/// networks as in the addresses that they are asked for; so no IPv6 network holds it, not even
/// `::/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network: write an address and the length of its prefix, such as 10.0.0.0/8")]
pub struct BadNetwork;

impl Network {
    /// Tells whether an address lies in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| BadNetwork)?,
        };
        Ok(Self(canonical(network).trunc()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Returns a network of mapped addresses as one of IPv4, any other as it is.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let mapped = || {
        let length = network.prefix_len().checked_sub(MAPPED)?;
        let address: Ipv4Addr = match network.addr() {
            IpAddr::V4(_) => return None,
            IpAddr::V6(address) => address.to_ipv4_mapped()?,
        };
        Ipv4Net::new(address, length).ok()
    };
    mapped().map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::{BadNetwork, Network};

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("::/0", "::1", "::ffff:203.0.113.9"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", "::ffff:11.0.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("::ffff:0:0/96", "203.0.113.9", "::1"),
        ] {
            let network = network(text);
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(
                !network.contains(outside.parse().unwrap()),
                "{text} {outside}"
            );
        }
    }

    #[test]
    fn a_network_is_printed_as_what_it_is() {
        for (text, printed) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(network(text).to_string(), printed);
            assert_eq!(network(printed), network(text));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "localhost",
            "10.0.0.0/",
            "1.2.3.4:5",
        ] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork), "{text}");
        }
    }
}
