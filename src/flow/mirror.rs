//! The habit of a capture to show packets more than once: a mirror port before and after a router, a trunk with and
//! without its tags, every interface of a forwarding machine.
//!
//! A copy of an ordinary packet says nothing new wherever it comes from. A reset that comes twice may be a box's burst,
//! whose resets can be alike to the last bit (wire-facts 3.1 and 8): only where the capture doubles other packets too is
//! it a copy. Copies that wear another TTL or other link addresses are known by that; of copies that are exactly alike
//! as many are left out as the capture adds.

use crate::packet::path_marks::PathMarks;

/// In what a copy differs from the packet it repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disguise {
    other_ttl: bool,
    other_link: bool,
}

impl Disguise {
    /// In what `one` differs from `other`.
    #[must_use]
    pub const fn between(one: &PathMarks, other: &PathMarks) -> Self {
        Self {
            other_ttl: one.ttl != other.ttl,
            other_link: one.link_source != other.link_source,
        }
    }

    /// Whether they are exactly alike.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.other_ttl && !self.other_link
    }
}

/// What is counted of a capture, or of a part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mirror {
    packets: u32,
    copies: u32,
    disguise: Option<Disguise>,
}

/// As many copies must have been seen before short flows, which show no habit of their own, are judged by the others.
const LEAST: u32 = 8;

impl Mirror {
    /// Notes a packet that was no copy.
    pub const fn count_packet(&mut self) {
        self.packets = self.packets.saturating_add(1);
    }

    /// Notes a copy and what it wore.
    pub const fn count_copy(&mut self, disguise: Disguise) {
        self.copies = self.copies.saturating_add(1);
        self.disguise = Some(disguise);
    }

    /// Whether every packet is shown twice, but for some that were lost.
    #[must_use]
    pub const fn doubles(&self) -> bool {
        // Saturated counts say no more than the last ratio; both saturate late.
        self.copies > 0 && self.copies.saturating_mul(3) >= self.packets
    }

    /// Whether that is so and well known.
    #[must_use]
    pub const fn surely_doubles(&self) -> bool {
        self.copies >= LEAST && self.doubles()
    }

    /// How often every packet is shown, at least twice.
    const fn times(&self) -> u32 {
        let most = if self.packets == 0 { 1 } else { self.packets };
        let copies = (self.copies + most / 2) / most;
        if copies == 0 { 2 } else { 1 + copies }
    }

    /// Whether a reset that repeats another, the `nth` to do so (from 1), is the capture's copy; `worn` is in what the
    /// two differ.
    #[must_use]
    pub fn made(&self, worn: Disguise, nth: u32) -> bool {
        match self.disguise {
            Some(disguise) if !disguise.is_none() => worn == disguise,
            Some(_) | None => !worn.is_none() || !nth.is_multiple_of(self.times()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIKE: Disguise = Disguise {
        other_ttl: false,
        other_link: false,
    };
    const ROUTED: Disguise = Disguise {
        other_ttl: true,
        other_link: true,
    };

    fn mirror(packets: u32, copies: u32, disguise: Disguise) -> Mirror {
        let mut mirror = Mirror::default();
        (0..packets).for_each(|_| mirror.count_packet());
        (0..copies).for_each(|_| mirror.count_copy(disguise));
        mirror
    }

    #[test]
    fn a_copy_now_and_then_is_no_habit() {
        assert!(!mirror(10, 2, ALIKE).doubles());
        assert!(mirror(10, 8, ALIKE).doubles());
        assert!(!mirror(3, 3, ALIKE).surely_doubles());
        assert!(!Mirror::default().doubles());
    }

    #[test]
    fn three_alike_in_a_doubled_capture_are_six() {
        let left = |mirror: Mirror, worn: &[Disguise]| {
            let nth = (1..).zip(worn);
            1 + nth.filter(|(nth, worn)| !mirror.made(**worn, *nth)).count()
        };
        assert_eq!(left(mirror(4, 4, ALIKE), &[ALIKE; 5]), 3);
        assert_eq!(left(mirror(4, 8, ALIKE), &[ALIKE; 8]), 3, "every packet thrice");
        // Copies that wear something are told by it, in whatever order they come.
        assert_eq!(left(mirror(4, 4, ROUTED), &[ROUTED, ALIKE, ROUTED, ALIKE, ROUTED]), 3);
        assert_eq!(left(mirror(4, 4, ROUTED), &[ALIKE, ALIKE, ROUTED, ROUTED, ROUTED]), 3);
    }

    #[test]
    fn a_habit_is_a_copy_of_every_third_packet_at_least_and_sure_after_eight() {
        assert!(mirror(9, 3, ALIKE).doubles());
        assert!(!mirror(10, 3, ALIKE).doubles());
        assert!(mirror(0, 1, ALIKE).doubles());
        assert!(mirror(8, 8, ALIKE).surely_doubles());
        assert!(!mirror(7, 7, ALIKE).surely_doubles());
        assert!(!mirror(25, 8, ALIKE).surely_doubles());
    }

    #[test]
    fn packets_are_shown_as_often_as_most_were() {
        for (packets, copies, times) in [
            (10, 4, 2),
            (10, 5, 2),
            (10, 14, 2),
            (10, 15, 3),
            (0, 0, 2),
            (0, 3, 4),
            (1, 2, 3),
        ] {
            assert_eq!(mirror(packets, copies, ALIKE).times(), times, "{packets} {copies}");
        }
    }

    #[test]
    fn a_disguise_is_a_ttl_or_a_link_address() {
        let marks = |ttl, link_source| PathMarks {
            ttl,
            link_source,
            ip_id: None,
            dont_fragment: false,
            traffic_class: 0,
        };
        let worn = |ttl, link| Disguise::between(&marks(60, 7), &marks(ttl, link));
        assert!(worn(60, 7).is_none());
        for other in [worn(61, 7), worn(60, 8), worn(61, 8)] {
            assert!(!other.is_none());
        }
        assert_eq!(worn(61, 8), ROUTED);
        // One that wears something is a copy wherever copies do not, and nowhere else.
        assert!(mirror(4, 4, ALIKE).made(ROUTED, 2));
        assert!(!mirror(4, 4, ROUTED).made(worn(61, 7), 1));
    }
}
