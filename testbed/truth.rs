//! What was really done, by comparing what passed the tap with what the servers sent: a packet in a server's name that
//! no server sent is forged.

use std::collections::BTreeSet;
use std::path::Path;

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::{RecordBatch, Source as _, Supply};

use crate::frames;

/// Packets of a capture, from the IP header on, in order.
pub(crate) fn packets(capture: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut source = CaptureSet::open(&[capture.to_owned()]);
    let mut batch = RecordBatch::default();
    let mut all = Vec::new();
    loop {
        match source.supply(&mut batch) {
            Ok(Supply::Records) => {
                for record in &batch.records {
                    let frame = batch.frame(record).bytes;
                    all.push(frames::split(frame).map_or_else(Vec::new, |(_, packet)| packet.to_vec()));
                }
            }
            Ok(_) => return Ok(all),
            Err(error) => return Err(format!("{}: {error}", capture.display())),
        }
    }
}

/// What became of the packets that passed the tap, by their numbers there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// In a server's name, and sent by none.
    pub(crate) forged: BTreeSet<u64>,
    /// Of a client, and received by no server.
    pub(crate) lost: BTreeSet<u64>,
    /// To or from which addresses something was forged.
    pub(crate) forged_for: BTreeSet<Vec<u8>>,
}

/// Compares the tap's capture with the servers'.
pub(crate) fn compare(tap: &[Vec<u8>], servers: &[Vec<Vec<u8>>]) -> Truth {
    let known: BTreeSet<Vec<u8>> = servers
        .iter()
        .flatten()
        .map(|packet| frames::identity(packet))
        .collect();
    let mut truth = Truth::default();
    for (number, packet) in (1..).zip(tap) {
        // Links may double a packet: what was sent or received at all was not forged or lost.
        if known.contains(&frames::identity(packet)) {
            continue;
        }
        if let Some(source) = frames::source(packet).filter(|address| is_outside(address)) {
            truth.forged.insert(number);
            truth.forged_for.insert(source.to_vec());
        } else if frames::destination(packet).is_some_and(is_outside) {
            truth.lost.insert(number);
        }
    }
    truth
}

/// Whether an address is one of the servers'.
fn is_outside(address: &[u8]) -> bool {
    matches!(address, [45, 80..=95, _, _]) || address.starts_with(&[0x2A, 0x0D, 0x88, 0x88])
}
