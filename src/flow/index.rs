//! Finds slots by hash: open addressing in one block of memory that never moves.
//!
//! It differs from a common hash map in one thing only: what a lookup will touch can be fetched beforehand
//! ([`Index::prefetch`], [`Index::first`]), which halves the time of a lookup in a table larger than the caches.

use crate::prefetch::prefetch;

/// One place: the upper half of a hash, and a slot's number plus one; 0 is free. Packed, as memory that is all zero is
/// had from the system without writing to it.
#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u32,
    slot: u32,
}

impl Place {
    const FREE: u64 = 0;

    const fn pack(self) -> u64 {
        (self.tag as u64) << 32 | self.slot as u64
    }

    const fn unpack(packed: u64) -> Self {
        Self {
            tag: (packed >> 32) as u32,
            slot: packed as u32,
        }
    }
}

/// Where the slots of a table are.
#[derive(Debug)]
pub struct Index {
    /// None before the first entry: most shards of a small capture never have one.
    places: Vec<u64>,
    most: usize,
    len: usize,
}

impl Index {
    /// An index for at most `most` slots: no more than half of its places are ever taken.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            places: Vec::new(),
            most: most.max(1),
            len: 0,
        }
    }

    /// How many slots it knows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it knows none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    const fn tag(hash: u64) -> u32 {
        (hash >> 32) as u32
    }

    /// Where the search for a tag begins. Taken from the tag, so that it is known of every entry.
    const fn home(&self, tag: u32) -> usize {
        tag as usize & self.places.len().wrapping_sub(1)
    }

    fn get(&self, at: usize) -> Place {
        Place::unpack(self.places[at])
    }

    const fn next(&self, at: usize) -> usize {
        (at + 1) & self.places.len().wrapping_sub(1)
    }

    /// Fetches the place where a search for `hash` begins.
    pub fn prefetch(&self, hash: u64) {
        if let Some(place) = self.places.get(self.home(Self::tag(hash))) {
            prefetch(place);
        }
    }

    /// The slot that is most likely the one for `hash`; it need not be.
    #[must_use]
    pub fn first(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// The slot for `hash` that is the right one.
    #[must_use]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(hash, is_it).map(|at| self.get(at).slot - 1)
    }

    fn place(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let tag = Self::tag(hash);
        let mut at = self.home(tag);
        loop {
            let place = self.get(at);
            if place.slot == 0 {
                return None;
            }
            if place.tag == tag && is_it(place.slot - 1) {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    /// Enters `slot`. There must be room: no more slots than it was made for.
    pub fn insert(&mut self, hash: u64, slot: u32) {
        if self.places.is_empty() {
            self.places = vec![Place::FREE; (self.most * 2).next_power_of_two()];
        }
        debug_assert!(self.len < self.places.len() / 2, "an index is at most half full");
        let tag = Self::tag(hash);
        let mut at = self.home(tag);
        while self.get(at).slot != 0 {
            at = self.next(at);
        }
        self.places[at] = Place { tag, slot: slot + 1 }.pack();
        self.len += 1;
    }

    /// Takes `slot` out, if it is there.
    pub fn remove(&mut self, hash: u64, slot: u32) {
        let Some(mut gap) = self.place(hash, |found| found == slot) else {
            return;
        };
        self.len -= 1;
        // Entries after the gap move up, as far as each may: its search must still meet it (Knuth 6.4, algorithm R).
        let mut at = self.next(gap);
        while self.get(at).slot != 0 {
            let home = self.home(self.get(at).tag);
            let mask = self.places.len() - 1;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.places[gap] = self.places[at];
                gap = at;
            }
            at = self.next(at);
        }
        self.places[gap] = Place::FREE;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_finds_what_a_map_finds_however_entries_come_and_go() {
        let mut index = Index::new(64);
        let mut map = HashMap::new();
        // A small generator; hashes collide often, as they are taken from 40 values.
        let mut state = 7_u64;
        let mut draw = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        let hash_of = |slot: u32| u64::from(slot % 40) << 32 | u64::from(slot % 3) << 38;
        for _ in 0..100_000 {
            let slot = draw(64) as u32;
            let hash = hash_of(slot);
            if map.remove(&slot).is_some() {
                index.remove(hash, slot);
            } else {
                index.insert(hash, slot);
                map.insert(slot, ());
            }
            assert_eq!(index.len(), map.len());
            let asked = draw(64) as u32;
            let found = index.find(hash_of(asked), |slot| slot == asked);
            assert_eq!(found.is_some(), map.contains_key(&asked));
        }
    }

    #[test]
    fn searches_that_run_over_the_end_go_on_at_the_start() {
        let mut index = Index::new(2);
        let hash = 3_u64 << 32;
        index.insert(hash, 0);
        index.insert(hash, 1);
        assert_eq!(index.find(hash, |slot| slot == 1), Some(1));
        index.remove(hash, 0);
        assert_eq!(index.find(hash, |slot| slot == 1), Some(1));
        assert_eq!(index.first(hash), Some(1));
        index.remove(hash, 1);
        assert!(index.is_empty() && index.first(hash).is_none());
    }
}
