//! How a forger fills the header fields that give it away: TTL, IP identification, window.

use crate::scenario::chance::Chance;
use crate::scenario::datagram::{Datagram, IpHeader};
use crate::scenario::story::{IpIdStory, IpIdWord, TtlStory, TtlWord};

/// How it chooses the TTL.
#[derive(Clone, Debug)]
pub(crate) enum TtlLaw {
    /// Always this, at the equipment.
    Fixed(u8),
    /// The trigger's as it arrived: seen by the client, it has lost each hop twice.
    Mirror,
    /// What the impersonated sender's packets have here, so that it arrives like theirs.
    AsSender,
    /// Anything from 40 to 250.
    Random,
    /// One more with each packet, between these bounds, round and round.
    Climbing { next: u8, from: u8, to: u8 },
    /// One more with each burst.
    ClimbingByBurst { next: u8, from: u8, to: u8, step: u8 },
}

impl TtlLaw {
    /// The law a story asks for.
    pub(crate) fn from_story(story: TtlStory) -> Self {
        match story {
            TtlStory::Fixed(ttl) => Self::Fixed(ttl),
            TtlStory::Word(TtlWord::Mirror) => Self::Mirror,
            TtlStory::Word(TtlWord::AsSender) => Self::AsSender,
            TtlStory::Word(TtlWord::Random) => Self::Random,
        }
    }

    /// The TTL of the next packet; `copy` counts within a burst.
    pub(crate) fn draw(&mut self, trigger: &Datagram, sender: Option<u8>, copy: usize, chance: &mut Chance) -> u8 {
        match self {
            Self::Fixed(ttl) => *ttl,
            Self::Mirror => trigger.ip.ttl,
            Self::AsSender => sender.unwrap_or(64),
            Self::Random => 40 + chance.below(211) as u8,
            Self::Climbing { next, from, to } => {
                let ttl = *next;
                *next = if ttl >= *to { *from } else { ttl + 1 };
                ttl
            }
            Self::ClimbingByBurst { next, from, to, step } => {
                if copy == 0 {
                    *next = if *next > *to - *step { *from } else { *next + *step };
                }
                *next
            }
        }
    }
}

/// How it chooses the IP identification.
#[derive(Clone, Debug)]
pub(crate) enum IpIdLaw {
    /// Always this.
    Fixed(u16),
    /// The trigger's plus this.
    TriggerPlus(u16),
    /// Anything, another for each packet.
    Random,
    /// Anything, the same within a burst.
    RandomByBurst(u16),
    /// A counter that advances by these steps in turn.
    Counter {
        next: u16,
        steps: &'static [u16],
        turn: usize,
    },
}

impl IpIdLaw {
    /// The law a story asks for.
    pub(crate) fn from_story(story: IpIdStory, chance: &mut Chance) -> Self {
        match story {
            IpIdStory::Fixed(id) => Self::Fixed(id),
            IpIdStory::Word(IpIdWord::Random) => Self::Random,
            IpIdStory::Word(IpIdWord::Zero) => Self::Fixed(0),
            IpIdStory::Word(IpIdWord::Trigger) => Self::TriggerPlus(0),
            IpIdStory::Word(IpIdWord::TriggerPlusOne) => Self::TriggerPlus(1),
            IpIdStory::Word(IpIdWord::Counter) => Self::Counter {
                next: chance.half(),
                steps: &[1],
                turn: 0,
            },
        }
    }

    /// The identification of the next packet; `copy` counts within a burst.
    pub(crate) fn draw(&mut self, trigger: &Datagram, copy: usize, chance: &mut Chance) -> u16 {
        match self {
            Self::Fixed(id) => *id,
            Self::TriggerPlus(more) => trigger.ip.id.wrapping_add(*more),
            Self::Random => chance.half(),
            Self::RandomByBurst(id) => {
                if copy == 0 {
                    *id = chance.half();
                }
                *id
            }
            Self::Counter { next, steps, turn } => {
                *next = next.wrapping_add(steps[*turn % steps.len()]);
                *turn += 1;
                *next
            }
        }
    }
}

/// How it chooses a TCP window field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WindowLaw {
    /// Always this.
    Fixed(u16),
    /// The trigger's.
    Trigger,
    /// Its TTL plus this: both move in lock-step.
    TtlPlus(u16),
    /// Anything but 0.
    Random,
}

impl WindowLaw {
    /// The window of a packet with this TTL.
    pub(crate) fn draw(self, trigger: u16, ttl: u8, chance: &mut Chance) -> u16 {
        match self {
            Self::Fixed(window) => window,
            Self::Trigger => trigger,
            Self::TtlPlus(more) => more.wrapping_add(u16::from(ttl)),
            Self::Random => 1 + chance.below(65_535) as u16,
        }
    }
}

/// The header of a forged packet that travels against the trigger: from the server to the client.
pub(crate) fn answering(trigger: &Datagram, ttl: u8, id: u16, df: bool, tos: u8) -> IpHeader {
    IpHeader {
        src: trigger.ip.dst,
        dst: trigger.ip.src,
        ttl,
        id,
        df,
        tos,
        // Equipment has no flow label of its own.
        flow_label: 0,
    }
}

/// The header of a forged packet that travels with the trigger: from the client to the server.
pub(crate) fn following(trigger: &Datagram, ttl: u8, id: u16, df: bool, tos: u8) -> IpHeader {
    IpHeader {
        src: trigger.ip.src,
        dst: trigger.ip.dst,
        ..answering(trigger, ttl, id, df, tos)
    }
}
