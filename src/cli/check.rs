//! `blockscope check`.

use std::fs;
use std::io::{ErrorKind, Write};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use blockscope::check::case::{Case, Found, MANIFEST, Material};
use blockscope::check::draft::draft;
use blockscope::check::examine::{Policy, examine, reading};
use blockscope::check::outcome::{Checked, Failure, Outcome, Rule, Tally, Trouble};
use blockscope::check::report::{github, junit, sarif, tap, text};
use blockscope::report::escape::escaped_path;
use blockscope::report::replacement::replace;
use clap::Args;
use crossbeam_channel::bounded;
use indicatif::ProgressBar;

use super::exit::Exit;
use super::output::{Color, Output};
use super::{Common, Ending, diagnostics};

const MORE: &str = "\
A case is a directory with a capture (or a story.toml to forge) and what is expected of it: case.toml says what must be
found and what must not, expected.eve.jsonl has the exact lines. docs/check.md tells how to write one.

Examples:
  blockscope check                                 all cases below this directory
  blockscope check --new uplink.pcap captures/     draft a case of a capture: captures/uplink/
  blockscope check captures/ --filter reset        only cases whose name has \"reset\" in it
  blockscope check captures/ --accept              take what is found now as the exact lines expected
  blockscope check captures/ --junit report.xml --sarif report.sarif --github

Exit status:
  0  everything is as expected
  1  something is not
  2  the arguments make no sense
  3  a case, a capture or an expectation cannot be read, there is none, or a report cannot be written";

/// Check that in your captures is found what must be, and nothing that must not
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct CheckArgs {
    /// Directories of cases, at any depth
    #[arg(value_name = "DIR", default_value = ".")]
    directories: Vec<PathBuf>,

    /// Take what is found as the new expectation, where exact lines are compared or nothing is expected yet
    #[arg(long)]
    accept: bool,

    /// Draft a case of CAPTURE in a new directory below DIR
    #[arg(long, value_name = "CAPTURE", conflicts_with_all = ["accept", "filter", "junit", "sarif", "github", "tap"])]
    new: Option<PathBuf>,

    /// Check only cases whose name contains NAME (may be given several times: any of them)
    #[arg(long, value_name = "NAME")]
    filter: Vec<String>,

    /// Cases checked at once; the report does not depend on it [default: one a core]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Also write a JUnit XML report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Also write a SARIF 2.1.0 report
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,

    /// Also print annotations for GitHub Actions
    #[arg(long, conflicts_with = "tap")]
    github: bool,

    /// Print TAP (version 14) instead of text
    #[arg(long)]
    tap: bool,

    /// When to colour text: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: Color,
}

/// Checks.
pub(super) fn run(args: &CheckArgs, common: Common) -> Ending {
    let no_bar = ProgressBar::hidden();
    diagnostics::start(common, &no_bar);
    let unreadable = |error| (Exit::Unreadable, error);
    if let Some(capture) = &args.new {
        let [directory] = &args.directories[..] else {
            return Err((Exit::Usage, anyhow!("give one directory for the new case")));
        };
        return new_case(capture, directory).map_err(unreadable);
    }
    let start = now();
    let mut found = Found::below(&args.directories).map_err(|trouble| unreadable(told(&trouble)))?;
    if found.cases.is_empty() {
        return Err(unreadable(anyhow!(
            "no case below {} (a case is a directory with a case.toml, a story.toml or an expected.eve.jsonl; \
             --new CAPTURE drafts one)",
            args.directories
                .iter()
                .map(|path| escaped_path(path))
                .collect::<Vec<_>>()
                .join(", "),
        )));
    }
    if !args.filter.is_empty() {
        let wanted = |name: &str| args.filter.iter().any(|part| name.contains(part.as_str()));
        found.cases.retain(|case| wanted(&case.name));
        found.unguarded.clear();
        if found.cases.is_empty() {
            return Err((
                Exit::Usage,
                anyhow!("no case has {} in its name", args.filter.join(" or ")),
            ));
        }
    }

    let output = Output::open(None, &[], &no_bar)?;
    let mut page = Page {
        out: output.coloured(args.color),
        width: found
            .cases
            .iter()
            .map(|case| case.name.chars().count())
            .max()
            .unwrap_or_default(),
        tap: args.tap,
        github: args.github,
        quiet: common.quiet,
    };
    if args.tap {
        page.say(&tap::head(found.cases.len())).map_err(unreadable)?;
    }
    let policy = if args.accept { Policy::Accept } else { Policy::Compare };
    let checked = check_all(&found.cases, policy, args.jobs.unwrap_or_else(cores), |number, one| {
        page.case(number, one)
    })
    .map_err(unreadable)?;
    let took = start.elapsed();
    if !args.tap && !common.quiet {
        page.say(&text::summary(&checked, &found.unguarded, took))
            .map_err(unreadable)?;
    }
    if let Some(path) = &args.junit {
        let file = junit::file(&checked, took).map_err(|error| unreadable(error.into()))?;
        written(path, &file).map_err(unreadable)?;
    }
    if let Some(path) = &args.sarif {
        let file = sarif::file(&checked).map_err(|error| unreadable(error.into()))?;
        written(path, &file).map_err(unreadable)?;
    }
    let tally = Tally::of(&checked);
    Ok(match (tally.unreadable, tally.failed) {
        (0, 0) => Exit::Ran,
        (0, _) => Exit::Found,
        (_, _) => Exit::Unreadable,
    })
}

