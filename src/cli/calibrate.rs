//! `blockscope calibrate`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use blockscope::calibrate::bound::{at_least, at_most, estimate};
use blockscope::calibrate::tally::{CLASSES, Tally};
use blockscope::calibrate::truth::{Labels, Truth};
use blockscope::finding::verdict::Verdict;
use blockscope::report::escape::escaped_path;
use blockscope::report::figures::{counted, grouped};
use clap::Args;
use tracing::{debug, info};
use walkdir::WalkDir;

use super::exit::Exit;
use super::progress::{Bar, Showing};
use super::{Common, Ending, diagnostics};

const MORE: &str = "\
Every capture of the directories, at any depth, is read by itself. What is true of it:
  in a fixture (beside a story.toml)   what the story says
  named by --labels                    the labelled flows are blocked; of its other flows nobody knows
  below --blocked, not named           nobody knows
  any other                            innocent: every accusation is a false one

Examples:
  blockscope calibrate clean/                 p0 of every observation, on traffic known to be clean
  blockscope calibrate clean/ fixtures/ --blocked attacked/ --labels attacked/labels.json
                                              and how often a verdict is right

p0 is the probability of an observation where nothing is blocked, with Jeffreys' smoothing; \"at most\" is its 95 %
bound (Clopper-Pearson). It is given for all chances to make the observation: TCP flows, UDP flows or DNS questions.

Exit status:
  0    done
  2    the arguments make no sense
  3    a directory or the labels cannot be read";

/// Measure how often each piece of evidence is seen where nothing is blocked, and how often verdicts are right
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct CalibrateArgs {
    /// Directories of captures in which nothing is blocked, and of fixtures
    #[arg(required_unless_present = "blocked", value_name = "DIR")]
    inputs: Vec<PathBuf>,

    /// A directory of captures in which something is blocked (may be given again)
    #[arg(long, value_name = "DIR")]
    blocked: Vec<PathBuf>,

    /// Which flows are blocked: a JSON array of {"file", "flow": "ip:port>ip:port", "packet_numbers"}; files are
    /// relative to FILE's directory
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// Counts and prints.
pub(super) fn run(args: &CalibrateArgs, common: Common) -> Ending {
    let unreadable = |error| (Exit::Unreadable, error);
    let showing = if common.quiet || !io::stderr().is_terminal() {
        Showing::Never
    } else {
        Showing::WhenLong
    };
    let bar = Bar::new(showing);
    diagnostics::start(common, bar.handle());
    let labels = args
        .labels
        .as_deref()
        .map(labels)
        .transpose()
        .map_err(unreadable)?
        .unwrap_or_default();
    let mut tally = Tally::default();
    let mut passed_over = 0_u64;
    let nobody_knows = Truth::Flows(Vec::new());
    let held = captures(&args.inputs, &Truth::Innocent).map_err(unreadable)?;
    let blocked = captures(&args.blocked, &nobody_knows).map_err(unreadable)?;
    for (capture, otherwise) in held.into_iter().chain(blocked) {
        let Some(truth) = truth(&capture, &labels, otherwise).map_err(unreadable)? else {
            continue;
        };
        if let Err(error) = tally.count(&capture, &truth) {
            debug!("{error}");
            passed_over += 1;
        }
    }
    bar.finish();
    if passed_over > 0 {
        info!("no captures, passed over: {}", counted(passed_over, "file"));
    }
    match io::stdout().write_all(page(&tally).as_bytes()) {
        Ok(()) => Ok(Exit::Ran),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Ran),
        Err(error) => Err(unreadable(error.into())),
    }
}

fn labels(path: &Path) -> anyhow::Result<Labels> {
    let name = escaped_path(path).to_string();
    let text = fs::read_to_string(path).with_context(|| name.clone())?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    Labels::parse(&text, directory).map_err(|why| anyhow!("{name}: {why}"))
}

/// All files below `directories`, in order of name, and what is true of them unless something else is known.
fn captures<'a>(directories: &[PathBuf], truth: &'a Truth) -> anyhow::Result<Vec<(PathBuf, &'a Truth)>> {
    let mut found = Vec::new();
    for directory in directories {
        for entry in WalkDir::new(directory).sort_by_file_name() {
            let entry = entry.with_context(|| escaped_path(directory).to_string())?;
            if entry.file_type().is_file() {
                found.push((entry.into_path(), truth));
            }
        }
    }
    Ok(found)
}

