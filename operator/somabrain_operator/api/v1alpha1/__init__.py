"""Models of the SomaBrain resource as frozen values: the `spec` that an admin writes, the `status` of the operator.

The CustomResourceDefinition and its reference page are rendered from these models, so schema, defaults and bounds
are defined here and nowhere else. They contain only fields that the operator honours.
"""
