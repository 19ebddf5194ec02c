//! `blockscope read`.

use std::io::{self, ErrorKind, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::Source;
use blockscope::engine::run::{self, FLOWS, Outcome, Settings};
use blockscope::finding::verdict::Verdict;
use blockscope::report::eve::Eve;
use blockscope::report::figures::{counted, grouped};
use blockscope::report::sink::Sink;
use blockscope::report::text::{Closing, Text};
use blockscope::report::threshold::Threshold;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use tracing::{error, warn};

use super::control::Watch;
use super::exit::Exit;
use super::output::{Color, Output};
use super::pin::Pin;
use super::progress::{Bar, Showing};
use super::room::Room;
use super::{Common, Ending, diagnostics, fingerprints, input, resume};

const MORE: &str = "\
Examples:
  blockscope read uplink.pcap                     what was blocked in this capture
  blockscope read captures/ -f 'port 53'          DNS only, all captures below a directory
  tcpdump -i eth0 -s 0 -w - | blockscope read -   from a pipe
  blockscope read *.pcap.gz --format eve | jq -r 'select(.event_type == \"block\") | .block.trigger.value'
  blockscope read x.pcap -q --fail-on likely      for scripts: status 1 if blocking was found

Exit status:
  0    ran, whatever was found
  1    with --fail-on: something at or above the verdict was found
  2    the arguments make no sense
  3    an input could not be read (the others were), or the output could not be written;
       with --strict also: a capture is damaged
  130  stopped by a signal, after reporting what was known";

/// Judge saved captures, and say what was blocked and on what evidence
///
/// Reads pcap and pcapng, also compressed with gzip, zstd, lz4 or xz; what a file is, is told by its contents.
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct ReadArgs {
    /// Captures, directories of captures (all below, in order of time), or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    inputs: Vec<PathBuf>,

    /// How to tell the findings: text (for a person) or eve (one JSON object a line; see blockscope schema). The same
    /// on a terminal and on a pipe
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    format: Format,

    /// Write to FILE instead of standard output; what FILE held is replaced when all is written
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Judge only packets that match this pcap-filter(7) expression
    #[arg(short, long, value_name = "EXPR")]
    filter: Option<String>,

    /// Read the filter expression from FILE (# begins a comment)
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "filter")]
    filter_file: Option<PathBuf>,

    /// Also look for the block pages and forged answers of this list (may be given several times): OONI's
    /// fingerprints_http.csv and fingerprints_dns.csv, Censored Planet's *_signatures.json, Citizen Lab's annotations,
    /// or a pack of [[row]] tables
    #[arg(long, value_name = "FILE")]
    fingerprints: Vec<PathBuf>,

    /// The least verdict to print: possible, likely or confirmed
    #[arg(long, value_name = "VERDICT", default_value = "possible", value_parser = verdicts(), hide_possible_values = true)]
    verdict: Verdict,

    /// End with status 1 if something at or above VERDICT was found
    #[arg(long, value_name = "VERDICT", value_parser = verdicts(), hide_possible_values = true)]
    fail_on: Option<Verdict>,

    /// End with status 3 if a capture is damaged or cut off (its packets up to there are judged all the same)
    #[arg(long)]
    strict: bool,

    /// Keep in FILE what each capture came to once it is read: the same command, repeated, goes on where it was cut off.
    /// Each capture is then judged by itself: no flow is followed from one file into the next
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Worker threads; what is found does not depend on it [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    #[command(flatten)]
    pin: Pin,

    #[command(flatten)]
    room: Room,

    /// When to colour text: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: Color,

    /// Show no progress bar (there is one on a terminal, when it takes long)
    #[arg(long)]
    no_progress: bool,
}

/// The formats findings are told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a person
    Text,
    /// One JSON object a line, as EVE has it
    Eve,
}

/// Verdicts by their names in records.
pub(super) fn verdicts() -> impl TypedValueParser<Value = Verdict> {
    const ALL: [Verdict; 3] = [Verdict::Possible, Verdict::Likely, Verdict::Confirmed];
    PossibleValuesParser::new(ALL.map(Verdict::key)).map(|name| {
        let named = ALL.into_iter().find(|verdict| verdict.key() == name);
        named.unwrap_or(Verdict::Possible)
    })
}

/// How the captures are read.
enum Input<'a> {
    /// One after another, each kept in the state at this path.
    InParts(&'a Path, Box<CaptureSet>),
    AtOnce(Box<dyn Source>),
}

