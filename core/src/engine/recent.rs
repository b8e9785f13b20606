//! A map of bounded size that lets go of what was not touched for longest.

use std::collections::BTreeMap;

/// Rows by key, and the order in which they were last touched.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    rows: BTreeMap<K, (u64, V)>,
    touched: BTreeMap<u64, K>,
    clock: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            touched: BTreeMap::new(),
            clock: 0,
        }
    }
}

impl<K: Copy + Ord, V: Default> Recent<K, V> {
    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.rows.get(&key).map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns a row, made where there is none, as the one that was touched last. At most `limit`
    /// rows are kept.
    pub(super) fn touch(&mut self, key: K, limit: usize) -> &mut V {
        if !self.rows.contains_key(&key) {
            while self.rows.len() >= limit.max(1) {
                let Some((_, oldest)) = self.touched.pop_first() else {
                    break;
                };
                self.rows.remove(&oldest);
            }
        }
        self.clock += 1;
        let (clock, value) = self.rows.entry(key).or_default();
        self.touched.remove(clock);
        *clock = self.clock;
        self.touched.insert(self.clock, key);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_one_that_was_not_touched_for_longest_goes_first() {
        let mut recent = Recent::default();
        for key in [1, 2, 3] {
            *recent.touch(key, 3) = key * 10;
        }
        assert_eq!(*recent.touch(1, 3), 10, "there already: nothing has to go");
        *recent.touch(4, 3) = 40;
        assert_eq!(recent.len(), 3);
        assert_eq!(recent.touched.len(), 3);
        let kept = [1, 2, 3, 4].map(|key| recent.get(key).copied());
        assert_eq!(kept, [Some(10), None, Some(30), Some(40)]);
    }
}
