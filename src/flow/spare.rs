//! Lists that flows which are over have left behind, for the flows after them.
//!
//! Few flows ask a DNS question or get an HTTP answer, and few of those more than one: room for them in every slot of
//! the flow table would be wasted on most flows, and a list in every slot allocated anew wherever such a flow first comes
//! to lie. Lists of a few fixed capacities wait here instead; there are never more of them than were in use at once.

/// The capacities lists come in unless told otherwise: most flows hold one entry, some a few, and a forwarder's many.
const CAPACITIES: [usize; 5] = [1, 4, 10, 32, 256];

/// See the module's documentation.
#[derive(Debug)]
pub struct Spare<T> {
    /// Lists by capacity, the smallest first.
    lists: Vec<(usize, Vec<Vec<T>>)>,
}

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self::of(&CAPACITIES)
    }
}

impl<T> Spare<T> {
    /// No list yet; lists will have these capacities, given in rising order.
    #[must_use]
    pub fn of(capacities: &[usize]) -> Self {
        Self {
            lists: capacities.iter().map(|capacity| (*capacity, Vec::new())).collect(),
        }
    }

    /// Appends `item` to `list`; a list that is full is exchanged for a larger one.
    pub fn push(&mut self, list: &mut Vec<T>, item: T) {
        self.make_room(list);
        list.push(item);
    }

    /// Makes sure that `list` has room for one more.
    #[inline]
    pub fn make_room(&mut self, list: &mut Vec<T>) {
        if list.len() == list.capacity() {
            self.enlarge(list);
        }
    }

    fn enlarge(&mut self, list: &mut Vec<T>) {
        let mut larger = self.take(list.len() + 1);
        larger.append(list);
        self.give_back(std::mem::replace(list, larger));
    }

    fn take(&mut self, room: usize) -> Vec<T> {
        match self.lists.iter_mut().find(|(capacity, _)| *capacity >= room) {
            Some((capacity, lists)) => lists.pop().unwrap_or_else(|| Vec::with_capacity(*capacity)),
            None => Vec::with_capacity(room * 2),
        }
    }

    /// Takes a list that is no longer needed.
    pub fn give_back(&mut self, mut list: Vec<T>) {
        list.clear();
        if let Some((_, lists)) = self.lists.iter_mut().find(|(capacity, _)| *capacity == list.capacity()) {
            lists.push(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_given_back_is_used_again() {
        let mut spare = Spare::default();
        let mut list = Vec::new();
        (0..20).for_each(|item| spare.push(&mut list, item));
        assert_eq!(list, (0..20).collect::<Vec<_>>());
        let place = list.as_ptr();
        spare.give_back(std::mem::take(&mut list));
        (0..11).for_each(|item| spare.push(&mut list, item));
        assert_eq!((list.as_ptr(), list.len()), (place, 11));
    }
}
