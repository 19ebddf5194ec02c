//! Real servers: nginx, unbound, dnsmasq, and a small one for what those do not do.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::catalogue::{Case, INTERCEPTED_SITE, PORTAL_SITE};
use crate::network::{LYING_RESOLVER, Network, PORTAL_RESOLVER, RESOLVER, site_v4, site_v6};
use crate::process::Running;

/// Everything that serves, ended when dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    _running: Vec<Running>,
}

impl Servers {
    /// Starts them all and waits until they answer.
    pub(crate) fn start(network: &Network, dir: &Path, cases: &[Case]) -> Result<Self, String> {
        certificates(dir)?;
        let web = dir.join("www");
        fs::create_dir_all(&web).map_err(|error| error.to_string())?;
        for (name, len) in [
            ("index.html", 12_000),
            ("page", 80_000),
            ("large", 600_000),
            ("huge", 3_000_000),
        ] {
            fs::write(web.join(name), filler(len)).map_err(|error| error.to_string())?;
        }
        let mut running = vec![
            nginx(network, "sv", dir, &genuine_sites(dir))?,
            nginx(network, "ic", dir, &intercepted_sites(dir))?,
            unbound(network, dir, cases)?,
            dnsmasq(network, dir, "lying", &lies(cases))?,
            dnsmasq(network, dir, "portal", &portal())?,
        ];
        let script = dir.join("odd.py");
        fs::write(&script, ODD).map_err(|error| error.to_string())?;
        let mut odd = Running::start("odd", dir, network.inside("sv")?.args(["python3", "-u"]).arg(&script))?;
        odd.wait_to_hear("ready")?;
        running.push(odd);
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        for case in cases.iter().filter(|case| case.name.starts_with("quic")) {
            let mut command = network.inside("sv")?;
            command.arg(&own).args(["quic-server", &case.address()]);
            let mut server = Running::start(&format!("server-{}", case.name), dir, &mut command)?;
            server.wait_to_hear("ready")?;
            running.push(server);
        }
        for (place, address) in [("sv", site_v4(0)), ("ic", "127.0.0.1".to_owned())] {
            let line = format!(
                "for i in $(seq 300); do curl -s -o /dev/null http://{address}/ && exit 0; sleep 0.1; done; exit 1"
            );
            network.shell(place, &line)?;
        }
        for address in [RESOLVER, LYING_RESOLVER, PORTAL_RESOLVER] {
            let line = format!(
                "for i in $(seq 100); do dig +time=1 +tries=1 @{address} control.example >/dev/null && exit 0; sleep 0.1; \
                 done; exit 1"
            );
            network.shell("sv", &line)?;
        }
        Ok(Self { _running: running })
    }
}

fn filler(len: usize) -> Vec<u8> {
    let line = b"All that is here is said to fill a page, and nothing of it is forbidden anywhere.\n";
    line.iter().copied().cycle().take(len).collect()
}

/// An authority that looks like a public one, and one known to intercept.
fn certificates(dir: &Path) -> Result<(), String> {
    let script = r#"
        set -e
        policies='certificatePolicies=2.23.140.1.2.1
authorityInfoAccess=caIssuers;URI:http://r11.i.lencr.example/
basicConstraints=CA:FALSE'
        make() { # authority subject marks
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.ca -days 30 -subj "$2"
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1-leaf.key -out $1-leaf.csr -subj "/CN=$4"
            printf '%s\nsubjectAltName=%s\n' "$3" "$5" > $1.ext
            openssl x509 -req -in $1-leaf.csr -CA $1.ca -CAkey $1.key -CAcreateserial -out $1-leaf.crt -days 20 -extfile $1.ext
            cat $1-leaf.crt $1.ca > $1.chain
        }
        make public "/C=US/O=Let's Encrypt/CN=R11" "$policies" control.example "DNS:*.tls-intercepted.example,DNS:*.control.example,DNS:control.example"
        make isca "/C=KZ/O=ISCA/CN=Information Security Certification Authority" "basicConstraints=CA:FALSE" www.tls-intercepted.example "DNS:www.tls-intercepted.example"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.crt -days 30 -subj "/CN=nas.local"
        openssl x509 -req -in public-leaf.csr -CA public.ca -CAkey public.key -CAcreateserial -out expired.crt -days -1 -extfile public.ext || cp public-leaf.crt expired.crt
        cat expired.crt public.ca > expired.chain
    "#;
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(dir)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("certificates: {}", String::from_utf8_lossy(&output.stderr)))
}

