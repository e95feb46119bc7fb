"""The list of what is in a wheel, as CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from component import Component


def _file(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    return {"type": "file", "name": name, "bom-ref": f"file:{name}", "hashes": [{"alg": "SHA-256", "content": digests[name]}]}


def _entry(component: Component, digests: Mapping[str, str]) -> dict[str, Any]:
    properties = [{"name": "finalrip:source", "value": component.source}]
    properties += [{"name": "finalrip:licence-text", "value": f"licenses/{path}"} for path in sorted(component.texts)]
    entry = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "licenses": [{"expression": component.licence}],
        "properties": properties,
    }
    if component.files:
        entry["components"] = [_file(name, digests) for name in component.files]
    return entry


def document(name: str, version: str, licence: str, components: Iterable[Component], digests: Mapping[str, str]) -> bytes:
    """The document. `digests` are SHA-256 in hexadecimal, of every file of the wheel that is named."""
    components = list(components)
    purl = f"pkg:pypi/{name}@{version}"
    named = {file for component in components for file in component.files}
    package = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"expression": licence}],
        "components": [_file(file, digests) for file in sorted(digests.keys() - named)],
    }
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": package},
        "components": [_entry(component, digests) for component in components],
        "dependencies": [{"ref": purl, "dependsOn": [component.purl for component in components]}],
    }
    return json.dumps(bom, indent=1).encode()
