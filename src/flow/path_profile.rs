//! What the packets of one sender usually look like on arrival.

use std::mem::offset_of;

use crate::packet::frame::FrameNumber;
use crate::packet::path_marks::PathMarks;

/// How many different TTLs of one sender are told apart.
const TTLS: usize = 4;

/// How a sender numbers its IPv4 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpIdLaw {
    /// Too little seen, or no rule.
    Unknown,
    /// Always 0 (with don't-fragment set that is ordinary: RFC 6864).
    Zero,
    /// Always the same, not 0.
    Constant,
    /// Counts up, with small steps for packets sent elsewhere in between.
    Counter,
}

/// The largest step between two packets of one flow that still looks like one counter. Busy hosts with one counter for
/// all they send skip hundreds; random ids fall within it by chance in 3 % of steps.
const COUNTER_STEP: u16 = 2000;

/// One TTL a sender's packets arrived with.
#[derive(Clone, Copy, Debug, Default)]
struct TtlCount {
    ttl: u8,
    count: u16,
    first: FrameNumber,
}

/// The marks of one sender's packets in one flow, resets left out (they come from other boxes too often).
#[derive(Clone, Copy, Debug, Default)]
// In this order what every packet touches lies together.
#[repr(C)]
pub struct PathProfile {
    last: Option<PathMarks>,
    near_steps: u16,
    far_steps: u16,
    zeros: u16,
    repeats: u16,
    dont_fragment: u16,
    may_fragment: u16,
    ttls: [TtlCount; TTLS],
    opening: Option<PathMarks>,
}

impl PathProfile {
    /// So many of its first bytes an ordinary packet touches: of the TTLs most often the first.
    pub(super) const TOUCHED: usize = offset_of!(Self, ttls) + size_of::<TtlCount>();

    /// Learns the packet of `frame`. `opening` tells that it is the SYN or SYN-ACK that anchors the profile.
    pub fn learn(&mut self, marks: &PathMarks, frame: FrameNumber, opening: bool) {
        if opening && self.opening.is_none() {
            self.opening = Some(*marks);
        }
        self.count_ttl(marks.ttl, frame);
        if marks.dont_fragment {
            self.dont_fragment = self.dont_fragment.saturating_add(1);
        } else {
            self.may_fragment = self.may_fragment.saturating_add(1);
        }
        if let Some(id) = marks.ip_id {
            if id == 0 {
                self.zeros = self.zeros.saturating_add(1);
            } else if let Some(before) = self.last.and_then(|last| last.ip_id).filter(|before| *before != 0) {
                match id.wrapping_sub(before) {
                    0 => self.repeats = self.repeats.saturating_add(1),
                    1..=COUNTER_STEP => self.near_steps = self.near_steps.saturating_add(1),
                    _ => self.far_steps = self.far_steps.saturating_add(1),
                }
            }
            // A zero id (a SYN-ACK, an ACK of some stacks) does not interrupt the counter of the other packets.
            if id == 0 {
                let keep = self.last.and_then(|last| last.ip_id).unwrap_or(0);
                self.last = Some(PathMarks {
                    ip_id: Some(keep),
                    ..*marks
                });
                return;
            }
        }
        self.last = Some(*marks);
    }

    fn count_ttl(&mut self, ttl: u8, frame: FrameNumber) {
        let place = self
            .ttls
            .iter()
            .position(|seen| seen.count == 0 || seen.ttl == ttl)
            .unwrap_or(TTLS - 1);
        let seen = &mut self.ttls[place];
        if seen.count == 0 {
            *seen = TtlCount {
                ttl,
                count: 0,
                first: frame,
            };
        }
        if seen.ttl == ttl {
            seen.count = seen.count.saturating_add(1);
        }
    }

    /// The SYN's or SYN-ACK's marks.
    #[must_use]
    pub const fn opening(&self) -> Option<&PathMarks> {
        self.opening.as_ref()
    }

    /// The last packet's marks; where its IP id was 0, the id is that of the packet before.
    #[must_use]
    pub const fn last(&self) -> Option<&PathMarks> {
        self.last.as_ref()
    }

    /// How many packets were learnt (saturating at 65 535 a TTL).
    #[must_use]
    pub fn packets(&self) -> u32 {
        self.ttls.iter().map(|seen| u32::from(seen.count)).sum()
    }

    /// How many packets arrived with `ttl`.
    #[must_use]
    pub fn count_of(&self, ttl: u8) -> u16 {
        self.seen(ttl).map_or(0, |seen| seen.count)
    }

    /// The first packet that arrived with `ttl`.
    #[must_use]
    pub fn first_with(&self, ttl: u8) -> Option<FrameNumber> {
        self.seen(ttl).map(|seen| seen.first)
    }

