//! The observations a verdict may rest on: each with its group, its weight and the sentence that explains it.
//!
//! The table is `Observation::row`: one line an observation. Every p0 has been held against captures in
//! which nothing is blocked (docs/calibration.md, `blockscope calibrate`); the other sources are papers and RFCs.

mod block_answer;
mod captive_portal;
mod drops;
mod icmp;
mod notice;
mod pace;
mod quic_drop;
mod row;
mod stream;
mod tls;

use std::fmt;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::finding::Device;
use super::weight::{Group, Weight};
use crate::packet::frame::FrameNumber;
use crate::packet::packet::readable;
pub use block_answer::BlockAnswerObservation;
pub use captive_portal::CaptivePortalObservation;
pub use drops::{DropsObservation, Hiding};
pub use icmp::IcmpObservation;
pub use notice::NoticeObservation;
pub use pace::PaceObservation;
pub use quic_drop::QuicDropObservation;
use row::{Row, proof, row};
pub use stream::StreamObservation;
pub use tls::{IssuerChange, TlsObservation};

/// The frames one observation rests on; at most 8 are named.
pub type FrameList = ArrayVec<FrameNumber, 8>;

/// Something seen in the packets that makes interference more or less likely.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Observation {
    /// Of packets that are not answered.
    Drops(DropsObservation),
    /// Of how fast a flow runs.
    Pace(PaceObservation),
    /// Data, an end or an opening of a TCP stream that its sender never sent.
    Stream(StreamObservation),
    /// Of ICMP errors that forbid a flow.
    Icmp(IcmpObservation),
    /// Of who answered a TLS handshake.
    Tls(TlsObservation),

    // Sequence space: contradictions no honest endpoint produces.
    /// The sender of a reset went on sending.
    DataAfterReset {
        /// Time from the reset to the data.
        after: Duration,
    },
    /// The sender of a reset went on sending, packet after packet.
    SenderWentOn {
        /// How many packets contradict the reset.
        packets: u16,
        /// Time from the reset to the first of them.
        after: Duration,
    },
    /// A reset lies below data its sender had already sent.
    ResetBelowData {
        /// By how many bytes.
        by: u32,
    },
    /// A second reset jumps ahead of the first and of all the sender ever sent.
    ResetSequenceJump {
        /// By how many bytes.
        by: u32,
    },
    /// Resets of one burst acknowledge different things, none of which the peer sent.
    ResetAckChange,
    /// The same reset comes again and again by itself, each pause twice the last: a sender that was not heard repeats its
    /// data so, and nobody repeats a reset.
    ResetRetransmitted {
        /// How often it came.
        times: u16,
    },
    /// The server accepted the very SYN its reset had refused.
    SynAckAfterReset {
        /// Time from the reset to the SYN-ACK.
        after: Duration,
    },
    /// A reset lies ahead of everything its sender sent and the peer acknowledged.
    ResetAheadOfStream {
        /// By how many bytes.
        by: u32,
    },
    /// Two segments of one sender hold different bytes for the same place in the stream.
    ConflictingOverlap {
        /// How many of the shared bytes differ in place (from the first that differs).
        bytes: u32,
    },
    /// The same sender later sent other data for a stream this packet had closed.
    DataAfterFin {
        /// Time from the FIN to the data.
        after: Duration,
    },
    /// An answer that does not acknowledge the request it answers.
    AnswerWithoutAcknowledging {
        /// How many bytes of the request it leaves unacknowledged.
        by: u32,
    },
    /// The stream had been closed by a FIN before: resets then are ordinary.
    AfterFin,
    /// The other side had reset before: resets then are ordinary.
    PeerResetFirst,

    // Header marks.
    /// A reset arrived with another TTL than its sender's other packets.
    ResetTtlDiffers {
        /// The reset's.
        reset: u8,
        /// The sender's usual one.
        usual: u8,
    },
    /// One sender's resets come in two kinds: with its usual TTL, and with another.
    TwoKindsOfReset {
        /// The strange ones'.
        strange: u8,
        /// The others', which is the sender's usual one.
        usual: u8,
    },
    /// A packet other than a reset arrived with another TTL than its sender's other packets.
    TtlDiffers {
        /// This packet's.
        packet: u8,
        /// The sender's usual one.
        usual: u8,
    },
    /// The don't-fragment bit is not as on the sender's other packets.
    DontFragmentDiffers,
    /// The IP id is that of the packet that triggered it, or close above.
    IpIdCopiedFromTrigger {
        /// The IP id.
        ip_id: u16,
        /// How far above the trigger's.
        offset: u16,
    },
    /// The IP id continues that of a packet already seen to be forged.
    IpIdFollowsForgery {
        /// The IP id.
        ip_id: u16,
    },
    /// The IP id does not fit the counter the sender's other packets follow.
    IpIdOutOfSequence {
        /// This packet's.
        packet: u16,
        /// The sender's last one before.
        last: u16,
    },
    /// The flow negotiated TCP timestamps and this packet has none.
    TimestampMissing,
    /// The window is not one the sender's other packets announce.
    WindowDiffers {
        /// This packet's.
        packet: u16,
        /// The sender's last one before.
        last: u16,
    },
    /// Reserved TCP header bits are set.
    ReservedBits,
    /// The acknowledgement field is filled although the ACK flag is clear.
    AckWithoutFlag,
    /// The frame came from another link-layer address than the sender's other packets.
    LinkSourceDiffers,
    /// TTL and IP id are what this sender's other packets have.
    MarksAsUsual,
    /// The TTL is the sender's usual one.
    TtlAsUsual,

    // Timing.
    /// A reset right after the trigger, before the server had said anything.
    ResetRightAfterTrigger {
        /// Time from the trigger to the reset.
        after: Duration,
        /// The handshake's round trip as seen from the tap.
        round_trip: Duration,
    },
    /// The client gave up before any answer could have reached it.
    AbortBeforeAnswer {
        /// Time from the request to the reset.
        after: Duration,
        /// The round trip between the tap and the client.
        round_trip: Duration,
    },
    /// An answer faster than the server can be reached.
    TooFast {
        /// Time from the question to the answer.
        after: Duration,
        /// The shortest round trip seen.
        floor: Duration,
    },
    /// An answer in less than half the time the handshake took.
    FasterThanHandshake {
        /// Time from the question to the answer.
        after: Duration,
        /// The handshake's round trip as seen from the tap.
        round_trip: Duration,
    },
    /// Several resets at once, nothing between them that each could answer.
    Burst {
        /// How many.
        count: u16,
        /// Time from the first to the last.
        within: Duration,
    },
    /// The flow had been idle for long: timeouts end such flows.
    IdleBefore {
        /// For how long.
        idle: Duration,
    },

    // Content.
    /// Two answers to one DNS question differ.
    DifferingAnswers,
    /// Two DNS answers differ, and there is an honest way for that to come about.
    DifferingAnswersExplained(AnswerExcuse),
    /// The same DNS answer came twice with different TTLs.
    SameAnswerOtherTtl {
        /// The first answer's IP TTL.
        first: u8,
        /// The second answer's IP TTL.
        second: u8,
    },
    /// A public name was answered with an address no public server can have.
    BogonAnswer,
    /// The record type of the answer is not the one asked for.
    AnswerTypeMismatch,
    /// The DNS message is malformed.
    MalformedAnswer,
    /// A recursive resolver's answer claims to be authoritative, which its other answers do not.
    AuthoritativeUnlikeOthers,
    /// The question carried EDNS and the answer does not, though this server's other answers do.
    EdnsMissing,
    /// The answer spells the name in other letter case than the question.
    CaseChanged,
    /// The claimed server is a public resolver whose operator publishes that it does not filter.
    ResolverDoesNotFilter,
    /// The DNS answer says itself that the name is blocked (RFC 8914).
    AcknowledgedBlocking,
    /// The HTTP answer redirects to another site.
    ForeignRedirect,
    /// The HTTP answer, a redirect, a refusal, or one that closes, lacks what servers send (Date and Server).
    BareAnswer,
    /// An HTTP request was answered with a page that has no status line.
    NoStatusLine,
    /// The answer is complete in one packet that also closes the stream.
    FinWithAnswer,
    /// The site itself says it is blocked for legal reasons (status 451).
    LegalNotice,

    // Fingerprints.
    /// The packets carry the exact marks of a known device.
    KnownDevice(Device),
    /// The packets carry marks that are typical of a known device but not exclusive to it.
    ProbableDevice(Device),
    /// The answer matches a known block page.
    KnownBlockPage {
        /// The row's confidence that it is no false positive, 0 to 10.
        confidence: u8,
    },
    /// The answer is an address known to be given for blocked names.
    KnownBlockAddress {
        /// The row's confidence that it is no false positive, 0 to 10.
        confidence: u8,
    },
    /// The answer matches a page known to be mistaken for a block page.
    KnownFalsePositive,

    // What the endpoints did.
    /// After the reset its claimed sender never spoke again.
    SilentAfterReset,
    /// The flow had exchanged application data in both directions and ended afterwards, as applications do.
    ExchangeComplete,
    /// The client reset after the server had answered: aborts look like that.
    ClientAbort,
    /// The server refused the connection and kept to it, as a closed port does.
    RefusedConnection,
    /// The genuine answer arrived as well.
    GenuineAnswerToo {
        /// Time from the forged to the genuine one.
        after: Duration,
    },
    /// The genuine answer had arrived before.
    GenuineAnswerBefore {
        /// Time from the genuine to the forged one.
        by: Duration,
    },
    /// The server answered, closed, and never reacted to anything again.
    SilentAfterAnswer {
        /// How often the client repeated itself in vain.
        repeated: u16,
    },
    /// A request, and all the client sent after it, drew no reaction at all.
    RequestUnanswered {
        /// How many packets the client sent in vain, the request included.
        tries: u16,
    },
    /// A request was acknowledged, and then nothing came any more.
    AcknowledgedThenSilence {
        /// How many packets the client sent in vain, the request included.
        tries: u16,
    },
    /// The request is large: paths that lose large packets swallow it, whatever it names.
    LargeRequest {
        /// Its largest segment, in bytes of payload.
        bytes: u16,
    },
    /// The server goes on repeating its SYN-ACK: it is alive, and the client's packets do not reach it.
    ServerStillWaits,
    /// The capture may have lost packets of this flow.
    CaptureLoss,

    // Across flows.
    /// The answered address was given for many unrelated names.
    AddressForUnrelatedNames {
        /// For how many registrable domains.
        names: u32,
    },
    /// This name fails at a server that serves other names.
    OnlyThisName {
        /// Flows that asked for this registrable domain and failed.
        failed: u32,
        /// Flows that asked the same server for other domains and were served.
        others_served: u32,
    },
    /// Flow after flow dies at the packet that carries this name.
    DiesAtTheName {
        /// In how many flows.
        flows: u32,
    },
    /// Other names die at this server in the same way, and none works: the server or the way to it is down.
    OtherNamesDieToo {
        /// In how many flows.
        flows: u32,
    },
    /// The same DNS server lately gave this address for every name: a captive portal does so.
    OneAddressForAllNames {
        /// For how many names in a row.
        names: u16,
    },

    // By topic.
    /// About an answer by which a resolver itself blocks a name.
    BlockAnswer(BlockAnswerObservation),
    /// Of servers that fall silent after a notice.
    Notice(NoticeObservation),
    /// About a network that answers everything itself until one logs in.
    CaptivePortal(CaptivePortalObservation),
    /// About a QUIC handshake that came to nothing.
    QuicDrop(QuicDropObservation),
}

