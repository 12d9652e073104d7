"""What is switched on in a scenario: one table, with the lines for Ringway and, where it has the like, for nginx.

A scenario names variants, and each is measured as a proxy of its own, in the same rounds. `off` in front makes the
column `to off`: what a feature costs that is on and never hit. Keys that change are corrected here and nowhere else.

In all texts `$directory` is where the generated files are.
"""

import dataclasses
import gzip
import hashlib
import http.client
import string

TOKEN = "perf-0123456789abcdef"


@dataclasses.dataclass(frozen=True)
class Feature:
    """Lines of a configuration, and the request that meets them. None: this proxy has no such thing."""

    name: str
    # Ringway: at the top of the file, in the only route, and behind it.
    top: str | None = ""
    route: str = ""
    tables: str = ""
    # nginx: in `http`, and in the only `location`; None is left out.
    nginx_http: str | None = None
    nginx_location: str = ""
    # Field lines of the request, the target if it is another one, and whether the answer has to be compressed.
    fields: tuple = ()
    target: str = ""
    coded: bool = False
    # Files that are made first: a name, and a function that writes the text.
    files: tuple = ()


def networks():
    """Ten thousand networks, none of which is loopback."""
    return (f"{11 + i // 4096}.{i // 16 % 256}.{i % 16 * 16}.0/20" for i in range(10_000))


def network_lines():
    return "".join(f"{network}\n" for network in networks())


def geo_lines():
    return "".join(f"{network} 1;\n" for network in networks())


def rules(count):
    """Rules of several kinds that match nothing that is asked for here."""
    kinds = [
        'path-prefix = "/never-{i}"',
        'path-regex = "^/wp-[a-z]+-{i}[.]php$$"',
        'header = {{ X-Never-{i} = true }}',
        'header = {{ User-Agent = {{ contains = "scanner-{i}" }} }}',
        'query = {{ never{i} = true }}',
    ]
    lines = []
    for i in range(count):
        condition = kinds[i % len(kinds)].format(i=i)
        lines.append(f'[[rule-set.many.rule]]\nid = "r-{i}"\n{condition}\ndeny = 403\n')
    return "[rule-set.many]\n" + "".join(lines)


def token_hash():
    return hashlib.sha256(TOKEN.encode()).hexdigest()


GZIP_FIELDS = ("Accept-Encoding: gzip",)


def nginx_gzip(level):
    return f"gzip on; gzip_types *; gzip_proxied any; gzip_comp_level {level}; gzip_min_length 256;"


FEATURES = {feature.name: feature for feature in [
    Feature("off", nginx_http=None),
    # On, and not hit.
    Feature("access", route='access = { allow = ["127.0.0.0/8", "10.0.0.0/8"], deny = ["10.1.0.0/16"] }'),
    Feature("probes", route='rules = ["probes"]'),
    Feature("bearer", route='auth = "api"', fields=(f"Authorization: Bearer {TOKEN}",),
            tables=f'[auth.api]\nbearer = ["sha256:{token_hash()}"]\n'),
    Feature("cors", route='cors = { origin = ["https://app.example"] }'),
    Feature("security-headers", route="security-headers = true"),
    Feature("compress", route="compress = true"),
    Feature("compress-type", route='compress = { content-type = ["application/json"] }', fields=GZIP_FIELDS),
    Feature("buffer-request", route="buffer-request = true"),
    Feature("buffer-response", route="buffer-response = true"),
    Feature("rate", route='rate = ["much"]', tables='[rate.much]\nrate = "1000000/s"\n',
            nginx_http="limit_req_zone $$binary_remote_addr zone=much:10m rate=1000000r/s;",
            nginx_location="limit_req zone=much burst=100000 nodelay;"),
    Feature("rules1k", route='rules = ["many"]', tables=rules(1000)),
    Feature("networks10k", files=(("networks.txt", network_lines), ("networks.geo", geo_lines)),
            route='access = { deny = ["file:$directory/networks.txt"] }',
            nginx_http="geo $$denied { default 0; include $directory/networks.geo; }",
            nginx_location="if ($$denied) { return 403; }"),
    Feature("log", top='access-log = "combined"',
            nginx_http="access_log $directory/access.log combined buffer=64k flush=1s;"),
    # At work. The levels are chosen so that the ratios, which are reported, are alike.
    Feature("gzip1", route='compress = { coding = ["gzip"], gzip-level = 1 }', fields=GZIP_FIELDS, coded=True,
            nginx_http=nginx_gzip(1)),
    Feature("gzip5", route='compress = { coding = ["gzip"], gzip-level = 5 }', fields=GZIP_FIELDS, coded=True,
            nginx_http=nginx_gzip(5)),
    Feature("gzip-hit", route='compress = { coding = ["gzip"] }', fields=GZIP_FIELDS, coded=True,
            nginx_http=nginx_gzip(1)),
    # A stored response that is as long as the compressed one.
    Feature("plain-hit", target="/cache/14500/plain", nginx_http=""),
]}

