//! What is done to whom, as `mix.toml` and `serial.toml` list it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::network::{ABROAD, LYING_RESOLVER, PORTAL_RESOLVER, RESOLVER, beside_v4, client, site_v4, site_v6};

/// One thing that is done, and what must be said of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Which client it runs at.
    #[serde(default = "first")]
    from: usize,
    client: String,
    #[serde(default)]
    equipment: String,
    /// The kinds that are true of it; none for what is innocent.
    #[serde(default)]
    pub(crate) found: Vec<String>,
    /// What its evidence must hold, by key.
    #[serde(default)]
    pub(crate) shows: Vec<String>,
    /// Kinds that are true of it as well.
    #[serde(default)]
    pub(crate) also: Vec<String>,
    /// Whether the tap sees packets nobody sent: they must be named.
    #[serde(default)]
    pub(crate) forged: bool,
    /// How many hops from the tap the equipment stands, where its packets tell.
    pub(crate) hops: Option<u64>,
    /// What the far link does to its packets by chance: shares lost, doubled and delayed.
    pub(crate) mishap: Option<[f64; 3]>,
    /// Whether it needs a network of its own, because it cuts everything off or counts the time from the beginning.
    #[serde(default)]
    pub(crate) alone: bool,
    /// Where it is looked at, if it is alone.
    #[serde(default)]
    pub(crate) tap: Tap,
    /// Which of the sites' addresses is its own.
    #[serde(default)]
    pub(crate) site: u8,
}

/// A place to look on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tap {
    /// Between the clients and all equipment.
    #[default]
    Clients,
    /// Between the servers and all equipment.
    Servers,
}

fn first() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    case: Vec<Case>,
}

/// The site whose address leads to the interceptor, and whose server speaks TLS 1.2 at most.
pub(crate) const INTERCEPTED_SITE: u8 = 251;
/// Where the captive portal's page lies.
pub(crate) const PORTAL_SITE: u8 = 252;

/// `http` and `https` visit `$HOST` at `$IP`, `other` another name there, `beside` another address of the same network; more
/// arguments are curl's. `ask` looks it up. `esni` and `ech` begin a visit from `$1` with a server name that is encrypted, `ech`
/// with `$HOST` as the outer one. `at` waits until so many seconds after the beginning.
const PRELUDE: &str = r#"
visit() { curl -4 -k -s -S -o /dev/null -w '%{http_code} %{errormsg}\n' -m 8 --connect-to "::$IP:" "$@" || true; }
http() { visit "http://$HOST/" "$@"; }
https() { visit "https://$HOST/" "$@"; }
other() { visit "https://www.control.example/" "$@"; }
beside() { IP=$IP_BESIDE visit "https://www.control.example/" "$@"; }
at() { local left=$(( $1 - SECONDS )); [ $left -le 0 ] || sleep $left; }
esni() { hidden 0xffce "$1"; }
ech() { hidden 0xfe0d "$1" "$HOST"; }
hidden() { python3 - "$IP" "$@" <<'PYTHON'
import os, socket, ssl, struct, sys
address, kind, source, *outer = sys.argv[1:]
kind = int(kind, 16)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
out = ssl.MemoryBIO()
try:
    context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=outer[0] if outer else None).do_handshake()
except ssl.SSLWantReadError:
    pass
hello = bytearray(out.read())
number = lambda at, size: int.from_bytes(hello[at:at + size], "big")
at = 9 + 34
at += 1 + hello[at]
at += 2 + number(at, 2)
at += 1 + hello[at]
if kind == 0xFFCE:
    # draft-ietf-tls-esni-02: a suite, a key share, a digest and 292 encrypted bytes.
    body = struct.pack(">HHH", 0x1301, 29, 32) + os.urandom(32) + b"\0\x20" + os.urandom(32) + b"\1\x24" + os.urandom(292)
else:
    # RFC 9849: outer, a suite, a configuration, a key share and 240 encrypted bytes.
    body = struct.pack(">BHHBH", 0, 1, 1, 42, 32) + os.urandom(32) + b"\0\xf0" + os.urandom(240)
