"""What all parts of the resource share: frozen, closed, camelCase, bounded strings, and rules the API server checks."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


def rule(expression: str, message: str) -> JsonDict:
    """Return a CEL rule for `x-kubernetes-validations`; the message names the field and the remedy."""
    return {"rule": expression, "message": message}


def rules(*each: JsonDict) -> JsonDict:
    """Return the schema extension that holds CEL rules, for `json_schema_extra`."""
    return {"x-kubernetes-validations": list(each)}


def is_url(field: str) -> str:
    """Return a CEL expression that says whether a field that is set is a URL of HTTP."""
    return f"{field}.startsWith('https://') || {field}.startsWith('http://')"


class ApiModel(BaseModel):
    """A frozen, closed object whose attribute docstrings become the schema's descriptions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


IMAGE_PATTERN: Final = (
    r"^[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)
"""An image reference as distribution/reference has it, lower-case hosts only."""

Image = Annotated[str, Field(min_length=1, max_length=512)]
Url = Annotated[str, Field(min_length=1, max_length=512)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""A DNS subdomain, as Secrets and ConfigMaps are named."""


class LocalObjectReference(ApiModel):
    """An object in the same namespace."""

    name: ObjectName
    """Its name."""


class SecretSource(ApiModel):
    """Where connection strings are kept."""

    secret_ref: LocalObjectReference
    """A Secret in the same namespace."""
