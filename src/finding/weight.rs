//! How much an observation counts, and where that number comes from.

/// Observations that are not independent of each other form a group, of which only the heaviest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Marks in packet headers.
    Header,
    /// The sender contradicts itself in sequence space.
    Sequence,
    /// When packets came.
    Timing,
    /// What the payload says.
    Content,
    /// A known device or block page.
    Fingerprint,
    /// What the endpoints did afterwards.
    Aftermath,
    /// What other flows of the capture show.
    CrossFlow,
}

impl Group {
    /// All groups, in the order they are printed.
    pub const ALL: [Self; 7] = [
        Self::Header,
        Self::Sequence,
        Self::Timing,
        Self::Content,
        Self::Fingerprint,
        Self::Aftermath,
        Self::CrossFlow,
    ];

    /// The group's name in records.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Sequence => "sequence",
            Self::Timing => "timing",
            Self::Content => "content",
            Self::Fingerprint => "fingerprint",
            Self::Aftermath => "aftermath",
            Self::CrossFlow => "cross_flow",
        }
    }

    /// The most nats one group may add, so that no single mistake of ours convicts (wire-facts 6.4).
    #[must_use]
    pub const fn cap(self) -> f64 {
        match self {
            Self::Header | Self::Timing => 5.0,
            Self::Sequence => 7.0,
            Self::Content | Self::Fingerprint => 8.0,
            Self::Aftermath => 3.0,
            Self::CrossFlow => 6.0,
        }
    }
}

/// How often an observation is made with and without interference, and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// P(observation | interference of that kind).
    pub p1: f64,
    /// P(observation | none).
    pub p0: f64,
    /// Where the two figures come from.
    pub source: &'static str,
}

impl Weight {
    /// A weight from two probabilities.
    #[must_use]
    pub const fn new(p1: f64, p0: f64, source: &'static str) -> Self {
        Self { p1, p0, source }
    }

    /// The log-likelihood ratio ln(p1/p0) in nats: above 0 it speaks for interference, below 0 against.
    #[must_use]
    pub fn llr(self) -> f64 {
        (self.p1 / self.p0).ln()
    }
}
