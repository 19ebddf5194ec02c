//! `blockscope interfaces`.

use std::fmt::Write as _;
use std::io::Write as _;

use blockscope::capture::live::interfaces;
use blockscope::report::escape::escaped;
use clap::Args;

use super::Ending;
use super::exit::Exit;

/// List the interfaces `watch` can look at
#[derive(Debug, Args)]
pub(super) struct InterfacesArgs {}

/// Lists.
pub(super) fn run() -> Ending {
    let found = interfaces().map_err(|error| (Exit::Unreadable, error.into()))?;
    let mut text = String::new();
    for interface in &found {
        let state = if interface.is_up { "up" } else { "down" };
        let _ = write!(text, "{:<16} {state:<5}", escaped(&interface.name));
        for address in &interface.addresses {
            let _ = write!(text, " {address}");
        }
        if let Some(description) = &interface.description {
            let _ = write!(text, " ({})", escaped(description));
        }
        text.push('\n');
    }
    // A reader that leaves early wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(Exit::Ran)
}