/// An honest way for one DNS question to get two answers (wire-facts 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AnswerExcuse {
    /// It was asked more than once, or it is not known how often: each asking may get another of several addresses.
    AskedAgain,
    /// The answers share an address or a network: one service, seen from two places.
    SameNetwork,
    /// A failure was followed by an answer, or the reverse: a retry.
    RetriedFailure,
    /// The server is a forwarder in a private network, which may ask several others at once.
    LocalForwarder,
}

impl Observation {
    fn row(&self) -> Row {
        use Group::{Aftermath, Content, CrossFlow, Fingerprint, Header, Sequence, Timing};
        const WEAVER: &str = "2 of 200 flows with an odd TTL, Weaver et al. NDSS 2009";
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        match self {
            Self::Drops(observation) => observation.row(),
            Self::Pace(observation) => observation.row(),
            Self::Stream(observation) => observation.row(),
            Self::Icmp(observation) => observation.row(),
            Self::Tls(observation) => observation.row(),
            Self::DataAfterReset { .. } => proof("data_after_reset", Sequence, 0.50, 0.005, WEAVER),
            Self::SenderWentOn { .. } => proof(
                "sender_went_on",
                Sequence,
                0.30,
                0.0006,
                "0 of 241 ordinary resets in benign captures; margin checked: docs/calibration.md",
            ),
            Self::ResetBelowData { .. } => proof("reset_below_data", Sequence, 0.50, 0.005, WEAVER),
            Self::ResetSequenceJump { .. } => proof(
                "reset_sequence_jump",
                Sequence,
                0.30,
                0.001,
                "all seven conditions of Weaver et al. NDSS 2009; margin checked: docs/calibration.md",
            ),
            Self::ResetRetransmitted { .. } => row(
                "reset_retransmitted",
                Sequence,
                0.40,
                0.01,
                "RFC 9293 section 3.5.2 with RFC 6298 section 5.5: data is repeated with doubling pauses, resets are not; \
                 seen in the testbed (rst-rewritten)",
            ),
            Self::ResetAckChange => proof(
                "reset_ack_change",
                Sequence,
                0.30,
                0.002,
                "Weaver et al. NDSS 2009; margin checked: docs/calibration.md",
            ),
            Self::SynAckAfterReset { .. } => proof(
                "syn_ack_after_reset",
                Sequence,
                0.50,
                0.001,
                "RFC 9293 section 3.10.7: a listener answers once; margin checked: docs/calibration.md",
            ),
            Self::ResetAheadOfStream { .. } => row(
                "reset_ahead_of_stream",
                Sequence,
                0.30,
                0.03,
                "Weaver et al. NDSS 2009; captures lose packets; p0 checked: docs/calibration.md",
            ),
            Self::ConflictingOverlap { .. } => proof(
                "conflicting_overlap",
                Sequence,
                0.80,
                0.001,
                "0 in 3 960 data packets of published injections; margin for broken stacks",
            ),
            Self::DataAfterFin { .. } => proof(
                "data_after_fin",
                Sequence,
                0.50,
                0.002,
                "RFC 9293 section 3.6: a FIN ends the data; margin checked: docs/calibration.md",
            ),
            Self::AnswerWithoutAcknowledging { .. } => row(
                "answer_without_acknowledging",
                Sequence,
                0.30,
                0.005,
                "published quantum inserts shot on the SYN-ACK; margin checked: docs/calibration.md",
            ),
            Self::AfterFin => row(
                "after_fin",
                Sequence,
                0.01,
                0.60,
                "Weaver et al. NDSS 2009: no FIN before; p0 checked: docs/calibration.md",
            ),
            Self::PeerResetFirst => row(
                "peer_reset_first",
                Sequence,
                0.01,
                0.60,
                "Weaver et al. NDSS 2009; p0 checked: docs/calibration.md",
            ),

            Self::ResetTtlDiffers { .. } => row(
                "reset_ttl_differs",
                Header,
                0.85,
                0.28,
                "28 % of ordinary resets: Weaver et al. App. C; 46 of 151 in controls",
            ),
            Self::TwoKindsOfReset { .. } => row("two_kinds_of_reset", Header, 0.40, 0.01, JUDGED),
            Self::TtlDiffers { .. } => row(
                "ttl_differs",
                Header,
                0.70,
                0.01,
                "0 of 610 packets of controls; raised for anycast and route changes; p0 checked: docs/calibration.md",
            ),
            Self::DontFragmentDiffers => row(
                "dont_fragment_differs",
                Header,
                0.70,
                0.04,
                "2 of 47 data packets of controls",
            ),
            Self::IpIdCopiedFromTrigger { .. } => row(
                "ip_id_copied_from_trigger",
                Header,
                0.25,
                1e-4,
                "2 in 65 536 by chance; margin",
            ),
            Self::IpIdFollowsForgery { .. } => row(
                "ip_id_follows_forgery",
                Header,
                0.25,
                1e-4,
                "2 in 65 536 by chance; margin",
            ),
            Self::IpIdOutOfSequence { .. } => row("ip_id_out_of_sequence", Header, 0.60, 0.04, JUDGED),
            Self::TimestampMissing => row(
                "timestamp_missing",
                Header,
                0.60,
                0.002,
                "RFC 7323 section 3.2; margin checked: docs/calibration.md",
            ),
            Self::WindowDiffers { .. } => row("window_differs", Header, 0.50, 0.06, JUDGED),
            Self::ReservedBits => row(
                "reserved_bits",
                Header,
                0.05,
                0.001,
                "RFC 9293 section 3.1: must be zero; margin checked: docs/calibration.md",
            ),
            Self::AckWithoutFlag => row("ack_without_flag", Header, 0.30, 0.18, "31 of 151 resets of controls"),
            Self::LinkSourceDiffers => row("link_source_differs", Header, 0.60, 0.01, JUDGED),
            Self::MarksAsUsual => row("marks_as_usual", Header, 0.02, 0.40, JUDGED),
            Self::TtlAsUsual => row(
                "ttl_as_usual",
                Header,
                0.15,
                0.72,
                "72 % of ordinary resets: Weaver et al. App. C",
            ),

            Self::ResetRightAfterTrigger { .. } => row("reset_right_after_trigger", Timing, 0.90, 0.02, JUDGED),
            Self::AbortBeforeAnswer { .. } => row("abort_before_answer", Timing, 0.90, 0.05, JUDGED),
            Self::TooFast { .. } => row(
                "too_fast",
                Timing,
                0.40,
                0.002,
                "no false positive in 100 000 queries: Hold-On, Duan et al. 2012",
            ),
            Self::FasterThanHandshake { .. } => row("faster_than_handshake", Timing, 0.40, 0.03, JUDGED),
            Self::Burst { .. } => row("burst", Timing, 0.60, 0.05, JUDGED),
            Self::IdleBefore { .. } => row("idle_before", Timing, 0.02, 0.40, JUDGED),

            Self::DifferingAnswers => proof(
                "differing_answers",
                Content,
                0.90,
                1e-5,
                "2 servers in 27 million transactions: Duan et al. 2012",
            ),
            Self::DifferingAnswersExplained(_) => row(
                "differing_answers_explained",
                Content,
                0.30,
                0.05,
                "wire-facts 4.3; p0 checked: docs/calibration.md",
            ),
            Self::SameAnswerOtherTtl { .. } => row("same_answer_other_ttl", Content, 0.30, 0.03, JUDGED),
            Self::BogonAnswer => row("bogon_answer", Content, 0.90, 0.005, JUDGED),
            Self::AnswerTypeMismatch => row("answer_type_mismatch", Content, 0.30, 0.0005, JUDGED),
            Self::MalformedAnswer => row("malformed_answer", Content, 0.20, 0.002, JUDGED),
            Self::AuthoritativeUnlikeOthers => row("authoritative_unlike_others", Content, 0.30, 0.01, JUDGED),
            Self::EdnsMissing => row("edns_missing", Content, 0.50, 0.05, JUDGED),
            Self::CaseChanged => row("case_changed", Content, 0.30, 0.002, JUDGED),
            Self::ResolverDoesNotFilter => row("resolver_does_not_filter", Content, 0.30, 0.02, JUDGED),
            Self::AcknowledgedBlocking => row(
                "acknowledged_blocking",
                Content,
                0.02,
                0.50,
                "RFC 8914: the resolver itself says so; p0 checked: docs/calibration.md",
            ),
            Self::ForeignRedirect => row("foreign_redirect", Content, 0.50, 0.10, JUDGED),
            Self::BareAnswer => row("bare_answer", Content, 0.60, 0.03, JUDGED),
            Self::NoStatusLine => row("no_status_line", Content, 0.10, 0.001, JUDGED),
            Self::FinWithAnswer => row("fin_with_answer", Content, 0.60, 0.05, JUDGED),
            Self::LegalNotice => row(
                "legal_notice",
                Content,
                0.02,
                0.30,
                "RFC 7725: sent by the origin itself as a rule; p0 checked: docs/calibration.md",
            ),

            Self::KnownDevice(_) => proof(
                "known_device",
                Fingerprint,
                0.95,
                1e-5,
                "exact constants as published; p0 checked: docs/calibration.md",
            ),
            Self::ProbableDevice(_) => row("probable_device", Fingerprint, 0.50, 0.01, JUDGED),
            Self::KnownBlockPage { confidence } => block_row("known_block_page", *confidence),
            Self::KnownBlockAddress { confidence } => block_row("known_block_address", *confidence),
            Self::KnownFalsePositive => row("known_false_positive", Fingerprint, 0.001, 0.50, JUDGED),

            Self::SilentAfterReset => row("silent_after_reset", Aftermath, 0.60, 0.50, JUDGED),
            Self::ExchangeComplete => row("exchange_complete", Aftermath, 0.05, 0.60, JUDGED),
            Self::ClientAbort => row(
                "client_abort",
                Aftermath,
                0.05,
                0.60,
                "wire-facts 8: browsers cancel; p0 checked: docs/calibration.md",
            ),
            Self::RefusedConnection => row("refused_connection", Aftermath, 0.05, 0.60, JUDGED),
            Self::GenuineAnswerToo { .. } => row("genuine_answer_too", Aftermath, 0.60, 0.05, JUDGED),
            Self::GenuineAnswerBefore { .. } => row(
                "genuine_answer_before",
                Aftermath,
                0.30,
                0.03,
                "11 % of forged answers seen from outside come late: Hoang et al. 2021; margin checked: docs/calibration.md",
            ),
            Self::SilentAfterAnswer { .. } => row("silent_after_answer", Aftermath, 0.60, 0.02, JUDGED),
            Self::RequestUnanswered { tries } | Self::AcknowledgedThenSilence { tries } => {
                let key = match self {
                    Self::RequestUnanswered { .. } => "request_unanswered",
                    _ => "acknowledged_then_silence",
                };
                match tries {
                    4.. => row(
                        key,
                        Aftermath,
                        0.95,
                        0.05,
                        "wire-facts 6.4: three repetitions unanswered; p0 checked: docs/calibration.md",
                    ),
                    0..=3 => row(key, Aftermath, 0.90, 0.10, JUDGED),
                }
            }
            Self::LargeRequest { .. } => row(
                "large_request",
                Header,
                0.30,
                0.60,
                "wire-facts 8: path MTU black holes; p0 checked: docs/calibration.md",
            ),
            Self::ServerStillWaits => row("server_still_waits", Timing, 0.30, 0.10, JUDGED),
            Self::CaptureLoss => row("capture_loss", Aftermath, 0.10, 0.50, JUDGED),

            Self::AddressForUnrelatedNames { .. } => row("address_for_unrelated_names", CrossFlow, 0.70, 0.02, JUDGED),
            Self::OnlyThisName { failed, .. } => match failed {
                3.. => row("only_this_name", CrossFlow, 0.90, 0.01, JUDGED),
                0..=2 => row("only_this_name", CrossFlow, 0.90, 0.12, JUDGED),
            },
            Self::DiesAtTheName { flows } => match flows {
                10.. => row(
                    "dies_at_the_name",
                    CrossFlow,
                    0.80,
                    0.002,
                    "wire-facts 7.2 (e), many times over; p0 checked: docs/calibration.md",
                ),
                3..=9 => row(
                    "dies_at_the_name",
                    CrossFlow,
                    0.80,
                    0.01,
                    "wire-facts 7.2 (e); p0 checked: docs/calibration.md",
                ),
                0..=2 => row("dies_at_the_name", CrossFlow, 0.80, 0.12, JUDGED),
            },
            Self::OtherNamesDieToo { .. } => row("other_names_die_too", CrossFlow, 0.03, 0.60, JUDGED),
            Self::OneAddressForAllNames { .. } => row("one_address_for_all_names", CrossFlow, 0.01, 0.60, JUDGED),

            Self::BlockAnswer(observation) => observation.row(),
            Self::Notice(observation) => observation.row(),
            Self::CaptivePortal(observation) => observation.row(),
            Self::QuicDrop(observation) => observation.row(),
        }
    }

