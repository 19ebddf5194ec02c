//! The command line: one file a subcommand, and what they share.
//!
//! Only here is clap known, the terminal asked what it is, and the machine's clock read. A subcommand takes its
//! arguments and says how the process ends, as an [`Exit`]. Data goes to standard output, everything else to standard
//! error.

mod calibrate;
mod check;
mod control;
mod diagnostics;
#[cfg(target_os = "linux")]
mod doctor;
mod exit;
mod explain;
mod feed;
mod fingerprints;
mod forge;
mod input;
mod interfaces;
mod machine_clock;
mod output;
mod pin;
mod progress;
mod read;
mod resume;
mod room;
mod schema;
mod watch;

use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};

use self::exit::Exit;

/// Reads packets and says what was blocked on the way, how, by which kind of box, how far away, and on what evidence.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "blockscope COMMAND --help tells more, with examples."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Read(read::ReadArgs),
    Watch(watch::WatchArgs),
    Interfaces(interfaces::InterfacesArgs),
    #[cfg(target_os = "linux")]
    Doctor(doctor::DoctorArgs),
    Forge(forge::ForgeArgs),
    Explain(explain::ExplainArgs),
    Calibrate(calibrate::CalibrateArgs),
    Check(check::CheckArgs),
    Schema(schema::SchemaArgs),
}

/// What every subcommand takes.
#[derive(Clone, Copy, Debug, Args)]
struct Common {
    /// Say less: no summary in text, no progress, no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 100)]
    quiet: bool,
    /// Say more about what is going on, on standard error (-vv: still more)
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 101)]
    verbose: u8,
}

/// Runs the command the process was started with.
pub(super) fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match cli.command {
        Command::Read(args) => read::run(&args, cli.common),
        Command::Watch(args) => watch::run(&args, cli.common),
        Command::Interfaces(_) => interfaces::run(),
        #[cfg(target_os = "linux")]
        Command::Doctor(args) => doctor::run(&args, cli.common),
        Command::Forge(args) => forge::run(&args, cli.common),
        Command::Explain(args) => explain::run(&args),
        Command::Calibrate(args) => calibrate::run(&args, cli.common),
        Command::Check(args) => check::run(&args, cli.common),
        Command::Schema(_) => schema::run(),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err((exit, error)) => {
            eprintln!("{}", diagnostics::line("error", &format!("{error:#}")));
            exit.into()
        }
    }
}

/// How a subcommand ends: in order, or with an error that is told to the user.
type Ending = Result<Exit, (Exit, anyhow::Error)>;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
