//! A finding: what was blocked, how, by which kind of box, how far away, and on what evidence.

use std::time::Duration;

use super::evidence::Evidence;
use super::fixed_text::{FixedText, fixed_text, perhaps_fixed_text};
use super::habits::{Habits, InjectorId, Varying};
use super::verdict::{Judgement, Prior, Verdict, judge};
use crate::packet::endpoint::Endpoint;
use crate::packet::frame::FrameNumber;
use crate::packet::path_marks::PathMarks;
use crate::time::Timestamp;

/// How the blocking was done. `key` is the name in records and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A TCP reset its claimed sender did not send.
    RstInjection,
    /// A DNS answer its claimed sender did not give.
    DnsInjection,
    /// An HTTP answer put into a server's mouth: a block page or a redirect.
    BlockPage,
    /// Any other data put into a TCP stream.
    PayloadInjection,
    /// A request swallowed on the way.
    SilentDrop,
    /// A FIN its claimed sender did not send.
    FinInjection,
    /// A SYN-ACK its claimed sender did not send.
    SynAckInjection,
    /// A TLS alert its claimed sender did not send.
    TlsAlertInjection,
    /// TLS ended on the way, under another certificate.
    TlsInterception,
    /// An address to which nothing gets through.
    IpBlackhole,
    /// Later flows of the same hosts punished for an earlier one.
    ResidualBlock,
    /// A QUIC handshake swallowed on the way.
    QuicDrop,
    /// A block answer given by the resolver itself.
    DnsBlockAnswer,
    /// An ICMP error that says the flow is forbidden.
    IcmpProhibited,
    /// A flow slowed down on purpose.
    Throttling,
    /// A flow that freezes after so many bytes.
    VolumeFreeze,
    /// A network that answers everything itself until one logs in.
    CaptivePortal,
    /// Almost everything foreign unreachable at once.
    Shutdown,
}

impl Kind {
    /// All kinds, in the order they are listed.
    pub const ALL: [Self; 18] = [
        Self::RstInjection,
        Self::DnsInjection,
        Self::BlockPage,
        Self::PayloadInjection,
        Self::SilentDrop,
        Self::FinInjection,
        Self::SynAckInjection,
        Self::TlsAlertInjection,
        Self::TlsInterception,
        Self::IpBlackhole,
        Self::ResidualBlock,
        Self::QuicDrop,
        Self::DnsBlockAnswer,
        Self::IcmpProhibited,
        Self::Throttling,
        Self::VolumeFreeze,
        Self::CaptivePortal,
        Self::Shutdown,
    ];

    /// The kind's name in records and on the command line.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::RstInjection => "rst_injection",
            Self::DnsInjection => "dns_injection",
            Self::BlockPage => "block_page",
            Self::PayloadInjection => "payload_injection",
            Self::SilentDrop => "silent_drop",
            Self::FinInjection => "fin_injection",
            Self::SynAckInjection => "syn_ack_injection",
            Self::TlsAlertInjection => "tls_alert_injection",
            Self::TlsInterception => "tls_interception",
            Self::IpBlackhole => "ip_blackhole",
            Self::ResidualBlock => "residual_block",
            Self::QuicDrop => "quic_drop",
            Self::DnsBlockAnswer => "dns_block_answer",
            Self::IcmpProhibited => "icmp_prohibited",
            Self::Throttling => "throttling",
            Self::VolumeFreeze => "volume_freeze",
            Self::CaptivePortal => "captive_portal",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether it shows in packets that did not come: what the capture itself lost looks the same.
    #[must_use]
    pub const fn rests_on_absence(self) -> bool {
        match self {
            Self::SilentDrop
            | Self::IpBlackhole
            | Self::ResidualBlock
            | Self::QuicDrop
            | Self::Throttling
            | Self::VolumeFreeze
            | Self::Shutdown => true,
            Self::RstInjection
            | Self::DnsInjection
            | Self::BlockPage
            | Self::PayloadInjection
            | Self::FinInjection
            | Self::SynAckInjection
            | Self::TlsAlertInjection
            | Self::TlsInterception
            | Self::DnsBlockAnswer
            | Self::IcmpProhibited
            | Self::CaptivePortal => false,
        }
    }

    /// What happened, as the headline of a finding says it.
    #[must_use]
    pub const fn headline(self) -> &'static str {
        match self {
            Self::RstInjection => "forged TCP reset",
            Self::DnsInjection => "forged DNS answer",
            Self::BlockPage => "block page in the server's name",
            Self::PayloadInjection => "forged data in a TCP stream",
            Self::SilentDrop => "request swallowed on the way",
            Self::FinInjection => "forged end of a TCP stream",
            Self::SynAckInjection => "forged SYN-ACK",
            Self::TlsAlertInjection => "forged TLS alert",
            Self::TlsInterception => "TLS intercepted on the way",
            Self::IpBlackhole => "address unreachable by filtering",
            Self::ResidualBlock => "later flows blocked after a trigger",
            Self::QuicDrop => "QUIC handshake swallowed on the way",
            Self::DnsBlockAnswer => "block answer of the resolver itself",
            Self::IcmpProhibited => "flow forbidden by ICMP",
            Self::Throttling => "flow slowed down",
            Self::VolumeFreeze => "flow frozen after so many bytes",
            Self::CaptivePortal => "captive portal",
            Self::Shutdown => "network shut off",
        }
    }
}

