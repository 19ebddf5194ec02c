//! What speaks for and against packets having been swallowed on purpose: the rows of silent drops, black holes, frozen
//! flows, residual blocks and shutdowns.

use std::fmt;
use std::time::Duration;

use super::row::{Row, row};
use crate::finding::weight::Group;
use crate::packet::packet::readable;

/// How a ClientHello hides the server's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Hiding {
    /// By the early extension `0xffce`: no name is in the clear.
    Esni,
    /// By an inner ClientHello in extension `0xfe0d` (RFC 9849): an outer name is in the clear. Browsers also send the
    /// extension without meaning ("GREASE"), and then that name is the one asked for.
    Ech,
}

/// Something seen of packets that are not answered.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum DropsObservation {
    /// The flow was under way, then one side repeated itself and heard nothing more.
    SilenceMidStream {
        /// Packets of both sides before the silence.
        packets: u32,
        /// Packets sent in vain.
        tries: u16,
    },
    /// The flow was healthy for so long, then nothing got through any more.
    FrozenAfter {
        /// Payload of both sides that got through, in bytes.
        bytes: u64,
        /// Packets that got through.
        packets: u32,
        /// Packets sent in vain.
        tries: u16,
    },
    /// The volume is one at which freezing boxes are known to cut.
    FreezeTypicalVolume,
    /// Flows froze at about the same volume, one after the other, each after the server had answered it.
    FrozenAtTheSameVolume {
        /// How many flows, this one included; those that froze together count once.
        flows: u32,
        /// Flows of the same client that carried far more in the same minutes.
        others: u32,
    },
    /// Flows with the same server broke off at the same moment, or new ones were not answered.
    ServerFellSilent {
        /// How many flows.
        flows: u32,
    },
    /// A flow for the same name with the same server carried far more.
    OthersCarryMore {
        /// How many flows.
        flows: u32,
    },
    /// The name did work at this server.
    NameServedToo {
        /// In how many flows.
        served: u32,
    },
    /// The name dies at several servers, each of which serves other names.
    DiesAtSeveralServers {
        /// How many servers.
        servers: u32,
    },
    /// Nothing as large as this request ever passed; smaller ones do.
    OnlySmallerPass {
        /// The largest segment a served flow with this server sent, in bytes.
        largest: u16,
    },
    /// The ClientHello hides the name.
    HiddenName {
        /// How.
        by: Hiding,
    },
    /// The server closed without having heard the request, and repeated that although the client had acknowledged it: what
    /// it sends arrives, and what it is sent does not.
    ServerDeaf {
        /// How often it closed.
        closes: u16,
    },
    /// Flows that hide the name die at this server, and others are served.
    HiddenNamesDie {
        /// In how many flows.
        flows: u32,
        /// Flows that were served.
        served: u32,
    },
    /// The name dies at this server where the ClientHello hides, and is served between where it hides nothing.
    ServedInTheClear {
        /// Flows that hide and died.
        flows: u32,
        /// Flows of the same client that hide nothing and were served between.
        served: u32,
    },
    /// Flows that hide the name in the same way were served by this server.
    HiddenServedToo {
        /// In how many flows.
        served: u32,
    },
    /// Flows of the same client that hide in the same way, under the same outer name if there is one, were served by other
    /// servers.
    HiddenServedElsewhere {
        /// In how many flows.
        served: u32,
    },
    /// The flow goes to a resolver over TLS.
    EncryptedDns,
    /// SYN after SYN to an address is not answered.
    SynsUnanswered {
        /// How many SYNs.
        tries: u16,
    },
    /// Flow after flow is not answered.
    FlowsUnanswered {
        /// How many flows, as far as they are named.
        flows: u32,
    },
    /// Flows to this address die, while the same client's flows to others work.
    OnlyThisAddress {
        /// Flows that die.
        flows: u32,
        /// Clients and ports that are concerned, together.
        ways: u32,
        /// Other hosts that answered in the same minutes.
        others: u32,
    },
    /// The address answered at other times of the capture.
    OnlyForATime {
        /// Flows that died.
        flows: u32,
        /// Over how long.
        span: Duration,
        /// Of so many clients.
        clients: u32,
        /// Registrable domains the address serves at other times.
        sites: u32,
        /// Other addresses of the same network that answered meanwhile.
        neighbours: u32,
    },
    /// The same client got no answer of many other addresses: a scan, or a network that is down.
    ManyAddressesSilent {
        /// How many.
        addresses: u32,
    },
    /// No other flow of the client worked in the same minutes.
    NothingElseWorks,
    /// A flow of the same hosts had set the box off shortly before.
    AfterTrigger {
        /// How long before.
        after: Duration,
    },
    /// Flows without the name failed after the trigger, and work again later.
    FailedThenRecovered {
        /// Flows that failed.
        failed: u32,
        /// Flows of the same hosts that the block is not bound to and that were served before the recovery.
        meanwhile: u32,
    },
    /// Networks that work at other times fell silent together, while others worked.
    NetworksFellSilent {
        /// Networks that fell silent.
        silent: u32,
        /// Networks that answered meanwhile.
        working: u32,
        /// Of the silent ones, networks that answered again afterwards.
        back: u32,
    },
    /// Between the last answer of any silent network and the first silence of one lies little time.
    SharpOnset {
        /// How much.
        within: Duration,
    },
    /// Networks of hosts that names lead to are silent as long as the capture lasts, while others work.
    NetworksSilentThroughout {
        /// Networks that are silent.
        silent: u32,
        /// Networks that answered meanwhile.
        working: u32,
    },
}