RINGWAY = """$top
[upstream.origin]
endpoints = ["127.0.0.1:$origin_port"]
[[route]]
upstream = "origin"
$route
$tables"""


def filled(text, directory):
    return string.Template(text).substitute(directory=directory)


def write_files(feature, directory):
    for name, text in feature.files:
        if not (path := directory / name).exists():
            path.write_text(text())


def ringway_config(feature, directory, origin_port, port):
    """Writes the configuration, and returns its path."""
    write_files(feature, directory)
    parts = {part: filled(getattr(feature, part), directory) for part in ("top", "route", "tables")}
    path = directory / f"ringway-{port}.toml"
    path.write_text(string.Template(RINGWAY).substitute(origin_port=origin_port, **parts))
    return path


def nginx_lines(feature, directory):
    """What goes into nginx's templates."""
    lines = {"access_log": "access_log off;", "http_lines": "", "location_lines": ""}
    if feature:
        write_files(feature, directory)
        http_lines = filled(feature.nginx_http, directory)
        lines |= {"http_lines": http_lines, "location_lines": filled(feature.nginx_location, directory)}
        if "access_log" in http_lines:
            lines["access_log"] = ""
    return lines


def expanded(scenario, proxies):
    """The proxies of a scenario with variants: each build with each of them, and nginx where it has the like."""
    builds = [proxy for proxy in proxies if not proxy.is_peer]
    variants = [FEATURES[name] for name in scenario.variants]
    found = []
    for build in builds:
        for feature in variants:
            name = feature.name if len(builds) == 1 else f"{build.name}/{feature.name}"
            found.append(dataclasses.replace(build, name=name, feature=feature))
    for peer in proxies:
        takes_part = peer.name == "nginx" and scenario.with_peers
        able = [feature for feature in variants if takes_part and feature.nginx_http is not None]
        for feature in able:
            name = peer.name if len(able) == 1 else f"{peer.name}-{feature.name}"
            found.append(dataclasses.replace(peer, name=name, feature=feature))
    return found


def fetch(port, target, fields, failed):
    """One answer: its status, its field lines, and its content as it came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", target, headers=dict(line.split(": ", 1) for line in fields))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise failed(f"check request: {error!r}") from error
    finally:
        connection.close()


def check(port, origin_port, target, feature, failed):
    """The answer has to be the origin's, compressed if that is wanted. Returns how many times shorter it came."""
    _, _, plain = fetch(origin_port, target, (), failed)
    ratio = 1.0
    for _ in range(2):
        status, headers, received = fetch(port, target, feature.fields, failed)
        if status != 200:
            raise failed(f"answers {status}")
        if (coding := headers.get("Content-Encoding")) != ("gzip" if feature.coded else None):
            raise failed(f"answers with a content coding of {coding}")
        content = gzip.decompress(received) if coding else received
        if content != plain:
            raise failed(f"answers {len(content)} bytes of content, not the origin's {len(plain)}")
        ratio = len(plain) / max(len(received), 1)
    return ratio
