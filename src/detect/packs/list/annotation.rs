//! Annotations: one object or line of named fields a row, as OONI and Citizen Lab publish them.
//!
//! OONI's columns: `name, scope, other_names, location_found, pattern_type, pattern, confidence_no_fp,
//! expected_countries, source, exp_url, notes` (github.com/ooni/blocking-fingerprints). Citizen Lab's, from which they
//! stem: the same without `pattern_type` (a pattern may stand anywhere), `location_found` is `body` or `header`, and DNS
//! answers have `response` in place of `pattern` (github.com/citizenlab/filtering-annotations, data/v1).

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Fault, Form, LeftOut, List, line_of};
use crate::detect::packs::row::{FactKind, Letters, MatchKind, Place, Row, Scope};

/// A row's fields, as they stand.
#[derive(Clone, Debug, Default)]
struct Annotation<'a> {
    name: &'a str,
    scope: &'a str,
    /// None: it is of a list of DNS answers.
    location: Option<&'a str>,
    pattern_type: Option<&'a str>,
    pattern: &'a str,
    confidence: Option<u8>,
    countries: &'a str,
    source: &'a str,
    url: &'a str,
    notes: &'a str,
}

/// What OONI gives most rows that nobody has looked at again.
const USUAL_CONFIDENCE: u8 = 5;

/// What a pattern that is called vague may weigh (wire-facts 5.1).
const VAGUE_CONFIDENCE: u8 = 3;

pub(super) fn read_csv(text: &str, file: &Arc<str>) -> Result<List, Fault> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| (1, error.to_string()))?.clone();
    let column = |name: &str| header.iter().position(|found| found.trim().eq_ignore_ascii_case(name));
    let (name, pattern) = (column("name"), column("pattern").or_else(|| column("response")));
    let (Some(name), Some(pattern)) = (name, pattern) else {
        return Err((
            1,
            "no column is called name, or none pattern or response: this is none of the lists that are read (OONI's \
             fingerprints_*.csv, Citizen Lab's http and dns, Censored Planet's *_signatures.json, packs of [[row]] \
             tables); give the file as it was published, with its first line"
                .to_owned(),
        ));
    };
    let columns = [
        "scope",
        "location_found",
        "pattern_type",
        "confidence_no_fp",
        "expected_countries",
        "source",
        "exp_url",
        "notes",
    ]
    .map(column);
    let mut list = List {
        form: Form::AnnotationsCsv,
        rows: Vec::new(),
        left_out: Vec::new(),
    };
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(list),
            Err(error) => return Err((line, format!("{error}: mend the line"))),
        }
        let line = record.position().map_or(line, csv::Position::line);
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).map(str::trim);
        let text = |at| field(at).unwrap_or_default();
        let [scope, location, pattern_type, confidence, countries, source, url, notes] = columns;
        let annotation = Annotation {
            name: text(Some(name)),
            scope: text(scope),
            location: location.map(|at| text(Some(at))),
            pattern_type: field(pattern_type).filter(|found| !found.is_empty()),
            // White space is a part of it.
            pattern: record.get(pattern).unwrap_or_default(),
            confidence: text(confidence).parse().ok(),
            countries: text(countries),
            source: text(source),
            url: text(url),
            notes: text(notes),
        };
        enter(&annotation, line, file, &mut list);
    }
}

pub(super) fn read_json(text: &str, file: &Arc<str>) -> Result<List, Fault> {
    #[derive(Deserialize)]
    struct Object {
        #[serde(default)]
        name: String,
        #[serde(default, alias = "response")]
        pattern: String,
        location_found: Option<String>,
        pattern_type: Option<String>,
        #[serde(default)]
        scope: String,
        confidence_no_fp: Option<u8>,
        #[serde(default)]
        expected_countries: Vec<String>,
        #[serde(default)]
        source: Strings,
        #[serde(default)]
        exp_url: Option<String>,
        #[serde(default)]
        notes: Option<String>,
    }
    /// One text, or several.
    #[derive(Default, Deserialize)]
    #[serde(untagged)]
    enum Strings {
        Several(Vec<String>),
        One(String),
        #[default]
        None,
    }
    let start = text.as_ptr() as usize;
    let objects: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| (error.line() as u64, format!("{error}: mend the file")))?;
    let mut list = List {
        form: Form::AnnotationsJson,
        rows: Vec::new(),
        left_out: Vec::new(),
    };
    for object in objects {
        let raw = object.get();
        let line = line_of(&text.as_bytes()[..(raw.as_ptr() as usize - start).min(text.len())]);
        let object: Object = serde_json::from_str(raw).map_err(|error| {
            let what = format!("{error}: a list of annotations holds objects with name, pattern and location_found");
            (line, what)
        })?;
        let source = match &object.source {
            Strings::Several(sources) => sources.first().map_or("", String::as_str),
            Strings::One(source) => source,
            Strings::None => "",
        };
        let countries = object.expected_countries.join(",");
        let annotation = Annotation {
            name: &object.name,
            scope: &object.scope,
            location: object.location_found.as_deref(),
            pattern_type: object.pattern_type.as_deref(),
            pattern: &object.pattern,
            confidence: object.confidence_no_fp,
            countries: &countries,
            source,
            url: object.exp_url.as_deref().unwrap_or_default(),
            notes: object.notes.as_deref().unwrap_or_default(),
        };
        enter(&annotation, line, file, &mut list);
    }
    Ok(list)
}

