//! The names of channels in Redis.

use parlor_core::relay::Channel;

/// Names the channels of one cluster: `parlor:<cluster>:user:7`.
///
/// There are no braces in them, which would be hash tags: channels spread over the slots of a Redis
/// Cluster.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    /// Names the channels of a cluster.
    pub(crate) fn new(cluster: &str) -> Self {
        Self {
            prefix: format!("parlor:{cluster}:"),
        }
    }

    /// Names a channel.
    pub(crate) fn name(&self, channel: Channel) -> String {
        let prefix = &self.prefix;
        match channel {
            Channel::User(user) => format!("{prefix}user:{user}"),
            Channel::Group(group) => format!("{prefix}group:{group}"),
            Channel::Nodes => format!("{prefix}nodes"),
        }
    }

    /// Names a channel that nobody uses, to find out whether one may.
    pub(crate) fn probe(&self) -> String {
        format!("{}probe", self.prefix)
    }
}

/// Returns the slot of a channel in a Redis Cluster: CRC-16/XMODEM of its name, modulo 16384
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
pub(crate) fn slot(name: &str) -> u16 {
    let crc = name.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            }
        })
    });
    crc % SLOTS
}

/// How many slots a Redis Cluster has.
pub(crate) const SLOTS: u16 = 16_384;

#[cfg(test)]
mod tests {
    use parlor_core::id::{GroupId, UserId};
    use parlor_core::relay::Channel;

    use super::{Names, slot};

    #[test]
    fn channels_are_named_by_cluster_and_number() {
        let names = Names::new("0123");
        assert_eq!(names.name(Channel::User(UserId(7))), "parlor:0123:user:7");
        assert_eq!(
            names.name(Channel::Group(GroupId(7))),
            "parlor:0123:group:7"
        );
        assert_eq!(names.name(Channel::Nodes), "parlor:0123:nodes");
        assert_eq!(names.probe(), "parlor:0123:probe");
    }

    #[test]
    fn slots_are_those_of_redis() {
        // What CLUSTER KEYSLOT answers.
        assert_eq!(slot("123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot(""), 0);
    }
}