/// Where outcomes are told as they come.
struct Page {
    out: Box<dyn Write>,
    width: usize,
    tap: bool,
    github: bool,
    quiet: bool,
}

impl Page {
    fn case(&mut self, number: usize, checked: &Checked) -> anyhow::Result<()> {
        let passed = matches!(checked.outcome, Outcome::Passed { .. });
        let mut page = String::new();
        if self.tap {
            page += &tap::case(number, checked);
        } else if !(self.quiet && passed) {
            page += &text::case(checked, self.width);
        }
        if self.github {
            page += &github::case(checked);
        }
        self.say(&page)
    }

    /// That whoever reads has seen enough is no error.
    fn say(&mut self, page: &str) -> anyhow::Result<()> {
        match self.out.write_all(page.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("the output cannot be written"),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Examines all cases on `jobs` threads, and tells each, with its number from 1, in the order of the cases.
fn check_all(
    cases: &[Case],
    policy: Policy,
    jobs: NonZeroUsize,
    mut tell: impl FnMut(usize, &Checked) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Checked>> {
    let next = AtomicUsize::new(0);
    let jobs = jobs.get().min(cases.len());
    let (sender, done) = bounded(jobs);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    if sender.send((index, check(case, policy))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting: Vec<Option<Checked>> = cases.iter().map(|_| None).collect();
        let mut told = 0;
        let mut checked = Vec::with_capacity(cases.len());
        for (index, one) in done {
            waiting[index] = Some(one);
            while let Some(one) = waiting.get_mut(told).and_then(Option::take) {
                told += 1;
                tell(told, &one)?;
                checked.push(one);
            }
        }
        Ok(checked)
    })
}

/// Examines a case. A crash is a failure of that case, not of the others.
fn check(case: &Case, policy: Policy) -> Checked {
    let start = now();
    let outcome = catch_unwind(AssertUnwindSafe(|| examine(case, policy))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Outcome::Failed(vec![Failure {
            rule: Rule::Crashed,
            file: case.directory.join(MANIFEST),
            line: 1,
            expected: "a capture to be read to its end".to_owned(),
            found: format!("a crash: {}", said.unwrap_or("no reason given")),
            evidence: Vec::new(),
        }])
    });
    Checked {
        name: case.name.clone(),
        outcome,
        took: start.elapsed(),
    }
}

/// Drafts a case of `capture` in a new directory in `directory`, named after it.
fn new_case(capture: &Path, directory: &Path) -> anyhow::Result<Exit> {
    let file = capture
        .file_name()
        .ok_or_else(|| anyhow!("{} is no file", escaped_path(capture)))?;
    let lines = reading(&Material::Capture(capture.to_owned())).map_err(|trouble| told(&trouble))?;
    let name = file
        .to_str()
        .ok_or_else(|| anyhow!("give {} a name in UTF-8", escaped_path(capture)))?;
    let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or(name);
    let home = directory.join(stem);
    let context = || escaped_path(&home);
    if home.join(MANIFEST).exists() {
        bail!("{} is a case already", context());
    }
    fs::create_dir_all(&home).with_context(context)?;
    let copy = home.join(file);
    if !copy.exists() {
        fs::copy(capture, &copy).with_context(|| escaped_path(&copy))?;
    } else if fs::canonicalize(&copy).ok() != fs::canonicalize(capture).ok() {
        bail!("{} is there already", escaped_path(&copy));
    }
    let manifest = home.join(MANIFEST);
    replace(&manifest, draft(name, &lines).as_bytes()).with_context(|| escaped_path(&manifest))?;
    println!("{}", escaped_path(&manifest));
    Ok(Exit::Ran)
}

fn written(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    replace(path, bytes).with_context(|| format!("cannot write {}", escaped_path(path)))
}

fn told(trouble: &Trouble) -> anyhow::Error {
    anyhow!("{}: {}", escaped_path(&trouble.file), trouble.why)
}

fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long the user waits is told by the user's clock"
)]
fn now() -> Instant {
    Instant::now()
}