    /// The observation's name in records.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.row().key
    }

    /// The group it belongs to.
    #[must_use]
    pub fn group(&self) -> Group {
        self.row().group
    }

    /// How much it counts, and who says so.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.row().weight
    }
}

/// Weights of signature lists by their own 0-10 scale of confidence (wire-facts 6.4: 1e-5, 1e-4 and 1e-3 at 10, 8, 5).
const fn block_row(key: &'static str, confidence: u8) -> Row {
    const SOURCE: &str = "confidence as the signature list gives it; p0 checked: docs/calibration.md";
    match confidence {
        9.. => proof(key, Group::Fingerprint, 0.95, 1e-5, SOURCE),
        7 | 8 => proof(key, Group::Fingerprint, 0.95, 1e-4, SOURCE),
        4..=6 => row(key, Group::Fingerprint, 0.95, 1e-3, SOURCE),
        0..=3 => row(key, Group::Fingerprint, 0.50, 0.05, SOURCE),
    }
}

/// The sentence a person reads; it completes "evidence: …".
impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drops(observation) => observation.fmt(f),
            Self::Pace(observation) => observation.fmt(f),
            Self::Stream(observation) => observation.fmt(f),
            Self::Icmp(observation) => observation.fmt(f),
            Self::Tls(observation) => observation.fmt(f),
            Self::DataAfterReset { after } => {
                write!(f, "the sender went on sending {} after its own reset", readable(*after))
            }
            Self::SenderWentOn { packets, after } => {
                write!(
                    f,
                    "the sender went on for {packets} packets, from {} after its own reset",
                    readable(*after)
                )
            }
            Self::ResetBelowData { by } => {
                write!(f, "the reset lies {by} bytes behind data its sender had already sent")
            }
            Self::ResetSequenceJump { by } => {
                write!(
                    f,
                    "a second reset jumps {by} bytes ahead of the first, past anything ever sent"
                )
            }
            Self::ResetRetransmitted { times } => {
                write!(
                    f,
                    "the same reset came {times} times by itself, each pause twice the last, as data is repeated that is not \
                     heard"
                )
            }
            Self::ResetAckChange => {
                f.write_str("resets of one burst acknowledge different bytes, none of which the peer sent")
            }
            Self::SynAckAfterReset { after } => {
                write!(
                    f,
                    "{} after refusing the connection the server accepted the same SYN",
                    readable(*after)
                )
            }
            Self::ResetAheadOfStream { by } => {
                write!(f, "the reset lies {by} bytes ahead of all its sender sent")
            }
            Self::ConflictingOverlap { .. } => {
                f.write_str("two packets of one sender hold different bytes for the same place in the stream")
            }
            Self::DataAfterFin { after } => {
                write!(
                    f,
                    "{} after closing the stream the sender sent data that belongs before the close",
                    readable(*after)
                )
            }
            Self::AnswerWithoutAcknowledging { by } => {
                write!(
                    f,
                    "the answer leaves {by} bytes of the request it answers unacknowledged"
                )
            }
            Self::AfterFin => f.write_str("the stream had been closed before: resets then are ordinary"),
            Self::PeerResetFirst => f.write_str("the other side had reset before: resets then are ordinary"),
            Self::ResetTtlDiffers { reset, usual } => {
                write!(
                    f,
                    "the reset arrived with TTL {reset}, the sender's other packets with {usual} (weak: firewalls and balancers do that too)"
                )
            }
            Self::TwoKindsOfReset { strange, usual } => {
                write!(
                    f,
                    "this sender's resets are of two kinds: with its usual TTL {usual}, and with {strange}"
                )
            }
            Self::TtlDiffers { packet, usual } => {
                write!(f, "arrived with TTL {packet}, the sender's other packets with {usual}")
            }
            Self::DontFragmentDiffers => f.write_str("the don't-fragment bit is not as on the sender's other packets"),
            Self::IpIdCopiedFromTrigger { ip_id, offset: 0 } => {
                write!(f, "the IP id {ip_id:#06x} is that of the packet it answers")
            }
            Self::IpIdCopiedFromTrigger { ip_id, offset } => {
                write!(
                    f,
                    "the IP id {ip_id:#06x} is that of the packet it answers plus {offset}"
                )
            }
            Self::IpIdFollowsForgery { ip_id } => {
                write!(
                    f,
                    "the IP id {ip_id:#06x} continues that of a packet already shown to be forged"
                )
            }
            Self::IpIdOutOfSequence { packet, last } => {
                write!(
                    f,
                    "the IP id {packet:#06x} does not fit the sender's counter, which stood at {last:#06x}"
                )
            }
            Self::TimestampMissing => f.write_str("the flow negotiated TCP timestamps, and this packet carries none"),
            Self::WindowDiffers { packet, last } => {
                write!(f, "the window {packet} is unlike the sender's other packets ({last})")
            }
            Self::ReservedBits => f.write_str("reserved TCP header bits are set"),
            Self::AckWithoutFlag => f.write_str("the acknowledgement field is filled though the ACK flag is clear"),
            Self::LinkSourceDiffers => {
                f.write_str("the frame came from another link-layer address than the sender's other packets")
            }
            Self::MarksAsUsual => f.write_str("TTL and IP id fit the sender's other packets"),
            Self::TtlAsUsual => f.write_str("the TTL is that of the sender's other packets"),
            Self::ResetRightAfterTrigger { after, round_trip } => {
                write!(
                    f,
                    "reset {} after the trigger and before the server said anything (round trip {})",
                    readable(*after),
                    readable(*round_trip)
                )
            }
            Self::AbortBeforeAnswer { after, round_trip } => {
                write!(
                    f,
                    "the client gave up {} after asking, before an answer could have reached it ({} away and back)",
                    readable(*after),
                    readable(*round_trip)
                )
            }
            Self::TooFast { after, floor } => {
                write!(
                    f,
                    "answered after {}, though the server is never closer than {}",
                    readable(*after),
                    readable(*floor)
                )
            }
            Self::FasterThanHandshake { after, round_trip } => {
                write!(
                    f,
                    "answered after {}, less than half the {} the handshake took",
                    readable(*after),
                    readable(*round_trip)
                )
            }
            Self::Burst { count, within } => {
                write!(
                    f,
                    "{count} resets within {}, with nothing between them to answer",
                    readable(*within)
                )
            }
            Self::IdleBefore { idle } => write!(
                f,
                "the flow had been idle for {}: timeouts end such flows",
                readable(*idle)
            ),
            Self::DifferingAnswers => f.write_str("one question got two answers that differ"),
            Self::DifferingAnswersExplained(excuse) => f.write_str(match excuse {
                AnswerExcuse::AskedAgain => "the answers differ, but the question may have been asked more than once",
                AnswerExcuse::SameNetwork => "the answers differ, but share an address or a network",
                AnswerExcuse::RetriedFailure => "a failure and an answer: a retry may explain that",
                AnswerExcuse::LocalForwarder => {
                    "the answers differ, but a forwarder in a private network may ask several servers at once"
                }
            }),
            Self::SameAnswerOtherTtl { first, second } => {
                write!(f, "the same answer came twice, with IP TTL {first} and {second}")
            }
            Self::BogonAnswer => f.write_str("a public name was answered with an address no public server can have"),
            Self::AnswerTypeMismatch => f.write_str("the answer is of another record type than was asked for"),
            Self::MalformedAnswer => f.write_str("the answer is malformed"),
            Self::AuthoritativeUnlikeOthers => {
                f.write_str("the answer claims to be authoritative, which this server's other answers do not")
            }
            Self::EdnsMissing => {
                f.write_str("the question used EDNS and the answer does not, though this server's other answers do")
            }
            Self::CaseChanged => f.write_str("the answer spells the name in other letter case than the question"),
            Self::ResolverDoesNotFilter => {
                f.write_str("the server named is a public resolver that does not filter, so it did not say this")
            }
            Self::AcknowledgedBlocking => f.write_str("the answer itself says that the name is blocked"),
            Self::ForeignRedirect => f.write_str("the answer redirects to another site"),
            Self::BareAnswer => f.write_str("the answer has neither Date nor Server"),
            Self::NoStatusLine => f.write_str("a page without a status line answers an HTTP request"),
            Self::FinWithAnswer => f.write_str("the answer is complete in one packet that also closes the stream"),
            Self::LegalNotice => f.write_str("status 451: the site itself may be saying so"),
            Self::KnownDevice(device) => write!(f, "exact marks of a known device: {}", device.name),
            Self::ProbableDevice(device) => write!(f, "marks typical of a known device: {}", device.name),
            Self::KnownBlockPage { confidence } => {
                write!(f, "matches a known block page (confidence {confidence} of 10)")
            }
            Self::KnownBlockAddress { confidence } => {
                write!(
                    f,
                    "the address is known to be given for blocked names (confidence {confidence} of 10)"
                )
            }
            Self::KnownFalsePositive => f.write_str("matches a page known to be mistaken for a block page"),
            Self::SilentAfterReset => f.write_str("after the reset its sender never spoke again"),
            Self::ExchangeComplete => f.write_str("both sides had exchanged their data before"),
            Self::ClientAbort => f.write_str("the client reset after the server had answered: aborts look like that"),
            Self::RefusedConnection => f.write_str("the server refused and kept to it, as a closed port does"),
            Self::GenuineAnswerToo { after } => {
                write!(f, "the genuine answer arrived as well, {} later", readable(*after))
            }
            Self::GenuineAnswerBefore { by } => {
                write!(f, "the genuine answer had arrived {} before", readable(*by))
            }
            Self::SilentAfterAnswer { repeated } => {
                write!(
                    f,
                    "after this answer the server never reacted again, though the client repeated itself {repeated} times"
                )
            }
            Self::RequestUnanswered { tries } => {
                write!(
                    f,
                    "the request and all after it, {tries} packets, drew no reaction, though the handshake worked"
                )
            }
            Self::AcknowledgedThenSilence { tries } => {
                write!(
                    f,
                    "the request was acknowledged, and then nothing came any more, though the client sent {tries} packets"
                )
            }
            Self::LargeRequest { bytes } => {
                write!(
                    f,
                    "the request is large ({bytes} bytes in one packet): a path that loses large packets swallows it whatever it names"
                )
            }
            Self::ServerStillWaits => {
                f.write_str("the server goes on repeating its SYN-ACK: it is alive and does not hear the client")
            }
            Self::CaptureLoss => f.write_str("the capture may have lost packets of this flow"),
            Self::AddressForUnrelatedNames { names } => {
                write!(f, "the same address was given for {names} unrelated names")
            }
            Self::OnlyThisName { failed, others_served } => write!(
                f,
                "this name failed in {failed} flows, while the same server served other names in {others_served}"
            ),
            Self::DiesAtTheName { flows } => {
                write!(f, "{flows} flows die at the very packet that carries this name")
            }
            Self::OtherNamesDieToo { flows } => write!(
                f,
                "{flows} flows for other names die at this server too, and none works: the way there may be down"
            ),
            Self::OneAddressForAllNames { names } => write!(
                f,
                "the server gave this address for {names} names in a row, as a captive portal does"
            ),
            Self::BlockAnswer(observation) => observation.fmt(f),
            Self::Notice(observation) => observation.fmt(f),
            Self::CaptivePortal(observation) => observation.fmt(f),
            Self::QuicDrop(observation) => observation.fmt(f),
        }
    }
}

