//! A dissected frame on its way to its flow.

use crate::finding::finding::Protocol;
use crate::flow::flow_key::{End, FlowKey};
use crate::packet::dissect::{Undissected, dissect_peeled};
use crate::packet::frame::Frame;
use crate::packet::host_pair::HostPair;
use crate::packet::link::Peeled;
use crate::packet::packet::{Packet, Transport};

/// A dissected frame, and which flow it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its packet, or the frame and why it gives none.
    pub packet: Result<Packet<'a>, (Frame<'a>, Undissected)>,
    /// The flow of the packet, or of the one it quotes, and the end that sent it; none where it belongs to no flow.
    pub flow: Option<(FlowKey, End)>,
}

impl<'a> Arrival<'a> {
    /// The frame that was peeled to `peeled`.
    #[inline(always)]
    #[must_use]
    pub fn of(frame: Frame<'a>, peeled: Result<Peeled, Undissected>) -> Self {
        let undissected = |reason| Self {
            packet: Err((frame, reason)),
            flow: None,
        };
        let peeled = match peeled {
            Ok(peeled) => peeled,
            Err(reason) => return undissected(reason),
        };
        // No more than one copy of the packet: this is done for every frame.
        match dissect_peeled(frame, &peeled.header(frame.bytes)) {
            Ok(packet) => Self {
                flow: flow_of(&packet, peeled.pair),
                packet: Ok(packet),
            },
            Err(reason) => undissected(reason),
        }
    }
}

#[inline]
fn flow_of(packet: &Packet<'_>, pair: HostPair) -> Option<(FlowKey, End)> {
    /// IP protocol numbers.
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    match &packet.transport {
        Transport::Tcp(_) => Some(FlowKey::within(pair, Protocol::Tcp, packet.from, packet.to)),
        Transport::Udp(_) => Some(FlowKey::within(pair, Protocol::Udp, packet.from, packet.to)),
        Transport::IcmpError(error) => {
            let protocol = match error.quoted_protocol {
                TCP => Protocol::Tcp,
                UDP => Protocol::Udp,
                _ => return None,
            };
            Some(FlowKey::new(protocol, error.quoted_from, error.quoted_to))
        }
        Transport::Other(_) => None,
    }
}
