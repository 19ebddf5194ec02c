//! Text that lies in the program, read back from where it was saved.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer};

/// Text that lies in the program. (Serde takes a plain reference for one into what is read.)
pub type FixedText = &'static str;

/// Every text read back so far. There are as few of them as the program has constants.
static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The one copy of `text`.
fn fixed(text: &str) -> &'static str {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(text) {
        return known;
    }
    let text = Box::leak(text.to_owned().into_boxed_str());
    known.insert(text);
    text
}

/// Reads a constant.
pub(super) fn fixed_text<'de, D: Deserializer<'de>>(source: D) -> Result<FixedText, D::Error> {
    String::deserialize(source).map(|text| fixed(&text))
}

/// Reads a constant, if there is one.
pub(super) fn perhaps_fixed_text<'de, D: Deserializer<'de>>(source: D) -> Result<Option<FixedText>, D::Error> {
    Ok(Option::<String>::deserialize(source)?.map(|text| fixed(&text)))
}
