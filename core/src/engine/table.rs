//! A map whose order nobody can depend on: it cannot be iterated but in the order of its keys.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A hash map of identifiers that this cluster allocated itself.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: HashMap<K, V, BuildHasherDefault<IdentifierHasher>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: HashMap::default(),
        }
    }
}

impl<K: Copy + Ord + Hash, V> Table<K, V> {
    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.rows.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.rows.get_mut(&key)
    }

    pub(super) fn contains(&self, key: K) -> bool {
        self.rows.contains_key(&key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.rows.insert(key, value)
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        self.rows.remove(&key)
    }

    pub(super) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.rows.entry(key).or_insert_with(make)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns every key, ascending.
    #[expect(
        clippy::disallowed_methods,
        reason = "the keys are sorted before anyone sees them"
    )]
    pub(super) fn keys(&self) -> Vec<K> {
        let mut keys: Vec<K> = self.rows.keys().copied().collect();
        keys.sort_unstable();
        keys
    }
}

/// Hashes the small numbers that identifiers are: one multiplication (Fibonacci hashing; Knuth, The
/// Art of Computer Programming, volume 3, section 6.4). Clients cannot choose identifiers, so
/// nobody can aim at collisions.
#[derive(Debug, Default)]
pub(super) struct IdentifierHasher(u64);

impl Hasher for IdentifierHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The map takes its bucket from the low bits and its tag from the high ones.
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::id::UserId;

    #[test]
    fn keys_come_in_order() {
        let mut table = Table::default();
        for number in [5, 1, 9, 3] {
            table.insert(UserId(number), number);
        }
        assert_eq!(table.remove(UserId(9)), Some(9));
        assert_eq!(table.keys(), [UserId(1), UserId(3), UserId(5)]);
        assert_eq!(table.len(), 3);
    }
}
