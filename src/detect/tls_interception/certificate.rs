//! A server's certificate: who issued it, what that says, and whether it covers the name asked for.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::detect::packs::pack::Pack;
use crate::detect::packs::row::{Row, Scope};
use crate::finding::tls_shown::Standing;
use crate::payload::tls_certificate::Chain;

/// Certificates of a chain that are looked at; public chains have no more than four.
const MOST_CERTIFICATES: usize = 6;

/// What is shown of a name, in characters.
const MOST_SHOWN: usize = 256;

/// Whether a certificate covers the name asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Covers {
    /// It does, or no name was asked for.
    TheName,
    /// It covers other names only.
    Others,
}

/// A server's certificate, judged.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Who vouches.
    pub(super) standing: Standing,
    /// The row of the pack that says so, for products and interceptors.
    pub(super) row: Option<&'static Row>,
    /// Whether it covers the name asked for.
    pub(super) covers: Covers,
    /// The issuer's name.
    pub(super) issuer: String,
    /// The owner's name.
    pub(super) subject: String,
}

impl Certificate {
    /// Judges the first certificate of `chain` by all of it; none if it cannot be read. Names are written out only for
    /// what no public authority issued.
    pub(super) fn judge(chain: &Chain<'_>, name: Option<&str>) -> Option<Self> {
        let mut certificates = chain.certificates().take(MOST_CERTIFICATES);
        let (_, leaf) = X509Certificate::from_der(certificates.next()?).ok()?;
        let pack = Pack::builtin();
        let row_of = |issuer: &[u8]| pack.tls_issuer(issuer).map(AsRef::as_ref);
        let issued_by: Option<&'static Row> = row_of(leaf.issuer().as_raw());
        let mut above = None;
        for certificate in certificates {
            if let Ok((_, certificate)) = X509Certificate::from_der(certificate) {
                let row = row_of(certificate.issuer().as_raw());
                // An interceptor anywhere above is one for all below.
                if above.is_none_or(|above| rank(row) > rank(Some(above))) {
                    above = row;
                }
            }
        }
        let best = if rank(above) > rank(issued_by) {
            above
        } else {
            issued_by
        };
        let standing = match best.map(|row| row.scope) {
            Some(Scope::FalsePositive) => Standing::Public,
            Some(Scope::Product) => Standing::Product,
            Some(Scope::National | Scope::Isp | Scope::Institution | Scope::Vague) => Standing::Interceptor,
            None if has_public_marks(&leaf) => Standing::Public,
            None => Standing::Unlisted,
        };
        let written = |name: String| -> String {
            match standing {
                Standing::Unseen | Standing::Public => String::new(),
                Standing::Unlisted | Standing::Product | Standing::Interceptor => {
                    name.chars().take(MOST_SHOWN).collect()
                }
            }
        };
        let is_shown = standing > Standing::Public;
        Some(Self {
            standing,
            row: best.filter(|_| is_shown),
            covers: match name {
                Some(name) if is_shown && !covers(&leaf, name) => Covers::Others,
                _ => Covers::TheName,
            },
            issuer: if is_shown {
                written(leaf.issuer().to_string())
            } else {
                String::new()
            },
            subject: if is_shown {
                written(leaf.subject().to_string())
            } else {
                String::new()
            },
        })
    }
}

/// How much a row on some certificate of a chain says of the whole chain.
fn rank(row: Option<&Row>) -> u8 {
    match row.map(|row| row.scope) {
        None => 0,
        Some(Scope::FalsePositive) => 1,
        Some(Scope::Product) => 2,
        Some(Scope::Vague | Scope::Institution | Scope::Isp) => 3,
        Some(Scope::National) => 4,
    }
}

/// What browsers and the CA/Browser Forum's Baseline Requirements (7.1.2.7) ask of public authorities: transparency stamps
/// (RFC 6962), or both policies and where to ask about the issuer.
fn has_public_marks(leaf: &X509Certificate<'_>) -> bool {
    let has = |wanted: fn(&ParsedExtension<'_>) -> bool| {
        leaf.extensions()
            .iter()
            .any(|extension| wanted(extension.parsed_extension()))
    };
    has(|extension| matches!(extension, ParsedExtension::SCT(stamps) if !stamps.is_empty()))
        || (has(|extension| matches!(extension, ParsedExtension::CertificatePolicies(_)))
            && has(|extension| matches!(extension, ParsedExtension::AuthorityInfoAccess(_))))
}

/// Whether the certificate covers `name`: by its alternative names or, where it has none, by its common name (RFC 6125
/// section 6.4).
fn covers(leaf: &X509Certificate<'_>, name: &str) -> bool {
    match leaf.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().any(|general| match general {
            GeneralName::DNSName(pattern) => matches_name(pattern, name),
            _ => false,
        }),
        Ok(None) | Err(_) => leaf
            .subject()
            .iter_common_name()
            .filter_map(|common| common.as_str().ok())
            .any(|pattern| matches_name(pattern, name)),
    }
}

/// Whether `pattern`, perhaps with a first label of `*`, covers `name`.
fn matches_name(pattern: &str, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    match pattern.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label_and_no_more() {
        assert!(matches_name("*.example.org", "WWW.example.org"));
        assert!(!matches_name("*.example.org", "a.b.example.org"));
        assert!(!matches_name("*.example.org", "example.org"));
        assert!(matches_name("Example.org", "example.org."));
    }
}
