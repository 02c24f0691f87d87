"""The SomaBrain API: its versions, the CustomResourceDefinition and its reference page."""
