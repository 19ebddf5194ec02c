//! The marks a packet carries of who built it and which way it came.

/// Header fields of the network and link layer that a forger has to guess, and routers change in known ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathMarks {
    /// IPv4 time to live, IPv6 hop limit, as it arrived at the tap.
    pub ttl: u8,
    /// IPv4 identification; none in IPv6.
    pub ip_id: Option<u16>,
    /// The IPv4 don't-fragment bit; always set for IPv6, whose routers never fragment.
    pub dont_fragment: bool,
    /// IPv4 type of service or IPv6 traffic class, ECN bits included.
    pub traffic_class: u8,
    /// A digest of the link layer's source (MAC address); 0 where the link has none.
    pub link_source: u32,
}

impl PathMarks {
    /// The initial TTL this packet most likely started with: the smallest of 64, 128 and 255 that is not below what
    /// arrived (the initial values common stacks use; wire-facts 6.3).
    #[must_use]
    pub const fn initial_ttl(&self) -> u8 {
        match self.ttl {
            0..=64 => 64,
            65..=128 => 128,
            _ => 255,
        }
    }

    /// How many routers the packet has likely passed before the tap, from [`Self::initial_ttl`].
    #[must_use]
    pub const fn hops(&self) -> u8 {
        self.initial_ttl() - self.ttl
    }
}
