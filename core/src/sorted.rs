//! Maps and sets in the order of their keys: lists while they are small, trees when they are not.
//!
//! What a transaction touches is mostly a handful of rows, for which a tree is an allocation and a
//! walk too many. A batch of many, or a change to a large group, must not cost the square of its
//! size, so what is larger than that is a tree all the same.

use std::collections::{BTreeMap, btree_map};
use std::{fmt, iter, slice, vec};

/// How many elements a list has at most.
const FEW: usize = 32;

/// A map in the order of its keys.
#[derive(Clone)]
pub struct SortedMap<K, V>(Elements<K, V>);

/// A set in order.
#[derive(Clone)]
pub struct SortedSet<T>(SortedMap<T, ()>);

#[derive(Clone)]
enum Elements<K, V> {
    List(Vec<(K, V)>),
    Tree(BTreeMap<K, V>),
}

impl<K, V> SortedMap<K, V> {
    /// Makes an empty map, which allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Elements::List(Vec::new()))
    }

    /// Returns how many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Elements::List(list) => list.len(),
            Elements::Tree(tree) => tree.len(),
        }
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all, but keeps the memory of a list.
    pub fn clear(&mut self) {
        match &mut self.0 {
            Elements::List(list) => list.clear(),
            Elements::Tree(_) => *self = Self::new(),
        }
    }

    /// Iterates over all, ascending.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        match &self.0 {
            Elements::List(list) => Iter::List(list.iter()),
            Elements::Tree(tree) => Iter::Tree(tree.iter()),
        }
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        match &self.0 {
            Elements::List(list) => list.get(find(list, key).ok()?).map(|(_, value)| value),
            Elements::Tree(tree) => tree.get(key),
        }
    }

    /// Returns the value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match &mut self.0 {
            Elements::List(list) => {
                let index = find(list, key).ok()?;
                list.get_mut(index).map(|(_, value)| value)
            }
            Elements::Tree(tree) => tree.get_mut(key),
        }
    }

    /// Tells whether there is a key.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Returns the value of a key, which is made where there is none.
    #[expect(clippy::indexing_slicing, reason = "where the key was found, or put")]
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if let Elements::List(list) = &mut self.0
            && list.len() >= FEW
            && find(list, &key).is_err()
        {
            self.0 = Elements::Tree(BTreeMap::from_iter(std::mem::take(list)));
        }
        match &mut self.0 {
            Elements::Tree(tree) => tree.entry(key).or_insert_with(make),
            Elements::List(list) => {
                let index = match find(list, &key) {
                    Ok(index) => index,
                    Err(index) => {
                        list.insert(index, (key, make()));
                        index
                    }
                };
                &mut list[index].1
            }
        }
    }

    /// Sets the value of a key; returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(before) = self.get_mut(&key) {
            return Some(std::mem::replace(before, value));
        }
        self.get_or_insert_with(key, || value);
        None
    }

    /// Removes a key; returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        match &mut self.0 {
            Elements::List(list) => Some(list.remove(find(list, key).ok()?).1),
            Elements::Tree(tree) => tree.remove(key),
        }
    }

    /// Iterates from a key on, ascending.
    #[must_use]
    pub fn range_from(&self, key: &K) -> Iter<'_, K, V> {
        match &self.0 {
            Elements::List(list) => {
                let (Ok(index) | Err(index)) = find(list, key);
                Iter::List(list.get(index..).unwrap_or_default().iter())
            }
            Elements::Tree(tree) => Iter::Range(tree.range(key..)),
        }
    }
}

/// Returns where a key is, or else where it would be.
fn find<K: Ord, V>(list: &[(K, V)], key: &K) -> Result<usize, usize> {
    // Most come in order.
    match list.last() {
        Some((last, _)) if last < key => Err(list.len()),
        _ => list.binary_search_by(|(other, _)| other.cmp(key)),
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

/// The elements of a [`SortedMap`], ascending.
#[derive(Clone, Debug)]
pub enum Iter<'a, K, V> {
    /// Those of a list.
    List(slice::Iter<'a, (K, V)>),
    /// Those of a tree.
    Tree(btree_map::Iter<'a, K, V>),
    /// Some of those of a tree.
    Range(btree_map::Range<'a, K, V>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(list) => list.next().map(|(key, value)| (key, value)),
            Self::Tree(tree) => tree.next(),
            Self::Range(range) => range.next(),
        }
    }
}

/// The elements of a [`SortedMap`] that is used up, ascending.
#[derive(Debug)]
pub enum IntoIter<K, V> {
    /// Those of a list.
    List(vec::IntoIter<(K, V)>),
    /// Those of a tree.
    Tree(btree_map::IntoIter<K, V>),
}

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(list) => list.next(),
            Self::Tree(tree) => tree.next(),
        }
    }
}

impl<T> SortedSet<T> {
    /// Makes an empty set, which allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(SortedMap::new())
    }

    /// Returns how many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all, but keeps the memory of a list.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Iterates over all, ascending.
    pub fn iter(&self) -> SetIter<'_, T> {
        self.0.iter().map(|(element, ())| element)
    }
}