/// Restarts are shorter [E].
const LONG: Duration = Duration::from_secs(30);

impl DropsObservation {
    pub(super) fn row(&self) -> Row {
        use Group::{Aftermath, Content, CrossFlow, Header, Timing};
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        match self {
            Self::SilenceMidStream { tries, .. } => match tries {
                4.. => row(
                    "silence_mid_stream",
                    Aftermath,
                    0.90,
                    0.08,
                    "wire-facts 3.3: 5-8 packets pass; hosts crash, too; p0 checked: docs/calibration.md",
                ),
                0..=3 => row("silence_mid_stream", Aftermath, 0.90, 0.10, JUDGED),
            },
            Self::FrozenAfter { .. } => row(
                "frozen_after",
                Aftermath,
                0.95,
                0.05,
                "wire-facts 7.4; p0 checked: docs/calibration.md",
            ),
            Self::FreezeTypicalVolume => row(
                "freeze_typical_volume",
                Header,
                0.80,
                0.15,
                "14-32 KB or about 25 packets: net4people/bbs 490; margin checked: docs/calibration.md",
            ),
            Self::FrozenAtTheSameVolume { flows, others } => match (flows, others) {
                (3.., _) => row("frozen_at_the_same_volume", CrossFlow, 0.80, 0.01, JUDGED),
                (0..=2, 1..) => row("frozen_at_the_same_volume", CrossFlow, 0.80, 0.05, JUDGED),
                (0..=2, 0) => row("frozen_at_the_same_volume", CrossFlow, 0.80, 0.12, JUDGED),
            },
            Self::ServerFellSilent { .. } => row("server_fell_silent", CrossFlow, 0.03, 0.60, JUDGED),
            Self::OthersCarryMore { .. } => row("others_carry_more", CrossFlow, 0.10, 0.60, JUDGED),
            Self::NameServedToo { .. } => row("name_served_too", CrossFlow, 0.05, 0.60, JUDGED),
            Self::DiesAtSeveralServers { .. } => row(
                "dies_at_several_servers",
                CrossFlow,
                0.90,
                0.005,
                "wire-facts 7.2 (b); p0 checked: docs/calibration.md",
            ),
            Self::OnlySmallerPass { .. } => row(
                "only_smaller_pass",
                Header,
                0.05,
                0.60,
                "wire-facts 8: path MTU black holes; p0 checked: docs/calibration.md",
            ),
            Self::HiddenName { .. } => row("hidden_name", Content, 0.50, 0.50, "a note"),
            Self::ServerDeaf { closes } => match closes {
                2.. => row(
                    "server_deaf",
                    Timing,
                    0.50,
                    0.03,
                    "wire-facts 7.1: one-way drops; p0 checked: docs/calibration.md",
                ),
                0 | 1 => row("server_deaf", Timing, 0.30, 0.10, JUDGED),
            },
            Self::HiddenNamesDie { flows, .. } => match flows {
                3.. => row(
                    "hidden_names_die",
                    CrossFlow,
                    0.90,
                    0.01,
                    "wire-facts 7.1, 7.2 (c); p0 checked: docs/calibration.md",
                ),
                0..=2 => row("hidden_names_die", CrossFlow, 0.90, 0.10, JUDGED),
            },
            Self::ServedInTheClear { flows, .. } => match flows {
                3.. => row(
                    "served_in_the_clear",
                    CrossFlow,
                    0.90,
                    0.01,
                    "as hidden_names_die; p0 checked: docs/calibration.md",
                ),
                0..=2 => row("served_in_the_clear", CrossFlow, 0.90, 0.10, JUDGED),
            },
            Self::HiddenServedToo { .. } => row("hidden_served_too", CrossFlow, 0.05, 0.60, JUDGED),
            // Not every way leads past the box.
            Self::HiddenServedElsewhere { .. } => row("hidden_served_elsewhere", CrossFlow, 0.15, 0.50, JUDGED),
            Self::EncryptedDns => row("encrypted_dns", Timing, 0.50, 0.50, "a note"),
            Self::SynsUnanswered { .. } => row("syns_unanswered", Aftermath, 0.90, 0.15, JUDGED),
            Self::FlowsUnanswered { .. } => row("flows_unanswered", Aftermath, 0.90, 0.15, JUDGED),
            Self::OnlyThisAddress { flows, ways, .. } => match (flows, ways) {
                (3.., 3..) => row("only_this_address", CrossFlow, 0.90, 0.03, JUDGED),
                (3.., _) => row("only_this_address", CrossFlow, 0.90, 0.05, JUDGED),
                (0..=2, _) => row("only_this_address", CrossFlow, 0.90, 0.15, JUDGED),
            },
            Self::OnlyForATime {
                flows,
                span,
                clients,
                sites,
                neighbours,
            } => match (flows, clients, sites, neighbours) {
                // A machine that several unrelated sites share does not just go off, least of all alone.
                (3.., 2.., 2.., 1..) if *span >= LONG => row("only_for_a_time", CrossFlow, 0.60, 0.003, JUDGED),
                (_, _, _, _) => row("only_for_a_time", CrossFlow, 0.60, 0.05, JUDGED),
            },
            Self::ManyAddressesSilent { .. } => row("many_addresses_silent", CrossFlow, 0.01, 0.60, JUDGED),
            Self::NothingElseWorks => row(
                "nothing_else_works",
                CrossFlow,
                0.03,
                0.60,
                "an outage: Sundara Raman et al. 2023 on Belarus",
            ),
            Self::AfterTrigger { .. } => row(
                "after_trigger",
                Timing,
                0.80,
                0.10,
                "wire-facts 7.1; p0 checked: docs/calibration.md",
            ),
            Self::FailedThenRecovered { failed, meanwhile } => match (failed, meanwhile) {
                (2.., _) | (1, 2..) => row(
                    "failed_then_recovered",
                    CrossFlow,
                    0.60,
                    0.005,
                    "windows of Bock et al., WOOT 2021; margin checked: docs/calibration.md",
                ),
                (0 | 1, _) => row("failed_then_recovered", CrossFlow, 0.60, 0.04, JUDGED),
            },
            Self::NetworksFellSilent { .. } => row(
                "networks_fell_silent",
                CrossFlow,
                0.90,
                0.01,
                "wire-facts 7.5; p0 checked: docs/calibration.md",
            ),
            Self::SharpOnset { .. } => row("sharp_onset", Timing, 0.80, 0.05, JUDGED),
            Self::NetworksSilentThroughout { .. } => row(
                "networks_silent_throughout",
                CrossFlow,
                0.90,
                0.04,
                "wire-facts 7.5, without the onset; p0 checked: docs/calibration.md",
            ),
        }
    }
}