/// One of the two ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Party {
    /// The end that opened the flow.
    Client,
    /// The other end.
    Server,
}

impl Party {
    /// The other one.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The party's name in records.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The transport protocol of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// EVE's `proto`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// What a flow carries. EVE's `app_proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Application {
    /// Not recognised (yet).
    #[default]
    Unknown,
    /// HTTP/1.
    Http,
    /// TLS.
    Tls,
    /// DNS over UDP or TCP.
    Dns,
}

impl Application {
    /// EVE's `app_proto`; none where it is unknown.
    #[must_use]
    pub const fn key(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Http => Some("http"),
            Self::Tls => Some("tls"),
            Self::Dns => Some("dns"),
        }
    }
}

/// How far a flow had come when it was interfered with (Cloudflare Radar's names; wire-facts 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Stage {
    /// After the SYN, before the handshake was complete.
    PostSyn,
    /// After the handshake, before any data.
    PostAck,
    /// After the first data packet.
    PostPsh,
    /// After several data packets.
    LaterInFlow,
}

impl Stage {
    /// The stage's name in records.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::PostSyn => "post_syn",
            Self::PostAck => "post_ack",
            Self::PostPsh => "post_psh",
            Self::LaterInFlow => "later_in_flow",
        }
    }
}

/// Where the box sits (RFC 9505, wire-facts 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Position {
    /// It sees a copy and can only inject: the original packets also arrive.
    OnPath,
    /// Packets pass through it: it dropped or rewrote the original.
    InPath,
    /// The capture cannot tell.
    Unknown,
}

impl Position {
    /// The position's name in records.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::OnPath => "on_path",
            Self::InPath => "in_path",
            Self::Unknown => "unknown",
        }
    }
}

/// Which field of the trigger packet carried the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum TriggerKind {
    /// The HTTP Host header.
    Host,
    /// The server name of a TLS ClientHello.
    Sni,
    /// The name asked of a DNS server.
    Qname,
    /// No name was seen: the packet that was answered by the interference.
    Packet,
}

impl TriggerKind {
    /// The field's name in records.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Sni => "sni",
            Self::Qname => "qname",
            Self::Packet => "packet",
        }
    }
}

/// The packet that set the box off.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trigger {
    /// Which field carried the name.
    pub kind: TriggerKind,
    /// The name, lower case, as it stood on the wire otherwise; none when no name was seen.
    pub name: Option<String>,
    /// The packet.
    pub frame: FrameNumber,
}

/// What is known of the box.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Injector {
    /// The TTL its packets arrived with.
    pub arrival_ttl: Option<u8>,
    /// How long after the client's SYN it refused the connection, if that is what it did.
    pub refused_after: Option<Duration>,
    /// Routers between the tap and the box, as an inclusive range; none where the TTL says nothing.
    pub hops_from_tap: Option<(u8, u8)>,
    /// The TTL its packets most likely start with.
    pub initial_ttl: Option<u8>,
    /// Its TTL is copied from the packet it answers, so its distance cannot be read from it.
    pub mirrors_ttl: bool,
    /// The device family, if an exact fingerprint matched, and who published it.
    pub device: Option<Device>,
    /// What its packets have in common.
    pub habits: Habits,
    /// The name its habits give it; the ledger gives it.
    pub id: Option<InjectorId>,
}

impl Injector {
    /// A box known by one packet; its distance is told only where `ttl_is_its_own`, not its claimed sender's, and where
    /// it makes a way packets take: no more than 40 hops (traceroute's 30 and some).
    #[must_use]
    pub fn from_marks(marks: &PathMarks, ttl_is_its_own: bool) -> Self {
        let ttl_is_its_own = ttl_is_its_own && marks.hops() <= 40;
        Self {
            arrival_ttl: Some(marks.ttl),
            refused_after: None,
            hops_from_tap: ttl_is_its_own.then(|| (marks.hops(), marks.hops())),
            initial_ttl: ttl_is_its_own.then(|| marks.initial_ttl()),
            mirrors_ttl: false,
            device: None,
            habits: Habits::of_marks(marks),
            id: None,
        }
    }

    /// The same box, which announces this window.
    #[must_use]
    pub const fn with_window(mut self, window: u16) -> Self {
        self.habits.window = Some(Varying::Stays(window));
        self
    }
}

/// A known device family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Device {
    /// Its name in the field.
    #[serde(deserialize_with = "fixed_text")]
    pub name: FixedText,
    /// Who described the fingerprint.
    #[serde(deserialize_with = "fixed_text")]
    pub source: FixedText,
}

