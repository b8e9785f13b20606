//! Hashes of passwords, of which the rules know nothing but whether two are of one password.

use crate::secret::Secret;

/// Tells whether the hash that a password was verified against is still that of the user's password.
///
/// A password that is set anew gets a new salt; one that is hashed anew, at another cost, keeps it. So
/// of several logins at once, each of which verified the old hash, none is refused because another has
/// replaced it.
pub(super) fn still_stands(stored: &Secret, verified: &Secret) -> bool {
    stored == verified || salt(stored).is_some_and(|it| salt(verified) == Some(it))
}

/// Returns the salt of a PHC string, `$algorithm$version$cost$salt$hash` (version and cost may be
/// absent).
fn salt(hash: &Secret) -> Option<&str> {
    let mut parts = hash.expose().rsplitn(3, '$').skip(1);
    let salt = parts.next().filter(|salt| !salt.is_empty())?;
    parts
        .next()
        .filter(|before| before.starts_with('$'))
        .map(|_| salt)
}

#[cfg(test)]
mod tests {
    use super::still_stands;
    use crate::secret::Secret;

    #[test]
    fn a_hash_stands_at_any_cost_while_its_salt_does() {
        let old = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA";
        for (other, stands) in [
            (old, true),
            ("$argon2id$v=19$m=16,t=2,p=1$c2FsdHNhbHQ$b3RoZXI", true),
            ("$argon2id$v=19$m=8,t=1,p=1$b3RoZXJzYWx0$aGFzaA", false),
            ("$argon2id$v=19$m=8,t=1,p=1$$aGFzaA", false),
            ("c2FsdHNhbHQ$aGFzaA", false),
            ("", false),
        ] {
            let (one, other) = (Secret::new(old), Secret::new(other));
            assert_eq!(still_stands(&one, &other), stands, "{other:?}");
            assert_eq!(still_stands(&other, &one), stands, "{other:?}");
        }
        // The hashes of the store in memory have no salt.
        let [one, other] = ["sim$1", "sim$2"].map(Secret::new);
        assert!(!still_stands(&one, &other));
        let [one, other] = ["$$a", "$$b"].map(Secret::new);
        assert!(
            !still_stands(&one, &other),
            "no salt is none that is the same"
        );
    }
}
