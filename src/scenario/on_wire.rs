//! The forge's equipment on a real wire: the pieces that play in stories, shown packets as they pass a link, say what
//! becomes of each and what is injected. Whoever forwards the packets carries it out.
//!
//! ```toml
//! [addresses]                       # the names that triggers and filters use
//! site = ["45.80.1.10"]
//!
//! [[equipment]]                     # as in a story; `at` is the link it stands at
//! name = "box"
//! at = "near"
//! position = "on_path"
//! trigger.snis = ["blocked.example"]
//! reset.style = "gfw_same"
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use super::chance::Chance;
use super::datagram_reader;
use super::filtering_equipment::{Acts, Carried, Fate, FilteringEquipment, ParcelId, install, may_touch};
use super::sim_time::SimTime;
use super::story::{EquipmentStory, Position};

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireFate {
    /// It goes on.
    Pass,
    /// It ends here.
    Drop,
    /// It goes on, this much later.
    Hold(Duration),
    /// It goes on as this one, from the IP header on.
    Rewrite(Vec<u8>),
}

/// A forged packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireInjection {
    /// How long after the packet shown.
    pub after: Duration,
    /// The packet, from the IP header on, checksums filled in.
    pub packet: Vec<u8>,
}

/// What the equipment of a link does about one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireActs {
    /// The packet's own fate.
    pub fate: WireFate,
    /// What is injected.
    pub injections: Vec<WireInjection>,
}

/// A description of equipment that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the equipment's description cannot be used: {0}")]
pub struct WireError(#[from] toml::de::Error);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    #[serde(default)]
    addresses: BTreeMap<String, Vec<IpAddr>>,
    #[serde(default)]
    equipment: Vec<EquipmentStory>,
}

/// The equipment of one link.
pub struct OnWire {
    devices: Vec<(Position, Box<dyn FilteringEquipment>)>,
    seen: ParcelId,
}

impl std::fmt::Debug for OnWire {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "OnWire({} pieces)", self.devices.len())
    }
}

impl OnWire {
    /// Installs what `text` describes for the link called `at`. Chance is drawn from `seed`; `now`, in seconds since 1970,
    /// dates the certificates of interceptors.
    ///
    /// # Errors
    /// If the text is no such description.
    pub fn install(text: &str, at: &str, seed: u64, now: u64) -> Result<Self, WireError> {
        let description: Description = toml::from_str(text)?;
        let addresses = |name: &str| description.addresses.get(name).cloned().unwrap_or_default();
        let chance = Chance::new(seed);
        let devices = description
            .equipment
            .iter()
            .filter(|story| story.at.get_ref() == at)
            .map(|story| {
                let chance = chance.fork(&format!("equipment {}", story.name.get_ref()));
                (story.position, install(story, &addresses, now, chance))
            })
            .collect();
        Ok(Self { devices, seen: 0 })
    }

