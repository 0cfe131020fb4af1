"""Names for Dagster: asset keys, op names, group names, and tags."""

import re
import zlib
from collections.abc import Container, Iterable, Mapping

import dagster as dg

from ..pipelines.job_names import RESERVED
from ..settings import AssetKeyStyle

_OUTSIDE_KEY = re.compile(r"[^a-zA-Z0-9_-]")
_OUTSIDE_NAME = re.compile(r"[^a-zA-Z0-9_]")
_TAG_KEY = re.compile(r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$")
_OUTSIDE_TAG = re.compile(r"[^A-Za-z0-9_.-]")


def sanitize_id(text: str) -> str:
    """Return a name as starlake-dagster writes it in asset keys: ``$`` becomes ``S``, and all but ``[a-zA-Z0-9_-]`` become ``_``.

    The rule is ``sanitize_id`` in Starlake's guide "Customize Dagster DAGs".
    """
    return _OUTSIDE_KEY.sub("_", text.replace("$", "S"))


def build_asset_key(name: str, style: AssetKeyStyle = "flat") -> dg.AssetKey:
    """Return the asset key of a domain, table, or task, by its name and the ``asset_keys`` setting.

    For ``sales.Orders``, ``flat`` returns ``sales_Orders``, ``flat_lower`` returns ``sales_orders``, and ``path`` returns ``sales/Orders``.
    """
    if style == "path":
        return dg.AssetKey([sanitize_id(part) or "_" for part in name.split(".")])
    flat = sanitize_id(name) or "_"
    return dg.AssetKey(flat.lower() if style == "flat_lower" else flat)


def build_op_name(key: dg.AssetKey, taken: Container[str] = ()) -> str:
    """Return the op name for an asset key, in letters, digits, and underscores. Different keys have different op names.

    ``taken`` are the names of jobs, which share a namespace with ops in Dagster. In Starlake, a job is often named after its domain.
    """
    name = _make_readable_op_name(key)
    return f"{name}_step_{_compute_checksum(key)}" if name in taken else name


def build_output_name(key: dg.AssetKey) -> str:
    """Return the output name for an asset key in an op with several outputs. Different keys have different output names."""
    return f"table_{_make_readable_op_name(key)}"


def build_readable_name(text: str) -> str:
    """Return an op name for a string, in letters, digits, and underscores. Different strings have different op names."""
    return _make_readable_op_name(dg.AssetKey(text))


def _compute_checksum(key: dg.AssetKey) -> str:
    return f"{zlib.crc32(chr(0).join(key.path).encode()):08x}"


def _make_readable_op_name(key: dg.AssetKey) -> str:
    readable = "__".join(_OUTSIDE_NAME.sub("_", part) for part in key.path)
    # "__" separates the parts of a key, so a part that contains it needs a suffix.
    if readable != "__".join(key.path) or any("__" in part for part in key.path) or readable in RESERVED:
        return f"{readable}_{_compute_checksum(key)}"
    return readable


def build_group_name(name: str) -> str:
    """Return the asset group name for a domain, in letters, digits, and underscores."""
    return _OUTSIDE_NAME.sub("_", name) or "default"


def build_tags(labels: Iterable[str]) -> Mapping[str, str]:
    """Return Dagster tags for the ``tags`` of a Starlake object: ``label`` has an empty value, and ``key=value`` is split.

    Invalid characters become ``_``, and everything after 63 characters is removed. Empty labels are left out.
    """
    tags: dict[str, str] = {}
    for label in labels:
        key, _, value = (part.strip() for part in label.partition("="))
        if key:
            tags[key if _TAG_KEY.match(key) else build_tag_value(key)] = build_tag_value(value)
    return tags


def build_tag_value(text: str) -> str:
    """Return a string as a tag value: invalid characters become ``_``, and everything after 63 characters is removed."""
    return _OUTSIDE_TAG.sub("_", text)[:63]
