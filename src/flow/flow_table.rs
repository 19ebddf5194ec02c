//! A fixed number of flows, found by key, concluded at their deadline.
//!
//! Deadlines decide; sweeping only frees. Every flow waits in one of a few queues, each with a constant
//! [`Patience`], so that a queue is in deadline order without sorting: a flow that comes up is concluded if its
//! deadline has passed, and queued anew otherwise. No packet touches a queue unless its flow is new or changes class.

use std::time::Duration;

use super::flow_key::{End, FlowKey};
use super::index::Index;
use super::waiting::Waiting;
use crate::prefetch::{prefetch, prefetch_span};
use crate::time::Timestamp;

/// How long a flow may be silent before it is concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// A TCP flow that was reset or closed from both ends: 10 s, for what still arrives.
    Closed,
    /// A UDP flow: 30 s (half of what NATs keep at least: RFC 4787 section 4.3 requires 2 minutes, most keep 60 s).
    Datagrams,
    /// A TCP flow whose handshake is not done: 75 s (six SYNs of Linux take 63 s).
    Opening,
    /// Any other TCP flow: 15 minutes. NATs may forget it before (RFC 5382: after 2 hours 4 minutes at the earliest,
    /// many after 5 minutes), and what they answer then is worth seeing.
    Established,
}

impl Patience {
    /// All classes; the cheapest to give up come first.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Datagrams, Self::Opening, Self::Established];

    /// How long a flow of this class may be silent.
    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_secs(match self {
            Self::Closed => 10,
            Self::Datagrams => 30,
            Self::Opening => 75,
            Self::Established => 900,
        })
    }
}

/// How many flows of a class that are to stay are passed over for one that is not. They are queued anew, so that they are
/// not met again soon.
const MOST_PASSED_OVER: usize = 64;

/// What is created once and then used again for other flows, so that what it has allocated is kept.
pub trait Recycle: Default {
    /// Forgets everything but allocated memory.
    fn recycle(&mut self);
}

/// What a table keeps in a slot.
pub trait Tenant: Recycle {
    /// The key of the flow that lies in it, if one does.
    fn key(&self) -> Option<&FlowKey>;

    /// Fetches what the flow's next packet, sent by `sender`, will touch in the slot, before that is read.
    fn fetch(&self, sender: End);

    /// Fetches what concluding the flow will touch outside its slot, which is there.
    fn fetch_apart(&self);

    /// Whether the flow is given up only where there is nothing else to give up.
    fn stays(&self) -> bool {
        false
    }
}

/// So many flows before a flow is concluded, what lies apart from it is fetched, and its slot as many before that: enough for
/// the memory to come, few enough that it is still in the cache (judged; no other number was tried).
const CALLED_UP: usize = 8;

/// Names a flow in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    last: Timestamp,
    generation: u32,
    patience: Patience,
    held: T,
}

/// A bounded table of flows.
#[derive(Debug)]
pub struct FlowTable<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    index: Index,
    queues: [Waiting<(Timestamp, SlotId)>; 4],
    /// No queue has anything due before.
    soonest: Timestamp,
    most: usize,
}

/// Why a flow is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was silent until its deadline.
    Expired,
    /// The table was full.
    Evicted,
}

impl<T> FlowTable<T> {
    /// What a flow takes in the table, in bytes: its slot, two to four places in the index, and its deadline's entry.
    pub const BYTES_PER_FLOW: usize = size_of::<Slot<T>>() + 4 * size_of::<u64>() + size_of::<(Timestamp, SlotId)>();
}