/// Reads and reports.
pub(super) fn run(args: &ReadArgs, common: Common) -> Ending {
    let showing = if common.quiet || args.no_progress || !io::stderr().is_terminal() {
        Showing::Never
    } else {
        Showing::WhenLong
    };
    let bar = Bar::new(showing);
    diagnostics::start(common, bar.handle());
    let usage = |error| (Exit::Usage, error);
    let unreadable = |error| (Exit::Unreadable, error);

    let from_file = args
        .filter_file
        .as_deref()
        .map(input::filter_file)
        .transpose()
        .map_err(usage)?;
    let filter = args.filter.as_deref().or(from_file.as_deref());
    let facts = fingerprints::facts(&args.fingerprints).map_err(usage)?;
    let placing = args.pin.placing().map_err(usage)?;
    // Directories are looked into before anything is written there.
    let source = match args.state.as_deref() {
        Some(state) => Input::InParts(state, Box::new(CaptureSet::open(&args.inputs))),
        None => Input::AtOnce(input::open(&args.inputs, filter).map_err(usage)?),
    };
    let output = Output::open(args.output.as_deref(), &args.inputs, bar.handle())?;
    let keeper = output.keeper();
    let mut sink = sink(args, common, output);
    let settings = Settings {
        threads: args.threads.unwrap_or_else(cores),
        flows: args.room.flows(FLOWS),
        facts,
        placing,
        ..Settings::default()
    };
    let mut watch = Watch::start(bar).map_err(|error| unreadable(error.into()))?;
    let mut outcome = Outcome::default();
    let part = match source {
        Input::InParts(state, captures) => resume::Reading {
            state,
            inputs: &args.inputs,
            captures: *captures,
            filter,
            fingerprints: &args.fingerprints,
            settings: &settings,
        }
        .judge(&mut watch, &mut outcome)?,
        Input::AtOnce(mut source) => run::judge(&mut *source, &settings, &mut watch, &mut outcome),
    };
    let mut outcome = run::conclude(part, &settings, &mut *sink, outcome);
    watch.finish();
    if outcome.output.is_none() {
        outcome.output = keeper.keep().err();
    }
    Ok(conclude(&outcome, args.strict, args.fail_on))
}

fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn sink(args: &ReadArgs, common: Common, output: Output) -> Box<dyn Sink> {
    let closing = if common.quiet {
        Closing::Nothing
    } else {
        Closing::Summary
    };
    match args.format {
        Format::Text => {
            let width = output.width();
            let text = Text::new(output.coloured(args.color), width, closing);
            Box::new(Threshold::new(args.verdict, text))
        }
        Format::Eve => Box::new(Threshold::new(args.verdict, Eve::new(output.plain()))),
    }
}

/// Tells what went wrong, and how the process ends: what was cut short counts before what could not be read, and that
/// before what was found.
fn conclude(outcome: &Outcome, strict: bool, fail_on: Option<Verdict>) -> Exit {
    let mut failed = false;
    for error in &outcome.unreadable {
        error!("{error}");
        failed = true;
    }
    for file in &outcome.summary.files {
        let Some(damage) = &file.damage else { continue };
        let path = file.path.display();
        let (why, offset, frames) = (&damage.why, grouped(damage.offset), counted(file.frames, "frame"));
        if strict {
            error!("{path}: damaged at byte {offset}: {why} ({frames} before it were read)");
            failed = true;
        } else {
            warn!("{path}: damaged at byte {offset}: {why} ({frames} before it were read)");
        }
    }
    match &outcome.output {
        // Whoever read the output has seen enough.
        Some(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Some(error) => {
            error!("the output cannot be written: {error}");
            failed = true;
        }
        None => {}
    }
    let found = |least| outcome.summary.findings.keys().any(|(_, verdict)| *verdict >= least);
    if outcome.summary.interrupted {
        Exit::Interrupted
    } else if failed {
        Exit::Unreadable
    } else if fail_on.is_some_and(found) {
        Exit::Found
    } else {
        Exit::Ran
    }
}

#[cfg(test)]
mod tests {
    use blockscope::capture::error::CaptureError;
    use blockscope::capture::source::{Damage, FileNote};
    use blockscope::finding::finding::Kind;

    use super::*;

    fn damaged() -> Outcome {
        let mut outcome = Outcome::default();
        outcome.summary.files.push(FileNote {
            damage: Some(Damage {
                offset: 24,
                why: "cut off".to_owned(),
            }),
            ..FileNote::default()
        });
        outcome
    }

    fn with_finding(verdict: Verdict) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.summary.findings.insert((Kind::RstInjection, verdict), 1);
        outcome
    }

    #[test]
    fn what_is_found_changes_the_status_only_when_asked() {
        let outcome = with_finding(Verdict::Likely);
        assert_eq!(conclude(&outcome, false, None), Exit::Ran);
        assert_eq!(conclude(&outcome, false, Some(Verdict::Possible)), Exit::Found);
        assert_eq!(conclude(&outcome, false, Some(Verdict::Likely)), Exit::Found);
        assert_eq!(conclude(&outcome, false, Some(Verdict::Confirmed)), Exit::Ran);
        assert_eq!(conclude(&Outcome::default(), false, Some(Verdict::Possible)), Exit::Ran);
    }

    #[test]
    fn damage_is_an_error_only_when_strict() {
        assert_eq!(conclude(&damaged(), false, None), Exit::Ran);
        assert_eq!(conclude(&damaged(), true, None), Exit::Unreadable);
    }

    #[test]
    fn an_unreadable_input_counts_before_a_finding() {
        let mut outcome = with_finding(Verdict::Confirmed);
        outcome.unreadable.push(CaptureError::Io {
            path: PathBuf::from("x"),
            source: ErrorKind::NotFound.into(),
        });
        assert_eq!(conclude(&outcome, false, Some(Verdict::Likely)), Exit::Unreadable);
        outcome.summary.interrupted = true;
        assert_eq!(conclude(&outcome, false, None), Exit::Interrupted);
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure_but_a_full_disk_is() {
        let mut outcome = Outcome {
            output: Some(ErrorKind::BrokenPipe.into()),
            ..Outcome::default()
        };
        assert_eq!(conclude(&outcome, true, None), Exit::Ran);
        outcome.output = Some(ErrorKind::StorageFull.into());
        assert_eq!(conclude(&outcome, false, None), Exit::Unreadable);
    }
}
