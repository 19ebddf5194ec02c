//! Where the frames come from, as the command line names it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::filter::{Filter, Filtered};
use blockscope::capture::source::Source;
use blockscope::report::escape::escaped_path;

use super::feed::Feed;

/// The captures at `paths` (files, directories, `-`), as far as `filter` lets them through.
///
/// # Errors
/// A filter that does not compile. What is wrong with a file is told when its turn comes.
pub(super) fn open(paths: &[PathBuf], filter: Option<&str>) -> anyhow::Result<Box<dyn Source>> {
    let captures = CaptureSet::open(paths);
    if paths.iter().any(|path| may_stall(path)) {
        filtered(Feed::start(captures)?, filter)
    } else {
        filtered(captures, filter)
    }
}

/// `source`, as far as `filter` lets it through.
///
/// # Errors
/// A filter that does not compile.
pub(super) fn filtered(source: impl Source + 'static, filter: Option<&str>) -> anyhow::Result<Box<dyn Source>> {
    Ok(match filter.map(Filter::new).transpose()? {
        Some(filter) => Box::new(Filtered::new(source, filter)),
        None => Box::new(source),
    })
}

/// Whether a read may wait for somebody else: standard input, FIFOs, devices.
pub(super) fn may_stall(path: &Path) -> bool {
    path == Path::new("-") || fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
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
