//! What one TCP flow or QUIC handshake came to, kept small, so that the ledger can compare flows in time: which address was silent when,
//! and what worked meanwhile.

use std::time::Duration;

use super::baselines::{CameTo, DomainId, FlowOutcome};
use crate::detect::quic_drop::{Handshake, Outcome};
use crate::finding::finding::{Application, Party, Protocol};
use crate::flow::flow::Flow;
use crate::flow::heads::Heads;
use crate::packet::endpoint::Endpoint;
use crate::packet::frame::FrameNumber;
use crate::payload::tls_client_hello::{ClientHello, EncryptedName};
use crate::time::Timestamp;

/// How a flow ended, as far as its reaching the server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Fate {
    /// SYNs, and nothing came back.
    Unanswered,
    /// The server reset it before it said anything.
    Refused,
    /// The server answered; the client asked nothing, or the capture left before it was clear what came of it.
    Reached,
    /// The client asked, waited, and got nothing.
    Died,
    /// The server sent data.
    Served,
}

/// What one TCP flow or QUIC handshake came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FlowTrace {
    /// Its transport.
    pub protocol: Protocol,
    /// Who opened it.
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// Its first frame, which names it.
    pub first_frame: FrameNumber,
    /// When it began.
    pub began: Timestamp,
    /// When its last packet came.
    pub ended: Timestamp,
    /// How it ended.
    pub fate: Fate,
    /// When the side that fell silent first was last heard.
    pub heard: Timestamp,
    /// Payload the server sent, in bytes.
    pub carried: u64,
    /// From the request, the only one or else the opening, to the server's last payload.
    pub took: Duration,
    /// How long SYN after SYN was not answered.
    pub silence: Duration,
    /// The registrable domain asked for.
    pub domain: Option<DomainId>,
    /// How the ClientHello of a flow that was served hides the name; none where there is none, or not all of it was kept.
    pub hides: Option<EncryptedName>,
}

/// Shorter than this a client has not waited for an answer.
const WAITED: Duration = Duration::from_millis(900);

impl FlowTrace {
    /// The trace of `flow`, which came to `outcome`; its first bytes are among `heads`.
    #[must_use]
    pub fn of(flow: &Flow, heads: &Heads, outcome: &FlowOutcome) -> Self {
        let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
        let conversation = flow.conversation();
        let waited = flow.last.since(flow.started) >= WAITED;
        let fate = match outcome.came_to {
            CameTo::Served => Fate::Served,
            CameTo::Nothing if server.packets == 0 && client.packets > 1 && waited => Fate::Unanswered,
            CameTo::Failed if server.packets > 0 && waited && client.data_packets > 1 => Fate::Died,
            CameTo::Nothing | CameTo::Failed if server.reset.is_some() => Fate::Refused,
            CameTo::Nothing | CameTo::Failed => Fate::Reached,
        };
        Self {
            protocol: Protocol::Tcp,
            client: conversation.client,
            server: conversation.server,
            first_frame: flow.first_frame,
            began: flow.started,
            ended: flow.last,
            fate,
            heard: [client, server]
                .into_iter()
                .filter_map(|side| side.last_at)
                .min()
                .unwrap_or(flow.started),
            carried: server.bytes,
            took: took(flow),
            silence: silence(flow),
            domain: outcome.domain,
            hides: match fate {
                Fate::Served => hides(flow, heads),
                Fate::Unanswered | Fate::Refused | Fate::Reached | Fate::Died => None,
            },
        }
    }

    /// The trace of a QUIC handshake.
    #[must_use]
    pub fn of_handshake(handshake: &Handshake) -> Self {
        Self {
            protocol: Protocol::Udp,
            client: handshake.client,
            server: handshake.server,
            first_frame: handshake.first_frame,
            began: handshake.began,
            ended: handshake.ended,
            fate: match handshake.outcome {
                Outcome::Unanswered => Fate::Unanswered,
                Outcome::Stopped => Fate::Died,
                Outcome::Served => Fate::Served,
            },
            heard: handshake.began,
            carried: 0,
            took: Duration::ZERO,
            silence: Duration::ZERO,
            domain: (!handshake.name.is_empty()).then(|| DomainId::of(&handshake.name)),
            hides: None,
        }
    }

    /// Whether the server gave a sign of life.
    #[must_use]
    pub const fn answered(&self) -> bool {
        matches!(self.fate, Fate::Served)
    }
}

/// Whether and how the ClientHello hides the name. What was still to come when it named its server is there by now.
fn hides(flow: &Flow, heads: &Heads) -> Option<EncryptedName> {
    let asked = flow
        .asked
        .as_ref()
        .filter(|asked| asked.application == Application::Tls)?;
    asked
        .hides
        .or_else(|| ClientHello::read(flow.head(Party::Client, heads)).hello()?.hides())
}

/// How long the client repeated its SYN in vain. Where the last one was answered, the one before came at half the time
/// as a rule: the waits double, from a second on (RFC 6298).
fn silence(flow: &Flow) -> Duration {
    const FIRST_WAIT: Duration = Duration::from_secs(1);
    let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
    let (Some(first), Some(last)) = (&client.opening, client.last_opening_at()) else {
        return Duration::ZERO;
    };
    let span = last.since(first.at);
    match &server.opening {
        Some(answer) if answer.at < last => Duration::ZERO,
        Some(_) => span.saturating_sub(FIRST_WAIT) / 2,
        None if server.packets > 0 => Duration::ZERO,
        None => span,
    }
}

/// How long the server took to send what it sent.
fn took(flow: &Flow) -> Duration {
    let asked = flow.asked.as_ref().filter(|_| flow.requests == 1);
    let from = asked.map_or(flow.started, |asked| asked.at);
    let last = flow.side(Party::Server).last_data();
    last.map_or(Duration::ZERO, |last| last.at.since(from))
}
