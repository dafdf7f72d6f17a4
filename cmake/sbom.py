"""Write what the binary is made of as a CycloneDX 1.5 document.

    sbom.py OUT VERSION SOURCE-FOLDER NAME=VERSION ...

What is linked statically comes with the SHA-256 that cmake/deps.sh pins; of the system's shared libraries the version is that
of the machine that builds (NAME=VERSION, as pkg-config has it). Licences are THIRD-PARTY.md's; a test holds the two together.
"""
import json
import pathlib
import re
import sys
import uuid

# name, kind of linking, SPDX licence, where it comes from
STATIC = [
    ("SQLCipher", "sqlcipher", "BSD-3-Clause", "https://www.zetetic.net/sqlcipher/"),
    ("CivetWeb", "civetweb", "MIT", "https://civetweb.github.io/civetweb/"),
]
SHARED = [
    ("OpenSSL", "openssl", "Apache-2.0", "https://www.openssl.org/"),
    ("cJSON", "cjson", "MIT", "https://github.com/DaveGamble/cJSON"),
    ("PCRE2", "pcre2", "BSD-3-Clause", "https://www.pcre.org/"),
    ("libarchive", "libarchive", "BSD-2-Clause", "https://www.libarchive.org/"),
    ("libcurl", "curl", "curl", "https://curl.se/"),
    ("Expat", "libexpat", "MIT", "https://libexpat.github.io/"),
    ("libseccomp", "libseccomp", "LGPL-2.1-only", "https://github.com/seccomp/libseccomp"),
    ("GNU C library", "glibc", "LGPL-2.1-or-later", "https://www.gnu.org/software/libc/"),
]


def pinned(source):
    """{source package: [(version, file, sha256)]} from the lists in deps.sh."""
    found = {}
    text = (source / "cmake" / "deps.sh").read_text()
    for digest, package, name in re.findall(r"^([0-9a-f]{64}) \w+/(\w+) (\S+)$", text, re.M):
        version = re.fullmatch(rf"{package}_(.+?)\.(?:orig|debian)\.tar\.\w+", name).group(1)
        found.setdefault(package, []).append((version, name, digest))
    return found


def component(name, package, version, licence, home, **more):
    purl = f"pkg:deb/debian/{package}@{version.replace('+', '%2B')}" if more.pop("debian", False) else f"pkg:generic/{package}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "licenses": [{"license": {"id": licence}}],
            "purl": purl, "externalReferences": [{"type": "website", "url": home}], **more}


def static(source):
    pins = pinned(source)
    for name, package, licence, home in STATIC:
        files = pins[package]
        origin = next(f for f in files if ".orig." in f[1])
        parts = [{"type": "file", "bom-ref": f"{package}:{file}", "name": file, "hashes": [{"alg": "SHA-256", "content": digest}]}
                 for _, file, digest in files]
        yield component(name, package, origin[0].split("+dfsg")[0], licence, home, debian=False, scope="required",
                        hashes=[{"alg": "SHA-256", "content": origin[2]}], components=parts,
                        properties=[{"name": "tresor:linking", "value": "static"}])


def shared(versions):
    for name, package, licence, home in SHARED:
        yield component(name, package, versions[package], licence, home, scope="required",
                        properties=[{"name": "tresor:linking", "value": "shared"}])


def main():
    out, version, source = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    components = [*static(source), *shared(dict(pair.split("=", 1) for pair in sys.argv[4:]))]
    own = {"type": "application", "bom-ref": f"pkg:generic/tresor@{version}", "name": "tresor", "version": version,
           "licenses": [{"license": {"id": "Apache-2.0"}}], "purl": f"pkg:generic/tresor@{version}"}
    dependencies = [{"ref": own["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}]
    dependencies += [{"ref": c["bom-ref"], "dependsOn": []} for c in components]
    content = json.dumps([own, components], sort_keys=True)
    document = {  # the same for the same input: no time of day, and an id from what is in it
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, content).urn,
        "metadata": {"component": own, "tools": {"components": [{"type": "application", "name": "cmake/sbom.py"}]}},
        "components": components, "dependencies": dependencies}
    pathlib.Path(out).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


main()
