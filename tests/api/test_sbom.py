"""The list of parts that the build writes beside the binary: CycloneDX 1.5, complete, and of one mind with THIRD-PARTY.md."""
import json
import re
import subprocess
import uuid

import jsonschema
import pytest

from tresor_client import BINARY, ROOT, run_tresor

pytestmark = pytest.mark.shipped
PATH = BINARY.parent / "tresor.cdx.json"
TEXT = {"type": "string", "minLength": 1}
# What we write of https://cyclonedx.org/schema/bom-1.5.schema.json, closed.
HASHES = {"type": "array", "minItems": 1, "items": {
    "type": "object", "required": ["alg", "content"], "additionalProperties": False,
    "properties": {"alg": {"const": "SHA-256"}, "content": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}}}
COMPONENT = {
    "type": "object", "required": ["type", "name", "bom-ref"], "additionalProperties": False,
    "properties": {
        "type": {"enum": ["application", "library", "file"]}, "bom-ref": TEXT, "name": TEXT, "version": TEXT,
        "scope": {"enum": ["required", "optional", "excluded"]}, "purl": {"type": "string", "pattern": "^pkg:(generic|deb)/.+@.+$"},
        "hashes": HASHES,
        "licenses": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["license"], "additionalProperties": False,
            "properties": {"license": {"type": "object", "required": ["id"], "additionalProperties": False, "properties": {"id": TEXT}}}}},
        "externalReferences": {"type": "array", "items": {
            "type": "object", "required": ["type", "url"], "additionalProperties": False,
            "properties": {"type": {"const": "website"}, "url": {"type": "string", "pattern": "^https://"}}}},
        "properties": {"type": "array", "items": {
            "type": "object", "required": ["name", "value"], "additionalProperties": False, "properties": {"name": TEXT, "value": TEXT}}},
        "components": {"type": "array", "items": {"$ref": "#/$defs/component"}}}}
SCHEMA = {
    "$defs": {"component": COMPONENT}, "type": "object", "additionalProperties": False,
    "required": ["bomFormat", "specVersion", "version", "serialNumber", "metadata", "components", "dependencies"],
    "properties": {
        "bomFormat": {"const": "CycloneDX"}, "specVersion": {"const": "1.5"}, "version": {"const": 1},
        "serialNumber": {"type": "string", "pattern": "^urn:uuid:[0-9a-f-]{36}$"},
        "metadata": {"type": "object", "required": ["component"], "additionalProperties": False, "properties": {
            "component": {"$ref": "#/$defs/component"},
            "tools": {"type": "object", "additionalProperties": False,
                      "properties": {"components": {"type": "array", "items": {"type": "object", "required": ["type", "name"]}}}}}},
        "components": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/component"}},
        "dependencies": {"type": "array", "items": {
            "type": "object", "required": ["ref"], "additionalProperties": False,
            "properties": {"ref": TEXT, "dependsOn": {"type": "array", "uniqueItems": True, "items": TEXT}}}}}}


@pytest.fixture(scope="module")
def bom():
    return json.loads(PATH.read_text(encoding="utf-8"))


def third_party():
    """{name: licence} of what is in the binary or in its process, from THIRD-PARTY.md's first two tables."""
    text = (ROOT / "THIRD-PARTY.md").read_text(encoding="utf-8")
    text = text[text.index("## In the binary"):text.index("## For building and testing only")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    head, table = None, {}
    for row in rows:
        if row[0] == "what":
            head = row
        elif not set(row[0]) <= set("- "):
            table[row[0]] = row[head.index("licence")]
    return table


def test_it_is_cyclonedx(bom):
    jsonschema.Draft202012Validator(SCHEMA).validate(bom)
    uuid.UUID(bom["serialNumber"])
    references = [c["bom-ref"] for c in bom["components"]] + [p["bom-ref"] for c in bom["components"] for p in c.get("components", [])]
    references.append(bom["metadata"]["component"]["bom-ref"])
    assert len(references) == len(set(references))
    for dependency in bom["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= set(references)


def test_it_is_of_this_binary(bom):
    assert bom["metadata"]["component"]["version"] in run_tresor("version", check=0).stdout


def test_licences_are_those_of_the_list_for_people(bom):
    table = third_party()
    assert set(table) == {c["name"] for c in bom["components"]}
    for component in bom["components"]:
        [licence] = component["licenses"]
        assert re.match(re.escape(licence["license"]["id"]) + r"\b", table[component["name"]]), component["name"]


def test_pinned_sources_have_their_hashes(bom):
    pins = set(re.findall(r"^([0-9a-f]{64}) ", (ROOT / "cmake" / "deps.sh").read_text(), re.M))
    told = {h["content"] for c in bom["components"] for p in c.get("components", []) for h in p["hashes"]}
    assert told == pins


def test_every_library_of_the_process_is_in_it(bom):
    """What the binary itself asks the loader for."""
    needed = re.findall(r"\(NEEDED\).*\[lib([\w+-]+?)[-.\d]*\.so", subprocess.run(
        ["readelf", "-Wd", BINARY], check=True, capture_output=True, text=True).stdout)
    ours = {"ssl": "OpenSSL", "crypto": "OpenSSL", "cjson": "cJSON", "pcre": "PCRE2", "archive": "libarchive", "curl": "libcurl",
            "seccomp": "libseccomp", "expat": "Expat", "c": "GNU C library", "m": "GNU C library"}
    run_time = {"asan", "ubsan", "tsan", "gcc_s", "dl", "pthread", "rt", "resolv", "stdc++"}
    names = {c["name"] for c in bom["components"]}
    for library in needed:
        assert library in run_time or ours.get(library) in names, f"{library} is not in the list of parts"