    fn seen(&self, ttl: u8) -> Option<&TtlCount> {
        self.ttls.iter().find(|seen| seen.count > 0 && seen.ttl == ttl)
    }

    /// The TTL most packets arrived with; the opening packet's on a tie.
    #[must_use]
    pub fn usual_ttl(&self) -> Option<u8> {
        self.usual_ttl_without(&[])
    }

    /// The usual TTL when the packets that arrived with the TTLs `apart` (one entry a packet) are left out.
    #[must_use]
    pub fn usual_ttl_without(&self, apart: &[u8]) -> Option<u8> {
        let opening = self.opening.map(|marks| marks.ttl);
        self.ttls
            .iter()
            .filter(|seen| seen.count > 0)
            .map(|seen| {
                let left_out = apart.iter().filter(|other| **other == seen.ttl).count();
                (
                    usize::from(seen.count).saturating_sub(left_out),
                    Some(seen.ttl) == opening,
                    seen.ttl,
                )
            })
            .filter(|(count, ..)| *count > 0)
            .max_by_key(|(count, is_opening, ttl)| (*count, *is_opening, *ttl))
            .map(|(.., ttl)| ttl)
    }

    /// Whether at most `suspects` packets arrived with don't-fragment as `set`, and at least two the other way.
    #[must_use]
    pub const fn only_exception(&self, set: bool, suspects: usize) -> bool {
        let (same, other) = if set {
            (self.dont_fragment, self.may_fragment)
        } else {
            (self.may_fragment, self.dont_fragment)
        };
        same as usize <= suspects && other >= 2
    }

    /// Whether at least two packets arrived with don't-fragment as `set`.
    #[must_use]
    pub const fn many_with(&self, set: bool) -> bool {
        if set {
            self.dont_fragment >= 2
        } else {
            self.may_fragment >= 2
        }
    }

    /// How the sender numbers its packets.
    #[must_use]
    pub const fn ip_id_law(&self) -> IpIdLaw {
        let steps = self.near_steps + self.far_steps;
        if self.zeros >= 2 && steps == 0 && self.repeats == 0 {
            IpIdLaw::Zero
        } else if self.repeats >= 2 && steps == 0 {
            IpIdLaw::Constant
        } else if self.near_steps >= 2 && self.far_steps * 8 <= self.near_steps {
            IpIdLaw::Counter
        } else {
            IpIdLaw::Unknown
        }
    }