impl<T: Ord> SortedSet<T> {
    /// Tells whether an element is there.
    #[must_use]
    pub fn contains(&self, element: &T) -> bool {
        self.0.contains_key(element)
    }

    /// Adds an element; false where it was there.
    pub fn insert(&mut self, element: T) -> bool {
        self.0.insert(element, ()).is_none()
    }

    /// Removes an element; false where it was not there.
    pub fn remove(&mut self, element: &T) -> bool {
        self.0.remove(element).is_some()
    }

    /// Removes all that a predicate does not hold of.
    pub fn retain(&mut self, mut keeps: impl FnMut(&T) -> bool) {
        match &mut self.0.0 {
            Elements::List(list) => list.retain(|(element, ())| keeps(element)),
            Elements::Tree(tree) => tree.retain(|element, ()| keeps(element)),
        }
    }
}

/// The elements of a [`SortedSet`], ascending.
pub type SetIter<'a, T> = iter::Map<Iter<'a, T, ()>, fn((&'a T, &'a ())) -> &'a T>;

/// The elements of a [`SortedSet`] that is used up, ascending.
pub type SetIntoIter<T> = iter::Map<IntoIter<T, ()>, fn((T, ())) -> T>;

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = SetIntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        let elements = match self.0.0 {
            Elements::List(list) => IntoIter::List(list.into_iter()),
            Elements::Tree(tree) => IntoIter::Tree(tree.into_iter()),
        };
        elements.map(|(element, ())| element)
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = SetIter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Ord> Extend<T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        for element in elements {
            self.insert(element);
        }
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut set = Self::new();
        set.extend(elements);
        set
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for SortedSet<T> {
    fn from(elements: [T; N]) -> Self {
        Self::from_iter(elements)
    }
}

impl<T: PartialEq> PartialEq for SortedSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for SortedSet<T> {}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Insert(u8, u32),
        Change(u8, u32),
        Remove(u8),
        Clear,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            20 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| Act::Insert(key, value)),
            5 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| Act::Change(key, value)),
            5 => any::<u8>().prop_map(Act::Remove),
            1 => Just(Act::Clear),
        ]
    }

    proptest! {
        #[test]
        fn it_is_what_a_tree_is(acts in proptest::collection::vec(act(), 0..200)) {
            let (mut sorted, mut tree) = (SortedMap::new(), BTreeMap::new());
            let (mut set, mut keys) = (SortedSet::new(), BTreeSet::new());
            for act in acts {
                match act {
                    Act::Insert(key, value) => {
                        prop_assert_eq!(sorted.insert(key, value), tree.insert(key, value));
                        prop_assert_eq!(set.insert(key), keys.insert(key));
                    }
                    Act::Change(key, value) => {
                        prop_assert_eq!(sorted.get_mut(&key), tree.get_mut(&key));
                        if let (Some(one), Some(other)) = (sorted.get_mut(&key), tree.get_mut(&key)) {
                            (*one, *other) = (value, value);
                        }
                    }
                    Act::Remove(key) => {
                        prop_assert_eq!(sorted.remove(&key), tree.remove(&key));
                        prop_assert_eq!(set.remove(&key), keys.remove(&key));
                    }
                    Act::Clear => {
                        sorted.clear();
                        tree.clear();
                        set.clear();
                        keys.clear();
                    }
                }
                prop_assert!(sorted.iter().eq(tree.iter()) && set.iter().eq(keys.iter()));
                prop_assert_eq!((sorted.len(), set.len()), (tree.len(), keys.len()));
                prop_assert_eq!(sorted.is_empty(), tree.is_empty());
                for key in [0, 100, 255] {
                    prop_assert_eq!(sorted.get(&key), tree.get(&key));
                    prop_assert_eq!(set.contains(&key), keys.contains(&key));
                    prop_assert!(sorted.range_from(&key).eq(tree.range(key..)));
                }
            }
            set.retain(|key| key % 3 == 0);
            keys.retain(|key| key % 3 == 0);
            prop_assert!(set.clone().into_iter().eq(keys.clone()));
            let debugged = (format!("{sorted:?}{set:?}"), format!("{tree:?}{keys:?}"));
            prop_assert_eq!(debugged.0, debugged.1);
            prop_assert_eq!(SortedSet::from_iter(keys.into_iter().rev()), set);
        }
    }

    #[test]
    fn a_list_keeps_its_memory_and_a_tree_does_not() {
        let mut set = SortedSet::from([3, 1, 2]);
        set.clear();
        let kept = |set: &SortedSet<i32>| match &set.0.0 {
            Elements::List(list) => list.capacity(),
            Elements::Tree(_) => usize::MAX,
        };
        assert!(set.is_empty() && kept(&set) >= 3);
        set.extend(0..1000);
        assert_eq!(kept(&set), usize::MAX);
        set.clear();
        assert!(set.is_empty() && kept(&set) == 0);
    }
}
