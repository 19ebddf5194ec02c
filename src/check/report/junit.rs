//! JUnit XML as Jenkins, GitLab and GitHub's actions read it (Jenkins' xunit plugin, `junit-10.xsd`): one suite, a test
//! case a case; what cannot be read is an `error`, what is not as expected a `failure`.

use std::io;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{seconds, shown};
use crate::check::outcome::{Checked, Outcome, Tally};

/// The whole file. `took` is the whole run.
///
/// # Errors
/// None that memory does not give.
pub fn file(checked: &[Checked], took: Duration) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let tally = Tally::of(checked);
    let counts = [
        ("tests", tally.all().to_string()),
        ("failures", tally.failed.to_string()),
        ("errors", tally.unreadable.to_string()),
        ("time", seconds(took)),
    ];
    let counts = || counts.iter().map(|(key, value)| (*key, value.as_str()));
    let suites = writer
        .create_element("testsuites")
        .with_attribute(("name", "blockscope check"));
    suites.with_attributes(counts()).write_inner_content(|writer| {
        let suite = writer
            .create_element("testsuite")
            .with_attribute(("name", "blockscope check"));
        let suite = suite.with_attributes(counts()).with_attribute(("skipped", "0"));
        suite.write_inner_content(|writer| checked.iter().try_for_each(|one| case(one, writer)))?;
        Ok(())
    })?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn case(checked: &Checked, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let (name, time) = (clean(&checked.name), seconds(checked.took));
    let element = writer.create_element("testcase").with_attributes([
        ("name", name.as_str()),
        ("classname", "blockscope.check"),
        ("time", time.as_str()),
    ]);
    let mut told: Vec<(&str, &str, String, String)> = Vec::new();
    match &checked.outcome {
        Outcome::Passed { .. } | Outcome::Accepted { .. } => {
            element.write_empty()?;
            return Ok(());
        }
        Outcome::Failed(failures) => {
            for failure in failures {
                let mut text = format!(
                    "{}:{}\nexpected: {}\nfound:    {}\n",
                    shown(&failure.file),
                    failure.line,
                    clean(&failure.expected),
                    clean(&failure.found)
                );
                failure
                    .evidence
                    .iter()
                    .for_each(|line| text += &format!("  {}\n", clean(line)));
                told.push(("failure", failure.rule.key(), clean(&failure.to_string()), text));
            }
        }
        Outcome::Unreadable(trouble) => {
            let text = format!("{}:{}\n{}\n", shown(&trouble.file), trouble.line, clean(&trouble.why));
            told.push(("error", "unreadable", clean(&trouble.why), text));
        }
    }
    element.write_inner_content(|writer| {
        for (tag, rule, message, text) in &told {
            let element = writer.create_element(*tag);
            let element = element.with_attributes([("type", *rule), ("message", message.as_str())]);
            element.write_text_content(BytesText::new(text))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// What XML can hold: no control characters, and no two code points that are none.
fn clean(text: &str) -> String {
    crate::report::escape::escaped(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;

    use super::*;
    use crate::check::report::sample;

    /// An element, the attributes it must and may have, and the elements in which it may be.
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );

    /// What junit-10.xsd says of the elements used here.
    const SCHEMA: [Row; 5] = [
        (
            "testsuites",
            &[],
            &["name", "time", "tests", "failures", "errors"],
            &[""],
        ),
        (
            "testsuite",
            &["name", "tests", "failures", "errors"],
            &[
                "group",
                "time",
                "skipped",
                "timestamp",
                "hostname",
                "id",
                "package",
                "file",
                "log",
                "url",
            ],
            &["testsuites", "testsuite"],
        ),
        ("testcase", &["name"], &["time", "classname", "group"], &["testsuite"]),
        ("failure", &[], &["type", "message"], &["testcase"]),
        ("error", &[], &["type", "message"], &["testcase"]),
    ];

    /// What in a file is not as the schema has it, and the texts of its elements.
    fn read(file: &[u8]) -> (Vec<String>, Vec<String>) {
        let text = std::str::from_utf8(file).unwrap();
        let mut reader = Reader::from_str(text);
        let (mut wrong, mut texts) = (Vec::new(), Vec::new());
        let mut above = vec![String::new()];
        loop {
            let event = reader.read_event().unwrap();
            match &event {
                Event::Start(start) | Event::Empty(start) => {
                    let name = start.name().as_ref().to_owned();
                    match SCHEMA.iter().find(|row| row.0 == name) {
                        Some((_, must, may, parents)) => {
                            let attributes = start.attributes().map(|attribute| attribute.unwrap());
                            let keys: Vec<String> =
                                attributes.map(|attribute| attribute.key.as_ref().to_owned()).collect();
                            let known = |key: &String| must.contains(&key.as_str()) || may.contains(&key.as_str());
                            wrong.extend(keys.iter().filter(|key| !known(key)).map(|key| format!("{name} {key}")));
                            let missing = must.iter().filter(|key| !keys.iter().any(|one| one == *key));
                            wrong.extend(missing.map(|key| format!("{name} without {key}")));
                            if !parents.contains(&above.last().unwrap().as_str()) {
                                wrong.push(format!("{name} in {above:?}"));
                            }
                        }
                        None => wrong.push(name.clone()),
                    }
                    if matches!(event, Event::Start(_)) {
                        above.push(name);
                    }
                }
                Event::End(_) => drop(above.pop()),
                Event::Text(text) => texts.push(text.as_ref().to_owned()),
                Event::Eof => break,
                _ => {}
            }
        }
        (wrong, texts)
    }

    #[test]
    fn the_file_has_the_structure_of_the_published_schema() {
        let file = file(&sample::checked(), Duration::from_secs(1)).unwrap();
        let (wrong, texts) = read(&file);
        assert_eq!(wrong, Vec::<String>::new(), "{}", String::from_utf8_lossy(&file));
        assert!(
            texts.iter().any(|text| text.contains("fixtures/c # 1/case.toml:7")),
            "{texts:?}"
        );
        let text = String::from_utf8(file).unwrap();
        for part in [
            "tests=\"4\" failures=\"1\" errors=\"1\" time=\"1.000\"",
            "<testcase name=\"fixtures/a\" classname=\"blockscope.check\" time=\"0.012\"/>",
            "<failure type=\"not-found\" message=\"expected at least one rst_injection, &lt;blocked.example&gt;; found",
            "]]&gt; for +1.1",
            "<error type=\"unreadable\" message=\"unknown field `kid`;",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_check_of_the_structure_can_fail() {
        let (wrong, _) =
            read(b"<testsuites><testsuite name='x' tests='1' failures='0'><case/></testsuite></testsuites>");
        assert_eq!(wrong, ["testsuite without errors", "case"]);
    }
}