fn server(listen: &str, names: &str, tls: &str, body: &str) -> String {
    format!("server {{ {listen} server_name {names}; {tls} {body} }}\n")
}

fn tls(dir: &Path, chain: &str, key: &str) -> String {
    let dir = dir.display();
    format!("ssl_certificate {dir}/{chain}; ssl_certificate_key {dir}/{key};")
}

fn genuine_sites(dir: &Path) -> String {
    let root = dir.join("www").display().to_string();
    let public = tls(dir, "public.chain", "public-leaf.key");
    let both = "listen 80; listen 443 ssl; listen [::]:80; listen [::]:443 ssl;";
    let pages = format!("root {root}; location / {{ try_files $uri /index.html; }}");
    let mut all = server(
        "listen 80 default_server; listen 443 ssl default_server; listen [::]:80 default_server; \
         listen [::]:443 ssl default_server;",
        "_",
        &public,
        &pages,
    );
    let own: [(&str, &str); 8] = [
        ("*.origin-403.example", "return 403 'Forbidden by this server';"),
        ("*.origin-451.example", "return 451 'Unavailable For Legal Reasons';"),
        ("*.origin-444.example", "return 444;"),
        (
            "*.to-https.example",
            "location / { if ($scheme = http) { return 301 https://$host$request_uri; } return 200 'here'; }",
        ),
        ("*.to-login.example", "return 302 https://login.control.example/;"),
        ("*.keep-alive.example", "keepalive_timeout 1s; return 200 'short';"),
        ("*.overloaded.example", "return 503 'busy';"),
        ("*.rejected-hello.example", "ssl_reject_handshake on;"),
    ];
    for (names, body) in own {
        all += &server(both, names, &public, body);
    }
    all += &server(both, "*.self-signed.example", &tls(dir, "own.crt", "own.key"), &pages);
    all += &server(
        both,
        "*.expired.example",
        &tls(dir, "expired.chain", "public-leaf.key"),
        &pages,
    );
    let listen = format!("listen {}:443 ssl;", site_v4(INTERCEPTED_SITE));
    all += &server(&listen, "_", &format!("{public} ssl_protocols TLSv1.2;"), &pages);
    let portal = format!("listen {}:80;", site_v4(PORTAL_SITE));
    all += &server(&portal, "_", "", "return 302 http://login.portal.example/;");
    all
}

fn intercepted_sites(dir: &Path) -> String {
    let forged = tls(dir, "isca.chain", "isca-leaf.key");
    let root = dir.join("www").display().to_string();
    server(
        "listen 80; listen 443 ssl;",
        "_",
        &format!("{forged} ssl_protocols TLSv1.2;"),
        &format!("root {root}; location / {{ try_files $uri /index.html; }}"),
    )
}

fn nginx(network: &Network, place: &str, dir: &Path, sites: &str) -> Result<Running, String> {
    let name = format!("nginx-{place}");
    let base = dir.join(&name);
    fs::create_dir_all(&base).map_err(|error| error.to_string())?;
    let base = base.display();
    let text = format!(
        "daemon off; master_process off; user root; pid {base}/pid; error_log {base}/error.log;\n\
         events {{ worker_connections 1000; }}\n\
         http {{ access_log off; client_body_temp_path {base}/b; proxy_temp_path {base}/p; fastcgi_temp_path {base}/f; \
         uwsgi_temp_path {base}/u; scgi_temp_path {base}/s; server_names_hash_bucket_size 128; keepalive_timeout 10s;\n\
         {sites}}}\n"
    );
    let file = dir.join(format!("{name}.conf"));
    fs::write(&file, text).map_err(|error| error.to_string())?;
    Running::start(&name, dir, network.inside(place)?.args(["nginx", "-c"]).arg(&file))
}

