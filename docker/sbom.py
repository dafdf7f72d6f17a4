"""The Debian packages whose files are in the image, as a CycloneDX 1.5 document.

    sbom.py VERSION <LINES      a line: package, version, architecture, source package, its version
"""
import json
import platform
import sys
import urllib.parse


DISTRO = platform.freedesktop_os_release()["VERSION_CODENAME"]


def component(line):
    package, version, architecture, source, source_version = line.split()
    quoted = urllib.parse.quote(version, safe=".~-")
    purl = f"pkg:deb/debian/{package}@{quoted}?arch={architecture}&distro={DISTRO}"
    return {"type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl,
            "properties": [{"name": "debian:source", "value": f"{source} {source_version}"}]}


def main():
    components = [component(line) for line in sys.stdin if line.strip()]
    name, _, version = sys.argv[1].partition(" ")
    image = {"type": "container", "bom-ref": "image", "name": name, "version": version.split(" ")[0]}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": image},
                "components": components,
                "dependencies": [{"ref": "image", "dependsOn": [c["bom-ref"] for c in components]}]}
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


main()