fn enter(annotation: &Annotation<'_>, line: u64, file: &Arc<str>, list: &mut List) {
    match row(annotation, line, file) {
        Ok(row) => list.rows.push(row),
        Err(why) => list.left_out.push(LeftOut {
            line,
            name: annotation.name.to_owned(),
            why,
        }),
    }
}

fn row(annotation: &Annotation<'_>, line: u64, file: &Arc<str>) -> Result<Row, String> {
    if annotation.name.is_empty() || annotation.pattern.is_empty() {
        return Err("it has no name or no pattern".to_owned());
    }
    let location = annotation.location.unwrap_or("dns");
    let match_kind = match annotation.pattern_type {
        Some("full") => MatchKind::Full,
        Some("prefix") => MatchKind::Prefix,
        Some("contains") => MatchKind::Contains,
        Some("regexp") => MatchKind::Regex,
        None if location == "dns" => MatchKind::Full,
        None => MatchKind::Contains,
        Some(other) => {
            return Err(format!(
                "its pattern_type {other:?} is none of full, prefix, contains and regexp"
            ));
        }
    };
    let address = annotation.pattern.parse::<IpAddr>().is_ok() && match_kind == MatchKind::Full;
    let kind = match location {
        "body" => FactKind::HttpBody,
        "header" => FactKind::HttpHead,
        "header.location" => FactKind::HttpLocation,
        "dns" if address => FactKind::DnsAddress,
        "dns" => FactKind::DnsText,
        _ if location.len() > "header.".len() && location.starts_with("header.") => FactKind::HttpHeader,
        other => {
            return Err(format!(
                "its location_found {other:?} is none of body, header, header.<name> and dns"
            ));
        }
    };
    let scope = scope(annotation.scope);
    let confidence = annotation.confidence.unwrap_or(USUAL_CONFIDENCE).min(10);
    Ok(Row {
        id: annotation.name.to_owned(),
        kind,
        header: (kind == FactKind::HttpHeader).then(|| location["header.".len()..].to_owned()),
        pattern: annotation.pattern.to_owned(),
        match_kind,
        scope,
        countries: countries(annotation.countries),
        confidence: if scope == Scope::Vague {
            confidence.min(VAGUE_CONFIDENCE)
        } else {
            confidence
        },
        source: source(annotation.source, file),
        date: String::new(),
        note: annotation.notes.to_owned(),
        url: annotation.url.to_owned(),
        letters: Letters::Exact,
        place: Some(Place {
            file: Arc::clone(file),
            line,
        }),
    })
}

/// Whose doing a match shows. What is left blank, or is called something else, is not held to be telling.
fn scope(text: &str) -> Scope {
    match text {
        "fp" => Scope::FalsePositive,
        "prod" => Scope::Product,
        "nat" => Scope::National,
        "isp" => Scope::Isp,
        "inst" => Scope::Institution,
        _ => Scope::Vague,
    }
}

/// The codes in `AE,SA` and `['AE', 'SA']`; ZZ is nowhere in particular.
fn countries(text: &str) -> Vec<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| word.len() == 2 && *word != "ZZ" && word.bytes().all(|octet| octet.is_ascii_uppercase()))
        .map(str::to_owned)
        .collect()
}

