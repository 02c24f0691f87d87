"""Database of the resource: the Secret of its connection strings, or an administrator's from which one is made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from common.provisioning import MAX_DATABASE_LENGTH
from somabrain_operator.api.v1alpha1.base import ApiModel, LocalObjectReference, rule, rules


class Provision(ApiModel):
    """Making of the database with its roles and their passwords."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.database) == has(oldSelf.database) && "
                "(!has(self.database) || self.database == oldSelf.database)",
                "spec.database.provision.database cannot change, because the memories stay in the former database; "
                "make another SomaBrain for another one",
            )
        )
    )

    admin_secret_ref: LocalObjectReference
    """A Secret in the same namespace with the login of a role that has CREATEROLE and CREATEDB, or of a superuser: the
    key `uri`, or `host`, `username` and `password`, and optionally `port`, `dbname` and `sslmode`, such as the
    superuser's Secret of CloudNativePG."""
    database: (
        Annotated[
            str,
            Field(min_length=1, max_length=MAX_DATABASE_LENGTH, pattern=r"^[a-z_][a-z0-9_-]*$"),
        ]
        | None
    ) = None
    """Name of the database, which must not exist yet unless it was made for this SomaBrain. Not set: the namespace and
    the name of the SomaBrain, joined by an underscore, and shortened with a hash if they are too long."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """Fate of the database when the SomaBrain is deleted. Retain: it stays with its Secret, and both are adopted when
    the SomaBrain is applied again. Delete: it is dropped with its roles and the Secret, and the SomaBrain has a
    finalizer until then."""


class Database(ApiModel):
    """Source of the connection strings of the roles that the service connects as."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.secretRef) != has(self.provision)",
                "spec.database: set either secretRef, whose Secret holds app-dsn and worker-dsn, or provision, with "
                "which the operator makes the database and the Secret",
            ),
            rule(
                "!has(oldSelf.secretRef) || has(self.secretRef)",
                "spec.database cannot change from secretRef to provision, which makes an empty database; make another "
                "SomaBrain with it",
            ),
        )
    )

    secret_ref: LocalObjectReference | None = None
    """Secret in the same namespace with the keys `app-dsn` and `worker-dsn`, libpq URLs."""
    provision: Provision | None = None
    """Make the database, its roles and the Secret NAME-database as an administrator. The operator must have the rights
    for it: the value `provision.enabled` of its chart."""
