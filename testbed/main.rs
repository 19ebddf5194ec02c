//! The live testbed: real clients and servers talk through kernels' own TCP, the forge's equipment sits on the links
//! between them, `blockscope watch` looks on, and what it says is held against what was done.
//!
//! ```text
//!  c1 ─┐
//!  c2 ─┤                 near                 far
//!  c3 ─┼─ r1 ══ tap0 ══ relay ══ r2 ══════ relay ══ r3 ── sv   nginx, unbound, dnsmasq, one address per probe
//!  c4 ─┘  watch         equipment │        equipment           captured: what the servers really sent
//!         captured                └─ ic   an interceptor
//! ```
//!
//! Every box is a network namespace of this run, held by a process of this run; both are gone when it ends. A relay is a
//! link with a delay and a router's hop, and carries out what [`blockscope::scenario::on_wire`] says. Nothing here has
//! an address outside these namespaces.
//!
//! `cargo test --test testbed` runs all but what takes minutes; `-- mix`, `serial`, `rate` or `faults` run one part.
//! `BLOCKSCOPE_TESTBED_BIN` names another program than the one of this build, `BLOCKSCOPE_TESTBED_WATCH` more arguments of
//! its watch, `BLOCKSCOPE_TESTBED_KEEP` a directory where captures and records are left, `BLOCKSCOPE_TESTBED_LATER` parts
//! that are run only when they are named. Where no namespaces can be made or a program is missing it says so and passes.

#![allow(
    clippy::disallowed_methods,
    reason = "links have delays, and what is waited for is waited for a bounded time"
)]

mod capture;
mod catalogue;
mod faults;
mod frames;
mod link;
mod mix;
mod network;
mod process;
mod quic;
mod rate;
mod relay;
mod sandbox;
mod servers;
mod told;
mod truth;

use std::process::ExitCode;

/// A part of the testbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Mix,
    Serial,
    Rate,
    Faults,
}

impl Part {
    const ALL: [Self; 4] = [Self::Mix, Self::Serial, Self::Rate, Self::Faults];

    const fn key(self) -> &'static str {
        match self {
            Self::Mix => "mix",
            Self::Serial => "serial",
            Self::Rate => "rate",
            Self::Faults => "faults",
        }
    }

    fn run(self) -> Result<(), String> {
        match self {
            Self::Mix => mix::run(),
            Self::Serial => mix::serial(),
            Self::Rate => rate::run(),
            Self::Faults => faults::run(),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The boxes of a run run this program too.
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("relay", rest)) => return ended(relay::run(rest)),
        Some(("capture", rest)) => return ended(capture::run(rest)),
        Some(("quic-server", rest)) => return ended(quic::serve(rest)),
        Some(("quic-visit", rest)) => return ended(quic::visit(rest)),
        Some(("flood", rest)) => return ended(link::send(rest)),
        _ => {}
    }
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let later = std::env::var("BLOCKSCOPE_TESTBED_LATER").unwrap_or_default();
    let wanted: Vec<Part> = Part::ALL
        .into_iter()
        // What takes minutes is run only when it is named.
        .filter(|part| {
            let named_later = later.split_whitespace().any(|word| word == part.key());
            words.contains(&part.key()) || (words.is_empty() && *part != Part::Serial && !named_later)
        })
        .collect();
    // A word of `cargo test WORD` that names none of the parts is meant for other tests.
    if wanted.is_empty() || arguments.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if !sandbox::is_inside() {
        return sandbox::enter(&arguments);
    }
    for part in wanted {
        println!("testbed: {}", part.key());
        if let Err(problem) = part.run() {
            return ended(Err(format!("{}: {problem}", part.key())));
        }
    }
    ExitCode::SUCCESS
}

fn ended(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("testbed: {problem}");
            ExitCode::FAILURE
        }
    }
}
