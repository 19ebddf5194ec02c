//! Where the data goes: standard output or a file, with or without colour, around the progress bar.

use std::cell::RefCell;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, bail};
use blockscope::report::escape::escaped_path;
use blockscope::report::replacement::Replacement;
use clap::ValueEnum;
use console::Term;
use indicatif::ProgressBar;

use super::exit::Exit;

/// When to colour text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The width of text that goes to no terminal.
const WIDTH: usize = 100;
/// Narrower than this nothing can be laid out; wider lines are hard to read.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=120;

/// Where the data goes.
pub(super) struct Output {
    target: Target,
    bar: ProgressBar,
}

enum Target {
    Stdout,
    File(Shared),
}

/// The file, in the hands of whoever writes it and of whoever says that it is complete.
type Shared = Rc<RefCell<Option<Replacement>>>;

/// Puts what was written into its place. Dropped, it lets the old file be.
pub(super) struct Keeper(Option<Shared>);

impl Keeper {
    /// What was written is complete.
    ///
    /// # Errors
    /// When it cannot be put into its place.
    pub(super) fn keep(self) -> io::Result<()> {
        let file = self.0.and_then(|shared| shared.borrow_mut().take());
        file.map_or(Ok(()), Replacement::finish)
    }
}

impl Output {
    /// Standard output, or the file at `path` (`-` is standard output), which stays as it is until [`Keeper::keep`].
    ///
    /// # Errors
    /// When the file is one of `inputs`, or cannot be written.
    pub(super) fn open(
        path: Option<&Path>,
        inputs: &[PathBuf],
        bar: &ProgressBar,
    ) -> Result<Self, (Exit, anyhow::Error)> {
        let target = match path {
            Some(path) if path != Path::new("-") => {
                refuse_input(path, inputs).map_err(|error| (Exit::Usage, error))?;
                let file = Replacement::begin(path).with_context(|| format!("cannot write {}", escaped_path(path)));
                let file = file.map_err(|error| (Exit::Unreadable, error))?;
                Target::File(Rc::new(RefCell::new(Some(file))))
            }
            Some(_) | None => Target::Stdout,
        };
        Ok(Self {
            target,
            bar: bar.clone(),
        })
    }

    /// Whoever has it says when what was written is complete.
    pub(super) fn keeper(&self) -> Keeper {
        Keeper(match &self.target {
            Target::Stdout => None,
            Target::File(file) => Some(Rc::clone(file)),
        })
    }

    /// How wide text may be.
    pub(super) fn width(&self) -> usize {
        let terminal = match self.target {
            Target::Stdout if io::stdout().is_terminal() => Term::stdout().size_checked(),
            Target::Stdout | Target::File(_) => None,
        };
        terminal.map_or(WIDTH, |(_, columns)| {
            usize::from(columns).clamp(*WIDTHS.start(), *WIDTHS.end())
        })
    }

    /// As it is.
    pub(super) fn plain(self) -> Box<dyn Write> {
        match self.target {
            Target::Stdout => Box::new(BesideBar(self.bar)),
            Target::File(file) => Box::new(Unfinished(file)),
        }
    }

    /// For text in colours, which are left out where they are not wanted.
    pub(super) fn coloured(self, color: Color) -> Box<dyn Write> {
        let choice = match (color, &self.target) {
            (Color::Always, _) => ColorChoice::Always,
            (Color::Never, _) | (Color::Auto, Target::File(_)) => ColorChoice::Never,
            (Color::Auto, Target::Stdout) => AutoStream::choice(&io::stdout()),
        };
        Box::new(AutoStream::new(self.plain(), choice))
    }
}

/// Standard output, with the progress bar out of the way while something is written.
struct BesideBar(ProgressBar);

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stdout().write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.suspend(|| {
            let mut out = io::stdout();
            out.write_all(bytes)?;
            out.flush()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// A file that its keeper may have taken away: then nothing is written any more.
struct Unfinished(Shared);

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .borrow_mut()
            .as_mut()
            .map_or(Ok(bytes.len()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Refuses to write over what is to be read, by whatever name or link it goes.
fn refuse_input(output: &Path, inputs: &[PathBuf]) -> anyhow::Result<()> {
    let Ok(existing) = fs::metadata(output) else {
        return Ok(());
    };
    // Devices such as /dev/null may well be both.
    if !existing.is_file() {
        return Ok(());
    }
    let same = |path: &Path| {
        let other = fs::metadata(path);
        other.is_ok_and(|other| (other.dev(), other.ino()) == (existing.dev(), existing.ino()))
    };
    for input in inputs {
        let listed = fs::read_dir(input).into_iter().flatten().flatten();
        if same(input) || listed.into_iter().any(|entry| same(&entry.path())) {
            bail!(
                "{} is among the inputs and is not overwritten: give -o another name",
                escaped_path(output)
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_never_overwritten_by_any_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let capture = dir.path().join("x.pcap");
        fs::write(&capture, "precious").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&capture, &link).unwrap();
        let bar = ProgressBar::hidden();
        for output in [&capture, &link, &dir.path().join(".").join("x.pcap")] {
            for input in [&capture, &dir.path().to_path_buf()] {
                let (exit, error) = Output::open(Some(output), std::slice::from_ref(input), &bar)
                    .err()
                    .unwrap();
                assert_eq!(exit, Exit::Usage);
                assert!(error.to_string().contains("is among the inputs"), "{error}");
            }
        }
        assert_eq!(fs::read_to_string(&capture).unwrap(), "precious");
    }

    #[test]
    fn another_file_is_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let output = Output::open(Some(&path), &[dir.path().to_path_buf()], &ProgressBar::hidden());
        let output = output.map_err(|(_, error)| error).unwrap();
        assert_eq!(output.width(), WIDTH);
        let keeper = output.keeper();
        let mut writer = output.coloured(Color::Auto);
        writer.write_all(b"\x1b[1mplain\x1b[0m\n").unwrap();
        assert!(!path.exists());
        keeper.keep().unwrap();
        drop(writer);
        assert_eq!(fs::read_to_string(&path).unwrap(), "plain\n");
    }
}
