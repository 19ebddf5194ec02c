//! The tampering signatures of Sundara Raman et al. (SIGCOMM 2023), as wire-facts 1.2 lists them.
//!
//! The paper looks at what reaches a server; here a signature is matched for whichever side the resets claim to come
//! from. It is a fact about the packets, not a judgement.

use crate::finding::finding::Stage;
use crate::packet::packet::{SequenceNumber, TcpFlags};

/// A reset, reduced to what signatures look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetShape {
    /// Its flags.
    pub flags: TcpFlags,
    /// Its acknowledgement number field.
    pub ack: SequenceNumber,
}

/// The signature of a flow that was reset at `stage` by `resets` (all of one claimed sender, in order).
#[must_use]
pub fn reset_signature(stage: Stage, resets: &[ResetShape]) -> Option<&'static str> {
    let with_ack = resets.iter().filter(|reset| reset.flags.ack()).count();
    let bare = resets.len() - with_ack;
    match (stage, bare, with_ack) {
        (_, 0, 0) => None,
        (Stage::PostSyn, _, 0) => Some("SYN -> RST"),
        (Stage::PostSyn, 0, _) => Some("SYN -> RST+ACK"),
        (Stage::PostSyn, _, _) => Some("SYN -> RST;RST+ACK"),
        (Stage::PostAck, 1, 0) => Some("SYN;ACK -> RST"),
        (Stage::PostAck, _, 0) => Some("SYN;ACK -> RST;RST"),
        (Stage::PostAck, 0, 1) => Some("SYN;ACK -> RST+ACK"),
        (Stage::PostAck, 0, _) => Some("SYN;ACK -> RST+ACK;RST+ACK"),
        (Stage::PostAck, _, _) => None,
        (Stage::PostPsh, 1, 0) => Some("PSH+ACK -> RST"),
        (Stage::PostPsh, 0, 1) => Some("PSH+ACK -> RST+ACK"),
        (Stage::PostPsh, 0, _) => Some("PSH+ACK -> RST+ACK;RST+ACK"),
        (Stage::PostPsh, _, 0) => Some(match acks(resets) {
            Acks::Same => "PSH+ACK -> RST=RST",
            Acks::OneIsZero => "PSH+ACK -> RST;RST0",
            Acks::Differ => "PSH+ACK -> RST!=RST",
        }),
        (Stage::PostPsh, _, _) => Some("PSH+ACK -> RST;RST+ACK"),
        (Stage::LaterInFlow, _, 0) => Some("PSH+ACK;Data -> RST"),
        (Stage::LaterInFlow, 0, _) => Some("PSH+ACK;Data -> RST+ACK"),
        (Stage::LaterInFlow, _, _) => None,
    }
}

enum Acks {
    Same,
    OneIsZero,
    Differ,
}

fn acks(resets: &[ResetShape]) -> Acks {
    let zero = resets.iter().filter(|reset| reset.ack.0 == 0).count();
    if resets.windows(2).all(|pair| pair[0].ack == pair[1].ack) {
        Acks::Same
    } else if zero > 0 {
        Acks::OneIsZero
    } else {
        Acks::Differ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(ack: u32) -> ResetShape {
        ResetShape {
            flags: TcpFlags(TcpFlags::RST),
            ack: SequenceNumber(ack),
        }
    }

    fn with_ack() -> ResetShape {
        ResetShape {
            flags: TcpFlags(TcpFlags::RST | TcpFlags::ACK),
            ack: SequenceNumber(9),
        }
    }

    #[test]
    fn each_shape_of_resets_has_its_signature() {
        for (stage, resets, expected) in [
            (Stage::PostSyn, vec![with_ack()], "SYN -> RST+ACK"),
            (Stage::PostSyn, vec![with_ack(), bare(0)], "SYN -> RST;RST+ACK"),
            (Stage::PostAck, vec![bare(0), bare(0)], "SYN;ACK -> RST;RST"),
            (Stage::PostPsh, vec![bare(5), bare(5)], "PSH+ACK -> RST=RST"),
            (Stage::PostPsh, vec![bare(5), bare(0)], "PSH+ACK -> RST;RST0"),
            (Stage::PostPsh, vec![bare(5), bare(6)], "PSH+ACK -> RST!=RST"),
            (Stage::PostPsh, vec![with_ack(); 3], "PSH+ACK -> RST+ACK;RST+ACK"),
            (Stage::PostPsh, vec![with_ack(), bare(1)], "PSH+ACK -> RST;RST+ACK"),
            (Stage::LaterInFlow, vec![bare(1), bare(2)], "PSH+ACK;Data -> RST"),
        ] {
            assert_eq!(reset_signature(stage, &resets), Some(expected));
        }
        assert_eq!(reset_signature(Stage::PostPsh, &[]), None);
    }
}