    /// Whether `id` fits the counter this sender follows; none if it follows none.
    #[must_use]
    pub fn continues_counter(&self, id: u16) -> Option<bool> {
        let last = self.last?.ip_id?;
        (self.ip_id_law() == IpIdLaw::Counter)
            .then(|| id.wrapping_sub(last) <= COUNTER_STEP || last.wrapping_sub(id) <= COUNTER_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(ttl: u8, ip_id: u16) -> PathMarks {
        PathMarks {
            ttl,
            ip_id: Some(ip_id),
            dont_fragment: true,
            traffic_class: 0,
            link_source: 0,
        }
    }

    #[test]
    fn the_usual_ttl_is_that_of_the_others() {
        let mut profile = PathProfile::default();
        profile.learn(&marks(47, 0), FrameNumber::new(0, 1), true);
        profile.learn(&marks(83, 9), FrameNumber::new(0, 9), false);
        assert_eq!(profile.usual_ttl(), Some(47), "a tie goes to the opening packet");
        profile.learn(&marks(83, 10), FrameNumber::new(0, 10), false);
        assert_eq!(profile.usual_ttl(), Some(83));
        assert_eq!(profile.usual_ttl_without(&[83, 83]), Some(47));
        assert_eq!(profile.usual_ttl_without(&[83, 83, 47]), None);
    }

    #[test]
    fn the_law_of_ip_ids_is_learnt() {
        let learn = |ids: &[u16]| {
            let mut profile = PathProfile::default();
            ids.iter()
                .for_each(|id| profile.learn(&marks(64, *id), FrameNumber::new(0, 1), false));
            profile
        };
        assert_eq!(learn(&[0, 0, 0]).ip_id_law(), IpIdLaw::Zero);
        assert_eq!(learn(&[9, 9, 9]).ip_id_law(), IpIdLaw::Constant);
        assert_eq!(learn(&[100, 20_000, 3, 50_000]).ip_id_law(), IpIdLaw::Unknown);
        let counter = learn(&[0, 65_530, 65_534, 0, 3, 9]);
        assert_eq!(counter.ip_id_law(), IpIdLaw::Counter);
        assert_eq!(counter.continues_counter(10), Some(true));
        assert_eq!(counter.continues_counter(30_000), Some(false));
    }

    /// So many packets with don't-fragment, and so many without.
    fn bits(set: u32, unset: u32) -> PathProfile {
        let mut profile = PathProfile::default();
        for number in 0..set + unset {
            let marks = PathMarks {
                dont_fragment: number < set,
                ..marks(64, 9)
            };
            profile.learn(&marks, FrameNumber::new(0, u64::from(number)), false);
        }
        profile
    }

    #[test]
    fn two_packets_are_many() {
        for (set, unset) in [(0, 2), (1, 2), (2, 0), (2, 1), (3, 5), (1, 1)] {
            let profile = bits(set, unset);
            assert_eq!(profile.many_with(true), set >= 2, "{set} {unset}");
            assert_eq!(profile.many_with(false), unset >= 2, "{set} {unset}");
        }
    }

    #[test]
    fn an_exception_stands_against_two_at_least() {
        for (set, unset, suspects, expected) in [
            (1, 2, 1, true),
            (1, 1, 1, false),
            (2, 2, 1, false),
            (2, 2, 2, true),
            (0, 2, 0, true),
            (1, 2, 0, false),
        ] {
            let told = "with, without, suspects";
            assert_eq!(
                bits(set, unset).only_exception(true, suspects),
                expected,
                "{told}: {set} {unset} {suspects}"
            );
            assert_eq!(
                bits(unset, set).only_exception(false, suspects),
                expected,
                "{told}: {unset} {set} {suspects}"
            );
        }
    }

    #[test]
    fn what_is_known_of_a_ttl_is_when_it_came_first_and_how_often() {
        let mut profile = PathProfile::default();
        for (number, ttl) in (1..).zip([60, 61, 60, 62, 63, 64, 60, 64]) {
            profile.learn(&marks(ttl, number as u16), FrameNumber::new(0, number), number == 2);
        }
        // The fifth TTL finds no room.
        assert_eq!(profile.packets(), 6);
        let known = |ttl| {
            (
                profile.count_of(ttl),
                profile.first_with(ttl).map(|frame| frame.in_file()),
            )
        };
        assert_eq!(
            [60, 61, 62, 63, 64].map(known),
            [(3, Some(1)), (1, Some(2)), (1, Some(4)), (1, Some(5)), (0, None),]
        );
        assert_eq!(profile.opening().map(|marks| marks.ttl), Some(61));
        assert_eq!(profile.last().map(|marks| marks.ttl), Some(64));
        assert_eq!(
            profile.usual_ttl_without(&[60, 60]),
            Some(61),
            "a tie goes to the opening packet"
        );
        assert_eq!(profile.usual_ttl_without(&[60, 60, 61]), Some(63), "then to the higher");
    }

    #[test]
    fn a_counter_may_skip_and_seldom_leap() {
        let learn = |ids: &[u16]| {
            let mut profile = PathProfile::default();
            ids.iter()
                .for_each(|id| profile.learn(&marks(64, *id), FrameNumber::new(0, 1), false));
            profile
        };
        let skips = |by: u16| learn(&[1, 1 + by, 1 + 2 * by]).ip_id_law();
        assert_eq!(skips(COUNTER_STEP), IpIdLaw::Counter);
        assert_eq!(skips(COUNTER_STEP + 1), IpIdLaw::Unknown);
        assert_eq!(learn(&[1, 2]).ip_id_law(), IpIdLaw::Unknown, "one step is no rule");
        assert_eq!(learn(&[0, 0]).ip_id_law(), IpIdLaw::Zero);
        assert_eq!(learn(&[0]).ip_id_law(), IpIdLaw::Unknown);
        assert_eq!(learn(&[0, 0, 7, 7]).ip_id_law(), IpIdLaw::Unknown);
        assert_eq!(learn(&[7, 7]).ip_id_law(), IpIdLaw::Unknown);
        assert_eq!(learn(&[7, 7, 7, 9]).ip_id_law(), IpIdLaw::Unknown);
        // One leap in eight steps is borne.
        let mut ids: Vec<u16> = (1..10).collect();
        ids.push(30_000);
        assert_eq!(learn(&ids).ip_id_law(), IpIdLaw::Counter);
        ids.remove(0);
        assert_eq!(learn(&ids).ip_id_law(), IpIdLaw::Unknown);
        let counter = learn(&[10_000, 10_001, 10_002]);
        for (id, continues) in [
            (10_002 + COUNTER_STEP, true),
            (10_003 + COUNTER_STEP, false),
            (10_002 - COUNTER_STEP, true),
            (10_001 - COUNTER_STEP, false),
        ] {
            assert_eq!(counter.continues_counter(id), Some(continues), "{id}");
        }
        assert_eq!(learn(&[7, 7, 7]).continues_counter(8), None);
        assert_eq!(PathProfile::default().continues_counter(8), None);
    }
}
