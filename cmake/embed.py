"""Write a C file that holds texts of the repository as byte arrays.

    embed.py openapi    OUT openapi/openapi.yaml      the API's document as JSON
    embed.py migrations OUT schema/<db>-<number>-<name>.sql ...
"""
import json
import os
import re
import sys

import yaml


def array(name, data):
    """A NUL-terminated unsigned char array; string literals have a length limit in ISO C."""
    lines = [", ".join(str(b) for b in data[i:i + 24]) for i in range(0, len(data), 24)]
    return f"static const unsigned char {name}[] = {{\n    " + ",\n    ".join(lines) + (", 0" if lines else "0") + "};\n"


def openapi(sources):
    with open(sources[0], encoding="utf-8") as f:
        document = yaml.safe_load(f)
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return ('#include "api/openapi_json.h"\n\n' + array("bytes", data) +
            "\nconst char *const tr_openapi_json = (const char *)bytes;\n" +
            f"const size_t tr_openapi_json_len = {len(data)};\n")


def migrations(sources):
    rows, arrays = [], []
    for path in sources:
        match = re.fullmatch(r"(vault|keys|audit)-(\d{3})-([a-z0-9-]+)\.sql", os.path.basename(path))
        if not match:
            sys.exit(f"{path}: not <db>-<number>-<name>.sql")
        with open(path, "rb") as f:
            data = f.read()
        db, version, name = match.group(1), int(match.group(2)), match.group(3)
        arrays.append((db, version, array(f"sql_{db}_{version}", data)))
        rows.append((db, version, f'    {{"{db}", {version}, "{name}", (const char *)sql_{db}_{version}}},\n'))
    rows.sort()
    for db in ("vault", "keys", "audit"):
        numbers = [v for d, v, _ in rows if d == db]
        if numbers != list(range(1, len(numbers) + 1)):
            sys.exit(f"the migrations of {db} are not numbered 1, 2, 3, ...")
    return ('#include "store/migrations.h"\n\n' + "\n".join(a for _, _, a in sorted(arrays)) +
            "\nconst struct tr_migration_text tr_migrations[] = {\n" + "".join(r for _, _, r in rows) + "};\n" +
            f"const size_t tr_migrations_count = {len(rows)};\n")


def main():
    kind, out, sources = sys.argv[1], sys.argv[2], sys.argv[3:]
    text = {"openapi": openapi, "migrations": migrations}[kind](sources)
    with open(out, "w", encoding="utf-8") as f:
        f.write(text)


main()
