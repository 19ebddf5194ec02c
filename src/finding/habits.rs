//! The habits of a box: what its packets have in common whatever flow they are put into, and what name that gives it.
//!
//! A box writes its packets by one piece of code, so that TTL, IP ids, window, the shape of its bursts and the time to
//! live of its DNS answers follow a law of its own (peers of ours group injectors by hand so: Weaver et al. NDSS 2009,
//! section 7; "Triplet Censors", FOCI 2020, table 3). One finding shows some of it here; what all findings of a capture
//! show together is put into one name by the ledger.

use std::fmt;

use crate::packet::path_marks::PathMarks;

/// What one finding shows of a box's habits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Habits {
    /// The IP id of its first packet; none in IPv6.
    pub ip_id: Option<u16>,
    /// Whether all its packets here (two at least) carry that id.
    pub ip_id_stays: bool,
    /// Its don't-fragment bit; none where nothing is known.
    pub dont_fragment: Option<bool>,
    /// Its window field, if it sends TCP.
    pub window: Option<Varying<u16>>,
    /// How its resets come.
    pub burst: Option<Burst>,
    /// The time to live of its DNS records, in seconds.
    pub record_ttl: Option<Varying<u32>>,
}

impl Habits {
    /// What one packet shows.
    #[must_use]
    pub const fn of_marks(marks: &PathMarks) -> Self {
        Self {
            ip_id: marks.ip_id,
            ip_id_stays: false,
            dont_fragment: Some(marks.dont_fragment),
            window: None,
            burst: None,
            record_ttl: None,
        }
    }
}

/// A value that stays, follows the packet that is answered, or follows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Varying<T> {
    /// It is always this.
    Stays(T),
    /// It is copied from the packet that is answered.
    Copied,
    /// It differs from packet to packet.
    Varies,
}

impl<T: Copy + PartialEq> Varying<T> {
    /// The law of `values`, of one packet each; none of none.
    #[must_use]
    pub fn of(mut values: impl Iterator<Item = T>) -> Option<Self> {
        let first = values.next()?;
        Some(if values.all(|value| value == first) {
            Self::Stays(first)
        } else {
            Self::Varies
        })
    }
}

/// How a box's resets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Burst {
    /// One at a time.
    Single,
    /// Several with one sequence number.
    Repeated,
    /// Several, each further ahead.
    Stepped,
}

/// A box's name, made of its habits: the same habits give the same name in every capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct InjectorId {
    hash: u32,
    long: bool,
}

impl InjectorId {
    /// The name of four digits that `hash` gives.
    #[must_use]
    pub const fn short(hash: u32) -> Self {
        Self { hash, long: false }
    }

    /// The same with all digits, for when four do not tell the boxes of a capture apart.
    #[must_use]
    pub const fn lengthened(self) -> Self {
        Self { long: true, ..self }
    }
}

/// `i-3fa2`.
impl fmt::Display for InjectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.long {
            write!(f, "i-{:08x}", self.hash)
        } else {
            write!(f, "i-{:04x}", self.hash >> 16)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_is_told_from_its_values() {
        assert_eq!(Varying::of([7, 7, 7].into_iter()), Some(Varying::Stays(7)));
        assert_eq!(Varying::of([7, 7, 8].into_iter()), Some(Varying::Varies));
        assert_eq!(Varying::<u16>::of([].into_iter()), None);
    }

    #[test]
    fn a_long_name_begins_like_the_short_one() {
        let id = InjectorId::short(0x3fa2_0b1c);
        assert_eq!(id.to_string(), "i-3fa2");
        assert_eq!(id.lengthened().to_string(), "i-3fa20b1c");
    }
}
