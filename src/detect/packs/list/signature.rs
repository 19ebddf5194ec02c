//! Signatures: a name and a regular expression, as Censored Planet publishes them.
//!
//! One JSON object a line, `{"fingerprint": …, "pattern": …}`, or a single object that maps names to expressions. The
//! order counts: what stands first is preferred, and the names begin with letters that keep it (`a_prod_`, `b_nat_`,
//! `c_isp_`, `d_corp_`, `e_unk_`, `f_gen_`; `x_` for pages that are no block pages). The expressions are searched for in
//! the whole answer, its head included, with the dot for any character
//! (github.com/censoredplanet/censoredplanet-analysis, pipeline/metadata).

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::{Fault, Form, List, line_of};
use crate::detect::packs::row::{FactKind, Letters, MatchKind, Place, Row, Scope};

struct Signature {
    line: u64,
    name: String,
    pattern: String,
}

pub(super) fn read(text: &str, file: &Arc<str>) -> Result<List, Fault> {
    let signatures = match serde_json::from_str::<Pairs>(text) {
        Ok(pairs) if !pairs.is_one_signature() => mapped(text, pairs),
        Ok(_) | Err(_) => listed(text)?,
    };
    let innocent = signatures.iter().filter(|one| one.name.starts_with("x_")).count();
    let form = if innocent * 2 >= signatures.len() {
        Form::FalsePositiveSignatures
    } else {
        Form::Signatures
    };
    Ok(List {
        form,
        rows: signatures.into_iter().map(|one| row(one, form, file)).collect(),
        left_out: Vec::new(),
    })
}

/// One object a line.
fn listed(text: &str) -> Result<Vec<Signature>, Fault> {
    #[derive(Deserialize)]
    struct Line {
        fingerprint: String,
        pattern: String,
    }
    let mut signatures = Vec::new();
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Line>();
    loop {
        let rest = &text[objects.byte_offset()..];
        let begun = text.len() - rest.trim_start().len();
        let line = line_of(&text.as_bytes()[..begun]);
        match objects.next() {
            None => return Ok(signatures),
            Some(Ok(Line { fingerprint, pattern })) => signatures.push(Signature {
                line,
                name: fingerprint,
                pattern,
            }),
            Some(Err(error)) => {
                let what = format!(
                    "{error}: a list of signatures holds objects with fingerprint and pattern, one a line, or one \
                     object of names and expressions"
                );
                return Err(((error.line() as u64).max(line), what));
            }
        }
    }
}