impl<T: Tenant> FlowTable<T> {
    /// A table of at most `most` flows (at least 1).
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: Index::new(most.max(1)),
            queues: Default::default(),
            soonest: Timestamp::EPOCH,
            most: most.max(1),
        }
    }

    /// Fetches what [`Self::find`] will look at first for `key`, some time before it is asked: see [`Self::expect`].
    #[inline]
    pub fn announce(&self, key: &FlowKey) {
        self.index.prefetch(key.digest());
    }

    /// Fetches what a packet of `sender` will touch of the flow that was announced, if there is one. Any order of calls is
    /// right; only the time differs.
    #[inline]
    pub fn expect(&self, key: &FlowKey, sender: End) {
        if let Some(slot) = self
            .index
            .first(key.digest())
            .and_then(|index| self.slots.get(index as usize))
        {
            prefetch(&slot.last);
            slot.held.fetch(sender);
        }
    }

    /// What is most likely held of the announced flow; it need not be that one.
    #[inline]
    #[must_use]
    pub fn look(&self, key: &FlowKey) -> Option<&T> {
        let index = self.index.first(key.digest())?;
        self.slots.get(index as usize).map(|slot| &slot.held)
    }

    /// How many flows it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether a new flow needs another to leave.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.index.len() >= self.most
    }

    /// The flow of `key`, if the table holds it.
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<SlotId> {
        let index = self
            .index
            .find(key.digest(), |index| self.slots[index as usize].held.key() == Some(key))?;
        Some(SlotId {
            index,
            generation: self.slots[index as usize].generation,
        })
    }

    /// Whether the flow is still in the table.
    #[must_use]
    pub fn holds(&self, id: SlotId) -> bool {
        let slot = &self.slots[id.index as usize];
        slot.generation == id.generation && slot.held.key().is_some()
    }

    /// What is held of a flow.
    #[must_use]
    pub fn get_mut(&mut self, id: SlotId) -> &mut T {
        &mut self.slots[id.index as usize].held
    }

    /// When the flow, silent from now on, is to be concluded.
    #[must_use]
    pub fn deadline(&self, id: SlotId) -> Timestamp {
        let slot = &self.slots[id.index as usize];
        slot.last.plus(slot.patience.span())
    }

    /// Notes that a packet of the flow came at `at`, and how patient to be from now on.
    pub fn touch(&mut self, id: SlotId, at: Timestamp, patience: Patience) {
        let slot = &mut self.slots[id.index as usize];
        slot.last = at;
        if slot.patience != patience {
            slot.patience = patience;
            // The old entry is dropped when it comes up.
            self.queue(patience, at.plus(patience.span()), id);
        }
    }

    /// Notes that a packet of the flow came at `at`, and that it is to be waited for as before.
    #[inline]
    pub fn touch_again(&mut self, id: SlotId, at: Timestamp) {
        self.slots[id.index as usize].last = at;
    }

    /// A new flow, laid into its slot by `lay`. The table must not be full and must not hold `key`.
    pub fn insert(&mut self, key: &FlowKey, at: Timestamp, patience: Patience, lay: impl FnOnce(&mut T)) -> SlotId {
        let hash = key.digest();
        if self.slots.capacity() == 0 {
            // All it can ever hold: pages that are never written to cost nothing, growing would copy every flow.
            self.slots.reserve_exact(self.most);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                last: at,
                generation: 0,
                patience,
                held: T::default(),
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        lay(&mut slot.held);
        slot.last = at;
        slot.patience = patience;
        let id = SlotId {
            index,
            generation: slot.generation,
        };
        self.index.insert(hash, index);
        self.queue(patience, at.plus(patience.span()), id);
        id
    }

    /// Queues a flow that is in the table.
    fn queue(&mut self, patience: Patience, due: Timestamp, id: SlotId) {
        self.soonest = self.soonest.min(due);
        let slots = &self.slots;
        self.queues[patience as usize].push((due, id), |(_, id)| {
            let slot = &slots[id.index as usize];
            slot.generation == id.generation && slot.patience == patience
        });
    }

    /// Takes a flow out; what was held must have been concluded.
    pub fn remove(&mut self, id: SlotId) {
        let slot = &mut self.slots[id.index as usize];
        if slot.generation != id.generation {
            return;
        }
        let Some(digest) = slot.held.key().map(FlowKey::digest) else {
            return;
        };
        slot.generation = slot.generation.wrapping_add(1);
        slot.held.recycle();
        self.index.remove(digest, id.index);
        self.free.push(id.index);
        if self.index.is_empty() {
            // Nothing in the queues means anything any more, and the next capture's clock may begin before them.
            self.queues.iter_mut().for_each(Waiting::clear);
        }
    }

    /// No flow's deadline passes before.
    #[must_use]
    pub const fn soonest(&self) -> Timestamp {
        self.soonest
    }

    /// A flow whose deadline passed before `now`, with that deadline. It stays until [`Self::remove`].
    #[inline]
    pub fn next_expired(&mut self, now: Timestamp) -> Option<(SlotId, Timestamp)> {
        if now < self.soonest {
            return None;
        }
        self.look_for_expired(now)
    }

    /// Fetches the flows that come up soon in the queue of `patience`: first their slots, later what lies apart.
    fn call_up(&self, patience: Patience) {
        let queue = &self.queues[patience as usize];
        if let Some((_, id)) = queue.nth(2 * CALLED_UP) {
            self.fetch_slot(id.index as usize);
        }
        if let Some((_, id)) = queue.nth(CALLED_UP) {
            self.fetch_apart(id.index as usize);
        }
    }

    fn fetch_slot(&self, index: usize) {
        if let Some(slot) = self.slots.get(index) {
            prefetch_span(slot, 0..size_of::<Slot<T>>());
        }
    }

    fn fetch_apart(&self, index: usize) {
        if let Some(slot) = self.slots.get(index)
            && let Some(key) = slot.held.key()
        {
            self.index.prefetch(key.digest());
            slot.held.fetch_apart();
        }
    }

    fn look_for_expired(&mut self, now: Timestamp) -> Option<(SlotId, Timestamp)> {
        for patience in Patience::ALL {
            while let Some((due, id)) = self.queues[patience as usize].first().copied() {
                if due > now {
                    break;
                }
                self.queues[patience as usize].take_first();
                let slot = &self.slots[id.index as usize];
                if slot.generation != id.generation || slot.patience != patience {
                    continue;
                }
                let deadline = slot.last.plus(patience.span());
                if deadline <= now {
                    self.call_up(patience);
                    return Some((id, deadline));
                }
                self.queue(patience, deadline, id);
            }
        }
        let first = |queue: &Waiting<(Timestamp, SlotId)>| queue.first().map(|(due, _)| *due);
        self.soonest = self
            .queues
            .iter()
            .filter_map(first)
            .min()
            .unwrap_or(Timestamp::END_OF_TIME);
        None
    }

    /// The flow to give up for a new one: the one queued longest in the cheapest class, those that are to stay passed over.
    pub fn next_victim(&mut self) -> Option<SlotId> {
        let mut last_resort = None;
        for patience in Patience::ALL {
            let mut passed_over = 0;
            while passed_over < MOST_PASSED_OVER
                && let Some((_, id)) = self.queues[patience as usize].take_first()
            {
                let slot = &self.slots[id.index as usize];
                if slot.generation != id.generation || slot.patience != patience {
                    continue;
                }
                if !slot.held.stays() {
                    self.call_up(patience);
                    return Some(id);
                }
                passed_over += 1;
                last_resort = last_resort.or(Some(id));
                let deadline = slot.last.plus(patience.span());
                self.queue(patience, deadline, id);
            }
        }
        last_resort
    }

    /// The next flow in slot order, from slot `*at` on, which is moved behind it: to conclude all at the end.
    pub fn next_of_all(&self, at: &mut usize) -> Option<SlotId> {
        while let Some(slot) = self.slots.get(*at) {
            self.fetch_slot(*at + 2 * CALLED_UP);
            self.fetch_apart(*at + CALLED_UP);
            let id = SlotId {
                index: *at as u32,
                generation: slot.generation,
            };
            *at += 1;
            if slot.held.key().is_some() {
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::finding::Protocol;
    use crate::packet::endpoint::Endpoint;

    #[derive(Debug, Default)]
    struct Held(u32, Option<FlowKey>, bool);

    impl Recycle for Held {
        fn recycle(&mut self) {
            *self = Self::default();
        }
    }

    impl Tenant for Held {
        fn key(&self) -> Option<&FlowKey> {
            self.1.as_ref()
        }

        fn fetch(&self, _: End) {}

        fn fetch_apart(&self) {}

        fn stays(&self) -> bool {
            self.2
        }
    }

    fn insert(table: &mut FlowTable<Held>, key: FlowKey, at: Timestamp, patience: Patience) -> SlotId {
        table.insert(&key, at, patience, |held| held.1 = Some(key))
    }

    fn key(port: u16) -> FlowKey {
        let end = |ip: [u8; 4], port| Endpoint::new(ip.into(), port);
        FlowKey::new(Protocol::Tcp, end([192, 0, 2, 1], port), end([192, 0, 2, 2], 443)).0
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_silent_flow_expires_at_its_own_deadline() {
        let mut table = FlowTable::<Held>::new(8);
        let id = insert(&mut table, key(1), at(0), Patience::Datagrams);
        table.touch(id, at(20), Patience::Datagrams);
        assert_eq!(table.next_expired(at(40)), None);
        assert_eq!(table.next_expired(at(90)), Some((id, at(50))));
        table.remove(id);
        assert_eq!(table.next_expired(at(900)), None);
        assert!(table.is_empty());
    }

    #[test]
    fn a_flow_that_changes_class_is_judged_by_the_new_one() {
        let mut table = FlowTable::<Held>::new(8);
        let id = insert(&mut table, key(1), at(0), Patience::Opening);
        table.touch(id, at(1), Patience::Established);
        assert_eq!(table.next_expired(at(100)), None);
        table.touch(id, at(101), Patience::Closed);
        assert_eq!(table.next_expired(at(112)), Some((id, at(111))));
    }

    #[test]
    fn the_cheapest_flow_is_given_up_first() {
        let mut table = FlowTable::<Held>::new(3);
        let established = insert(&mut table, key(1), at(0), Patience::Established);
        let opening = insert(&mut table, key(2), at(1), Patience::Opening);
        let closed = insert(&mut table, key(3), at(2), Patience::Closed);
        assert!(table.is_full());
        for expected in [closed, opening, established] {
            assert_eq!(table.next_victim(), Some(expected));
            table.remove(expected);
        }
        assert_eq!(table.next_victim(), None);
    }

    #[test]
    fn a_flow_that_is_to_stay_is_given_up_last() {
        let mut table = FlowTable::<Held>::new(3);
        let dear = insert(&mut table, key(1), at(0), Patience::Closed);
        table.get_mut(dear).2 = true;
        let cheap = insert(&mut table, key(2), at(1), Patience::Closed);
        let established = insert(&mut table, key(3), at(2), Patience::Established);
        for expected in [cheap, established, dear] {
            assert_eq!(table.next_victim(), Some(expected));
            table.remove(expected);
        }
        assert_eq!(table.next_victim(), None);
    }

    #[test]
    fn a_table_of_flows_that_are_to_stay_gives_way_all_the_same() {
        let mut table = FlowTable::<Held>::new(300);
        for port in 0..300 {
            let id = insert(&mut table, key(port), at(0), Patience::Closed);
            table.get_mut(id).2 = true;
        }
        for _ in 0..300 {
            let victim = table.next_victim().expect("a flow");
            table.remove(victim);
        }
        assert!(table.is_empty());
    }

    #[test]
    fn a_flow_is_given_up_by_the_class_it_is_in_now() {
        let mut table = FlowTable::<Held>::new(3);
        let made = insert(&mut table, key(1), at(0), Patience::Opening);
        let gone = insert(&mut table, key(2), at(1), Patience::Opening);
        let opening = insert(&mut table, key(3), at(2), Patience::Opening);
        table.touch(made, at(3), Patience::Established);
        table.remove(gone);
        assert_eq!(table.next_victim(), Some(opening));
        table.remove(opening);
        assert_eq!(table.next_victim(), Some(made));
    }

    #[test]
    fn flows_that_come_and_go_leave_nothing_waiting() {
        let mut table = FlowTable::<Held>::new(4);
        for port in 0..10_000 {
            let id = insert(&mut table, key(port), at(0), Patience::Opening);
            table.touch(id, at(0), Patience::Established);
            table.touch(id, at(0), Patience::Closed);
            table.remove(id);
        }
        let waiting: usize = table.queues.iter().map(Waiting::len).sum();
        assert!(waiting < 1000, "{waiting}");
    }

    #[test]
    fn a_slot_is_used_again_and_its_old_name_is_void() {
        let mut table = FlowTable::<Held>::new(8);
        let old = insert(&mut table, key(1), at(0), Patience::Closed);
        table.get_mut(old).0 = 7;
        table.remove(old);
        let new = insert(&mut table, key(2), at(1), Patience::Closed);
        assert_eq!(table.get_mut(new).0, 0);
        table.remove(old);
        assert_eq!(table.find(&key(2)), Some(new));
        assert_eq!(table.find(&key(1)), None);
    }
}
