//! The lists given with `--fingerprints`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use blockscope::detect::packs::facts::Facts;
use blockscope::detect::packs::list;
use blockscope::detect::packs::pack::Pack;
use blockscope::report::escape::escaped_path;
use blockscope::report::figures::counted;
use tracing::{debug, warn};

/// No list is longer than this, in bytes (the longest that is published has 300 kB).
const LONGEST: u64 = 64 << 20;

/// How many rows that cannot be used are named.
const MOST_NAMED: usize = 3;

/// The built-in facts and those of the lists at `paths`; no list, and nothing is even looked at.
///
/// # Errors
/// A file that cannot be read, or is no list: with its name, the line and what to do.
pub(super) fn facts(paths: &[PathBuf]) -> anyhow::Result<Facts> {
    if paths.is_empty() {
        return Ok(Facts::Builtin);
    }
    let mut rows = Vec::new();
    for path in paths {
        let mut list = list::read(&name(path), &bytes(path)?)?;
        let shown = escaped_path(path);
        debug!(
            "{shown}: {} of fingerprints ({:?})",
            counted(list.rows.len() as u64, "row"),
            list.form
        );
        if !list.left_out.is_empty() {
            let named = list.left_out.iter().take(MOST_NAMED).map(|left_out| {
                let (line, name, why) = (left_out.line, &left_out.name, &left_out.why);
                format!("line {line} {name}: {why}")
            });
            let named: Vec<String> = named.collect();
            let more = list.left_out.len().saturating_sub(MOST_NAMED);
            let more = if more > 0 {
                format!("; and {more} more")
            } else {
                String::new()
            };
            let count = counted(list.left_out.len() as u64, "row");
            warn!("{shown}: {count} left out: {}{more}", named.join("; "));
        }
        rows.append(&mut list.rows);
    }
    let pack = Pack::builtin_and(rows).context("the lists given with --fingerprints")?;
    Ok(Facts::Given(Arc::new(pack)))
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let told = || format!("list of fingerprints {}", escaped_path(path));
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(told)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).with_context(told)?;
    if bytes.len() as u64 > LONGEST {
        bail!(
            "{}: longer than {} MB, so it is no list of fingerprints",
            told(),
            LONGEST >> 20
        );
    }
    Ok(bytes)
}
