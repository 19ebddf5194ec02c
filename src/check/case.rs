//! A case: a directory with a capture, or a story to forge, and what is expected of it.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::manifest::Manifest;
use super::outcome::Trouble;
use crate::capture::capture_set::worth_a_look;
use crate::report::escape::escaped_path;

/// What must be found and what must not.
pub const MANIFEST: &str = "case.toml";
/// What is to be found, as EVE lines.
pub const EXPECTED: &str = "expected.eve.jsonl";
/// What happens, to be forged where there is no capture.
pub const STORY: &str = "story.toml";

/// How the names of captures end; what is in them is told by their contents.
const CAPTURES: [&str; 5] = ["pcap", "pcapng", "cap", "ntar", "dmp"];
/// What may follow when they are compressed.
const COMPRESSED: [&str; 4] = ["gz", "zst", "lz4", "xz"];

/// A directory that says what is expected of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The directory as it was reached, safe to show.
    pub name: String,
    /// Where it lies.
    pub directory: PathBuf,
}

/// Where a case's packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A capture.
    Capture(PathBuf),
    /// A story to forge.
    Story(PathBuf),
}

/// What lies below some directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The cases, in order of the directories given, and by name in each.
    pub cases: Vec<Case>,
    /// Captures that no case speaks of.
    pub unguarded: Vec<PathBuf>,
}

/// A case that has been read.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The manifest; an empty one if there is none.
    pub manifest: Manifest,
    /// The manifest's file, whether it is there or not.
    pub manifest_path: PathBuf,
    /// The manifest's text, to find lines in.
    pub manifest_text: String,
    /// Where the packets come from.
    pub material: Material,
    /// The lines expected, and their file.
    pub expected: Option<(PathBuf, String)>,
    /// Where exact lines belong.
    pub expected_path: PathBuf,
}

impl Found {
    /// All cases in and below `directories`: every directory that holds a `case.toml`, a `story.toml` or an
    /// `expected.eve.jsonl`. Hidden directories and caches are passed over, links to directories not followed.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn below(directories: &[PathBuf]) -> Result<Self, Trouble> {
        let mut found = Self::default();
        for root in directories {
            let mut captures = Vec::new();
            let first = found.cases.len();
            for entry in WalkDir::new(root)
                .sort_by_file_name()
                .into_iter()
                .filter_entry(worth_a_look)
            {
                let entry = entry.map_err(|error| Trouble {
                    file: error.path().unwrap_or(root).to_owned(),
                    line: 1,
                    why: error.io_error().map_or_else(|| error.to_string(), ToString::to_string),
                })?;
                let path = entry.path();
                if entry.file_type().is_dir() {
                    if [MANIFEST, STORY, EXPECTED].iter().any(|name| path.join(name).is_file()) {
                        let case = Case::at(path);
                        if !found.cases.contains(&case) {
                            found.cases.push(case);
                        }
                    }
                } else if entry.depth() == 0 {
                    return Err(Trouble {
                        file: root.clone(),
                        line: 1,
                        why: "not a directory: give the directory of the case, or one above".to_owned(),
                    });
                } else if is_capture(path) {
                    captures.push(path.strip_prefix(".").unwrap_or(path).to_owned());
                }
            }
            let cases = &found.cases[first..];
            captures.retain(|capture| {
                let holds = |case: &Case| capture.parent() == Some(&case.directory);
                !cases.iter().any(holds)
            });
            found.unguarded.append(&mut captures);
        }
        Ok(found)
    }
}

/// Whether a file's name is that of a capture.
fn is_capture(path: &Path) -> bool {
    let ends = |path: &Path, endings: &[&str]| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| endings.iter().any(|one| one.eq_ignore_ascii_case(ending)))
    };
    if ends(path, &COMPRESSED) {
        return path.file_stem().is_some_and(|stem| ends(Path::new(stem), &CAPTURES));
    }
    ends(path, &CAPTURES)
}

