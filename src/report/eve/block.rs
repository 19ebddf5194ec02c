//! The `block` record: one finding.

use std::borrow::Cow;
use std::net::IpAddr;

use arrayvec::ArrayString;
use serde::Serialize;

use super::super::balance::{Balance, Weighed};
use super::super::figures::{hundredths, probability};
use super::super::sink::Reported;
use crate::capture::source::FileNote;
use crate::finding::finding::{Conversation, Injector, Particulars, Protocol, Trigger};
use crate::packet::community_id::{self, CommunityFlow};
use crate::packet::frame::FrameNumber;

#[derive(Serialize)]
pub(super) struct BlockRecord<'a> {
    timestamp: String,
    flow_id: u64,
    pcap_filename: Cow<'a, str>,
    pcap_cnt: u64,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<[u16; 1]>,
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    proto: &'static str,
    ip_v: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'static str>,
    community_id: ArrayString<30>,
    block: Block<'a>,
}

#[derive(Serialize)]
struct Block<'a> {
    kind: &'static str,
    verdict: &'static str,
    probability: f64,
    log_odds: f64,
    prior: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_sender: Option<&'static str>,
    position: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<TriggerObject<'a>>,
    forged: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forged_pcap_filename: Names<'a>,
    genuine: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    genuine_pcap_filename: Names<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_pcap_filename: Names<'a>,
    evidence: Vec<EvidenceObject<'a>>,
    against: Vec<EvidenceObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    injector: Option<InjectorObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<DnsObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<FingerprintObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<VolumeObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    residual: Option<ResidualObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle: Option<ThrottleObject>,
}

/// The files of a list of packets, if any of them lies elsewhere than the deciding packet.
type Names<'a> = Option<Vec<Cow<'a, str>>>;

#[derive(Serialize)]
struct TriggerObject<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    pcap_cnt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_filename: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct EvidenceObject<'a> {
    what: &'static str,
    group: &'static str,
    pcap_cnt: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_filename: Names<'a>,
    llr: f64,
    says: String,
    source: &'static str,
}

#[derive(Serialize)]
struct InjectorObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hops_from_tap: Option<Hops>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_ttl: Option<u8>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mirrors_ttl: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceObject>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Hops {
    Exactly(u8),
    Between(u8, u8),
}

#[derive(Serialize)]
struct DeviceObject {
    name: &'static str,
    source: &'static str,
}

#[derive(Serialize)]
struct DnsObject<'a> {
    forged_answers: &'a [String],
    genuine_answers: &'a [String],
}

#[derive(Serialize)]
struct HttpObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
}

#[derive(Serialize)]
struct FingerprintObject<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_from: Option<&'a str>,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

#[derive(Serialize)]
struct VolumeObject {
    bytes: u64,
    packets: u32,
}

#[derive(Serialize)]
struct ThrottleObject {
    manner: &'static str,
    rate_kbit_s: u64,
    burst_bytes: u64,
}

#[derive(Serialize)]
struct ResidualObject {
    tuple: u8,
    longer_than_s: f64,
    at_most_s: f64,
}

#[derive(Serialize)]
struct TlsObject<'a> {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
}

/// The run's files, and the one a record's numbers count in.
#[derive(Clone, Copy)]
struct Home<'a> {
    files: &'a [FileNote],
    file: u32,
}

impl<'a> Home<'a> {
    fn name(self, frame: FrameNumber) -> Cow<'a, str> {
        match self.files.get(frame.file() as usize) {
            Some(file) => file.path.to_string_lossy(),
            None => Cow::Borrowed(""),
        }
    }

    fn list(self, frames: &[FrameNumber]) -> (Vec<u64>, Names<'a>) {
        let numbers = frames.iter().map(|frame| frame.in_file()).collect();
        let elsewhere = frames.iter().any(|frame| frame.file() != self.file);
        let names = elsewhere.then(|| frames.iter().map(|frame| self.name(*frame)).collect());
        (numbers, names)
    }
}

