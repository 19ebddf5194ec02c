//! `blockscope doctor`.

mod bypass_tools;
mod check;
mod clock;
mod interface;
mod sample;

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context;
use blockscope::capture::error::CaptureError;
use blockscope::capture::live::{LiveSettings, LiveSource, Promiscuity};
use blockscope::report::escape::escaped;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;

use self::check::{Check, State};
use self::interface::Interface;
use super::exit::Exit;
use super::watch::give_the_capability;
use super::{Common, Ending, diagnostics};

const MORE: &str = "\
Examples:
  blockscope doctor -i eth0
  blockscope doctor -i span0 --for 60 --format json | jq '.checks[] | select(.state == \"problem\")'

Each line says how something stands (good, notice, problem or unknown), and beneath it what to do.

Exit status:
  0  nothing that is a problem
  1  a problem was found
  2  the arguments make no sense
  3  the interface does not exist";

/// Look whether an interface is fit to be watched, and say what to do where it is not
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct DoctorArgs {
    /// The interface
    #[arg(short, long, value_name = "IFACE")]
    interface: String,

    /// How many seconds to look at its packets
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    span: u64,

    /// Look only at packets that match this pcap-filter(7) expression
    #[arg(short, long, value_name = "EXPR")]
    filter: Option<String>,

    /// The ring in which the kernel keeps packets until they are read
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    buffer: u32,

    /// How to tell it: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    format: Format,
}

/// How to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person
    Text,
    /// One JSON object
    Json,
}

#[derive(Serialize)]
struct Told<'a> {
    interface: &'a str,
    checks: &'a [Check],
}

/// Looks and tells.
pub(super) fn run(args: &DoctorArgs, common: Common) -> Ending {
    diagnostics::start(common, &ProgressBar::hidden());
    let unreadable = |error: anyhow::Error| (Exit::Unreadable, error);
    let name = args.interface.as_str();
    let live = LiveSettings {
        filter: args.filter.clone(),
        buffer_mib: args.buffer,
        promiscuity: Promiscuity::Everything,
        ..LiveSettings::default()
    };
    let source = LiveSource::open(&[name.to_owned()], live);
    let mut checks = Vec::new();
    let source = match source {
        Ok(source) => {
            checks.push(Check::good("permission", "packets can be captured"));
            Some(source)
        }
        Err(CaptureError::NotAllowed { .. }) => {
            let says = "capturing needs the capability cap_net_raw, which this process does not have";
            checks.push(Check::bad("permission", State::Problem, says, give_the_capability()));
            None
        }
        // What that means is said of the interface.
        Err(error) if error.to_string().contains("not up") => None,
        Err(error @ CaptureError::Filter { .. }) => return Err((Exit::Usage, error.into())),
        Err(error) => return Err(unreadable(error.into())),
    };
    if name != "any" {
        let interface = Interface::named(name)
            .context("no socket can be had")
            .map_err(unreadable)?;
        checks.push(interface.link());
        checks.push(interface.offloads());
    }
    if let Some(source) = source {
        let sample = sample::sample(source, Duration::from_secs(args.span), args.buffer);
        checks.extend(sample.checks());
    }
    checks.push(clock::clock());
    checks.push(bypass_tools::bypass_tools());
    let text = match args.format {
        Format::Text => text(&checks),
        Format::Json => {
            let told = Told {
                interface: name,
                checks: &checks,
            };
            let json = serde_json::to_string(&told).map_err(|error| unreadable(error.into()))?;
            json + "\n"
        }
    };
    // A reader that leaves early wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if checks.iter().any(|check| check.state == State::Problem) {
        Exit::Found
    } else {
        Exit::Ran
    })
}

fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let what = check.what.replace('_', " ");
        text += &format!("{:<8} {what:<13} {}\n", check.state.key(), escaped(&check.says));
        if let Some(advice) = &check.advice {
            text += &format!("{:<8} {:<13} do: {}\n", "", "", escaped(advice));
        }
    }
    text
}