impl Case {
    /// The case in `directory`.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        let short = directory.strip_prefix(".").unwrap_or(directory);
        let name = if short.as_os_str().is_empty() {
            // "." says little in a report.
            let full = fs::canonicalize(directory).ok();
            let last = full.as_deref().and_then(Path::file_name).map(PathBuf::from);
            escaped_path(&last.unwrap_or_else(|| directory.to_owned()))
        } else {
            escaped_path(short)
        };
        Self {
            name,
            directory: short.to_owned(),
        }
    }

    /// Reads what it expects, and finds its packets.
    ///
    /// # Errors
    /// When the manifest or the expected lines cannot be read, or it is not clear which capture is meant.
    pub fn open(&self) -> Result<Opened, Trouble> {
        let manifest_path = self.directory.join(MANIFEST);
        let manifest_text = read(&manifest_path)?.unwrap_or_default();
        let manifest = Manifest::parse(&manifest_text).map_err(|error| Trouble {
            file: manifest_path.clone(),
            line: error.line,
            why: match &error.meant {
                Some(word) => format!("{}; did you mean `{word}`?", error.problem),
                None => error.problem,
            },
        })?;
        let material = self.material(&manifest)?;
        let named = manifest.expected.as_ref();
        let expected_path = self.directory.join(named.map_or(Path::new(EXPECTED), PathBuf::as_path));
        let expected = read(&expected_path)?.map(|text| (expected_path.clone(), text));
        Ok(Opened {
            manifest,
            manifest_path,
            manifest_text,
            material,
            expected,
            expected_path,
        })
    }

    /// The capture or the story: what the manifest names, else the only capture in the directory, else the story.
    fn material(&self, manifest: &Manifest) -> Result<Material, Trouble> {
        if let Some(capture) = &manifest.capture {
            return Ok(Material::Capture(self.directory.join(capture)));
        }
        let story = self
            .directory
            .join(manifest.story.as_deref().unwrap_or(Path::new(STORY)));
        if manifest.story.is_some() {
            return Ok(Material::Story(story));
        }
        let trouble = |why: String| Trouble {
            file: self.directory.clone(),
            line: 1,
            why,
        };
        let here = if self.directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.directory
        };
        let mut captures = Vec::new();
        for entry in fs::read_dir(here).map_err(|error| trouble(error.to_string()))? {
            let path = entry.map_err(|error| trouble(error.to_string()))?.path();
            if is_capture(&path) {
                captures.push(self.directory.join(path.file_name().unwrap_or_default()));
            }
        }
        captures.sort();
        match captures.len() {
            0 if story.is_file() => Ok(Material::Story(story)),
            0 => Err(trouble(
                "no capture and no story: name one in case.toml (capture = \"…\")".to_owned(),
            )),
            1 => Ok(Material::Capture(captures.swap_remove(0))),
            many => Err(trouble(format!(
                "{many} captures: say in case.toml which is meant (capture = \"…\"), or give each a directory"
            ))),
        }
    }
}

/// The text of a file, if it is there.
fn read(path: &Path) -> Result<Option<String>, Trouble> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Trouble {
            file: path.to_owned(),
            line: 1,
            why: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn cases_are_found_at_any_depth_in_order_and_what_is_unguarded_is_named() {
        let root = tempfile::tempdir().unwrap();
        lay(
            root.path(),
            &[
                "b/case.toml",
                "b/x.pcap",
                "a/deep/story.toml",
                "c/expected.eve.jsonl",
                "loose/y.pcapng.zst",
                "loose/notes.txt",
                ".hidden/case.toml",
                "built/CACHEDIR.TAG",
                "built/case.toml",
            ],
        );
        let found = Found::below(&[root.path().to_owned()]).unwrap();
        let names: Vec<_> = found
            .cases
            .iter()
            .map(|case| case.directory.strip_prefix(root.path()).unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a/deep", "b", "c"].map(PathBuf::from));
        assert_eq!(found.unguarded, [root.path().join("loose/y.pcapng.zst")]);
        assert!(Found::below(&[root.path().join("none")]).is_err());
        assert!(Found::below(&[root.path().join("b/x.pcap")]).is_err());
    }

    #[test]
    fn the_capture_is_the_one_named_or_the_only_one_and_else_the_story() {
        let root = tempfile::tempdir().unwrap();
        let material = |name: &str| Case::at(&root.path().join(name)).open().map(|opened| opened.material);
        lay(
            root.path(),
            &[
                "one/x.cap.gz",
                "one/story.toml",
                "two/x.pcap",
                "two/y.pcap",
                "told/story.toml",
                "none/case.toml",
            ],
        );
        assert_eq!(material("one"), Ok(Material::Capture(root.path().join("one/x.cap.gz"))));
        assert_eq!(
            material("told"),
            Ok(Material::Story(root.path().join("told/story.toml")))
        );
        assert!(material("none").unwrap_err().why.contains("no capture and no story"));
        assert!(material("two").unwrap_err().why.contains("2 captures"));
        fs::write(root.path().join("two/case.toml"), "capture = \"y.pcap\"").unwrap();
        assert_eq!(material("two"), Ok(Material::Capture(root.path().join("two/y.pcap"))));
        fs::write(root.path().join("one/case.toml"), "story = \"story.toml\"").unwrap();
        assert_eq!(material("one"), Ok(Material::Story(root.path().join("one/story.toml"))));
    }
}