/// What is known of the file at `path`, or `otherwise`; none for the files of a fixture that are no captures.
fn truth(path: &Path, labels: &Labels, otherwise: &Truth) -> anyhow::Result<Option<Truth>> {
    if let Some(truth) = labels.of(path) {
        return Ok(Some(truth));
    }
    match Truth::of_fixture(path)? {
        Some(truth) if path.extension().is_some_and(|extension| extension == "pcap") => Ok(Some(truth)),
        Some(_) => Ok(None),
        None => Ok(Some(otherwise.clone())),
    }
}

fn page(tally: &Tally) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(tally, &mut page);
    page
}

fn write_page(tally: &Tally, page: &mut String) -> std::fmt::Result {
    let coverage = &tally.coverage;
    writeln!(
        page,
        "{} innocent captures: {} TCP flows, {} UDP flows, {} DNS questions",
        grouped(tally.innocent),
        grouped(coverage.tcp_flows),
        grouped(coverage.udp_flows),
        grouped(coverage.dns_answered + coverage.dns_unanswered),
    )?;
    if tally.blocked > 0 {
        writeln!(page, "{} captures with blocking", grouped(tally.blocked))?;
    }
    if !tally.made.is_empty() {
        writeln!(page, "\nEvidence seen where nothing was blocked")?;
        writeln!(
            page,
            "{:19}  {:32}  {:>7}  {:>9}  {:>8}  {:>8}  {:>8}",
            "kind", "observation", "seen", "chances", "p0", "at most", "in use"
        )?;
        for ((kind, key), made) in &tally.made {
            let chances = tally.chances(*kind).max(made.cases);
            let mark = if at_least(made.cases, chances) > made.weight.p0 {
                "  too small"
            } else {
                ""
            };
            writeln!(
                page,
                "{:19}  {key:32}  {:>7}  {:>9}  {:>8.1e}  {:>8.1e}  {:>8.1e}{mark}",
                kind.key(),
                made.cases,
                chances,
                estimate(made.cases, chances),
                at_most(made.cases, chances),
                made.weight.p0,
            )?;
        }
        writeln!(
            page,
            "\nAn observation that is not listed was never made: p0 at most {:.1e} a TCP flow, {:.1e} a DNS question.",
            at_most(0, coverage.tcp_flows),
            at_most(0, coverage.dns_answered + coverage.dns_unanswered),
        )?;
    }
    if !tally.verdicts.is_empty() {
        writeln!(page, "\nFindings by kind and verdict")?;
        writeln!(
            page,
            "{:19}  {:9}  {:>6}  {:>6}  {:>9}",
            "kind", "verdict", "right", "wrong", "precision"
        )?;
        for ((kind, verdict), score) in &tally.verdicts {
            writeln!(
                page,
                "{:19}  {:9}  {:>6}  {:>6}  {:>9.3}",
                kind.key(),
                Verdict::key(*verdict),
                score.right,
                score.wrong,
                score.right as f64 / score.all() as f64,
            )?;
        }
    }
    let Some(brier) = tally.brier() else {
        return Ok(());
    };
    writeln!(
        page,
        "\nReliability: of the cases given a probability, how many were right"
    )?;
    writeln!(
        page,
        "{:13}  {:>6}  {:>6}  {:>8}  {:>8}  {:>15}",
        "probability", "right", "wrong", "promised", "observed", "95 % between"
    )?;
    for (index, class) in tally.classes.iter().enumerate() {
        let (right, all) = (class.score.right, class.score.all());
        if all == 0 {
            continue;
        }
        let upper = CLASSES.get(index + 1).copied().unwrap_or(1.0);
        writeln!(
            page,
            "{:5.3} - {upper:5.3}  {right:>6}  {:>6}  {:>8.3}  {:>8.3}  {:>6.3} - {:>6.3}",
            CLASSES[index],
            class.score.wrong,
            class.promised / all as f64,
            right as f64 / all as f64,
            at_least(right, all),
            at_most(right, all),
        )?;
    }
    writeln!(page, "Brier score {brier:.4}")?;
    if tally.unknown > 0 {
        writeln!(
            page,
            "{} findings are about flows that no label names; they count neither way",
            grouped(tally.unknown)
        )?;
    }
    Ok(())
}