/// An observation and the frames it rests on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// What was seen.
    pub observation: Observation,
    /// Where, in capture order; the first 8 are named.
    pub frames: FrameList,
}

impl Evidence {
    /// An observation resting on `frames`.
    #[must_use]
    pub const fn new(observation: Observation, frames: FrameList) -> Self {
        Self { observation, frames }
    }

    /// An observation resting on the first 8 of `frames`.
    #[must_use]
    pub fn at(observation: Observation, frames: &[FrameNumber]) -> Self {
        Self::new(observation, frames.iter().copied().take(8).collect())
    }

    /// What was seen in a TCP stream, resting on the first 8 of `frames`.
    #[must_use]
    pub fn in_stream(observation: StreamObservation, frames: &[FrameNumber]) -> Self {
        Self::at(Observation::Stream(observation), frames)
    }

    /// The group it counts in.
    #[must_use]
    pub fn group(&self) -> Group {
        self.observation.group()
    }

    /// Its weight in nats, capped as its group is: positive for, negative against.
    #[must_use]
    pub fn llr(&self) -> f64 {
        let cap = self.group().cap();
        self.observation.weight().llr().clamp(-cap, cap)
    }

    /// Whether it convicts by itself, given enough weight in all.
    #[must_use]
    pub fn convicts(&self) -> bool {
        self.observation.row().convicts
    }
}
