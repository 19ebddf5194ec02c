//! Lists of known block pages and answers that others publish, read in the forms they are published in.
//!
//! ```text
//! OONI            fingerprints_http.csv, fingerprints_dns.csv ──┐
//! Citizen Lab     http.csv, dns.csv, http.json, dns.json ───────┼─► annotation ─┐
//! Censored Planet blockpage_signatures.json, false_positive_… ──┼─► signature ──┼─► Row, Row, Row …
//! packs of ours   *.toml ───────────────────────────────────────┴───────────────┘
//! ```
//!
//! Which form a file has is told by its content, not by its name. Columns and keys that are not known are passed over.
//! A row that cannot be used (an expression that does not compile, an unknown place to look in) is left out and named;
//! a file that is no list is refused with the line that shows it and what to do. What a list calls vague weighs little,
//! and what it calls a false positive goes before everything else.

mod annotation;
mod signature;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::row::{PackError, Place, Row};

/// What was read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its form.
    pub form: Form,
    /// The rows that can be used.
    pub rows: Vec<Row>,
    /// The rows that cannot.
    pub left_out: Vec<LeftOut>,
}

/// In which form a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns of OONI's or Citizen Lab's names.
    AnnotationsCsv,
    /// Citizen Lab's annotations as JSON objects.
    AnnotationsJson,
    /// Censored Planet's pairs of a name and an expression.
    Signatures,
    /// The same, of pages that are no block pages.
    FalsePositiveSignatures,
    /// A pack of ours.
    Pack,
}

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its line, from 1.
    pub line: u64,
    /// Its name; empty if it has none.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Why a file is no list: `file:line: what is wrong; what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListError {
    /// The file's name.
    pub file: String,
    /// The line that shows it, from 1.
    pub line: u64,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

impl std::error::Error for ListError {}

/// The rows of one list are at most so many (the longest that is published has some 2 000).
const MOST_ROWS: usize = 100_000;

/// Reads the list that `bytes`, the content of the file called `name`, hold.
///
/// # Errors
/// It is none of the forms above, or is broken.
pub fn read(name: &str, bytes: &[u8]) -> Result<List, ListError> {
    let file: Arc<str> = name.into();
    let fail = |line, what: String| ListError {
        file: name.to_owned(),
        line,
        what,
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = line_of(&bytes[..error.valid_up_to()]);
        fail(line, "this is not UTF-8 text: save the list as UTF-8".to_owned())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.trim_start().chars().next();
    let looks_like_a_pack = || {
        let line = text.lines().map(str::trim);
        let mut telling = line.filter(|line| !line.is_empty() && !line.starts_with('#'));
        telling.next().is_some_and(|line| line.starts_with("[[row]]"))
    };
    let mut list = match first {
        None => {
            return Err(fail(
                1,
                "the file is empty: give a list of fingerprints, or leave the option out".to_owned(),
            ));
        }
        Some('{') => signature::read(text, &file).map_err(|(line, what)| fail(line, what))?,
        Some('[') if !looks_like_a_pack() => {
            annotation::read_json(text, &file).map_err(|(line, what)| fail(line, what))?
        }
        Some(_) if looks_like_a_pack() => pack(text, &file).map_err(|(line, what)| fail(line, what))?,
        Some(_) => annotation::read_csv(text, &file).map_err(|(line, what)| fail(line, what))?,
    };
    if list.rows.len() > MOST_ROWS {
        return Err(fail(
            1,
            format!("more than {MOST_ROWS} rows: split or thin out the list"),
        ));
    }
    // What only shows when the row is put to use.
    let mut rows = Vec::with_capacity(list.rows.len());
    for row in list.rows.drain(..) {
        match row.usable() {
            Ok(()) => rows.push(row),
            Err(why) => list.left_out.push(LeftOut {
                line: row.place.as_ref().map_or(0, |place| place.line),
                name: row.id,
                why,
            }),
        }
    }
    list.rows = rows;
    list.left_out.sort_by_key(|left_out| left_out.line);
    Ok(list)
}

/// A line of a file, and what is wrong there.
type Fault = (u64, String);

/// The line after `before`, from 1.
fn line_of(before: &[u8]) -> u64 {
    1 + before.iter().filter(|octet| **octet == b'\n').count() as u64
}

fn pack(text: &str, file: &Arc<str>) -> Result<List, Fault> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        row: Vec<Spanned<Row>>,
    }
    let line_at = |at: usize| line_of(&text.as_bytes()[..at.min(text.len())]);
    let parsed: File = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        let what = format!(
            "{}: mend it, or see the built-in pack for what a row holds",
            error.message()
        );
        (line, what)
    })?;
    let mut rows = Vec::with_capacity(parsed.row.len());
    let mut left_out = Vec::new();
    for spanned in parsed.row {
        let line = line_at(spanned.span().start);
        let mut row = spanned.into_inner();
        row.place = Some(Place {
            file: Arc::clone(file),
            line,
        });
        match row.check() {
            Ok(()) => rows.push(row),
            Err(error @ PackError::Field { .. }) => return Err((line, format!("{error}: mend the row"))),
            Err(error) => left_out.push(LeftOut {
                line,
                name: row.id,
                why: error.to_string(),
            }),
        }
    }
    Ok(List {
        form: Form::Pack,
        rows,
        left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        read("x", bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        assert!(error(b" \n").starts_with("x:1: the file is empty"));
        assert!(error(b"name,pattern\nok,\xff\n").starts_with("x:2: this is not UTF-8"));
        let told = error(b"when,where\n1,2\n");
        assert!(told.starts_with("x:1: ") && told.contains("no column"), "{told}");
        assert!(error(b"{\"a\": \"b\"\n").starts_with("x:2: "));
        assert!(error(b"[[row]]\nid = \"a\"\nkind = 5\n").starts_with("x:3: "));
        assert!(error(b"[1, 2]").starts_with("x:1: "));
    }

    #[test]
    fn a_pack_of_ours_tells_its_lines() {
        let pack = |pattern: &str, kind: &str| {
            format!(
                "# mine\n\n[[row]]\nid = \"a\"\nkind = \"http_body\"\npattern = '{pattern}'\nmatch = \"{kind}\"\n\
                 scope = \"isp\"\nconfidence = 9\nsource = \"me\"\ndate = \"2026\"\n"
            )
        };
        let list = read("mine.toml", pack("stop page", "contains").as_bytes()).unwrap();
        assert_eq!((list.form, list.rows.len()), (Form::Pack, 1));
        let place = list.rows[0].place.as_ref().unwrap();
        assert_eq!((&*place.file, place.line), ("mine.toml", 3));
        let broken = read("mine.toml", pack("(stop", "regex").as_bytes()).unwrap();
        assert_eq!((broken.rows.len(), broken.left_out.len()), (0, 1));
        assert_eq!((broken.left_out[0].line, &*broken.left_out[0].name), (3, "a"));
        let wrong = pack("x", "contains").replace("confidence = 9", "confidence = 90");
        assert!(error(wrong.as_bytes()).starts_with("x:3: row \"a\": confidence is above 10"));
    }
}
