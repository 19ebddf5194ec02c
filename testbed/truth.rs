//! What was really done, by comparing what passed the tap with what the servers sent: a packet in a server's name that
//! no server sent is forged.

use std::collections::{BTreeMap, BTreeSet};
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

/// The numbers of the tap's frames that came from the outside and that nobody there had sent.
pub(crate) fn forged(tap: &[Vec<u8>], servers: &[Vec<Vec<u8>>]) -> BTreeSet<u64> {
    let mut sent: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for packet in servers.iter().flatten() {
        *sent.entry(frames::identity(packet)).or_default() += 1;
    }
    let outside = |packet: &[u8]| match frames::source(packet) {
        Some([45, 80, ..]) => true,
        Some(address) => address.starts_with(&[0x2A, 0x0D, 0x88, 0x88]),
        None => false,
    };
    (1..)
        .zip(tap)
        .filter(|(_, packet)| outside(packet))
        .filter(|(_, packet)| {
            // Links may double a packet: what was sent at all is genuine.
            !sent.contains_key(&frames::identity(packet))
        })
        .map(|(number, _)| number)
        .collect()
}