/// The names and expressions of one object, in their order.
struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// A list of one line looks like an object of two names.
    fn is_one_signature(&self) -> bool {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names == ["fingerprint", "pattern"]
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and expressions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn mapped(text: &str, pairs: Pairs) -> Vec<Signature> {
    // Names stand in their order, so that each is found after the one before it.
    let mut at = 0;
    let mut line = 1;
    pairs
        .0
        .into_iter()
        .map(|(name, pattern)| {
            if let Some(found) = text[at..].find(&format!("\"{name}\"")) {
                line += text.as_bytes()[at..at + found]
                    .iter()
                    .filter(|octet| **octet == b'\n')
                    .count() as u64;
                at += found;
            }
            Signature { line, name, pattern }
        })
        .collect()
}

fn row(signature: Signature, form: Form, file: &Arc<str>) -> Row {
    let (scope, confidence, country) = if form == Form::FalsePositiveSignatures {
        (Scope::FalsePositive, 5, None)
    } else {
        meaning(&signature.name)
    };
    Row {
        id: signature.name,
        kind: FactKind::HttpAnswer,
        header: None,
        pattern: signature.pattern,
        match_kind: MatchKind::Regex,
        scope,
        countries: country.into_iter().collect(),
        confidence,
        source: file.to_string(),
        date: String::new(),
        note: String::new(),
        url: String::new(),
        letters: Letters::Exact,
        place: Some(Place {
            file: Arc::clone(file),
            line: signature.line,
        }),
    }
}

/// Whose doing a signature shows and how sure it is, by its name. The lists give no confidence; of what they flag a
/// third had to be taken back (wire-facts 5.1), so that none convicts by itself [E].
fn meaning(name: &str) -> (Scope, u8, Option<String>) {
    // `c_isp_kz_x`, and without the letter in older lists.
    let mut parts = name.split('_').skip_while(|part| part.len() == 1);
    let class = parts.next().unwrap_or_default();
    let mut country = || {
        let code = parts.next().filter(|part| part.len() == 2)?;
        code.bytes()
            .all(|octet| octet.is_ascii_lowercase())
            .then(|| code.to_ascii_uppercase())
    };
    match class {
        "prod" | "prd" => (Scope::Product, 6, None),
        "nat" => (Scope::National, 6, country()),
        "isp" => (Scope::Isp, 6, country()),
        "corp" => (Scope::Institution, 5, country()),
        _ => (Scope::Vague, 3, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn signatures_are_read_a_line_each() {
        let text = "{\"fingerprint\":\"a_prod_sieve\",\"pattern\":\"Sieve .* Gate\"}\n\n\
                    {\"fingerprint\":\"c_isp_kz_stop\",\"pattern\":\"stop\\\\.example\",\"extra\":1}\n\
                    {\"fingerprint\":\"f_gen\",\"pattern\":\"blocked(?=!)\"}\n";
        let list = read("b.json", text.as_bytes()).unwrap();
        assert_eq!(list.form, Form::Signatures);
        let told: Vec<_> = list
            .rows
            .iter()
            .map(|row| (&*row.id, row.scope, row.confidence, row.place.as_ref().unwrap().line))
            .collect();
        assert_eq!(
            told,
            [
                ("a_prod_sieve", Scope::Product, 6, 1),
                ("c_isp_kz_stop", Scope::Isp, 6, 3)
            ]
        );
        assert_eq!(list.rows[1].countries, ["KZ"]);
        assert_eq!((list.left_out[0].line, &*list.left_out[0].name), (4, "f_gen"));
    }

    #[test]
    fn a_list_of_one_signature_is_one() {
        let text = r#"{"fingerprint":"a_prod_sieve","pattern":"Sieve .* Gate"}"#;
        let list = read("b.json", text.as_bytes()).unwrap();
        let told: Vec<_> = list.rows.iter().map(|row| (&*row.id, &*row.pattern)).collect();
        assert_eq!(told, [("a_prod_sieve", "Sieve .* Gate")]);
    }

    #[test]
    fn a_name_says_whose_doing_it_shows() {
        let kazakhstan = || Some("KZ".to_owned());
        for (name, told) in [
            ("a_prod_x", (Scope::Product, 6, None)),
            ("prd_x", (Scope::Product, 6, None)),
            ("a_nat_kz_x", (Scope::National, 6, kazakhstan())),
            ("c_isp_kz_x", (Scope::Isp, 6, kazakhstan())),
            ("isp_kz", (Scope::Isp, 6, kazakhstan())),
            ("d_corp_kz_x", (Scope::Institution, 5, kazakhstan())),
            ("d_corp_KZ", (Scope::Institution, 5, None)),
            ("c_isp_kaz", (Scope::Isp, 6, None)),
            ("c_isp", (Scope::Isp, 6, None)),
            ("e_unk_kz", (Scope::Vague, 3, None)),
            ("", (Scope::Vague, 3, None)),
        ] {
            assert_eq!(meaning(name), told, "{name}");
        }
    }

    #[test]
    fn signatures_may_come_as_one_object() {
        let text = "{\n  \"b_nat_qa\": \"censor\",\n\n  \"e_unk_x\": \"x y z\"\n}";
        let list = read("b.json", text.as_bytes()).unwrap();
        let told: Vec<_> = list
            .rows
            .iter()
            .map(|row| (&*row.id, row.scope, row.place.as_ref().unwrap().line))
            .collect();
        assert_eq!(told, [("b_nat_qa", Scope::National, 2), ("e_unk_x", Scope::Vague, 4)]);
    }

    #[test]
    fn a_list_of_innocent_pages_is_known_by_its_names() {
        let text = "{\"fingerprint\":\"x_nginx\",\"pattern\":\"Welcome to nginx!\"}\n{\"fingerprint\":\"wix\",\"pattern\":\"wixError\"}";
        let list = read("b.json", text.as_bytes()).unwrap();
        assert_eq!(list.form, Form::FalsePositiveSignatures);
        assert!(list.rows.iter().all(|row| row.scope == Scope::FalsePositive));
    }

    #[test]
    fn a_broken_line_is_named() {
        let text = "{\"fingerprint\":\"a\",\"pattern\":\"b\"}\n{\"fingerprint\":\"a\"}\n";
        let error = read("b.json", text.as_bytes()).unwrap_err();
        assert_eq!(error.line, 2, "{error}");
    }
}