fn unbound(network: &Network, dir: &Path, cases: &[Case]) -> Result<Running, String> {
    let mut text = format!(
        "server:\n interface: {RESOLVER}\n do-ip6: no\n username: \"\"\n chroot: \"\"\n directory: \"{dir}\"\n \
         pidfile: \"\"\n use-syslog: no\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n num-threads: 1\n \
         module-config: \"iterator\"\n local-zone: \"example.\" static\n local-zone: \"com.\" static\n",
        dir = dir.display()
    );
    let mut add = |name: &str, kind: &str, data: &str| {
        let _ = writeln!(text, " local-data: \"{name} 300 IN {kind} {data}\"");
    };
    for case in cases {
        add(&case.host(), "A", &case.address());
        add(&case.host(), "AAAA", &site_v6(case.site));
    }
    add("control.example", "A", &site_v4(0));
    add("www.control.example", "A", &site_v4(0));
    for last in 10..16 {
        add("www.many-addresses.example", "A", &format!("45.80.200.{last}"));
    }
    add("connectivitycheck.gstatic.com", "A", &site_v4(0));
    let file = dir.join("unbound.conf");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    Running::start(
        "unbound",
        dir,
        network.inside("sv")?.args(["unbound", "-d", "-c"]).arg(&file),
    )
}

/// A resolver that answers some names with an address of nobody, and others with "no such name".
fn lies(cases: &[Case]) -> String {
    let mut text = format!("listen-address={LYING_RESOLVER}\n");
    for case in cases {
        let _ = match case.name.as_str() {
            "resolver-bogon" => writeln!(text, "address=/{}/127.0.0.1", case.domain()),
            "resolver-sinkhole" => writeln!(text, "address=/{}/10.10.34.35", case.domain()),
            "resolver-nowhere" => writeln!(text, "address=/{}/0.0.0.0", case.domain()),
            _ => writeln!(text, "host-record={},{}", case.host(), case.address()),
        };
    }
    let _ = writeln!(text, "host-record=control.example,{}", site_v4(0));
    text
}

/// A resolver that gives its own page's address for every name.
fn portal() -> String {
    format!(
        "listen-address={PORTAL_RESOLVER}\naddress=/#/{}\n",
        site_v4(PORTAL_SITE)
    )
}

fn dnsmasq(network: &Network, dir: &Path, name: &str, lines: &str) -> Result<Running, String> {
    let text = format!(
        "no-daemon\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\ngroup=root\nlocal-ttl=300\npid-file=\n\
         except-interface=lo\n{lines}"
    );
    let file = dir.join(format!("{name}.conf"));
    fs::write(&file, text.replace("except-interface=lo\n", "")).map_err(|error| error.to_string())?;
    let option = format!("--conf-file={}", file.display());
    Running::start(name, dir, network.inside("sv")?.args(["dnsmasq", &option]))
}

/// Servers with manners of their own, by port: 81 resets in mid-answer, 82 takes a request and thinks for long, 83 closes
/// an idle connection by a reset, 84 shuts down without having read, 85 answers byte by byte.
const ODD: &str = r#"
import socket, struct, threading, time

def hard(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    conn.close()

def head(n):
    return b'HTTP/1.1 200 OK\r\nServer: odd\r\nContent-Length: %d\r\n\r\n' % n

def reset_in_answer(conn):
    conn.recv(4096); conn.sendall(head(90000) + b'x' * 20000); time.sleep(0.3); hard(conn)

def slow(conn):
    conn.recv(4096); time.sleep(4); conn.sendall(head(5) + b'later'); conn.close()

def reset_idle(conn):
    conn.recv(4096); conn.sendall(head(5) + b'there'); time.sleep(1.5); hard(conn)

def reset_at_once(conn):
    conn.recv(4096); hard(conn)

def dribble(conn):
    conn.recv(4096); conn.sendall(head(30))
    for _ in range(30):
        conn.sendall(b'.'); time.sleep(0.1)
    conn.close()

def serve(port, act):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(('0.0.0.0', port)); listener.listen(64)
    def one(conn):
        try: act(conn)
        except OSError: pass
    def loop():
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=one, args=(conn,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()

for port, act in ((81, reset_in_answer), (82, slow), (83, reset_idle), (84, reset_at_once), (85, dribble)):
    serve(port, act)
print('ready', flush=True)
while True:
    time.sleep(3600)
"#;
