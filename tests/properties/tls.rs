//! TLS hellos and chains against `tls-parser`, on what the fixtures hold and on what that is changed into.

use std::sync::LazyLock;

use blockscope::payload::tls_certificate::{Chain, ChainRead};
use blockscope::payload::tls_client_hello::ClientHello;
use blockscope::payload::tls_handshake::{HelloExtent, Octets};
use blockscope::payload::tls_server_hello::ServerHello;
use proptest::prelude::*;
use tls_parser::{
    SNIType, TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_client_hello_extensions,
    parse_tls_message_handshake, parse_tls_plaintext, parse_tls_server_hello_extensions,
};

use crate::captures::segments;
use crate::trials;

/// What a hello of either side says, as either reader has it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    version: u16,
    session_id: usize,
    suites: usize,
    name: Option<Vec<u8>>,
    protocol: Option<Vec<u8>>,
    versions: Vec<u16>,
}

/// The segments of all fixtures that begin with a whole handshake record.
static HELLOS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut found: Vec<_> = segments()
        .into_iter()
        .filter(|segment| segment.starts_with(&[0x16, 3]))
        .collect();
    found.retain(|segment| parse_tls_plaintext(segment).is_ok());
    found.sort();
    found.dedup();
    found
});

fn client_by_us(bytes: &[u8]) -> Option<(Told, u16)> {
    let hello = ClientHello::read(bytes).hello()?;
    let HelloExtent::Whole { .. } = hello.extent else {
        return None;
    };
    let octets = |found: Option<Octets<'_>>| found.map(|found| found.as_bytes().to_vec());
    let told = Told {
        version: hello.legacy_version,
        session_id: hello.session_id_length.into(),
        suites: hello.cipher_suites.into(),
        name: octets(hello.server_name),
        protocol: octets(hello.first_protocol),
        versions: Vec::new(),
    };
    Some((told, hello.newest_version))
}

fn client_by_them(bytes: &[u8]) -> Option<Told> {
    let (_, record) = parse_tls_plaintext(bytes).ok()?;
    let TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)) = record.msg.first()? else {
        return None;
    };
    let extensions = match hello.ext {
        Some(bytes) => {
            let (rest, extensions) = parse_tls_client_hello_extensions(bytes).ok()?;
            // Extensions it cannot read to their end are not compared.
            if !rest.is_empty() {
                return None;
            }
            extensions
        }
        None => Vec::new(),
    };
    let mut told = Told {
        version: hello.version.0,
        session_id: hello.session_id.map_or(0, <[u8]>::len),
        suites: hello.ciphers.len(),
        name: None,
        protocol: None,
        versions: Vec::new(),
    };
    for extension in extensions {
        match extension {
            TlsExtension::SNI(names) if told.name.is_none() => {
                let host = names.iter().find(|(kind, _)| *kind == SNIType::HostName);
                told.name = host.map(|(_, name)| name.to_vec());
            }
            TlsExtension::ALPN(protocols) if told.protocol.is_none() => {
                told.protocol = protocols.first().map(|protocol| protocol.to_vec());
            }
            TlsExtension::SupportedVersions(versions) => {
                told.versions = versions.iter().map(|version| version.0).collect();
            }
            _ => {}
        }
    }
    Some(told)
}

/// Version, length of the session id, suite, version chosen by extension.
type Chosen = (u16, usize, u16, Option<u16>);

fn server_by_us(bytes: &[u8]) -> Option<Chosen> {
    let hello = ServerHello::read(bytes).hello()?;
    let HelloExtent::Whole { .. } = hello.extent else {
        return None;
    };
    let length = hello.session_id_length.into();
    Some((
        hello.legacy_version,
        length,
        hello.cipher_suite,
        hello.supported_version,
    ))
}

