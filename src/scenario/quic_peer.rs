//! Both ends of the forge's QUIC, for sockets of a real network: what an onlooker can read of it is genuine, the rest is
//! noise of the right form (see `quic`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::chance::Chance;
use super::quic;

/// Packets a server sends for a request.
const PAGE: usize = 4;

/// A client's visit.
#[derive(Debug)]
pub struct QuicClient {
    client_id: Vec<u8>,
    own_id: Vec<u8>,
    hello: Vec<u8>,
    initials: u32,
    asked: bool,
    chance: Chance,
}

impl QuicClient {
    /// A visit of `name`; all chance is drawn from `seed`.
    #[must_use]
    pub fn new(name: &str, seed: u64) -> Self {
        let mut chance = Chance::new(seed).fork("quic client");
        Self {
            client_id: chance.bytes(8),
            own_id: chance.bytes(8),
            hello: quic::hello(name, &mut chance),
            initials: 0,
            asked: false,
            chance,
        }
    }

    /// The Initial with the ClientHello, each time under the next packet number.
    pub fn initial(&mut self) -> Vec<u8> {
        let number = self.initials;
        self.initials += 1;
        quic::client_initial((&self.client_id, &self.own_id), number, &self.hello)
    }

    /// What it sends on receiving a datagram.
    pub fn answer(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        if self.asked {
            return vec![quic::noise_data(&self.client_id, 34, &mut self.chance)];
        }
        let Some((_, server_id)) = quic::ids(datagram) else {
            return Vec::new();
        };
        self.asked = true;
        self.client_id = server_id.to_vec();
        vec![
            quic::noise_handshake((server_id, &self.own_id), 110, &mut self.chance),
            quic::noise_data(server_id, 420, &mut self.chance),
        ]
    }
}

/// A server.
#[derive(Debug)]
pub struct QuicServer {
    /// By client: the server's connection id, and whether a request was answered.
    sessions: BTreeMap<SocketAddr, (Vec<u8>, bool)>,
    chance: Chance,
}

impl QuicServer {
    /// A server; all chance is drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            sessions: BTreeMap::new(),
            chance: Chance::new(seed).fork("quic server"),
        }
    }

    /// What it sends to a client on receiving a datagram.
    pub fn answer(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        let chance = &mut self.chance;
        if quic::is_initial(datagram) {
            let Some((client_id, their_id)) = quic::ids(datagram) else {
                return Vec::new();
            };
            let fresh = chance.bytes(8);
            let (own_id, _) = self.sessions.entry(from).or_insert((fresh, false));
            return vec![
                quic::server_first(client_id, (their_id, own_id), chance),
                quic::noise_handshake((their_id, own_id), 1200, chance),
            ];
        }
        let short = datagram.first().is_some_and(|first| first & 0x80 == 0);
        match self.sessions.get_mut(&from) {
            Some((_, answered)) if short && !*answered => {
                *answered = true;
                let id = chance.bytes(8);
                (0..PAGE).map(|_| quic::noise_data(&id, 1200, chance)).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_comes_to_a_page() {
        let from = SocketAddr::from(([192, 0, 2, 1], 4000));
        let (mut client, mut server) = (QuicClient::new("site.example", 1), QuicServer::new(2));
        let initial = client.initial();
        assert_eq!(quic::server_name(&initial).as_deref(), Some("site.example"));
        assert_ne!(initial, client.initial());
        let flight = server.answer(from, &initial);
        assert_eq!(flight.len(), 2);
        let mut page = Vec::new();
        for datagram in client.answer(&flight[0]) {
            page.extend(server.answer(from, &datagram));
        }
        assert_eq!(page.len(), PAGE);
        // An acknowledgement is no second request.
        for datagram in client.answer(&page[0]) {
            assert_eq!(server.answer(from, &datagram), Vec::<Vec<u8>>::new());
        }
    }
}
