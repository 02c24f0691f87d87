"""Base model and types of the resource: frozen, closed, camelCase, bounded, with CEL rules for the API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


def rule(expression: str, message: str) -> JsonDict:
    """Return a CEL rule for `x-kubernetes-validations`; the message names the field and the remedy."""
    return {"rule": expression, "message": message}


def rules(*each: JsonDict) -> JsonDict:
    """Return the schema extension with CEL rules, for `json_schema_extra`."""
    return {"x-kubernetes-validations": list(each)}


def is_url(field: str) -> str:
    """Return a CEL expression that is true if a field, which must be set, is an HTTP or HTTPS URL."""
    return f"{field}.startsWith('https://') || {field}.startsWith('http://')"


def one_name(path: str, former: str, present: str, former_default: int) -> JsonDict:
    """Return a CEL rule that rejects a field under both of its names.

    A former field at `former_default` is accepted and ignored, because version 0.1 set that default on every stored
    resource; the present field takes precedence.
    """
    return rule(
        f"!has(self.{former}) || !has(self.{present}) || self.{former} == {former_default}",
        f"{path}.{former} is the former name of {path}.{present}, and both are set; remove {former}",
    )


def without_default(schema: JsonDict) -> None:
    """Remove a field's default from the schema, for `json_schema_extra`: only the operator applies it."""
    schema.pop("default", None)


class ApiModel(BaseModel):
    """A frozen, closed object whose attribute docstrings become the schema's descriptions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    FORMER_FIELDS: ClassVar[Mapping[str, str]] = {}
    """Present names of deprecated fields, by former name. A former field is used only if the present one is not set.
    The present one has no default in the schema, because the API server would set it on every stored resource."""

    @model_validator(mode="before")
    @classmethod
    def _read_former_fields(cls, values: object) -> object:
        if not cls.FORMER_FIELDS or not isinstance(values, Mapping):
            return values
        former = {now: values[before] for before, now in cls.FORMER_FIELDS.items() if before in values}
        return {**former, **{name: value for name, value in values.items() if name not in cls.FORMER_FIELDS}}


IMAGE_PATTERN: Final = (
    r"^[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)
"""Image reference as in distribution/reference, with lower-case hosts only."""

Image = Annotated[str, Field(min_length=1, max_length=512)]
Url = Annotated[str, Field(min_length=1, max_length=512)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""DNS subdomain, the form of the names of Secrets and ConfigMaps."""


class LocalObjectReference(ApiModel):
    """Reference to an object in the same namespace."""

    name: ObjectName
    """Name of the object."""


class SecretSource(ApiModel):
    """Source of connection strings."""

    secret_ref: LocalObjectReference
    """Secret in the same namespace."""
