//! What a key stands for.

use sha2::{Digest as _, Sha256};
use smol_str::{SmolStr, ToSmolStr as _, format_smolstr};

use crate::id::{Place, Seq};
use crate::log::JoinPolicy;
use crate::name::Name;
use crate::store::Digest;

/// Digests what a sender asks for with a key; `meta` does not count.
pub(super) fn of_message(place: Place, text: &str, reply_to: Option<Seq>) -> Digest {
    let place = match place {
        Place::Direct(pair) => format_smolstr!("direct {} {}", pair.low(), pair.high()),
        Place::Group(group) => format_smolstr!("group {group}"),
    };
    let reply_to = reply_to.map_or_else(SmolStr::default, |seq| seq.to_smolstr());
    of_parts(&["message", &place, text, &reply_to])
}

/// Digests what a group's maker asks for with a key.
pub(super) fn of_group(name: &Name, description: &str, join: JoinPolicy) -> Digest {
    of_parts(&["group", name.as_str(), description, join.as_str()])
}

/// Hashes parts, each behind its length, so that no two lists of parts look the same.
fn of_parts(parts: &[&str]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hash.update(length.to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut digest = [0; 16];
    for (to, from) in digest.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    Digest(digest)
}

#[cfg(test)]
mod tests {
    use super::{of_group, of_message};
    use crate::id::{GroupId, Pair, Place, Seq, UserId};
    use crate::log::JoinPolicy;
    use crate::name::Name;

    #[test]
    fn messages_differ_by_place_text_and_target() {
        let pair = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
        let group = Place::Group(GroupId(1));
        let digests = [
            of_message(pair, "a", None),
            of_message(group, "a", None),
            of_message(pair, "b", None),
            of_message(pair, "a", Some(Seq(1))),
            of_message(pair, "a1", None),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert_eq!(
                digests.iter().position(|other| other == digest),
                Some(index)
            );
        }
    }

    #[test]
    fn digests_are_stored_so_they_must_not_change() {
        let pair = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
        // printf '\0\0\0\0\0\0\0\7message\0\0\0\0\0\0\0\12direct 1 2\0\0\0\0\0\0\0\2hi\0\0\0\0\0\0\0\0' | sha256sum
        assert_eq!(
            hex(of_message(pair, "hi", None).0),
            "6993ff1d2cfd1edbaabe07f076c80c36"
        );
        let name = Name::new("n").unwrap();
        assert_eq!(
            hex(of_group(&name, "", JoinPolicy::Open).0),
            "68da051ca5c0237f259edf019d5b1d7d"
        );
    }

    fn hex(bytes: [u8; 16]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
