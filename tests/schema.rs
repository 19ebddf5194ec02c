//! Whatever is written about any fixture is what the schema allows.

use std::path::Path;

use blockscope::fixture::fixture::Fixture;
use blockscope::fixture::reading::{Manner, read_file};
use blockscope::report::eve::SCHEMA;
use serde_json::Value;

#[test]
fn every_record_of_every_fixture_is_valid() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let fixtures = Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap();
    assert!(!fixtures.is_empty());
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let lines = read_file(&fixture.trace_path(), Manner::default()).unwrap();
        for line in lines.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            for error in validator.iter_errors(&record) {
                wrong.push(format!("{}: {error} at {}", fixture.name, error.instance_path()));
            }
        }
        let last: Value = serde_json::from_str(lines.lines().next_back().unwrap()).unwrap();
        if last["event_type"] != "stats" {
            wrong.push(format!("{}: the last record is no stats", fixture.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
