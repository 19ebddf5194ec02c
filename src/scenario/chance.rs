//! Seeded chance: SplitMix64. Every part of the simulation draws from a stream of its own, forked by name, so that one
//! part more or less (say, the filtering equipment taken away) does not change what the others draw.

use std::time::Duration;

/// A stream of pseudo-random numbers (SplitMix64, Steele, Lea & Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The stream that belongs to a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x6A09_E667_F3BC_C908)
    }

    /// An independent stream for the part called `label`. Depends on the seed and the label, not on what was drawn.
    pub(crate) fn fork(&self, label: &str) -> Self {
        // FNV-1a over the label, then one round of mixing.
        let hash = label.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        let mut fork = Self(self.0 ^ hash.rotate_left(17));
        fork.0 = fork.next();
        fork
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 32 bits.
    pub(crate) fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// 16 bits.
    pub(crate) fn half(&mut self) -> u16 {
        (self.next() >> 48) as u16
    }

    /// A number below `bound` (0 if the bound is 0).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
        }
    }

    /// Whether something of this probability (0 to 1) happens now.
    pub(crate) fn hit(&mut self, probability: f64) -> bool {
        // Draw always, so that the stream does not depend on the probability.
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        unit < probability
    }

    /// A span between nothing and `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)))
    }

    /// That many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_forks_differ() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        assert_eq!(one.next(), two.next());
        let (mut left, mut right) = (one.fork("left"), one.fork("right"));
        assert_ne!(left.next(), right.next());
    }

    #[test]
    fn a_number_stays_below_its_bound() {
        let mut chance = Chance::new(1);
        assert!((0..1000).all(|_| chance.below(7) < 7));
        assert_eq!(chance.below(0), 0);
    }
}