hello += struct.pack(">HH", kind, len(body)) + body
for place, size in ((at, 2), (6, 3), (3, 2)):
    hello[place:place + size] = (number(place, size) + len(body) + 4).to_bytes(size, "big")
try:
    with socket.create_connection((address, 443), 8, (source, 0)) as connection:
        connection.sendall(hello)
        print("hidden", len(connection.recv(65536)))
except OSError as error:
    print("hidden", error)
PYTHON
}
ask() { dig +time=3 +tries=1 +noall +answer +comments "@$DNS" "$HOST" "$@" || true; }
"#;

impl Case {
    /// Its domain; nobody else's name ends like this.
    pub(crate) fn domain(&self) -> String {
        format!("{}.example", self.name)
    }

    /// The name its clients ask for.
    pub(crate) fn host(&self) -> String {
        format!("www.{}.example", self.name)
    }

    /// Its server's address.
    pub(crate) fn address(&self) -> String {
        site_v4(self.site)
    }

    /// The namespace its client runs in.
    pub(crate) fn from(&self) -> String {
        client(self.from)
    }

    /// Whether packets without a name set its equipment off.
    pub(crate) fn equipment_hears_syns(&self) -> bool {
        ["syn_to", "blackhole", "hellos"]
            .iter()
            .any(|word| self.equipment.contains(word))
    }

    /// Whether its equipment lets some packets through before it drops the others.
    pub(crate) fn equipment_tarries(&self) -> bool {
        self.equipment.contains("grace")
    }

    /// Whether it is innocent.
    pub(crate) fn is_control(&self) -> bool {
        self.found.is_empty()
    }

    /// What its client does.
    pub(crate) fn script(&self) -> String {
        let bed = std::env::current_exe().unwrap_or_default();
        let bed = bed.display();
        let (name, address, v6) = (self.host(), self.address(), site_v6(self.site));
        format!(
            "HOST={name} IP={address} IP6={v6} DNS={RESOLVER} LIAR={LYING_RESOLVER} PORTAL={PORTAL_RESOLVER} \
             PORTAL_IP={} IP_BESIDE={} BED={bed}\n{PRELUDE}\n{}\nwait\n",
            site_v4(PORTAL_SITE),
            beside_v4(self.site),
            self.client
        )
    }
}

/// The equipment of all cases, as the links read it.
pub(crate) fn equipment(cases: &[Case]) -> String {
    let mut text = String::from("[addresses]\n");
    for case in cases {
        let _ = writeln!(
            text,
            "{} = [\"{}\", \"{}\"]",
            case.name,
            case.address(),
            site_v6(case.site)
        );
    }
    let _ = writeln!(text, "box = [\"45.80.254.1\"]");
    let _ = writeln!(text, "abroad = {ABROAD:?}");
    for case in cases.iter().filter(|case| !case.equipment.is_empty()) {
        let names = format!("\"{}\", \"*.{}\"", case.domain(), case.domain());
        let own = case.equipment.replace("@NAMES", &names).replace("@SITE", &case.name);
        let _ = write!(text, "\n[[equipment]]\nname = \"{}\"\n{own}\n", case.name);
    }
    text
}

/// What bad luck the far link has, as its relay reads it.
pub(crate) fn mishaps(cases: &[Case]) -> Vec<String> {
    cases
        .iter()
        .filter_map(|case| {
            let [loss, duplicate, reorder] = case.mishap?;
            Some(format!("{}:{loss}:{duplicate}:{reorder}", case.address()))
        })
        .collect()
}

/// The cases of a list beside this file, each with an address of its own. `BLOCKSCOPE_TESTBED_ONLY` keeps those whose
/// names hold one of its words.
pub(crate) fn list(name: &str) -> Result<Vec<Case>, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed").join(name);
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let list: List = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let only = std::env::var("BLOCKSCOPE_TESTBED_ONLY").unwrap_or_default();
    let cases = (1..).zip(list.case).map(|(site, mut case)| {
        case.site = match case.name.as_str() {
            "tls-intercepted" => INTERCEPTED_SITE,
            _ => site,
        };
        case
    });
    Ok(cases
        .filter(|case| only.is_empty() || only.split(',').any(|word| case.name.contains(word)))
        .collect())
}
