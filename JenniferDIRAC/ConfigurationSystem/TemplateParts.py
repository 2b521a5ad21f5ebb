"""``TemplateParts``: templates that are merged into a VM's template, named at any layer of the CS."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator

OPTION = "TemplateParts"


class Layer(StrEnum):
    """Where a part is named, from the first that is merged to the last, which wins."""

    ALL_VOS = "all VOs"
    VO = "VO"
    SITE = "site"
    ENDPOINT = "endpoint"
    VM_TYPE = "VM type"


class TemplatePart(NamedTuple):
    """``name``: of the package's parts, or an absolute path of the director's host."""

    layer: Layer
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.layer})"


def parts_of(values: Mapping[Layer, Any]) -> tuple[TemplatePart, ...]:
    """The parts of several layers' options, each a text or a list as DIRAC hands it out."""
    names = {layer: value.split(",") if isinstance(value, str) else value for layer, value in values.items()}
    return tuple(TemplatePart(layer, name.strip()) for layer in Layer for name in names.get(layer, ()) if name.strip())


def _parse(value: Any) -> tuple[TemplatePart, ...]:
    # Only who reads a section knows its layer, and whether others are below it.
    if isinstance(value, str) or all(isinstance(one, str) for one in value):
        return parts_of({Layer.VM_TYPE: value})
    return tuple(TemplatePart(Layer(layer), name) for layer, name in value)  # pairs, of what is kept as JSON


Parts = Annotated[tuple[TemplatePart, ...], BeforeValidator(_parse)]