fn server_by_them(bytes: &[u8]) -> Option<Chosen> {
    let (_, record) = parse_tls_plaintext(bytes).ok()?;
    let TlsMessage::Handshake(TlsMessageHandshake::ServerHello(hello)) = record.msg.first()? else {
        return None;
    };
    let extensions = hello.ext.map_or(Some(Vec::new()), |bytes| {
        let (rest, extensions) = parse_tls_server_hello_extensions(bytes).ok()?;
        rest.is_empty().then_some(extensions)
    })?;
    let chosen = extensions.iter().find_map(|extension| match extension {
        TlsExtension::SupportedVersions(versions) => versions.first().map(|version| version.0),
        _ => None,
    });
    let length = hello.session_id.map_or(0, <[u8]>::len);
    Some((hello.version.0, length, hello.cipher.0, chosen))
}

#[test]
fn hellos_of_the_fixtures_are_read_alike() {
    let (mut clients, mut servers) = (0, 0);
    for hello in &*HELLOS {
        if let Some(theirs) = client_by_them(hello) {
            let (ours, newest) = client_by_us(hello).expect("they could read it");
            let versions: Vec<u16> = theirs
                .versions
                .iter()
                .copied()
                .filter(|version| version >> 8 == 3)
                .collect();
            assert_eq!(newest, versions.into_iter().max().unwrap_or(theirs.version));
            assert_eq!(
                ours,
                Told {
                    versions: Vec::new(),
                    ..theirs
                }
            );
            clients += 1;
        }
        if let Some(theirs) = server_by_them(hello) {
            assert_eq!(server_by_us(hello), Some(theirs));
            servers += 1;
        }
    }
    assert!(clients >= 20 && servers >= 10, "{clients} and {servers} hellos");
}

/// The chain as it is sent: a handshake message in records of at most `piece` octets.
fn flight(chain: &[Vec<u8>], piece: usize) -> (Vec<u8>, Vec<u8>) {
    let length = |len: usize| [(len >> 16) as u8, (len >> 8) as u8, len as u8];
    let list: Vec<u8> = chain
        .iter()
        .flat_map(|one| [&length(one.len())[..], one].concat())
        .collect();
    let body = [&length(list.len())[..], &list].concat();
    let message = [&[11], &length(body.len())[..], &body].concat();
    let record = |part: &[u8]| [&[0x16, 3, 3], &(part.len() as u16).to_be_bytes()[..], part].concat();
    (message.chunks(piece).flat_map(record).collect(), message)
}

proptest! {
    #![proptest_config(trials(512))]

    #[test]
    fn hellos_that_both_can_read_are_read_alike(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut hello = which.get(&HELLOS).clone();
        for (at, octet) in changes {
            let at = at.index(hello.len());
            hello[at] = octet;
        }
        if let (Some((ours, _)), Some(theirs)) = (client_by_us(&hello), client_by_them(&hello)) {
            // A list of names that says it is empty and is not is read here as boxes read it: the name is there.
            let name = theirs.name.or_else(|| ours.name.clone());
            prop_assert_eq!(ours, Told { name, versions: Vec::new(), ..theirs });
        }
        if let (Some(ours), Some(theirs)) = (server_by_us(&hello), server_by_them(&hello)) {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_chain_is_read_however_records_part_it(
        chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..400), 1..5), piece in 60_usize..900,
    ) {
        let (bytes, message) = flight(&chain, piece);
        let mut room = Vec::new();
        let ChainRead::Chain(read) = Chain::read(&bytes, &mut room) else { panic!("no chain") };
        prop_assert!(read.is_whole);
        prop_assert_eq!(read.end, bytes.len());
        let ours: Vec<&[u8]> = read.certificates().collect();
        let (_, theirs) = parse_tls_message_handshake(&message).expect("a message");
        let TlsMessage::Handshake(TlsMessageHandshake::Certificate(theirs)) = theirs else { panic!("{theirs:?}") };
        let theirs: Vec<&[u8]> = theirs.cert_chain.iter().map(|certificate| certificate.data).collect();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(ours, chain.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
}