    /// Shows it a packet, from the IP header on, `at` a time since some fixed moment that never runs back.
    pub fn see(&mut self, packet: &[u8], at: Duration) -> WireActs {
        let mut told = WireActs {
            fate: WireFate::Pass,
            injections: Vec::new(),
        };
        let Some(mut datagram) = datagram_reader::read(packet) else {
            return told;
        };
        self.seen += 1;
        let mut hold = Duration::ZERO;
        let mut rewritten = false;
        for (position, device) in &mut self.devices {
            let mut acts = Acts::default();
            let carried = Carried {
                id: self.seen,
                datagram: &datagram,
            };
            device.on_packet(&carried, SimTime::ZERO + at, &mut acts);
            told.injections
                .extend(acts.injections.into_iter().map(|injection| WireInjection {
                    after: injection.after,
                    packet: injection.datagram.to_bytes(),
                }));
            if !may_touch(*position) {
                continue;
            }
            match acts.fate {
                Fate::Pass => {}
                Fate::Drop => {
                    told.fate = WireFate::Drop;
                    return told;
                }
                Fate::Hold(wait) => hold += wait,
                Fate::Rewrite(into) => {
                    datagram = *into;
                    rewritten = true;
                }
            }
        }
        if rewritten {
            told.fate = WireFate::Rewrite(datagram.to_bytes());
        } else if !hold.is_zero() {
            told.fate = WireFate::Hold(hold);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::super::datagram::{Body, Datagram, IpHeader, Segment, UdpMessage, flag};
    use super::super::{dns, http};
    use super::*;

    const NOW: u64 = 1_768_032_000;

    fn from_client(body: Body) -> Vec<u8> {
        let ip = IpHeader {
            src: IpAddr::from([10, 77, 0, 2]),
            dst: IpAddr::from([45, 80, 1, 10]),
            ttl: 62,
            id: 9,
            df: true,
            tos: 0,
            flow_label: 0,
        };
        Datagram { ip, body }.to_bytes()
    }

    fn request(name: &str) -> Vec<u8> {
        from_client(Body::Tcp(Segment {
            src_port: 40_000,
            dst_port: 80,
            seq: 1000,
            ack: 5000,
            flags: flag::PSH | flag::ACK,
            window: 500,
            payload: http::request(name, "/", 0, "curl/7.88"),
            ..Segment::default()
        }))
    }

    #[test]
    fn a_reset_injector_answers_a_request_off_the_wire() {
        let text = r#"
            [[equipment]]
            name = "box"
            at = "near"
            position = "on_path"
            trigger.hosts = ["blocked.example"]
            reset = { style = "rst", towards = "both" }
        "#;
        let mut near = OnWire::install(text, "near", 1, NOW).unwrap();
        assert_eq!(near.see(&request("open.example"), Duration::ZERO).injections, []);
        let acts = near.see(&request("blocked.example"), Duration::from_secs(1));
        assert_eq!(acts.fate, WireFate::Pass);
        let forged: Vec<Datagram> = acts
            .injections
            .iter()
            .map(|injection| datagram_reader::read(&injection.packet).unwrap())
            .collect();
        assert!(forged.iter().all(|packet| packet.tcp().unwrap().has(flag::RST)));
        let to: Vec<IpAddr> = forged.iter().map(|packet| packet.ip.dst).collect();
        assert!(to.contains(&IpAddr::from([10, 77, 0, 2])) && to.contains(&IpAddr::from([45, 80, 1, 10])));
        // Another link's equipment has nothing to do with it.
        let mut far = OnWire::install(text, "far", 1, NOW).unwrap();
        assert_eq!(far.see(&request("blocked.example"), Duration::ZERO).injections, []);
    }

    #[test]
    fn a_filter_in_the_path_drops_and_one_beside_it_cannot() {
        for (position, fate) in [("in_path", WireFate::Drop), ("on_path", WireFate::Pass)] {
            let text = format!(
                r#"
                [addresses]
                site = ["45.80.1.10"]
                [[equipment]]
                name = "hole"
                at = "near"
                position = "{position}"
                blackhole.hosts = ["site"]
                "#
            );
            let mut link = OnWire::install(&text, "near", 1, NOW).unwrap();
            assert_eq!(link.see(&request("any.example"), Duration::ZERO).fate, fate);
        }
    }

    #[test]
    fn a_lying_resolver_rewrites_the_answer() {
        let text = r#"
            [[equipment]]
            name = "resolver"
            at = "near"
            position = "in_path"
            trigger.qnames = ["blocked.example"]
            lie.answers = ["127.0.0.1"]
        "#;
        let mut link = OnWire::install(text, "near", 1, NOW).unwrap();
        let query = dns::query(7, "blocked.example", dns::rr::A, false);
        let question = dns::read_question(&query).unwrap();
        let genuine = dns::answer(&query, &question, dns::bits::ANSWER, &[], false, dns::Tail::Bare);
        let asked = from_client(Body::Udp(UdpMessage {
            src_port: 4000,
            dst_port: 53,
            payload: query,
        }));
        assert_eq!(link.see(&asked, Duration::ZERO).fate, WireFate::Pass);
        let mut answer = datagram_reader::read(&asked).unwrap();
        std::mem::swap(&mut answer.ip.src, &mut answer.ip.dst);
        answer.body = Body::Udp(UdpMessage {
            src_port: 53,
            dst_port: 4000,
            payload: genuine,
        });
        let WireFate::Rewrite(told) = link.see(&answer.to_bytes(), Duration::ZERO).fate else {
            panic!("the answer was not rewritten");
        };
        let Body::Udp(told) = datagram_reader::read(&told).unwrap().body else {
            panic!("no longer UDP");
        };
        assert_eq!(dns::read_addresses(&told.payload), [IpAddr::from([127, 0, 0, 1])]);
    }

    #[test]
    fn a_description_that_makes_no_sense_is_refused() {
        let error = OnWire::install("[[equipment]]\nname = 1", "near", 1, NOW).unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
    }
}