impl fmt::Display for DropsObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SilenceMidStream { packets, tries } => write!(
                f,
                "after {packets} packets nothing got through any more, though {tries} packets tried"
            ),
            Self::FrozenAfter { bytes, packets, tries } => write!(
                f,
                "the flow was healthy for {bytes} bytes in {packets} packets, then {tries} packets tried in vain"
            ),
            Self::FreezeTypicalVolume => f.write_str("the volume is one at which freezing boxes are known to cut"),
            Self::FrozenAtTheSameVolume { flows, others } => {
                write!(f, "{flows} flows froze at about the same volume, one after the other")?;
                match others {
                    0 => Ok(()),
                    others => write!(f, ", while {others} of the client's carried far more"),
                }
            }
            Self::ServerFellSilent { flows } => write!(
                f,
                "{flows} flows with the same server broke off at the same moment or were not answered after it: it may have died"
            ),
            Self::OthersCarryMore { flows } => {
                write!(
                    f,
                    "{flows} flows for the same name with the same server carried far more"
                )
            }
            Self::NameServedToo { served } => write!(f, "the same name was served by this server in {served} flows"),
            Self::DiesAtSeveralServers { servers } => write!(
                f,
                "the name fails at {servers} servers, each of which serves other names"
            ),
            Self::OnlySmallerPass { largest } => write!(
                f,
                "nothing larger than {largest} bytes ever passed to this server: the size may decide, not the name"
            ),
            Self::HiddenName { by: Hiding::Esni } => f.write_str("the ClientHello hides the name asked for (ESNI)"),
            Self::HiddenName { by: Hiding::Ech } => {
                f.write_str("the ClientHello may hide the name asked for (ECH): the one told is the outer one")
            }
            Self::ServerDeaf { closes } => write!(
                f,
                "the server closed {closes} times without having heard the request: what it sends arrives, what it is sent does not"
            ),
            Self::HiddenNamesDie { flows, served } => write!(
                f,
                "{flows} flows that hide the name die at this server, while it serves {served} others"
            ),
            Self::ServedInTheClear { flows, served } => write!(
                f,
                "{flows} flows die whose ClientHello may hide another name under this one, while {served} that hide nothing are \
                 served between: what is hidden decides"
            ),
            Self::HiddenServedToo { served } => {
                write!(f, "{served} flows that hide in the same way were served by this server")
            }
            Self::HiddenServedElsewhere { served } => write!(
                f,
                "{served} flows of this client that hide in the same way were served by other servers"
            ),
            Self::EncryptedDns => f.write_str("the flow goes to a DNS resolver over TLS"),
            Self::SynsUnanswered { tries } => write!(f, "{tries} SYNs were not answered"),
            Self::FlowsUnanswered { flows } => write!(f, "{flows} flows were not answered, however often they asked"),
            Self::OnlyThisAddress { flows, ways, others } => write!(
                f,
                "{flows} flows to this address die ({ways} clients and ports), while {others} other hosts answered the client in the same minutes"
            ),
            Self::OnlyForATime {
                flows,
                span,
                clients,
                sites,
                neighbours,
            } => write!(
                f,
                "the address answers at other times of the capture, for {sites} sites; {flows} flows of {clients} clients died over {}, while {neighbours} other addresses of its network answered",
                readable(*span)
            ),
            Self::ManyAddressesSilent { addresses } => write!(
                f,
                "{addresses} addresses did not answer this client: a scan, or a network that is down"
            ),
            Self::NothingElseWorks => f.write_str("nothing else answered this client in the same minutes"),
            Self::AfterTrigger { after } => write!(
                f,
                "a flow of the same hosts had set the box off {} before",
                readable(*after)
            ),
            Self::FailedThenRecovered { failed, meanwhile } => {
                write!(
                    f,
                    "{failed} flows without the name failed after the trigger, and later ones work again"
                )?;
                match meanwhile {
                    0 => Ok(()),
                    meanwhile => write!(f, "; {meanwhile} others of the same hosts were served meanwhile"),
                }
            }
            Self::NetworksFellSilent { silent, working, back } => {
                write!(
                    f,
                    "{silent} networks that had answered fell silent together, while {working} others went on answering"
                )?;
                match back {
                    0 => Ok(()),
                    back => write!(f, "; {back} of them answer again afterwards"),
                }
            }
            Self::SharpOnset { within } => write!(
                f,
                "no silent network answered after the first silence, and the last answer came {} before it",
                readable(*within)
            ),
            Self::NetworksSilentThroughout { silent, working } => write!(
                f,
                "{silent} networks that names lead to never answered in this capture, while {working} others did; how it began was not seen"
            ),
        }
    }
}