/// The source a row names, without the brackets Python puts around a list; the file itself if it names none.
fn source(text: &str, file: &Arc<str>) -> String {
    let bare = |letter: char| matches!(letter, '[' | ']' | '\'' | '"' | ' ');
    match text.trim_matches(bare).split(['\'', '"']).next() {
        Some(source) if !source.is_empty() => source.to_owned(),
        Some(_) | None => file.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    const OONI: &str = "\
name,scope,other_names,location_found,pattern_type,pattern,confidence_no_fp,expected_countries,source,exp_url,notes
t.1,nat,,header.server,prefix,Guarded by Sieve,8,\"QA,ZZ\",ooni,https://example.org/1,
t.2,isp,a.b,body,contains,\"class=\"\"stop\"\"
 lines\",5,KZ,ooni,,two lines
t.3,fp,,body,regexp,Hello [0-9]+,5,,ooni,,
t.4,vbw,,body,contains,is blocked,9,,ooni,,
t.5,,,dns,full,192.0.2.66,5,KZ,ooni,,
t.6,isp,,dns,full,stop.example,5,KZ,ooni,,
t.7,isp,,header.location,prefix,http://stop.example,5,KZ,ooni,,
t.8,isp,,body,regexp,(broken,5,KZ,ooni,,
t.9,isp,,cookie,contains,x,5,KZ,ooni,,
t.10,isp
";

    #[test]
    fn the_columns_of_ooni_are_read() {
        let list = read("http.csv", OONI.as_bytes()).unwrap();
        assert_eq!(list.form, Form::AnnotationsCsv);
        let told: Vec<_> = list
            .rows
            .iter()
            .map(|row| (row.id.as_str(), row.kind, row.match_kind, row.scope, row.confidence))
            .collect();
        use {FactKind as K, MatchKind as M, Scope as S};
        assert_eq!(
            told,
            [
                ("t.1", K::HttpHeader, M::Prefix, S::National, 8),
                ("t.2", K::HttpBody, M::Contains, S::Isp, 5),
                ("t.3", K::HttpBody, M::Regex, S::FalsePositive, 5),
                ("t.4", K::HttpBody, M::Contains, S::Vague, 3),
                ("t.5", K::DnsAddress, M::Full, S::Vague, 3),
                ("t.6", K::DnsText, M::Full, S::Isp, 5),
                ("t.7", K::HttpLocation, M::Prefix, S::Isp, 5),
            ]
        );
        let first = &list.rows[0];
        assert_eq!(first.header.as_deref(), Some("server"));
        assert_eq!(
            (&first.countries[..], &*first.url),
            (&["QA".to_owned()][..], "https://example.org/1")
        );
        assert_eq!(list.rows[1].pattern, "class=\"stop\"\n lines");
        // A row of two lines is counted as two.
        assert_eq!(list.rows[2].place.as_ref().unwrap().line, 5);
        let left_out: Vec<_> = list.left_out.iter().map(|row| (row.line, row.name.as_str())).collect();
        assert_eq!(left_out, [(10, "t.8"), (11, "t.9"), (12, "t.10")]);
        assert!(list.left_out[0].why.contains("(broken"), "{:?}", list.left_out);
    }

    #[test]
    fn the_columns_of_citizen_lab_are_read() {
        let http = "name,common_name,pattern,location_found,exp_url,confidence_no_fp,scope,source,expected_countries,notes,extra\n\
                    isp_kz_x,X,stop.example,header,,10,isp,\"['https://x.example/', 'y']\",\"['KZ', 'KG']\",n,e\n";
        let row = read("http.csv", http.as_bytes()).unwrap().rows.remove(0);
        assert_eq!((row.kind, row.match_kind), (FactKind::HttpHead, MatchKind::Contains));
        assert_eq!(
            (&*row.source, row.countries.join(" ")),
            ("https://x.example/", "KZ KG".into())
        );
        let dns = "name,response,confidence_no_fp,exp_url,source,scope,expected_countries,notes\n\
                   a,192.0.2.1,10,,[''],isp,['KZ'],n\nb,stop.example,10,,[],br,[],n\n";
        let rows = read("dns.csv", dns.as_bytes()).unwrap().rows;
        assert_eq!((rows[0].kind, rows[0].scope), (FactKind::DnsAddress, Scope::Isp));
        assert_eq!(
            (rows[1].kind, rows[1].scope, rows[1].confidence),
            (FactKind::DnsText, Scope::Vague, 3)
        );
        assert_eq!(rows[0].source, "dns.csv");
    }

    #[test]
    fn annotations_may_come_as_json() {
        let json = "[\n  {\n    \"name\": \"a\", \"scope\": \"nat\", \"location_found\": \"body\", \"new\": [1],\n\
                    \"pattern\": \"\\u0441\\u0442\\u043e\\u043f\", \"expected_countries\": [\"KZ\"], \"source\": [\"s\"]\n  },\n\
                    {\"name\": \"b\", \"response\": \"192.0.2.1\", \"scope\": \"isp\", \"source\": \"t\"}\n]\n";
        let list = read("http.json", json.as_bytes()).unwrap();
        assert_eq!((list.form, list.rows.len()), (Form::AnnotationsJson, 2));
        let [a, b] = &list.rows[..] else { panic!() };
        assert_eq!((&*a.pattern, a.place.as_ref().unwrap().line), ("стоп", 2));
        assert_eq!((b.kind, b.place.as_ref().unwrap().line), (FactKind::DnsAddress, 6));
    }

    #[test]
    fn scopes_have_words_and_the_rest_is_vague() {
        let words = ["fp", "prod", "nat", "isp", "inst", "vbw", "", "NAT"].map(scope);
        use Scope as S;
        assert_eq!(
            words,
            [
                S::FalsePositive,
                S::Product,
                S::National,
                S::Isp,
                S::Institution,
                S::Vague,
                S::Vague,
                S::Vague
            ]
        );
    }
}
