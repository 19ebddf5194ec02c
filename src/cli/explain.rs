//! `blockscope explain`.

use std::io::{self, ErrorKind, Write};

use blockscope::finding::finding::Kind;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Ending;
use super::exit::Exit;

/// Say what a kind of blocking is, how it is told, and what it is mistaken for
///
/// Without a KIND: list all kinds.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The kind, as records name it
    #[arg(value_name = "KIND", value_parser = kinds(), hide_possible_values = true)]
    kind: Option<Kind>,
}

/// Kinds by their names in records.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(explained().map(Kind::key)).map(|name| {
        let named = Kind::ALL.into_iter().find(|kind| kind.key() == name);
        named.unwrap_or(Kind::RstInjection)
    })
}

/// The kinds this version finds.
fn explained() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| source(*kind).is_some())
}

/// The detector of a kind, whose module documentation is the explanation; none for a kind nothing finds yet.
const fn source(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::RstInjection => Some(include_str!("../detect/rst_injection.rs")),
        Kind::DnsInjection => Some(include_str!("../detect/dns_injection.rs")),
        Kind::BlockPage => Some(include_str!("../detect/block_page.rs")),
        Kind::PayloadInjection => Some(include_str!("../detect/payload_injection.rs")),
        Kind::SilentDrop => Some(include_str!("../detect/silent_drop.rs")),
        Kind::FinInjection => Some(include_str!("../detect/fin_injection.rs")),
        Kind::SynAckInjection => Some(include_str!("../detect/syn_ack_injection.rs")),
        Kind::TlsAlertInjection => Some(include_str!("../detect/tls_alert_injection.rs")),
        Kind::TlsInterception => Some(include_str!("../detect/tls_interception.rs")),
        Kind::IcmpProhibited => Some(include_str!("../detect/icmp_prohibited.rs")),
        Kind::IpBlackhole => Some(include_str!("../detect/ip_blackhole.rs")),
        Kind::Throttling => Some(include_str!("../detect/throttling.rs")),
        Kind::VolumeFreeze => Some(include_str!("../detect/volume_freeze.rs")),
        Kind::Shutdown => Some(include_str!("../engine/ledger/shutdown.rs")),
        Kind::ResidualBlock => Some(include_str!("../engine/ledger/residue.rs")),
        Kind::DnsBlockAnswer => Some(include_str!("../detect/dns_injection/block_answer.rs")),
        Kind::CaptivePortal => Some(include_str!("../detect/captive_portal.rs")),
        Kind::QuicDrop => Some(include_str!("../detect/quic_drop.rs")),
    }
}

/// The documentation at the head of a module.
fn documentation(source: &str) -> String {
    source
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| {
            line.strip_prefix("//! ")
                .or_else(|| line.strip_prefix("//!"))
                .unwrap_or(line)
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

/// Prints the explanation.
pub(super) fn run(args: &ExplainArgs) -> Ending {
    let text = match args.kind.and_then(source) {
        Some(source) => documentation(source),
        None => explained()
            .map(|kind| format!("{:20} {}\n", kind.key(), kind.headline()))
            .collect(),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(Exit::Ran),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Ran),
        Err(error) => Err((Exit::Unreadable, error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_explanation_has_its_four_parts() {
        for kind in explained() {
            let text = documentation(source(kind).unwrap());
            for part in ["# What it sees", "# How it tells", "# What it mistakes", "# References"] {
                assert!(text.contains(part), "{} lacks {part}", kind.key());
            }
            assert!(text.starts_with(&format!("`{}`", kind.key())), "{}", kind.key());
        }
    }
}
