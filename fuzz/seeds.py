#!/usr/bin/env python3
"""Writes what fuzzing starts from into fuzz/corpus/: taken from the captures and stories in fixtures/."""

import gzip
import lzma
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
CORPUS = HERE / "corpus"
LINKS = [0, 1, 9, 12, 14, 50, 51, 101, 104, 108, 113, 204, 228, 229, 276]
MOST_PER_TARGET = 400


def seed(target, name, content):
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    if content and len(list(directory.iterdir())) < MOST_PER_TARGET:
        (directory / name).write_bytes(content)


def packets(capture):
    order = "<" if capture[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link = struct.unpack_from(order + "I", capture, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(capture):
        _, _, length, _ = struct.unpack_from(order + "IIII", capture, at)
        yield link, capture[at + 16 : at + 16 + length]
        at += 16 + length


def payload(link, frame):
    """Protocol, ports and payload of a TCP or UDP packet over IP."""
    ip = frame[{1: 14, 101: 0, 113: 16}.get(link, 0) :]
    if len(ip) < 40:
        return None
    if ip[0] >> 4 == 4:
        protocol, rest = ip[9], ip[(ip[0] & 15) * 4 :]
    elif ip[0] >> 4 == 6:
        protocol, rest = ip[6], ip[40:]
    else:
        return None
    if protocol not in (6, 17) or len(rest) < 20:
        return None
    ports = struct.unpack_from(">HH", rest)
    return protocol, ports, rest[(rest[12] >> 4) * 4 if protocol == 6 else 8 :]


def pcapng(capture):
    blocks = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    first = True
    for link, frame in packets(capture):
        if first:
            blocks += struct.pack("<IIHHII", 1, 20, link, 0, 0, 20)
            first = False
        padded = frame + bytes(-len(frame) % 4)
        length = 32 + len(padded)
        blocks += struct.pack("<IIIIIII", 6, length, 0, 0, 0, len(frame), len(frame)) + padded + struct.pack("<I", length)
    return blocks


def of_packet(name, link, frame):
    if link in LINKS:
        seed("dissect", name, bytes([LINKS.index(link)]) + frame)
    found = payload(link, frame)
    if not found or not found[2]:
        return
    protocol, ports, data = found
    if 53 in ports:
        message = data if protocol == 17 else data[2:]
        seed("dns_message", name, message)
        seed("dns_name", name, message)
    elif protocol == 17 and 443 in ports:
        seed("quic_initial", name, data)
    elif protocol == 6 and data[:1] in (b"\x16", b"\x15"):
        seed("tls_hello", name, data)
        if ports[0] == 443:
            seed("tls_certificate", name, data)
    elif protocol == 6:
        seed("http_head", name, data)
        if data.startswith(b"HTTP/"):
            seed("http_body", name, data)
            seed("html_facts", name, data.split(b"\r\n\r\n", 1)[-1])


def main():
    for story in sorted(FIXTURES.glob("*/story.toml")):
        name = story.parent.name
        seed("story", name, story.read_bytes())
        trace = story.parent / "trace.pcap"
        if not trace.is_file():
            continue
        capture = trace.read_bytes()
        if len(capture) < 1 << 16:
            for target in ("pcap", "read", "read_mutated"):
                seed(target, name, capture)
            seed("pcapng", name, pcapng(capture))
            seed("read", name + ".ng", pcapng(capture))
            seed("compressed", name + ".gz", gzip.compress(capture[:4096], mtime=0))
            seed("compressed", name + ".xz", lzma.compress(capture[:4096]))
        for index, (link, frame) in enumerate(packets(capture)):
            if index % 7 == 0:
                of_packet(f"{name}-{index}", link, frame)
    for pack in sorted((HERE.parent / "src/detect/packs").glob("*.toml")):
        seed("packs", pack.name, pack.read_bytes()[:4096])
    seed("packs", "ooni.csv", b"name,scope,location_found,pattern_type,pattern,confidence_no_fp,expected_countries\n"
         b"x,nat,body,contains,blocked here,5,RU\n")
    seed("packs", "signatures.json", b'{"fingerprint":"x","pattern":"%blocked%"}\n')
    seed("manifest", "case.toml", b'capture = "x.pcap"\nnothing_else = true\n[[find]]\nkind = "rst_injection"\ncount = 1\n')
    for index, expression in enumerate([b"port 53", b"tcp port 443 or host 10.0.0.1", b"ip6 and tcp[13] & 4 != 0"]):
        seed("filter", f"filter-{index}", expression)
    for target in sorted(CORPUS.iterdir()):
        print(f"{target.name:16} {len(list(target.iterdir()))} seeds")


if __name__ == "__main__":
    main()
