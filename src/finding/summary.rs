//! What a run looked at, and what it could not see: the answer to "is silence clean?".

use std::collections::BTreeMap;

use super::finding::Kind;
use super::habits::InjectorId;
use super::verdict::Verdict;
use crate::capture::source::FileNote;
use crate::packet::dissect::Undissected;
use crate::time::Timestamp;

/// Counts over a whole run. Counters of one worker are added to another's with [`Coverage::add`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Coverage {
    /// Frames judged or counted as undissected.
    pub frames: u64,
    /// Captured bytes of these frames.
    pub bytes: u64,
    /// Frames that gave no packet, by reason; reasons that never occurred are absent.
    pub undissected: BTreeMap<Undissected, u64>,
    /// Packets of protocols other than TCP, UDP and ICMP errors.
    pub other_protocols: u64,
    /// ICMP errors.
    pub icmp_errors: u64,
    /// Packets whose payload the snap length cut.
    pub snapped: u64,
    /// Packets left out as copies of one just seen, on flows where the capture shows every packet twice.
    pub duplicates: u64,
    /// TCP flows.
    pub tcp_flows: u64,
    /// UDP flows.
    pub udp_flows: u64,
    /// TCP flows of which only one direction was seen.
    pub one_sided: u64,
    /// TCP flows that were under way before the capture began.
    pub no_handshake: u64,
    /// DNS questions that were answered.
    pub dns_answered: u64,
    /// DNS questions that were seen and got no answer.
    pub dns_unanswered: u64,
    /// Flows given up before their end because the flow table was full.
    pub evicted: u64,
    /// Flows whose first bytes could not be kept because the store for them was full.
    pub heads_refused: u64,
    /// TCP flows that other flows could not be compared with because the store for what they came to was full.
    pub not_compared: u64,
    /// Findings that did not fit the ledger.
    pub findings_dropped: u64,
}

impl Coverage {
    /// Adds another worker's counts.
    pub fn add(&mut self, other: &Self) {
        let Self {
            frames,
            bytes,
            undissected,
            other_protocols,
            icmp_errors,
            snapped,
            duplicates,
            tcp_flows,
            udp_flows,
            one_sided,
            no_handshake,
            dns_answered,
            dns_unanswered,
            evicted,
            heads_refused,
            not_compared,
            findings_dropped,
        } = other;
        for (reason, count) in undissected {
            *self.undissected.entry(*reason).or_default() += count;
        }
        for (mine, theirs) in [
            (&mut self.frames, frames),
            (&mut self.bytes, bytes),
            (&mut self.other_protocols, other_protocols),
            (&mut self.icmp_errors, icmp_errors),
            (&mut self.snapped, snapped),
            (&mut self.duplicates, duplicates),
            (&mut self.tcp_flows, tcp_flows),
            (&mut self.udp_flows, udp_flows),
            (&mut self.one_sided, one_sided),
            (&mut self.no_handshake, no_handshake),
            (&mut self.dns_answered, dns_answered),
            (&mut self.dns_unanswered, dns_unanswered),
            (&mut self.evicted, evicted),
            (&mut self.heads_refused, heads_refused),
            (&mut self.not_compared, not_compared),
            (&mut self.findings_dropped, findings_dropped),
        ] {
            *mine += theirs;
        }
    }
}

/// The room there was for flows under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The most flows held at once.
    pub flows: u64,
    /// About how much memory so many flows take, all of them of TCP, in bytes.
    pub bytes: u64,
}

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The files read, in order.
    pub files: Vec<FileNote>,
    /// When the first frame was captured.
    pub first: Option<Timestamp>,
    /// When the last frame was captured.
    pub last: Option<Timestamp>,
    /// What was looked at.
    pub coverage: Coverage,
    /// How many findings of each kind and verdict; absent means none.
    pub findings: BTreeMap<(Kind, Verdict), u64>,
    /// How many findings each injector has that could be told by its habits.
    pub injectors: BTreeMap<InjectorId, u64>,
    /// Findings not told because they rest on packets that did not come, where the capture itself lost too many.
    pub withheld: u64,
    /// What of the flows under way could be kept at once.
    pub table: Table,
    /// The run was stopped before the end of its input.
    pub interrupted: bool,
}
