"""The resource SomaBrain as frozen values: what an admin writes (`spec`) and what the operator answers (`status`).

The CustomResourceDefinition and its reference page are rendered from these models, so schema, defaults and bounds
stand here and nowhere else. Only what the operator honours is in them.
"""
