//! Interception of TLS 1.2: the server's certificate chain is replaced by one of the interceptor's own authority, for
//! chosen server names only, as in Kazakhstan in 2019 and 2020 (wire-facts 3.4). The exchanged message has the length of
//! the genuine one and the packets keep their headers: seen from the client, the certificate is all there is to see.

use std::collections::BTreeMap;

use crate::scenario::certificate;
use crate::scenario::datagram::{Body, Segment};
use crate::scenario::filtering_equipment::{
    Acts, Carried, Fate, FilteringEquipment, FlowName, Heard, ParcelId, Trigger,
};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::InterceptStory;
use crate::scenario::tls;

const HANDSHAKE: u8 = 22;
const CERTIFICATE: u8 = 11;
/// Record header, handshake header and the length of the list before the first certificate.
const BEFORE_LIST: usize = 5 + 4 + 3;

/// What is being done to a flow.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    because: ParcelId,
    /// Where the server's first byte lies.
    start: u32,
    /// The record that replaces the server's, and where it lies.
    forged: Option<(u32, Vec<u8>)>,
}

/// An interceptor.
#[derive(Debug)]
pub(crate) struct Interceptor {
    story: InterceptStory,
    trigger: Trigger,
    /// Seconds since 1970 at which the story begins.
    now: u64,
    cases: BTreeMap<FlowName, Case>,
}

impl Interceptor {
    /// An interceptor as the story describes it.
    pub(crate) fn new(story: &InterceptStory, trigger: Trigger, now: u64) -> Self {
        Self {
            story: story.clone(),
            trigger,
            now,
            cases: BTreeMap::new(),
        }
    }
}

/// Where the certificate record lies in the first packet of a server's flight, and its length.
fn certificate_record(flight: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let header = flight.get(at..at + 6)?;
        let len = 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != HANDSHAKE {
            return None;
        }
        if header[5] == CERTIFICATE {
            return Some((at, len));
        }
        at += len;
    }
}

/// Puts the bytes of `record`, which lies at `at`, where they overlap with a segment's payload. Says whether any did.
fn overlay(segment: &mut Segment, at: u32, record: &[u8]) -> bool {
    let mut touched = false;
    for (index, byte) in segment.payload.iter_mut().enumerate() {
        let offset = segment.seq.wrapping_add(index as u32).wrapping_sub(at) as usize;
        if let Some(forged) = record.get(offset) {
            *byte = *forged;
            touched = true;
        }
    }
    touched
}

impl FilteringEquipment for Interceptor {
    fn on_packet(&mut self, packet: &Carried<'_>, _at: SimTime, act: &mut Acts) {
        let Some(segment) = packet.datagram.tcp() else { return };
        if self.trigger.hears(packet.datagram) == Some(Heard::Sni) {
            let case = Case {
                name: tls::server_name(&segment.payload).unwrap_or_default(),
                because: packet.id,
                start: segment.ack,
                forged: None,
            };
            self.cases
                .entry(FlowName::from_client(packet.datagram, segment))
                .or_insert(case);
            return;
        }
        let Some(case) = self.cases.get_mut(&FlowName::from_server(packet.datagram, segment)) else {
            return;
        };
        if case.forged.is_none()
            && segment.seq == case.start
            && let Some((at, len)) = certificate_record(&segment.payload)
        {
            let size = len.saturating_sub(BEFORE_LIST);
            let chain = certificate::chain(self.story.authority, &case.name, size, self.now);
            let record = tls::certificate_record(&chain);
            case.forged = Some((case.start.wrapping_add(at as u32), record));
        }
        let Some((at, record)) = &case.forged else { return };
        let mut forged = segment.clone();
        if overlay(&mut forged, *at, record) {
            let mut datagram = packet.datagram.clone();
            datagram.body = Body::Tcp(forged);
            act.because = Some(case.because);
            act.fate = Fate::Rewrite(Box::new(datagram));
        }
    }
}