/// The flow a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Conversation {
    /// Who opened it.
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What it carries.
    pub application: Application,
    /// The outermost VLAN id, if any.
    pub vlan: Option<u16>,
    /// The flow's first frame, which with the endpoints names the flow.
    pub first_frame: FrameNumber,
    /// When it began.
    pub started: Timestamp,
}

/// Particulars of a kind, for the reader.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Particulars {
    /// What the forged DNS answer said, and what the genuine one said (addresses, names or response codes).
    pub forged_answers: Vec<String>,
    /// What the genuine DNS answer said.
    pub genuine_answers: Vec<String>,
    /// The status of an injected HTTP answer.
    pub http_status: Option<u16>,
    /// Where an injected HTTP answer redirects to.
    pub location: Option<String>,
    /// Which row of a fingerprint pack matched.
    pub fingerprint: Option<FingerprintMatch>,
    /// How much had passed when a flow froze.
    pub volume: Option<Volume>,
    /// How a flow was slowed down.
    pub throttle: Option<Throttle>,
    /// How long a block outlasted what set it off.
    pub residual: Option<Residual>,
    /// What an intercepted TLS handshake showed.
    pub tls: Option<TlsFacts>,
}

/// What an intercepted TLS handshake showed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TlsFacts {
    /// The version agreed on.
    #[serde(deserialize_with = "fixed_text")]
    pub version: FixedText,
    /// Who issued the server's certificate, where it could be read.
    pub issuer: Option<String>,
    /// Whom it was issued to.
    pub subject: Option<String>,
}

/// How much a flow had carried, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Volume {
    /// Payload, in bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u32,
}

/// How a flow is slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Manner {
    /// What exceeds the rate is dropped.
    Policing,
    /// What exceeds the rate waits.
    Shaping,
}

impl Manner {
    /// The manner's name in records.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Policing => "policing",
            Self::Shaping => "shaping",
        }
    }
}

/// At what rate a flow was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Throttle {
    /// How.
    pub manner: Manner,
    /// Payload the client acknowledged, in kbit/s.
    pub kbit_s: u64,
    /// What had passed before the rate applied, in bytes.
    pub burst: u64,
}

/// What a residual block is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum ResidualTuple {
    /// Both addresses.
    Hosts,
    /// Both addresses and the server's port.
    Service,
    /// Both addresses and both ports.
    Flow,
}

impl ResidualTuple {
    /// How many of addresses and ports it is bound to: 2, 3 or 4.
    #[must_use]
    pub const fn size(self) -> u8 {
        match self {
            Self::Hosts => 2,
            Self::Service => 3,
            Self::Flow => 4,
        }
    }
}

/// How long a block outlasted what set it off: longer than `failed`, and at most `worked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Residual {
    /// What it is bound to.
    pub tuple: ResidualTuple,
    /// From the trigger to the last failure.
    pub failed: Duration,
    /// From the trigger to the first success after it.
    pub worked: Duration,
}

/// A row of a fingerprint pack that matched.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FingerprintMatch {
    /// The row's id.
    pub id: String,
    /// The country or product it is known from, if the row says.
    pub known_from: Option<String>,
    /// Who published it.
    pub source: String,
    /// Where an example can be seen, if the row says.
    pub url: Option<String>,
    /// Where the row was read, if it was given at run time.
    pub place: Option<ListPlace>,
}

/// A row's place in a list given at run time.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ListPlace {
    /// The list's file name, without its directories.
    pub file: String,
    /// The row's line, from 1.
    pub line: u64,
}

/// An accusation, with everything needed to check it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// How the blocking was done.
    pub kind: Kind,
    /// Which flow.
    pub conversation: Conversation,
    /// The packet that decided it: the first forged one.
    pub decided_by: FrameNumber,
    /// When that packet came.
    pub at: Timestamp,
    /// How far the flow had come.
    pub stage: Option<Stage>,
    /// The tampering signature of Sundara Raman et al. (SIGCOMM 2023) that fits, as `PSH+ACK -> RST`.
    #[serde(deserialize_with = "perhaps_fixed_text")]
    pub signature: Option<FixedText>,
    /// Whose name was used.
    pub claimed_sender: Option<Party>,
    /// Where the box sits.
    pub position: Position,
    /// What set it off.
    pub trigger: Option<Trigger>,
    /// The forged packets, in capture order.
    pub forged: Vec<FrameNumber>,
    /// The genuine packets that contradict them, in capture order.
    pub genuine: Vec<FrameNumber>,
    /// Packets that were swallowed (for drops).
    pub dropped: Vec<FrameNumber>,
    /// What was believed before.
    pub prior: Prior,
    /// All evidence, for and against, heaviest first.
    pub evidence: Vec<Evidence>,
    /// What is known of the box.
    pub injector: Option<Injector>,
    /// Particulars of the kind.
    pub particulars: Particulars,
}

impl Finding {
    /// What the evidence amounts to.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        judge(self.prior, &self.evidence)
    }

    /// The verdict, if it reaches one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.judgement().verdict
    }
}