impl<'a> BlockRecord<'a> {
    /// The record of a finding; none if it reached no verdict.
    pub(super) fn of(reported: &Reported<'a>) -> Option<Self> {
        let finding = reported.finding;
        let conversation = &finding.conversation;
        let home = Home {
            files: reported.files,
            file: finding.decided_by.file(),
        };
        let (forged, forged_pcap_filename) = home.list(&finding.forged);
        let (genuine, genuine_pcap_filename) = home.list(&finding.genuine);
        let (dropped, dropped_pcap_filename) = home.list(&finding.dropped);
        let balance = Balance::of(finding);
        let block = Block {
            kind: finding.kind.key(),
            verdict: reported.judgement.verdict?.key(),
            probability: probability(reported.judgement),
            log_odds: hundredths(reported.judgement.log_odds),
            prior: hundredths(finding.prior.log_odds()),
            stage: finding.stage.map(|stage| stage.key()),
            signature: finding.signature,
            claimed_sender: finding.claimed_sender.map(|party| party.key()),
            position: finding.position.key(),
            trigger: finding.trigger.as_ref().map(|trigger| trigger_object(trigger, home)),
            forged,
            forged_pcap_filename,
            genuine,
            genuine_pcap_filename,
            dropped,
            dropped_pcap_filename,
            evidence: evidence_list(&balance.supporting, home),
            against: evidence_list(&balance.opposing, home),
            injector: finding.injector.as_ref().map(injector_object),
            dns: dns_object(&finding.particulars),
            http: http_object(&finding.particulars),
            fingerprint: finding.particulars.fingerprint.as_ref().map(|row| FingerprintObject {
                id: &row.id,
                known_from: row.known_from.as_deref(),
                source: &row.source,
                url: row.url.as_deref(),
                file: row.place.as_ref().map(|place| place.file.as_str()),
                line: row.place.as_ref().map(|place| place.line),
            }),
            volume: finding.particulars.volume.map(|volume| VolumeObject {
                bytes: volume.bytes,
                packets: volume.packets,
            }),
            residual: finding.particulars.residual.map(|residual| ResidualObject {
                tuple: residual.tuple.size(),
                longer_than_s: hundredths(residual.failed.as_secs_f64()),
                at_most_s: hundredths(residual.worked.as_secs_f64()),
            }),
            tls: finding.particulars.tls.as_ref().map(|tls| TlsObject {
                version: tls.version,
                issuer: tls.issuer.as_deref(),
                subject: tls.subject.as_deref(),
            }),
            throttle: finding.particulars.throttle.map(|throttle| ThrottleObject {
                manner: throttle.manner.key(),
                rate_kbit_s: throttle.kbit_s,
                burst_bytes: throttle.burst,
            }),
        };
        Some(Self {
            timestamp: finding.at.to_string(),
            flow_id: flow_id(conversation),
            pcap_filename: home.name(finding.decided_by),
            pcap_cnt: finding.decided_by.in_file(),
            event_type: "block",
            vlan: conversation.vlan.map(|id| [id]),
            src_ip: conversation.client.ip,
            src_port: conversation.client.port,
            dest_ip: conversation.server.ip,
            dest_port: conversation.server.port,
            proto: conversation.protocol.key(),
            ip_v: if conversation.client.ip.is_ipv4() { 4 } else { 6 },
            app_proto: conversation.application.key(),
            community_id: community_id(conversation),
            block,
        })
    }
}

fn trigger_object<'a>(trigger: &'a Trigger, home: Home<'a>) -> TriggerObject<'a> {
    TriggerObject {
        r#type: trigger.kind.key(),
        value: trigger.name.as_deref(),
        pcap_cnt: trigger.frame.in_file(),
        pcap_filename: (trigger.frame.file() != home.file).then(|| home.name(trigger.frame)),
    }
}

fn evidence_list<'a>(items: &[Weighed<'a>], home: Home<'a>) -> Vec<EvidenceObject<'a>> {
    let object = |item: &Weighed<'a>| {
        let evidence = item.evidence;
        let (pcap_cnt, pcap_filename) = home.list(&evidence.frames);
        EvidenceObject {
            what: evidence.observation.key(),
            group: evidence.group().key(),
            pcap_cnt,
            pcap_filename,
            llr: hundredths(evidence.llr()),
            says: evidence.observation.to_string(),
            source: evidence.observation.weight().source,
        }
    };
    items.iter().map(object).collect()
}

fn injector_object(injector: &Injector) -> InjectorObject {
    InjectorObject {
        id: injector.id.map(|id| id.to_string()),
        hops_from_tap: injector.hops_from_tap.map(|(least, most)| {
            if least == most {
                Hops::Exactly(least)
            } else {
                Hops::Between(least, most)
            }
        }),
        initial_ttl: injector.initial_ttl,
        mirrors_ttl: injector.mirrors_ttl,
        device: injector.device.map(|device| DeviceObject {
            name: device.name,
            source: device.source,
        }),
    }
}

fn dns_object(particulars: &Particulars) -> Option<DnsObject<'_>> {
    let object = DnsObject {
        forged_answers: &particulars.forged_answers,
        genuine_answers: &particulars.genuine_answers,
    };
    let empty = object.forged_answers.is_empty() && object.genuine_answers.is_empty();
    (!empty).then_some(object)
}

fn http_object(particulars: &Particulars) -> Option<HttpObject<'_>> {
    let object = HttpObject {
        status: particulars.http_status,
        location: particulars.location.as_deref(),
    };
    let empty = object.status.is_none() && object.location.is_none();
    (!empty).then_some(object)
}

/// 53 bits (what a JSON number holds exactly everywhere) of the flow's ends, protocol and first frame: FNV-1a.
fn flow_id(conversation: &Conversation) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for end in [conversation.client, conversation.server] {
        match end.ip {
            IpAddr::V4(ip) => add(&ip.octets()),
            IpAddr::V6(ip) => add(&ip.octets()),
        }
        add(&end.port.to_be_bytes());
    }
    add(conversation.protocol.key().as_bytes());
    add(&conversation.first_frame.file().to_be_bytes());
    add(&conversation.first_frame.in_file().to_be_bytes());
    (hash >> 53) ^ (hash & ((1 << 53) - 1))
}

/// The flow's Community ID, version 1, seed 0.
fn community_id(conversation: &Conversation) -> ArrayString<30> {
    let (client, server) = (conversation.client, conversation.server);
    let (from_port, to_port) = (client.port, server.port);
    let flow = match conversation.protocol {
        Protocol::Tcp => CommunityFlow::Tcp { from_port, to_port },
        Protocol::Udp => CommunityFlow::Udp { from_port, to_port },
    };
    community_id::community_id(client.ip, server.ip, flow)
}
